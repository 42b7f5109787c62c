//! What one client may have of the node's memory while others want some of it: slow ones give it back, and no connection
//! has all of it.

use std::time::Duration;

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gateway::Limits;
use h2::client::{ResponseFuture, SendRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use types::Payload;

use crate::common::http::{get, post};
use crate::common::{Server, quick, soon, until};

/// In a test it never comes.
const NEVER: Duration = Duration::from_hours(1);
const BODY: usize = 200 * 1024;

fn text(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

/// Sends the first 60 KiB of a body and then nothing.
async fn begin_upload(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    let head = format!(
        "POST /v1/streams/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&text(BODY).as_bytes()[..60 * 1024]).await.expect("sent");
    stream
}

/// Memory for two unfinished uploads: one has all there is to share, one the last place.
fn little() -> Limits {
    let (message_bytes, request_bytes) = (64 * 1024, 256 * 1024);
    let inbound_bytes = request_bytes + 48 * 1024;
    let limits = Limits { message_bytes, request_bytes, inbound_bytes, ..quick() };
    Limits { body_time: NEVER, progress_time: NEVER, room_time: NEVER, ..limits }
}

#[tokio::test]
async fn uploads_that_come_slowly_give_way_to_one_that_waits() {
    let server = Server::with(Limits { pace_time: Duration::from_millis(100), ..little() }).await;
    server.fake.create("a");
    let mut slow = [begin_upload(&server).await, begin_upload(&server).await];
    let drip = async {
        loop {
            for stream in &mut slow {
                stream.write_all(b"x").await.expect("it is still listened to");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let other = async {
        // Until it has to wait for the memory that they hold.
        for _ in 0..3 {
            assert_eq!(post(server.address, "/v1/streams/a", &text(BODY)).await.status, 204);
        }
    };
    tokio::select! { () = other => {}, () = drip => {} }
}

type H2 = SendRequest<Bytes>;

/// One HTTP/2 connection.
async fn connect(server: &Server) -> H2 {
    let stream = TcpStream::connect(server.address).await.expect("connects");
    let (client, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    client
}

async fn ask(client: &H2, server: &Server, method: &str, path: &str, body: Option<String>) -> ResponseFuture {
    let uri = format!("http://{}{path}", server.address);
    let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
    let request = request.body(()).expect("a request");
    let mut client = client.clone().ready().await.expect("it is open");
    let (response, mut send) = client.send_request(request, body.is_none()).expect("sent");
    if let Some(body) = body {
        send.send_data(body.into(), true).expect("taken");
    }
    response
}

async fn status(response: ResponseFuture) -> StatusCode {
    soon("an answer", response).await.expect("an answer").status()
}

#[tokio::test]
async fn bodies_that_wait_for_memory_do_not_hold_up_the_rest_of_their_connection() {
    let server = Server::with(Limits { pace_time: NEVER, ..little() }).await;
    server.fake.create("a");
    let _held = [begin_upload(&server).await, begin_upload(&server).await];
    let held = async || server.metric(r#"headwater_gateway_held_bytes{what="inbound"}"#).await;
    until("both uploads have come as far as they will", async || held().await == 2 * 60 * 1024).await;
    let client = connect(&server).await;
    let mut large = FuturesUnordered::new();
    for _ in 0..8 {
        large.push(ask(&client, &server, "POST", "/v1/streams/a", Some(text(BODY))).await);
    }
    let small = ask(&client, &server, "POST", "/v1/streams/a", Some(text(100))).await;
    assert_eq!(status(small).await, StatusCode::NO_CONTENT);
    // Two wait; the others are told at once.
    let refused = async {
        for _ in 0..6 {
            let answer = large.next().await.expect("eight were asked for").expect("an answer");
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    };
    soon("all but two are refused", refused).await;
    assert!(futures_util::poll!(large.next()).is_pending());
}

#[tokio::test]
async fn one_connection_does_not_hold_all_answers() {
    const ANSWER: usize = 250 * 1024;
    let server =
        Server::with(Limits { response_bytes: ANSWER, outbound_bytes: 16 * ANSWER, stuck_time: NEVER, ..quick() })
            .await;
    server.fake.create("a");
    server.fake.append_payload("a", Payload::json(text(ANSWER - 2)));
    let client = connect(&server).await;
    // Kept, and never read.
    let mut answers = Vec::new();
    let refused = loop {
        let answer = soon("an answer", ask(&client, &server, "GET", "/v1/streams/a", None).await).await.expect("one");
        if answer.status() != StatusCode::OK {
            break answer.status();
        }
        answers.push(answer);
    };
    assert_eq!((answers.len(), refused), (2, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(get(server.address, "/v1/streams/a").await.status, 200, "others are not kept waiting");
    drop((answers, client));
    until("nothing is held", async || server.metric(r#"headwater_gateway_held_bytes{what="outbound"}"#).await == 0)
        .await;
}
