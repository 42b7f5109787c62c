//! A node that says what a test tells it to say, frame by frame.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use headwater_client::Client;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Nothing here takes long; what takes longer will never come.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct ScriptedNode {
    listener: TcpListener,
}

/// One connection of the client.
pub(crate) struct Peer(WebSocketStream<TcpStream>);

impl ScriptedNode {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port") }
    }

    pub(crate) fn client(&self) -> Client {
        let address = self.listener.local_addr().expect("it listens");
        Client::new(&format!("http://{address}")).expect("a good address")
    }

    /// The client's next connection, welcomed; with what its hello said.
    pub(crate) async fn welcome(&self) -> (Peer, Value) {
        let mut peer = self.accept().await;
        let hello = peer.hear("hello").await;
        let limits = json!({
            "message_bytes": 524_288, "event_bytes": 262_144, "subscriptions": 128, "commands_in_flight": 1024,
        });
        peer.say(json!({ "op": "welcome", "session": "s", "heartbeat_ms": 20_000, "limits": limits, "node": "n" }))
            .await;
        (peer, hello)
    }

    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("it connects").expect("it connects");
        Peer(accept_hdr_async(stream, subprotocol).await.expect("a good handshake"))
    }
}

#[expect(clippy::result_large_err, clippy::unnecessary_wraps, reason = "the library asks for this shape")]
fn subprotocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers()["sec-websocket-protocol"].clone();
    response.headers_mut().insert("sec-websocket-protocol", offered);
    Ok(response)
}

impl Peer {
    pub(crate) async fn say(&mut self, frame: Value) {
        self.0.send(Message::Text(frame.to_string().into())).await.expect("the client listens");
    }

    /// The next frame, which must be this one.
    pub(crate) async fn hear(&mut self, op: &str) -> Value {
        let frame = self.next().await.unwrap_or_else(|| panic!("the client left instead of saying {op}"));
        assert_eq!(frame["op"], op, "{frame}");
        frame
    }

    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("the client says something")?;
            if let Ok(Message::Text(text)) = message {
                return Some(serde_json::from_str(&text).expect("frames are JSON"));
            }
        }
    }

    /// Says nothing more and is gone, without a farewell.
    pub(crate) fn cut(self) {
        drop(self.0);
    }

    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.0.close(Some(frame)).await.expect("the client listens");
    }

    pub(crate) async fn events(&mut self, prev: Option<u64>, offsets: std::ops::Range<u64>) {
        let (n, cursor) = (offsets.end - offsets.start, cursor(offsets.end));
        self.say(json!({ "op": "batch", "id": 1, "prev": prev, "cursor": cursor, "n": n })).await;
        for offset in offsets {
            self.event(offset).await;
        }
    }

    pub(crate) async fn event(&mut self, offset: u64) {
        self.say(json!({ "offset": offset, "time": 1, "type": "event", "data": offset })).await;
    }

    pub(crate) async fn subbed(&mut self, at: u64, resumed: bool) {
        let (head, low) = (1000, 0);
        self.say(
            json!({ "op": "subbed", "id": 1, "cursor": cursor(at), "head": head, "low": low, "resumed": resumed }),
        )
        .await;
    }
}

/// A cursor of the one stream there is.
pub(crate) fn cursor(next: u64) -> String {
    format!("0000010000000009_{next:016x}")
}
