//! Single requests over HTTP/1.1, for setting a bench up and looking at what came of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The answer's body.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    request(address, "GET", path, "", "").1
}

pub(crate) fn get_json(address: SocketAddr, path: &str) -> serde_json::Value {
    serde_json::from_str(&get(address, path)).expect("the node answers in JSON")
}

/// Sends a body; head and body of the answer, which must be a good one.
pub(crate) fn send(address: SocketAddr, method: &str, path: &str, content_type: &str, body: &str) -> (String, String) {
    request(address, method, path, content_type, body)
}

fn request(address: SocketAddr, method: &str, path: &str, content_type: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    let length = body.len();
    let content_type =
        if content_type.is_empty() { String::new() } else { format!("content-type: {content_type}\r\n") };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{content_type}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the node reads");
    stream.write_all(body.as_bytes()).expect("the node reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the node answers in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
    (head.to_owned(), if chunked(head) { joined(body) } else { body.to_owned() })
}

fn chunked(head: &str) -> bool {
    head.to_ascii_lowercase().contains("transfer-encoding: chunked")
}

/// A body in chunks, in one piece.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk begins with its size");
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}
