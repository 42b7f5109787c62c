//! A node that may have few files open: more clients come than it can have, and the log does not notice.

use headwater_client::Appending;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Home, soon, stream};

/// A program that runs the node with so many open files, which it cannot lift.
fn with_open_files(most: u32) -> [String; 3] {
    ["sh".to_owned(), "-c".to_owned(), format!("ulimit -n {most}; exec \"$0\" \"$@\"")]
}

/// A socket after its upgrade, if the node takes it.
async fn idle_socket(home: &Home) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(home.listen).await.ok()?;
    let upgrade = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        home.listen
    );
    socket.write_all(upgrade.as_bytes()).await.ok()?;
    let mut answer = [0; 12];
    soon("an answer or an end", socket.read_exact(&mut answer)).await.ok()?;
    (&answer == b"HTTP/1.1 101").then_some(socket)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clients_than_open_files_never_touch_the_log() {
    let place = Home::new().set("gateway.hello_ms", "60000");
    let home = place.under(&with_open_files(256));
    let mut node = home.start().await;
    assert!(home.log().contains("allows fewer sockets than asked"), "{}", home.log());
    let mut sockets = Vec::new();
    for _ in 0..400 {
        sockets.extend(idle_socket(&home).await);
    }
    assert!((20..256).contains(&sockets.len()), "{} sockets in 256 files", sockets.len());

    // Enough for the log to want files of its own.
    let client = home.client();
    let large = format!("\"{}\"", "x".repeat(200_000));
    let streams: Vec<_> = (0..16).map(|n| stream(&format!("agent-{n}/notes"))).collect();
    for to in &streams {
        client.create_stream(to, None).await.expect("created beside the crowd");
    }
    for to in streams.iter().cycle().take(400) {
        client.append(to, Appending::json(large.clone())).await.expect("appended beside the crowd");
    }
    assert!(node.is_up(), "{}", home.log());
    drop(sockets);
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_open_files_are_refused_at_the_start() {
    let place = Home::new();
    place.under(&with_open_files(100)).refused().await.says(&["only 100 files open", "ulimit -n"]);
}
