//! Clients that break the rules, by mistake or on purpose, and what each gets.

use std::time::Duration;

use gateway::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::client::{Client, by_hand, close_code, masked};
use crate::common::http::get;
use crate::common::{Server, quick, soon, until};

const HELLO: &[u8] = br#"{"op":"hello","v":1,"client":"t"}"#;
const TEXT: u8 = 0x81;
const TEXT_PART: u8 = 0x01;
const MORE_PART: u8 = 0x00;
const LAST_PART: u8 = 0x80;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Sends bytes after the upgrade and expects this close code.
async fn check(server: &Server, bytes: &[u8], code: u16) {
    let mut stream = by_hand(server.address).await;
    // The node may stop reading in the middle of it.
    let _ = stream.write_all(bytes).await;
    assert_eq!(close_code(&mut stream).await, Some(code), "{:?}", &bytes[..bytes.len().min(20)]);
}

#[tokio::test]
async fn frames_that_break_the_protocol_are_refused_with_1002() {
    let server = Server::start().await;
    let mut unmasked = vec![TEXT, u8::try_from(HELLO.len()).expect("short")];
    unmasked.extend(HELLO);
    check(&server, &unmasked, 1002).await;
    check(&server, &masked(PING, &[0; 126]), 1002).await;
    check(&server, &masked(CLOSE, &[3; 126]), 1002).await;
    check(&server, &masked(0x09, b""), 1002).await;
    check(&server, &masked(0xc1, HELLO), 1002).await;
    check(&server, &masked(0x83, HELLO), 1002).await;
    check(&server, &masked(LAST_PART, b"x"), 1002).await;
    check(&server, &[masked(TEXT_PART, b"a"), masked(TEXT, b"b")].concat(), 1002).await;
    check(&server, &masked(CLOSE, &[3]), 1002).await;
    check(&server, &masked(CLOSE, &1005_u16.to_be_bytes()), 1002).await;
    check(&server, &masked(CLOSE, &[&1000_u16.to_be_bytes()[..], b"\xff"].concat()), 1007).await;
    until("everyone is gone", async || server.metric("headwater_gateway_connections").await == 0).await;
    assert_eq!(server.metric(r#"headwater_gateway_closed_total{code="1002"}"#).await, 10);
}

#[tokio::test]
async fn messages_that_are_too_large_are_refused_with_1009() {
    let server = Server::start().await;
    check(&server, &masked(TEXT, &vec![b' '; 512 * 1024 + 1]), 1009).await;
    let half = vec![b' '; 256 * 1024];
    let parts = [masked(TEXT_PART, &half), masked(MORE_PART, &half), masked(LAST_PART, b" ")].concat();
    check(&server, &parts, 1009).await;
    // A head that promises four terabytes is refused before any of them come.
    let mut promise = vec![TEXT, 0x80 | 0x7f];
    promise.extend((4_u64 << 40).to_be_bytes());
    promise.extend([0; 4]);
    check(&server, &promise, 1009).await;
}

#[tokio::test]
async fn a_thousand_fragments_are_refused_with_1009() {
    let server = Server::start().await;
    let mut parts = masked(TEXT_PART, b"{");
    (0..999).for_each(|_| parts.extend(masked(MORE_PART, b" ")));
    check(&server, &parts, 1009).await;
    let mut empty = masked(TEXT_PART, b"");
    (0..999).for_each(|_| empty.extend(masked(MORE_PART, b"")));
    check(&server, &empty, 1009).await;
}

/// Whoever is in the middle of a message holds memory: of a budget that all share, beside which a little is free.
#[tokio::test]
async fn a_message_on_its_way_in_has_no_more_memory_than_there_is() {
    let bytes = 512 * 1024;
    let (room_time, progress_time) = (Duration::from_millis(50), Duration::from_hours(1));
    let limits = Limits { inbound_bytes: bytes, request_bytes: bytes, room_time, progress_time, ..quick() };
    let server = Server::with(limits).await;
    // One has the last place and does not come to its end.
    let mut first = by_hand(server.address).await;
    let frame = masked(TEXT, &vec![b' '; 200 * 1024]);
    first.write_all(&[masked(TEXT, HELLO), frame[..100 * 1024].to_vec()].concat()).await.expect("sent");
    let closed = r#"headwater_gateway_closed_total{code="1013"}"#;
    let other = async || {
        let mut other = by_hand(server.address).await;
        // It is cut off, or taken when the first one was not read yet.
        let _ = other.write_all(&[masked(TEXT, HELLO), frame.clone()].concat()).await;
        let _ = soon("the end", other.read_to_end(&mut Vec::new())).await;
        server.metric(closed).await > 0
    };
    crate::common::until("another to be cut off", other).await;
    let half = vec![b' '; 60 * 1024];
    check(&server, &[masked(TEXT_PART, &half), masked(MORE_PART, &half)].concat(), 1013).await;
    // It is given back: a message that fits is taken, and found to be no frame.
    drop(first);
    check(&server, &masked(TEXT, &vec![b' '; 200 * 1024]), 4400).await;
}

/// More than there is memory for at a time: none is read before its turn, and each comes to its end.
#[tokio::test]
async fn messages_wait_for_memory_and_all_of_them_arrive() {
    let bytes = 512 * 1024;
    let limits = Limits { inbound_bytes: bytes + 64 * 1024, request_bytes: bytes, ..quick() };
    let server = Server::with(Limits { room_time: Duration::from_hours(1), ..limits }).await;
    server.fake.create("a");
    let data = "x".repeat(200 * 1024);
    let append = format!(r#"{{"op":"cmd","n":1,"type":"append","stream":"a","data":"{data}"}}"#);
    // In two fragments, so that each holds some of it and needs more.
    let (front, back) = append.as_bytes().split_at(100 * 1024);
    let (front, back) = ([masked(TEXT, HELLO), masked(TEXT_PART, front)].concat(), masked(LAST_PART, back));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (mut stream, front, back) = (by_hand(server.address).await, front.clone(), back.clone());
        clients.spawn(async move {
            stream.write_all(&front).await.expect("sent");
            stream.write_all(&back).await.expect("read in its turn");
            let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
            while !String::from_utf8_lossy(&heard).contains(r#""op":"done""#) {
                let count = stream.read(&mut buffer).await.expect("it is not cut off");
                assert_ne!(count, 0, "it ended: {}", String::from_utf8_lossy(&heard));
                heard.extend_from_slice(&buffer[..count]);
            }
        });
    }
    soon("all of them", clients.join_all()).await;
    assert_eq!(server.fake.events("a").len(), 10);
}

/// Signs of life between the parts do not buy a message more time.
#[tokio::test]
async fn a_message_that_never_ends_is_not_waited_for() {
    let server = Server::with(Limits { message_time: Duration::from_millis(100), ..quick() }).await;
    let mut stream = by_hand(server.address).await;
    stream.write_all(&[masked(TEXT, HELLO), masked(TEXT_PART, b"{")].concat()).await.expect("sent");
    let (mut reader, mut writer) = stream.into_split();
    let alive = tokio::spawn(async move {
        while writer.write_all(&masked(PONG, b"")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut all = Vec::new();
    let _ = soon("the end", reader.read_to_end(&mut all)).await;
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("the message did not arrive in time"), "{text}");
    soon("the writer to notice", alive).await.expect("no panic");
}

#[tokio::test]
async fn a_message_in_fragments_is_a_message() {
    let server = Server::start().await;
    let mut stream = by_hand(server.address).await;
    let (first, rest) = HELLO.split_at(9);
    let (second, third) = rest.split_at(1);
    let parts = [masked(TEXT_PART, first), masked(MORE_PART, second), masked(PING, b"hi"), masked(LAST_PART, third)];
    stream.write_all(&parts.concat()).await.expect("sent");
    // The pong came in between, then the welcome.
    let mut pong = [0; 4];
    soon("the pong", stream.read_exact(&mut pong)).await.expect("more");
    assert_eq!(&pong, b"\x8a\x02hi");
    let mut head = [0; 4];
    soon("the welcome", stream.read_exact(&mut head)).await.expect("more");
    assert_eq!(head[..2], [TEXT, 126]);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused_with_1007() {
    let server = Server::start().await;
    check(&server, &masked(TEXT, b"{\"op\":\"\xff\"}"), 1007).await;
    check(&server, &[masked(TEXT_PART, b"\xc3"), masked(LAST_PART, b"\x28")].concat(), 1007).await;
}

#[tokio::test]
async fn messages_that_are_no_frames_are_refused_with_4400() {
    let server = Server::start().await;
    check(&server, &masked(BINARY, HELLO), 4400).await;
    check(&server, &masked(TEXT, b"hello"), 4400).await;
    check(&server, &masked(TEXT, br#"{"op":"ping","ts":1}"#), 4400).await;
    check(&server, &masked(TEXT, br#"{"op":"hello","v":2,"client":"t"}"#), 4400).await;
    check(&server, &[masked(TEXT, HELLO), masked(TEXT, HELLO)].concat(), 4400).await;
    check(&server, &[masked(TEXT, HELLO), masked(TEXT, br#"{"op":"fly"}"#)].concat(), 4400).await;
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_told() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address).await;
    client.say(r#"{"op":"fly"}"#).await;
    let told = client.text().await;
    assert!(told.contains("expected one of hello, sub"), "{told}");
    let (code, reason) = client.closed().await.expect("a close frame");
    assert_eq!(code, 4400);
    assert!(reason.starts_with(r#""fly" is not an op"#), "{reason}");
}

#[tokio::test]
async fn a_goodbye_is_answered() {
    let server = Server::start().await;
    let mut stream = by_hand(server.address).await;
    let goodbye = [&1000_u16.to_be_bytes()[..], b"bye"].concat();
    stream.write_all(&[masked(TEXT, HELLO), masked(CLOSE, &goodbye)].concat()).await.expect("sent");
    assert_eq!(close_code(&mut stream).await, Some(1000));
}

#[tokio::test]
async fn who_never_says_hello_is_let_go_with_4408() {
    let server = Server::with(Limits { hello_time: Duration::from_millis(50), ..quick() }).await;
    let mut client = Client::raw(server.address).await;
    assert_eq!(client.closed().await.expect("a close frame").0, 4408);
}

#[tokio::test]
async fn who_sends_a_byte_now_and_then_is_let_go_with_4408() {
    let server = Server::with(Limits { hello_time: Duration::from_millis(100), ..quick() }).await;
    let mut stream = by_hand(server.address).await;
    let (mut read, mut write) = stream.split();
    let drip = async {
        for byte in masked(TEXT, HELLO) {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut said = Vec::new();
    let _ = tokio::join!(drip, read.read_to_end(&mut said));
    assert_eq!((said[0], &said[2..4]), (CLOSE, &4408_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn who_does_not_answer_a_ping_is_let_go_with_4408() {
    let heartbeat_time = Duration::from_millis(40);
    let server = Server::with(Limits { heartbeat_time, pong_time: heartbeat_time, ..quick() }).await;
    let mut stream = by_hand(server.address).await;
    stream.write_all(&masked(TEXT, HELLO)).await.expect("sent");
    let mut said = Vec::new();
    soon("the end", stream.read_to_end(&mut said)).await.expect("closed");
    let goodbye = |bytes: &[u8]| bytes[..3] == [PING, 0, CLOSE] && bytes[4..] == 4408_u16.to_be_bytes();
    assert!(said.windows(6).any(goodbye), "a ping, and then the end");
}

#[tokio::test]
async fn who_answers_pings_stays() {
    let heartbeat_time = Duration::from_millis(30);
    let server = Server::with(Limits { heartbeat_time, pong_time: Duration::from_secs(5), ..quick() }).await;
    let mut client = Client::connect(server.address).await;
    // The client library answers pings while it is polled; many heartbeats pass.
    let quiet = tokio::time::timeout(heartbeat_time * 10, client.text()).await;
    assert!(quiet.is_err(), "nothing is said: {quiet:?}");
    client.say(r#"{"op":"ping","ts":7}"#).await;
    assert_eq!(client.text().await, r#"{"op":"pong","ts":7}"#);
}

#[tokio::test]
async fn who_never_reads_is_cut_off_as_slow() {
    let server = Server::with(Limits { stuck_time: Duration::from_millis(100), ..quick() }).await;
    server.fake.create("a");
    let big = format!("\"{}\"", "x".repeat(100_000));
    for _ in 0..200 {
        server.fake.append_payload("a", types::Payload::json(big.clone()));
    }
    let mut stream = by_hand(server.address).await;
    let credit = r#"{"events":1000,"bytes":1000000000}"#;
    let sub = format!(r#"{{"op":"sub","id":1,"stream":"a","from":"begin","credit":{credit}}}"#);
    stream.write_all(&[masked(TEXT, HELLO), masked(TEXT, sub.as_bytes())].concat()).await.expect("sent");
    let slow = r#"headwater_gateway_closed_total{code="4508"}"#;
    until("the slow one is cut off", async || server.metric(slow).await == 1).await;
    until("it is gone", async || server.metric("headwater_gateway_connections").await == 0).await;
    assert_eq!(server.metric("headwater_gateway_subscriptions").await, 0);
}

#[tokio::test]
async fn who_pings_without_reading_is_not_kept_in_memory() {
    let server = Server::with(Limits { stuck_time: Duration::from_millis(200), ..quick() }).await;
    let mut stream = by_hand(server.address).await;
    stream.write_all(&masked(TEXT, HELLO)).await.expect("sent");
    let ping = masked(PING, &[b'x'; 125]).repeat(1000);
    let flood = async {
        for _ in 0..2000 {
            stream.write_all(&ping).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let flooded = soon("the end of the flood", flood).await;
    assert!(flooded.is_err(), "250 MB of pings were taken in and none of the pongs were taken");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_dropped() {
    let server = Server::with(Limits { header_time: Duration::from_millis(50), ..quick() }).await;
    for said in [&b""[..], b"P", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.expect("connects");
        stream.write_all(said).await.expect("sent");
        let mut answer = Vec::new();
        let _ = soon("the end", stream.read_to_end(&mut answer)).await;
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let path = format!("/healthz?{}", "x".repeat(20 * 1024));
    assert!(matches!(get(server.address, &path).await.status, 414 | 431));
}

#[tokio::test]
async fn more_sockets_than_the_limit_are_sent_elsewhere() {
    let server = Server::with(Limits { sockets: 1, ..quick() }).await;
    let _first = Client::connect(server.address).await;
    let mut second = TcpStream::connect(server.address).await.expect("connects");
    let upgrade = "GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    second.write_all(upgrade.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    soon("an answer", second.read_exact(&mut head)).await.expect("answered");
    assert_eq!(&head, b"HTTP/1.1 503");
}

#[tokio::test]
async fn the_socket_path_without_an_upgrade_explains_itself() {
    let server = Server::start().await;
    let reply = get(server.address, "/v1/ws").await;
    assert_eq!((reply.status, reply.header("upgrade")), (426, Some("websocket")));
    assert_eq!(reply.problem(), "bad_request");
}
