//! What a node holds for its clients, counted: each is within its own bounds, and still there may be too many of them.

use std::time::Duration;

use gateway::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use types::Payload;

use crate::common::client::{Client, by_hand, masked};
use crate::common::http::get;
use crate::common::{Server, quick, soon, until};

const HELLO: &[u8] = br#"{"op":"hello","v":1,"client":"t"}"#;
const TEXT: u8 = 0x81;
/// In a test it never comes.
const NEVER: Duration = Duration::from_hours(1);

async fn held(server: &Server, what: &str) -> u64 {
    server.metric(&format!(r#"headwater_gateway_held_bytes{{what="{what}"}}"#)).await
}

fn large(bytes: usize) -> Payload {
    Payload::json(format!("\"{}\"", "x".repeat(bytes)))
}

#[tokio::test]
async fn answers_that_nobody_takes_are_counted_and_one_too_many_is_refused() {
    // More than a connection's buffers in the system take, so that some of it stays with the node.
    const ANSWER: usize = 24 * 1024 * 1024;
    let limits = Limits { outbound_bytes: ANSWER * 3 / 2, response_bytes: ANSWER, stuck_time: NEVER, ..quick() };
    let server = Server::with(limits).await;
    server.fake.create("a");
    server.fake.append_payload("a", large(ANSWER - 2));
    server.fake.create("b");
    server.fake.append_payload("b", large(10));
    let mut slow = TcpStream::connect(server.address).await.expect("connects");
    slow.write_all(b"GET /v1/streams/a HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    until("it is counted", async || held(&server, "outbound").await >= ANSWER as u64).await;
    let refused = get(server.address, "/v1/streams/a").await;
    assert_eq!((refused.status, refused.problem()), (503, "unavailable".to_owned()));
    assert_eq!(get(server.address, "/v1/streams/b").await.status, 200, "what is small is always said");
    drop(slow);
    until("nothing is held", async || held(&server, "outbound").await == 0).await;
    assert_eq!(get(server.address, "/v1/streams/a").await.status, 200);
}

/// Asks for far more than the system's buffers take.
async fn greedy(server: &Server) -> TcpStream {
    server.fake.create("a");
    (0..200).for_each(|_| server.fake.append_payload("a", large(100_000)));
    let mut stream = by_hand(server.address).await;
    let credit = r#"{"events":1000,"bytes":1000000000}"#;
    let sub = format!(r#"{{"op":"sub","id":1,"stream":"a","from":"begin","credit":{credit}}}"#);
    stream.write_all(&[masked(TEXT, HELLO), masked(TEXT, sub.as_bytes())].concat()).await.expect("sent");
    stream
}

const SLOW: &str = r#"headwater_gateway_closed_total{code="4508"}"#;

#[tokio::test]
async fn a_socket_that_the_node_has_no_memory_for_is_cut_off_at_once() {
    let pressed_time = Duration::from_millis(50);
    let limits = Limits { outbound_bytes: 0, pressed_time, stuck_time: NEVER, flush_time: NEVER, ..quick() };
    let server = Server::with(limits).await;
    let _slow = greedy(&server).await;
    until("it is cut off", async || server.metric(SLOW).await == 1).await;
    until("it is gone", async || server.metric("headwater_gateway_connections").await == 0).await;
}

#[tokio::test]
async fn a_socket_that_reads_a_byte_now_and_then_is_cut_off_by_the_flush_time() {
    let limits = Limits { flush_time: Duration::from_millis(300), stuck_time: NEVER, ..quick() };
    let server = Server::with(limits).await;
    let mut slow = greedy(&server).await;
    let drip = async {
        while slow.read_u8().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let cut = until("it is cut off", async || server.metric(SLOW).await == 1);
    tokio::select! { () = cut => {}, () = drip => panic!("all that was sent was read, a byte at a time") }
    until("nothing is held", async || held(&server, "outbound").await == 0).await;
}

#[tokio::test]
async fn an_http_client_that_takes_too_little_for_too_long_is_cut_off() {
    const ANSWER: usize = 24 * 1024 * 1024;
    let flush_time = Duration::from_millis(50);
    let limits = Limits { response_bytes: ANSWER, stuck_time: NEVER, flush_time, flush_bytes: usize::MAX, ..quick() };
    let server = Server::with(Limits { outbound_bytes: 2 * ANSWER, ..limits }).await;
    server.fake.create("a");
    server.fake.append_payload("a", large(ANSWER));
    let mut slow = TcpStream::connect(server.address).await.expect("connects");
    slow.write_all(b"GET /v1/streams/a HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let (mut taken, mut buffer) = (0, vec![0; 64 * 1024]);
    while let Ok(count @ 1..) = soon("more, or the end", slow.read(&mut buffer)).await {
        taken += count;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(taken < ANSWER, "all of it was taken, little by little");
    until("nothing is held", async || held(&server, "outbound").await == 0).await;
}

#[tokio::test]
async fn live_events_that_the_node_has_no_memory_for_are_read_by_each_when_it_can() {
    let server = Server::with(Limits { live_bytes: 0, ..quick() }).await;
    server.fake.create("a");
    let mut client = Client::connect(server.address).await;
    client.subscribe(1, "a", "begin").await;
    client.frame().await;
    for count in 1..=3 {
        server.fake.append("a", "event", 1);
        assert_eq!(client.events(1).await[0].offset.value(), count - 1);
    }
    assert_eq!(held(&server, "live").await, 0);
}
