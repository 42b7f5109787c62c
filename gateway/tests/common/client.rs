//! A WebSocket client that is not ours, and raw bytes where even that is too polite.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use protocol::{Event, ServerFrame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use types::{Cursor, Offset};

use super::soon;

pub(crate) struct Client {
    pub(crate) ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// A batch with its events.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: u32,
    pub(crate) prev: Option<Offset>,
    pub(crate) cursor: Cursor,
    pub(crate) events: Vec<Event>,
}

impl Batch {
    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.events.iter().map(|event| event.offset.value()).collect()
    }
}

/// What comes on a subscription.
#[derive(Debug)]
pub(crate) enum Heard {
    Batch(Batch),
    Frame(ServerFrame),
}

impl Client {
    /// A connection that has not said anything yet.
    pub(crate) async fn raw(address: SocketAddr) -> Self {
        let mut request = format!("ws://{address}/v1/ws").into_client_request().expect("a URL");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "headwater.v1.json".parse().expect("ASCII"));
        let (ws, response) = soon("the upgrade", connect_async(request)).await.expect("upgrades");
        assert_eq!(response.headers()["sec-websocket-protocol"], "headwater.v1.json");
        Self { ws }
    }

    /// A connection after hello and welcome.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::raw(address).await;
        client.say(r#"{"op":"hello","v":1,"client":"test/1"}"#).await;
        let welcome = client.frame().await;
        assert!(matches!(welcome, ServerFrame::Welcome { .. }), "{welcome:?}");
        client
    }

    pub(crate) async fn say(&mut self, text: impl Into<String>) {
        soon("sending", self.ws.send(Message::text(text.into()))).await.expect("sent");
    }

    /// Subscribes with plenty of credit.
    pub(crate) async fn subscribe(&mut self, id: u32, stream: &str, from: &str) {
        self.say(format!(r#"{{"op":"sub","id":{id},"stream":"{stream}","from":"{from}"}}"#)).await;
    }

    /// The next text message.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match soon("a message", self.ws.next()).await.expect("not over").expect("not broken") {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected a text, got {other:?}"),
            }
        }
    }

    /// The next frame, which must not be a batch.
    pub(crate) async fn frame(&mut self) -> ServerFrame {
        match self.hear().await {
            Heard::Frame(frame) => frame,
            Heard::Batch(batch) => panic!("expected a frame, got {batch:?}"),
        }
    }

    /// The next frame, with the events of a batch.
    pub(crate) async fn hear(&mut self) -> Heard {
        let text = self.text().await;
        match ServerFrame::decode(&text).expect("understood") {
            ServerFrame::Batch { id, prev, cursor, n } => {
                let mut events = Vec::new();
                for _ in 0..n {
                    events.push(Event::decode(&self.text().await).expect("an event"));
                }
                Heard::Batch(Batch { id, prev, cursor, events })
            }
            frame => Heard::Frame(frame),
        }
    }

    pub(crate) async fn batch(&mut self) -> Batch {
        match self.hear().await {
            Heard::Batch(batch) => batch,
            Heard::Frame(frame) => panic!("expected a batch, got {frame:?}"),
        }
    }

    /// Batches until so many events have come; their chain is checked.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        let mut last = None;
        while events.len() < count {
            let batch = self.batch().await;
            assert!(last.is_none() || batch.prev == last, "the chain is broken: {last:?} then {batch:?}");
            last = batch.cursor.next.previous();
            events.extend(batch.events);
        }
        assert_eq!(events.len(), count);
        events
    }

    /// How the node ends the connection: code and reason, or `None` when it just ends.
    pub(crate) async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            match soon("the end", self.ws.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Some((CloseCode::into(frame.code), frame.reason.to_string()));
                }
                Some(Ok(Message::Close(None)) | Err(Error::ConnectionClosed | Error::Io(_) | Error::Protocol(_)))
                | None => {
                    return None;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("unexpected: {error}"),
            }
        }
    }
}

/// A socket written by hand: the upgrade is done, the rest is up to the test.
pub(crate) async fn by_hand(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the upgrade", stream.read_u8()).await.expect("answered"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A masked frame, with a mask of zeros.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).expect("short")),
        middle @ 126..=0xffff => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(middle).expect("middle").to_be_bytes());
        }
        long => {
            frame.push(0x80 | 0x7f);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The code of the close frame that comes next on a raw connection; `None` when it just ends.
pub(crate) async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    let mut all = Vec::new();
    // A reset after the close frame is fine: what came before it was read.
    let _ = soon("the end", stream.read_to_end(&mut all)).await;
    let mut rest = all.as_slice();
    while let [first, length, after @ ..] = rest {
        let (length, after) = match length {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            short => (usize::from(*short), after),
        };
        if *first == 0x88 {
            return Some(u16::from_be_bytes([after[0], after[1]]));
        }
        rest = &after[length..];
    }
    None
}
