//! Server-sent events: what a browser's `EventSource` sees, and how it resumes.

use std::time::Duration;

use gateway::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::http::{Open, Sse, put};
use crate::common::{Server, quick, soon, until};

async fn open(server: &Server, path: &str) -> Open {
    let events = Open::new(server.address, "GET", path, &[], b"").await;
    assert_eq!((events.status, events.header("content-type")), (200, Some("text/event-stream")));
    events
}

/// As a browser connects again: the same URL, and where it stands.
async fn again(server: &Server, id: &str) -> Open {
    let path = "/v1/streams/a?offset=-1&live=sse";
    Open::new(server.address, "GET", path, &[("last-event-id", id)], b"").await
}

async fn frame(events: &mut Open, event: &str) -> Sse {
    let frame = events.frame().await.expect("a frame");
    assert_eq!(frame.event, event, "{frame:?}");
    frame
}

#[tokio::test]
async fn data_comes_with_an_id_and_control_tells_the_position() {
    let server = Server::start().await;
    server.fake.create("a");
    server.fake.append("a", "event", 2);
    let mut events = open(&server, "/v1/streams/a?offset=-1&live=sse").await;
    let data = frame(&mut events, "data").await;
    assert_eq!((data.json(), data.id), (json!([0, 1]), Some(server.fake.cursor("a", 2).to_string())));
    let control = frame(&mut events, "control").await.json();
    assert_eq!(control["streamNextOffset"], server.fake.cursor("a", 2).to_string());
    assert_eq!(control["upToDate"], true);
    assert!(control["streamCursor"].is_string());
    server.fake.append("a", "event", 1);
    assert_eq!(frame(&mut events, "data").await.json(), json!([2]));
}

#[tokio::test]
async fn a_browser_resumes_where_it_stopped() {
    let server = Server::start().await;
    server.fake.create("a");
    let mut seen = Vec::new();
    let mut id: Option<String> = None;
    for _ in 0..10 {
        server.fake.append("a", "event", 3);
        let mut events = match &id {
            None => open(&server, "/v1/streams/a?offset=-1&live=sse").await,
            Some(id) => again(&server, id).await,
        };
        let data = frame(&mut events, "data").await;
        seen.extend(data.json().as_array().expect("an array").clone());
        // The connection breaks before control comes: the id of the data is enough.
        id = data.id;
    }
    assert_eq!(seen, (0..30).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_first_frame_has_an_id_even_where_nothing_is_to_be_said() {
    let server = Server::start().await;
    server.fake.create("a");
    server.fake.append("a", "event", 4);
    let mut events = open(&server, "/v1/streams/a?offset=now&live=sse").await;
    let first = frame(&mut events, "control").await;
    assert_eq!(first.id, Some(server.fake.cursor("a", 4).to_string()));
    assert_eq!(first.json()["upToDate"], true);
}

#[tokio::test]
async fn a_quiet_stream_sends_comments() {
    let server = Server::start().await;
    server.fake.create("a");
    let mut events = open(&server, "/v1/streams/a?offset=now&live=sse").await;
    frame(&mut events, "control").await;
    events.comment().await;
    events.comment().await;
}

#[tokio::test]
async fn what_is_missing_is_a_gap_for_who_resumes() {
    let server = Server::start().await;
    server.fake.create("a");
    server.fake.append("a", "event", 10);
    let old = server.fake.cursor("a", 2);
    server.fake.trim("a", 6);
    let mut events = again(&server, &old.to_string()).await;
    let gap = frame(&mut events, "gap").await;
    let to = server.fake.cursor("a", 6).to_string();
    assert_eq!(gap.json(), json!({"from": old.to_string(), "to": to, "reason": "trimmed", "low": 6}));
    assert_eq!(gap.id, Some(to));
    assert_eq!(frame(&mut events, "data").await.json(), json!([6, 7, 8, 9]));
    // Who asks for it in the URL gets an answer to that request instead.
    let refused = Open::new(server.address, "GET", &format!("/v1/streams/a?offset={old}&live=sse"), &[], b"").await;
    assert_eq!(refused.status, 410);
}

#[tokio::test]
async fn a_garbage_id_is_refused() {
    let server = Server::start().await;
    server.fake.create("a");
    assert_eq!(again(&server, "17").await.status, 400);
}

#[tokio::test]
async fn the_end_is_told_and_the_connection_closed() {
    let server = Server::start().await;
    server.fake.create("a");
    server.fake.append("a", "event", 1);
    let mut events = open(&server, "/v1/streams/a?offset=-1&live=sse").await;
    frame(&mut events, "data").await;
    frame(&mut events, "control").await;
    server.fake.close("a");
    let end = frame(&mut events, "end").await;
    assert_eq!((end.json()["status"].as_str(), end.id), (Some("closed"), None));
    let control = frame(&mut events, "control").await.json();
    assert_eq!((&control["streamClosed"], control.get("streamCursor")), (&json!(true), None));
    assert_eq!(events.frame().await, None);
    let mut late = again(&server, &server.fake.cursor("a", 1).to_string()).await;
    frame(&mut late, "end").await;
    frame(&mut late, "control").await;
    assert_eq!(late.frame().await, None);
}

#[tokio::test]
async fn a_deleted_stream_ends() {
    let server = Server::start().await;
    server.fake.create("a");
    let mut events = open(&server, "/v1/streams/a?offset=now&live=sse").await;
    frame(&mut events, "control").await;
    until("it waits", async || server.fake.reads() > 0).await;
    server.fake.delete("a");
    assert_eq!(frame(&mut events, "end").await.json()["status"], "deleted");
    assert_eq!(events.frame().await, None);
}

#[tokio::test]
async fn text_is_text_and_bytes_are_base64() {
    let server = Server::start().await;
    put(server.address, "/v1/streams/t", "text/plain", "a\r\n\r\nevent: end\n\nb").await;
    let mut events = open(&server, "/v1/streams/t?offset=-1&live=sse").await;
    assert_eq!(events.header("stream-sse-data-encoding"), None);
    assert_eq!(frame(&mut events, "data").await.data, "a\n\nevent: end\n\nb");
    put(server.address, "/v1/streams/b", "image/png", "\u{0}abc").await;
    let mut events = open(&server, "/v1/streams/b?offset=-1&live=sse").await;
    assert_eq!(events.header("stream-sse-data-encoding"), Some("base64"));
    assert_eq!(frame(&mut events, "data").await.data, "AGFiYw==");
}

#[tokio::test]
async fn who_never_reads_is_cut_off() {
    let server = Server::with(Limits { stuck_time: Duration::from_millis(100), ..quick() }).await;
    server.fake.create("a");
    let big = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..400 {
        server.fake.append_payload("a", types::Payload::json(big.clone()));
    }
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    let request = "GET /v1/streams/a?offset=-1&live=sse HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut before = usize::MAX;
    until("nothing more is read for it", async || {
        let stands = std::mem::replace(&mut before, server.fake.reads()) == server.fake.reads();
        tokio::time::sleep(Duration::from_millis(200)).await;
        stands && before > 0
    })
    .await;
    // An event stream has no end of its own: that this ends shows that the node has cut it.
    let mut all = Vec::new();
    let _ = soon("the end", stream.read_to_end(&mut all)).await;
    assert!(all.len() < 400 * 100_000, "{} bytes came", all.len());
}
