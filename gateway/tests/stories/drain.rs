//! A node that goes away: nobody new, everyone told, nobody hurried more than needed.

use std::collections::HashSet;
use std::time::Duration;

use gateway::Limits;
use protocol::ServerFrame;
use tokio::net::TcpStream;

use crate::common::client::Client;
use crate::common::http::{Open, get};
use crate::common::{Server, quick, soon, until};

#[tokio::test]
async fn everyone_is_told_another_moment_and_closed_by_the_node() {
    let mut server = Server::start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::connect(server.address).await);
    }
    server.drain();
    let mut moments = HashSet::new();
    for client in &mut clients {
        let ServerFrame::Goaway { reconnect_in_ms, .. } = client.frame().await else { panic!("expected goaway") };
        moments.insert(reconnect_in_ms);
    }
    assert_eq!(moments.len(), 10, "{moments:?}");
    assert_eq!(moments.iter().max(), Some(&300));
    for mut client in clients {
        assert_eq!(client.closed().await.expect("a close frame").0, 1012);
    }
    soon("the end", server.stopped()).await;
}

#[tokio::test]
async fn a_draining_node_is_not_ready_and_takes_nobody_in() {
    let mut server = Server::start().await;
    let client = Client::connect(server.address).await;
    assert_eq!(get(server.admin, "/readyz").await.status, 200);
    server.drain();
    until("it is not ready", async || get(server.admin, "/readyz").await.status == 503).await;
    assert_eq!(get(server.admin, "/readyz").await.problem(), "draining");
    assert_eq!(get(server.admin, "/healthz").await.status, 200);
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is closed");
    drop(client);
    soon("the end", server.stopped()).await;
}

#[tokio::test]
async fn what_is_in_flight_is_answered_before_the_close() {
    let limits = Limits { drain_window: Duration::from_millis(20), ..quick() };
    let mut server = Server::with(limits).await;
    server.fake.hold_answers(true);
    let mut client = Client::connect(server.address).await;
    client.say(r#"{"op":"cmd","n":1,"type":"append","stream":"a","data":1}"#).await;
    until("it was taken", async || server.fake.head("a") == 1).await;
    server.drain();
    assert!(matches!(client.frame().await, ServerFrame::Goaway { .. }));
    tokio::time::sleep(Duration::from_millis(60)).await;
    server.fake.hold_answers(false);
    assert!(matches!(client.frame().await, ServerFrame::Done { n: 1, .. }));
    assert_eq!(client.closed().await.expect("a close frame").0, 1012);
}

#[tokio::test]
async fn who_waits_over_http_is_answered() {
    let mut server = Server::with(Limits { poll_time: Duration::from_mins(1), ..quick() }).await;
    server.fake.create("a");
    let address = server.address;
    let poll = tokio::spawn(async move { get(address, "/v1/streams/a?offset=now&live=long-poll").await });
    let mut events = Open::new(address, "GET", "/v1/streams/a?offset=now&live=sse", &[], b"").await;
    assert_eq!(events.frame().await.expect("a frame").event, "control");
    until("both wait", async || server.fake.reads() >= 2).await;
    server.drain();
    assert_eq!(soon("the long poll", poll).await.expect("no panic").status, 204);
    assert_eq!(events.frame().await, None);
    soon("the end", server.stopped()).await;
}

#[tokio::test]
async fn the_deadline_waits_for_nobody() {
    let limits = Limits { drain_window: Duration::from_mins(1), drain_deadline: Duration::from_millis(50), ..quick() };
    let mut server = Server::with(limits).await;
    let mut client = Client::connect(server.address).await;
    server.drain();
    soon("the end", server.stopped()).await;
    assert!(matches!(client.frame().await, ServerFrame::Goaway { .. }));
    assert_eq!(client.closed().await, None);
}
