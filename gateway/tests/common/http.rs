//! HTTP/1.1 by hand: small enough to see what really goes over the wire.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::soon;

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The stable code of a problem, which must be a proper one.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        for name in ["type", "title", "detail", "code"] {
            assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {problem}");
        }
        problem["code"].as_str().expect("a string").to_owned()
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, "GET", path, &[], b"").await
}

pub(crate) async fn post(address: SocketAddr, path: &str, body: &str) -> Reply {
    request(address, "POST", path, &[("content-type", "application/json")], body.as_bytes()).await
}

pub(crate) async fn put(address: SocketAddr, path: &str, content_type: &str, body: &str) -> Reply {
    request(address, "PUT", path, &[("content-type", content_type)], body.as_bytes()).await
}

pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut open = Open::new(address, method, path, headers, body).await;
    let mut whole = Vec::new();
    if method != "HEAD" {
        while let Some(part) = open.part().await {
            whole.extend(part);
        }
    }
    Reply { status: open.status, headers: open.headers, body: whole }
}

/// An answer whose body still comes.
pub(crate) struct Open {
    stream: BufReader<TcpStream>,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    left: Option<usize>,
    /// Text of an event stream that was not taken yet.
    text: String,
}

impl Open {
    pub(crate) async fn new(
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n"]);
        stream.write_all(head.as_bytes()).await.expect("sent");
        // A server that refuses by the head alone may not wait for the body.
        let _ = stream.write_all(body).await;
        let mut open =
            Self { stream: BufReader::new(stream), status: 0, headers: vec![], left: None, text: String::new() };
        open.read_head().await;
        open
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(soon("a line", self.stream.read_u8()).await.expect("more"));
        }
        String::from_utf8(line).expect("ASCII").trim_end().to_owned()
    }

    async fn read_head(&mut self) {
        let status = self.line().await;
        self.status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else { break };
            self.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        self.left = self.header("content-length").map(|length| length.parse().expect("a number"));
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The next part of the body; `None` at its end.
    pub(crate) async fn part(&mut self) -> Option<Vec<u8>> {
        let chunked = self.header("transfer-encoding") == Some("chunked");
        let length = match (chunked, self.left.take()) {
            (true, _) => usize::from_str_radix(&self.line().await, 16).expect("a chunk's length"),
            (false, left) => left.unwrap_or(0),
        };
        if length == 0 {
            return None;
        }
        let mut part = vec![0; length];
        soon("a part", self.stream.read_exact(&mut part)).await.expect("more");
        if chunked {
            self.line().await;
        }
        Some(part)
    }

    /// The next frame of an event stream that is not only a comment or `retry`; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<Sse> {
        loop {
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                let frame = Sse::parse(frame);
                self.text = rest.into();
                if let Some(frame) = frame {
                    return Some(frame);
                }
            }
            let part = self.part().await?;
            self.text += std::str::from_utf8(&part).expect("UTF-8");
        }
    }

    /// Waits for a comment, as a quiet stream sends it.
    pub(crate) async fn comment(&mut self) {
        while !self.text.contains(":\n\n") {
            let part = self.part().await.expect("not over");
            self.text += std::str::from_utf8(&part).expect("UTF-8");
        }
        self.text.clear();
    }
}

/// A server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sse {
    pub(crate) event: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

impl Sse {
    fn parse<'a>(frame: &'a str) -> Option<Self> {
        let value = |line: &'a str, name: &str| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            Some(value.strip_prefix(' ').unwrap_or(value))
        };
        let field = |name: &str| frame.lines().find_map(|line| value(line, name));
        let data: Vec<_> = frame.lines().filter_map(|line| value(line, "data")).collect();
        let event = field("event")?.to_owned();
        Some(Self { event, id: field("id").map(str::to_owned), data: data.join("\n") })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).expect("JSON")
    }
}
