//! Plain HTTP, for what the SDK would not send.

use std::net::SocketAddr;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::soon;

#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client,
    base: String,
}

/// An answer: its status, and its body when that is JSON.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Http {
    pub(crate) fn to(address: SocketAddr) -> Self {
        // A connection for each request: an idle one may be closed by the node just as it is used again.
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client");
        Self { client, base: format!("http://{address}") }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.ask(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.ask(Method::POST, path).header("content-type", "application/json").body(body.to_string())).await
    }

    /// An answer that is no JSON.
    pub(crate) async fn text(&self, path: &str) -> String {
        let response = soon("an answer", self.ask(Method::GET, path).send()).await.expect("an answer");
        assert!(response.status().is_success(), "{response:?}");
        response.text().await.expect("a whole answer")
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let response = soon("an answer", request.send()).await.expect("an answer, not a broken connection");
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("a whole answer");
    Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}

impl Answer {
    /// It must be this refusal; a sentence comes with it.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        let detail = self.body["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(' '), "a refusal is a sentence: {self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.body
    }
}
