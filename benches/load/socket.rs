//! A WebSocket client that does as little as possible: many messages a system call, no copies, the mask zero (a mask
//! all the same, which the node takes off). One message costs it well under a microsecond.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const READ_BYTES: usize = 64 * 1024;
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const CLOSE: u8 = 0x88;

/// One connection that has said hello.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    inbound: Vec<u8>,
    /// Read up to here.
    at: usize,
    outbound: Vec<u8>,
}

impl Socket {
    /// Connects and is welcome.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut socket = Self::hello(address, "").await;
        let welcome = socket.message().await;
        assert!(welcome.starts_with(r#"{"op":"welcome""#), "the node answers hello with {welcome}");
        socket
    }

    /// Connects and sends a hello with `extra` members, such as `,"subs":[…]`; what is answered is still to be read.
    pub(crate) async fn hello(address: SocketAddr, extra: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the node listens");
        stream.set_nodelay(true).expect("a socket can be told so");
        let mut socket = Self { stream, inbound: Vec::new(), at: 0, outbound: Vec::new() };
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: headwater.v1.json\r\n\r\n"
        );
        socket.outbound.extend_from_slice(request.as_bytes());
        socket.flush().await;
        socket.skip_head().await;
        socket.push(&format!(r#"{{"op":"hello","v":1,"client":"bench/1"{extra}}}"#));
        socket.flush().await;
        socket
    }

    async fn skip_head(&mut self) {
        let end = loop {
            if let Some(end) = self.inbound.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await;
        };
        let head = String::from_utf8_lossy(&self.inbound[..end]).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "the node does not upgrade: {head}");
        self.at = end;
    }

    /// Puts a text message beside those to be sent.
    pub(crate) fn push(&mut self, text: &str) {
        frame(&mut self.outbound, TEXT, true, text.as_bytes());
    }

    /// Sends all that was put together, in one write.
    pub(crate) async fn flush(&mut self) {
        if !self.outbound.is_empty() {
            self.stream.write_all(&self.outbound).await.expect("the node reads");
            self.outbound.clear();
        }
    }

    /// Waits for more bytes.
    pub(crate) async fn fill(&mut self) {
        if self.at > 0 {
            self.inbound.drain(..self.at);
            self.at = 0;
        }
        self.inbound.reserve(READ_BYTES);
        let count = self.stream.read_buf(&mut self.inbound).await.expect("the node answers");
        assert!(count > 0, "the node closed the connection");
    }

    /// The next text message that has arrived in whole.
    pub(crate) fn next(&mut self) -> Option<&str> {
        loop {
            let (opcode, content) = content(&self.inbound[self.at..])?;
            let (from, until) = (self.at + content.start, self.at + content.end);
            self.at = until;
            match opcode {
                TEXT => return Some(std::str::from_utf8(&self.inbound[from..until]).expect("text is UTF-8")),
                PING => {
                    let payload = self.inbound[from..until].to_vec();
                    frame(&mut self.outbound, PONG, true, &payload);
                }
                CLOSE => panic!("the node says goodbye: {}", String::from_utf8_lossy(&self.inbound[from..until])),
                other => panic!("the node sent a frame of kind {other:#x}"),
            }
        }
    }

    /// The next message, waited for.
    pub(crate) async fn message(&mut self) -> String {
        loop {
            if let Some(text) = self.next() {
                return text.to_owned();
            }
            self.flush().await;
            self.fill().await;
        }
    }
}

/// Appends a frame.
pub(crate) fn frame(out: &mut Vec<u8>, opcode: u8, masked: bool, content: &[u8]) {
    let mask = if masked { 0x80 } else { 0 };
    out.push(opcode);
    match content.len() {
        short @ 0..=125 => out.push(mask | u8::try_from(short).expect("it is short")),
        medium @ 126..=0xffff => {
            out.push(mask | 0x7e);
            out.extend_from_slice(&u16::try_from(medium).expect("it is medium").to_be_bytes());
        }
        long => {
            out.push(mask | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    if masked {
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(content);
}

/// What kind the first frame is and where its content lies, once all of it is there. A mask is taken to be zero.
pub(crate) fn content(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (&opcode, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, start) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let start = if second & 0x80 == 0 { start } else { start + 4 };
    let end = start + usize::try_from(length).ok()?;
    (bytes.len() >= end).then_some((opcode, start..end))
}

/// The number behind `name`, such as `"n":`, in a frame that was made without spaces.
pub(crate) fn number(text: &str, name: &str) -> Option<u64> {
    let rest = &text[text.find(name)? + name.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The string behind `name`, such as `"token":"`, that holds no escapes.
pub(crate) fn string<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = &text[text.find(name)? + name.len()..];
    rest.split('"').next()
}
