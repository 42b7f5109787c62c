//! Commands over a socket: in order, answered once, bounded.

use std::time::Duration;

use gateway::{Limits, WebAccess};
use protocol::ServerFrame;
use types::{Code, Durability};

use crate::common::client::Client;
use crate::common::{Fake, Server, http, quick, until};

fn append(n: u64, stream: &str, data: &str) -> String {
    format!(r#"{{"op":"cmd","n":{n},"type":"append","stream":"{stream}","data":{data}}}"#)
}

#[tokio::test]
async fn appends_are_taken_in_order_and_answered_with_their_offset() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address).await;
    for n in 0..500 {
        client.say(append(n, "a", &format!(r#"{{"n": {n}}}"#))).await;
    }
    for expect in 0..500 {
        match client.frame().await {
            ServerFrame::Done { n, offset: Some(offset), cursor: Some(cursor), dup: false, .. } => {
                assert_eq!((n, offset.value(), cursor.next.value()), (expect, expect, expect + 1));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    let events = server.fake.events("a");
    let texts: Vec<_> =
        events.iter().map(|event| String::from_utf8(event.payload.data.to_vec()).expect("UTF-8")).collect();
    assert_eq!(texts, (0..500).map(|n| format!(r#"{{"n": {n}}}"#)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_producer_is_deduplicated() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address).await;
    let say = |n: u64, epoch: u64, seq: u64| {
        format!(
            r#"{{"op":"cmd","n":{n},"type":"append","stream":"a","data":1,"producer":"p","epoch":{epoch},"seq":{seq}}}"#
        )
    };
    for (n, epoch, seq) in [(1, 1, 0), (2, 1, 0), (3, 1, 5), (4, 0, 1)] {
        client.say(say(n, epoch, seq)).await;
    }
    assert!(matches!(client.frame().await, ServerFrame::Done { n: 1, dup: false, .. }));
    assert!(matches!(client.frame().await, ServerFrame::Done { n: 2, dup: true, .. }));
    let ServerFrame::Refused { n: 3, code: Code::ProducerGap, details, .. } = client.frame().await else {
        panic!("a sequence is missing")
    };
    assert!(details["expected"].is_u64(), "{details:?}");
    assert!(matches!(client.frame().await, ServerFrame::Refused { n: 4, code: Code::ProducerFenced, .. }));
}

#[tokio::test]
async fn a_producer_that_forgets_to_count_is_refused() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address).await;
    for (n, given) in [(1, r#""producer":"p""#), (2, r#""producer":"p","epoch":1"#), (3, r#""seq":1"#)] {
        client.say(format!(r#"{{"op":"cmd","n":{n},"type":"append","stream":"a","data":1,{given}}}"#)).await;
        match client.frame().await {
            ServerFrame::Refused { n: refused, code: Code::BadMessage, .. } => assert_eq!(refused, n),
            other => panic!("{given}: {other:?}"),
        }
    }
    assert_eq!(server.fake.head("a"), 0);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_and_the_connection_goes_on() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address).await;
    let big = format!("\"{}\"", "x".repeat(256 * 1024));
    let deep = "[".repeat(101) + &"]".repeat(101);
    for (n, message, code) in [
        (1, append(1, "runs/x", "1"), Code::InvalidName),
        (2, append(2, "system/audit", "1"), Code::ReservedName),
        (3, append(3, "a", &big), Code::TooLarge),
        (4, append(4, "a", &deep), Code::BadMessage),
        (5, r#"{"op":"cmd","n":5,"type":"fly"}"#.into(), Code::BadMessage),
        (6, r#"{"op":"cmd","n":6,"type":"start","workflow":"a/b/c"}"#.into(), Code::InvalidName),
    ] {
        client.say(message).await;
        match client.frame().await {
            ServerFrame::Refused { n: told, code: why, .. } => assert_eq!((told, why), (n, code)),
            other => panic!("unexpected {other:?}"),
        }
    }
    client.say(append(7, "a", "1")).await;
    assert!(matches!(client.frame().await, ServerFrame::Done { n: 7, .. }));
    assert_eq!(server.metric(r#"headwater_gateway_refused_total{code="bad_message"}"#).await, 2);
}

#[tokio::test]
async fn a_run_is_started_signalled_and_cancelled() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address).await;
    let start = r#"{"op":"cmd","n":1,"type":"start","workflow":"draft","input":{"a":1},"idempotency_key":"k"}"#;
    client.say(start).await;
    let ServerFrame::Done { n: 1, run: Some(run), cursor: Some(cursor), dup: false, .. } = client.frame().await else {
        panic!("not started")
    };
    client.say(start.replace(r#""n":1"#, r#""n":2"#)).await;
    assert!(matches!(client.frame().await, ServerFrame::Done { n: 2, run: Some(same), dup: true, .. } if same == run));
    client.subscribe(9, &format!("runs/{run}"), &cursor.to_string()).await;
    client.frame().await;
    assert_eq!(client.events(1).await[0].kind, "run_started");
    client.say(format!(r#"{{"op":"cmd","n":3,"type":"signal","run":"{run}","name":"go","data":[1]}}"#)).await;
    client.say(format!(r#"{{"op":"cmd","n":4,"type":"cancel","run":"{run}"}}"#)).await;
    let mut done = Vec::new();
    let mut events = Vec::new();
    while done.len() < 2 || events.is_empty() {
        match client.hear().await {
            crate::common::client::Heard::Frame(ServerFrame::Done { n, .. }) => done.push(n),
            crate::common::client::Heard::Batch(batch) => events.extend(batch.events),
            other @ crate::common::client::Heard::Frame(_) => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!((done, events[0].kind.as_ref()), (vec![3, 4], "signal_go"));
}

#[tokio::test]
async fn commands_in_flight_are_bounded_by_not_reading() {
    let server = Server::with(Limits { commands_in_flight: 16, ..quick() }).await;
    server.fake.hold_answers(true);
    let mut client = Client::connect(server.address).await;
    for n in 0..100 {
        client.say(append(n, "a", "1")).await;
    }
    until("the bound is reached", async || server.fake.head("a") == 16).await;
    // A while later it still is: the rest waits in the network.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.fake.head("a"), 16);
    server.fake.hold_answers(false);
    // Each is answered once; answers of different streams overtake each other.
    let mut answered = Vec::new();
    for _ in 0..100 {
        let ServerFrame::Done { n, .. } = client.frame().await else { panic!("expected done") };
        answered.push(n);
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lost_connection_takes_nothing_back() {
    let server = Server::start().await;
    server.fake.hold_answers(true);
    let mut client = Client::connect(server.address).await;
    client.say(append(1, "a", "1")).await;
    until("it was taken", async || server.fake.head("a") == 1).await;
    drop(client);
    until("the socket is gone", async || server.metric("headwater_gateway_connections").await == 0).await;
    assert_eq!(server.fake.head("a"), 1);
}

#[tokio::test]
async fn every_acknowledgement_says_what_it_promises() {
    for (level, told) in [(Durability::Os, Some(Durability::Os)), (Durability::Commit, None)] {
        let server = Server::over(Fake::with_durability(level), WebAccess::default(), quick()).await;
        let mut client = Client::raw(server.address).await;
        client.say(r#"{"op":"hello","v":1,"client":"test/1"}"#).await;
        let welcome = client.text().await;
        assert!(welcome.contains(&format!(r#""durability":"{level}""#)), "{welcome}");
        client.say(append(1, "a", "1")).await;
        let done = client.text().await;
        let named = told.map(|level| format!(r#""durability":"{level}""#));
        assert_eq!(done.contains("durability"), named.is_some(), "{done}");
        assert!(named.is_none_or(|named| done.contains(&named)), "{done}");
        let answer = http::post(server.address, "/v1/streams/a", "[2]").await;
        assert_eq!((answer.status, answer.header("headwater-durability")), (204, Some(level.to_string().as_str())));
        let refused = http::post(server.address, "/v1/streams/missing/one", "[2]").await;
        assert_eq!((refused.status, refused.header("headwater-durability")), (404, None));
        let read = http::get(server.address, "/v1/streams/a?offset=-1").await;
        assert_eq!((read.status, read.header("headwater-durability")), (200, None));
    }
}
