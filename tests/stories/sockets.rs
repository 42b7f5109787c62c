//! Bytes that no client of ours would send: the socket ends with the code for it, and nobody else notices. Frames one by
//! one are the gateway's own tests; these see that the binary is wired the same way.

use std::net::SocketAddr;

use headwater_client::StreamStart;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Home, Http, soon, stream};

/// Sends bytes as they are and gives all that comes back until the other side ends it.
async fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.expect("connected");
    // The node may have had enough before everything is written.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = soon("the end of the connection", socket.read_to_end(&mut answer)).await;
    answer
}

/// An upgrade, with these bytes as what follows.
async fn frames(address: SocketAddr, frames: &[u8]) -> Vec<u8> {
    let upgrade = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: headwater.v1.json\r\n\r\n"
    );
    let answer = send(address, &[upgrade.as_bytes(), frames].concat()).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head has an end");
    answer[end + 4..].to_vec()
}

/// A masked frame, the mask being zeros.
fn text_frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend((text.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text);
    frame
}

/// The code of the close frame at the end of what the node sent.
fn close_code(sent: &[u8]) -> Option<u16> {
    let at = sent.iter().rposition(|byte| *byte == 0x88)?;
    Some(u16::from_be_bytes([*sent.get(at + 2)?, *sent.get(at + 3)?]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_ends_its_own_socket_and_nobody_elses() {
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();
    client.create_stream(&stream("agent-1/notes"), None).await.expect("created");
    let mut neighbour = client.subscribe(stream("agent-1/notes"), StreamStart::Begin).await.expect("subscribed");
    soon("the first word", neighbour.next()).await.expect("not over").expect("no error");

    let rubbish: Vec<u8> = (0..10_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    send(home.listen, &rubbish).await;
    let endless = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &b"x".repeat(200_000)].concat();
    let answer = send(home.listen, &endless).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));

    let hello = br#"{"op":"hello","v":1,"client":"story/1"}"#;
    let unmasked = [&[0x81, u8::try_from(hello.len()).expect("short")], hello.as_slice()].concat();
    assert_eq!(close_code(&frames(home.listen, &unmasked).await), Some(1002));
    let greeted = |frame: Vec<u8>| [text_frame(hello), frame].concat();
    assert_eq!(close_code(&frames(home.listen, &greeted(text_frame(&vec![b'x'; 2 << 20]))).await), Some(1009));
    assert_eq!(close_code(&frames(home.listen, &greeted(text_frame(b"\xff\xfe"))).await), Some(1007));
    assert_eq!(close_code(&frames(home.listen, &greeted(text_frame(b"{\"op\":\"no such thing\"}"))).await), Some(4400));

    client.append(&stream("agent-1/notes"), headwater_client::Appending::json("1")).await.expect("appended");
    soon("the event", neighbour.next()).await.expect("not over").expect("no error");
    assert_eq!(neighbour.stats().reconnects, 0, "the neighbour noticed");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_are_for_operators() {
    let home = Home::new();
    let node = home.start().await;
    let (clients, operators) = (Http::to(home.listen), Http::to(home.admin));
    for http in [&clients, &operators] {
        http.get("/healthz").await.ok();
        http.get("/readyz").await.ok();
    }
    let metrics = operators.text("/metrics").await;
    for name in ["headwater_", "# TYPE", "# HELP"] {
        assert!(metrics.contains(name), "{name} is missing:\n{metrics}");
    }
    clients.get("/metrics").await.refuses(404, "not_found");
    assert!(node.stop().await.success(), "{}", home.log());
}
