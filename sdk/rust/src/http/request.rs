//! One request and its answer: what was not sent, what was not answered, and what was refused are three things.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;

use super::Problem;
use crate::client::Client;
use crate::error::Error;
use crate::limits::ANSWER_MS;

/// An answer that is a success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    server: String,
}

impl Client {
    pub(super) fn ask<'a>(&self, method: Method, path: impl IntoIterator<Item = &'a str>) -> RequestBuilder {
        self.http.request(method, self.endpoint.resource(path)).timeout(ANSWER_MS)
    }

    pub(super) async fn answer(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let server = self.server();
        let response = request.send().await.map_err(|error| lost(server, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| lost(server, &error))?;
        if status.is_success() {
            return Ok(Answer { status, headers, body, server: server.to_owned() });
        }
        Err(Error::Problem(Box::new(Problem::read(status.as_u16(), &body))))
    }

    /// Whether the node takes work. A problem says why not.
    pub async fn ready(&self) -> Result<(), Error> {
        let url = self.endpoint.root("readyz");
        self.answer(self.http.get(url).timeout(ANSWER_MS)).await.map(drop)
    }
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::not_understood(&self.server, format!("its answer cannot be read: {error}")))
    }

    /// A header that the protocol promises.
    pub(super) fn header<T: std::str::FromStr>(&self, name: &str) -> Result<T, Error> {
        let text = self.headers.get(name).and_then(|value| value.to_str().ok());
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::not_understood(&self.server, format!("its answer has no good header {name}")))
    }

    pub(super) fn says(&self, name: &str) -> bool {
        self.headers.get(name).is_some_and(|value| value == "true")
    }
}

/// Longer than the node may take to answer by itself.
pub(super) fn with_wait(request: RequestBuilder, wait: Duration) -> RequestBuilder {
    request.timeout(ANSWER_MS + wait)
}

fn lost(server: &str, error: &reqwest::Error) -> Error {
    let cause = root_cause(error);
    if error.is_connect() || error.is_builder() {
        Error::unreachable(server, cause)
    } else {
        Error::Unanswered { server: server.to_owned(), cause }
    }
}

/// The innermost cause is the one that says something: "connection refused".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
