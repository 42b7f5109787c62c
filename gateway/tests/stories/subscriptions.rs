//! Subscribers: from where they start, in what order they hear, how much they are ready to take, what they missed.

use std::time::Duration;

use gateway::Limits;
use protocol::{EndStatus, ServerFrame};
use types::{Code, Offset};

use crate::common::client::{Client, Heard};
use crate::common::{Server, quick, until};

/// What `subbed` says: position, and whether it was resumed.
async fn subbed(client: &mut Client) -> (u64, bool) {
    match client.frame().await {
        ServerFrame::Subbed { cursor, resumed, .. } => (cursor.next.value(), resumed),
        other => panic!("expected `subbed`, got {other:?}"),
    }
}

async fn started(server: &Server, from: &str) -> Client {
    let mut client = Client::connect(server.address).await;
    client.subscribe(1, "a", from).await;
    client
}

async fn server_with(events: usize) -> Server {
    let server = Server::start().await;
    server.fake.create("a");
    server.fake.append("a", "event", events);
    server
}

fn check_dense(events: &[protocol::Event], from: u64) {
    let offsets: Vec<_> = events.iter().map(|event| event.offset.value()).collect();
    assert_eq!(offsets, (from..from + events.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_position_comes_first_then_what_was_missed_then_what_comes() {
    let server = server_with(200).await;
    let mut client = started(&server, "begin").await;
    assert_eq!(subbed(&mut client).await, (0, false));
    check_dense(&client.events(200).await, 0);
    server.fake.append("a", "event", 3);
    check_dense(&client.events(3).await, 200);
}

#[tokio::test]
async fn now_starts_with_what_comes() {
    let server = server_with(5).await;
    let mut client = started(&server, "now").await;
    assert_eq!(subbed(&mut client).await, (5, false));
    server.fake.append("a", "event", 1);
    let batch = client.batch().await;
    assert_eq!((batch.prev, batch.offsets()), (Some(Offset::new(4)), vec![5]));
}

#[tokio::test]
async fn the_chain_holds_over_reconnects() {
    let server = server_with(10).await;
    let mut cursor = server.fake.cursor("a", 0);
    for round in 0..20 {
        let mut client = started(&server, &cursor.to_string()).await;
        assert_eq!(subbed(&mut client).await, (cursor.next.value(), true));
        server.fake.append("a", "event", 1 + round % 3);
        let batch = client.batch().await;
        assert_eq!(batch.prev, cursor.next.previous());
        check_dense(&batch.events, cursor.next.value());
        assert_eq!(batch.cursor.next.value(), cursor.next.value() + batch.events.len() as u64);
        // The connection is lost somewhere behind this batch; what it did not bring comes next time.
        cursor = batch.cursor;
    }
}

#[tokio::test]
async fn a_subscriber_in_the_middle_of_a_busy_stream_misses_nothing() {
    let server = server_with(0).await;
    let fake = server.fake.clone();
    let writer = tokio::spawn(async move {
        for _ in 0..400 {
            fake.append("a", "event", 5);
            tokio::task::yield_now().await;
        }
    });
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = started(&server, "begin").await;
        client.say(r#"{"op":"credit","id":1,"events":10000,"bytes":10000000}"#).await;
        clients.push(client);
    }
    for mut client in clients {
        subbed(&mut client).await;
        check_dense(&client.events(2000).await, 0);
    }
    writer.await.expect("no panic");
}

#[tokio::test]
async fn many_subscribers_share_one_encoding() {
    let server = server_with(0).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = started(&server, "now").await;
        subbed(&mut client).await;
        clients.push(client);
    }
    server.fake.append("a", "event", 10);
    for client in &mut clients {
        check_dense(&client.events(10).await, 0);
    }
    assert_eq!(server.metric("headwater_gateway_events_encoded_total").await, 10);
    assert_eq!(server.metric("headwater_gateway_events_sent_total").await, 200);
}

#[tokio::test]
async fn never_more_than_credit_is_sent() {
    let server = server_with(100).await;
    let mut client = Client::connect(server.address).await;
    let credit = r#"{"events":10,"bytes":100000}"#;
    client.say(format!(r#"{{"op":"sub","id":1,"stream":"a","from":"begin","credit":{credit}}}"#)).await;
    subbed(&mut client).await;
    check_dense(&client.events(10).await, 0);
    // What is answered after it shows that no event is on its way any more.
    client.say(r#"{"op":"ping","ts":1}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Pong { ts: 1 }));
    client.say(r#"{"op":"credit","id":1,"events":5,"bytes":0}"#).await;
    check_dense(&client.events(5).await, 10);
    client.say(r#"{"op":"ping","ts":2}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Pong { ts: 2 }));
}

#[tokio::test]
async fn bytes_are_credit_too() {
    let server = server_with(3).await;
    let mut client = Client::connect(server.address).await;
    // An event here has 58 bytes: one fits, two do not.
    let credit = r#"{"events":10,"bytes":100}"#;
    client.say(format!(r#"{{"op":"sub","id":1,"stream":"a","from":"begin","credit":{credit}}}"#)).await;
    subbed(&mut client).await;
    check_dense(&client.events(1).await, 0);
    client.say(r#"{"op":"ping","ts":1}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Pong { ts: 1 }));
    client.say(r#"{"op":"credit","id":1,"events":0,"bytes":16}"#).await;
    check_dense(&client.events(1).await, 1);
}

/// What there is no credit for is not kept: it is read again when there is.
#[tokio::test]
async fn who_stalls_keeps_nothing() {
    let server = Server::start().await;
    server.fake.create("a");
    for _ in 0..20 {
        server.fake.append_payload("a", types::Payload::json(format!("\"{}\"", "x".repeat(10_000))));
    }
    let mut client = Client::connect(server.address).await;
    let credit = r#"{"events":100,"bytes":15000}"#;
    client.say(format!(r#"{{"op":"sub","id":1,"stream":"a","from":"begin","credit":{credit}}}"#)).await;
    subbed(&mut client).await;
    check_dense(&client.events(1).await, 0);
    // Too little for one more, so nothing is read for it.
    for ts in 1..=3 {
        client.say(r#"{"op":"credit","id":1,"events":1,"bytes":100}"#).await;
        client.say(format!(r#"{{"op":"ping","ts":{ts}}}"#)).await;
        assert!(matches!(client.frame().await, ServerFrame::Pong { .. }));
    }
    assert_eq!(server.fake.reads(), 2, "the second did not fit, and none is tried again before it does");
    client.say(r#"{"op":"credit","id":1,"events":1,"bytes":1000000}"#).await;
    check_dense(&client.events(19).await, 1);
}

#[tokio::test]
async fn who_has_no_credit_costs_no_reads() {
    let server = server_with(1000).await;
    let mut client = Client::connect(server.address).await;
    let credit = r#"{"events":0,"bytes":0}"#;
    client.say(format!(r#"{{"op":"sub","id":1,"stream":"a","from":"begin","credit":{credit}}}"#)).await;
    subbed(&mut client).await;
    server.fake.append("a", "event", 1000);
    client.say(r#"{"op":"ping","ts":1}"#).await;
    client.frame().await;
    assert_eq!(server.fake.reads(), 0);
    client.say(r#"{"op":"credit","id":1,"events":2000,"bytes":1000000}"#).await;
    check_dense(&client.events(2000).await, 0);
}

#[tokio::test]
async fn who_falls_behind_reads_the_log_and_misses_nothing() {
    let server = Server::with(Limits { feed_bytes: 2000, ..quick() }).await;
    server.fake.create("a");
    let mut client = Client::connect(server.address).await;
    let credit = r#"{"events":1,"bytes":1000000}"#;
    client.say(format!(r#"{{"op":"sub","id":1,"stream":"a","from":"now","credit":{credit}}}"#)).await;
    subbed(&mut client).await;
    for _ in 0..50 {
        server.fake.append("a", "event", 20);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    client.say(r#"{"op":"credit","id":1,"events":5000,"bytes":10000000}"#).await;
    check_dense(&client.events(1000).await, 0);
    server.fake.append("a", "event", 1);
    check_dense(&client.events(1).await, 1000);
}

#[tokio::test]
async fn a_filter_sends_what_it_names_and_marks_the_rest() {
    let server = server_with(0).await;
    for _ in 0..5 {
        server.fake.append("a", "noise", 3);
        server.fake.append("a", "step_completed", 1);
    }
    server.fake.append("a", "noise", 2);
    let mut client = Client::connect(server.address).await;
    client.say(r#"{"op":"sub","id":1,"stream":"a","from":"begin","filter":{"types":["step_completed"]}}"#).await;
    subbed(&mut client).await;
    let batch = client.batch().await;
    assert_eq!((batch.prev, batch.offsets()), (None, vec![3, 7, 11, 15, 19]));
    // What the filter skipped behind the last event still moved the position.
    assert_eq!(batch.cursor.next, Offset::new(22));
    server.fake.append("a", "noise", 3);
    match client.frame().await {
        ServerFrame::Mark { id: 1, cursor, head } => {
            assert_eq!((cursor.next, head), (Offset::new(25), Offset::new(25)));
        }
        other => panic!("expected a mark, got {other:?}"),
    }
    server.fake.append("a", "step_completed", 1);
    let batch = client.batch().await;
    assert_eq!((batch.prev, batch.offsets()), (Some(Offset::new(24)), vec![25]));
}

#[tokio::test]
async fn a_long_stretch_of_nothing_is_marked_on_the_way() {
    let server = server_with(0).await;
    server.fake.append("a", "noise", 2000);
    let mut client = Client::connect(server.address).await;
    client.say(r#"{"op":"sub","id":1,"stream":"a","from":"begin","filter":{"types":["x"]}}"#).await;
    subbed(&mut client).await;
    let mut last = 0;
    while last < 2000 {
        let ServerFrame::Mark { cursor, .. } = client.frame().await else { panic!("expected a mark") };
        assert!(cursor.next.value() > last);
        last = cursor.next.value();
    }
}

#[tokio::test]
async fn a_closed_stream_ends_when_all_of_it_was_sent() {
    let server = server_with(100).await;
    server.fake.close("a");
    let mut client = started(&server, "begin").await;
    subbed(&mut client).await;
    check_dense(&client.events(100).await, 0);
    match client.frame().await {
        ServerFrame::End { id: 1, cursor: Some(cursor), status: EndStatus::Closed } => {
            assert_eq!(cursor, server.fake.cursor("a", 100));
        }
        other => panic!("expected the end, got {other:?}"),
    }
    // The number is free again.
    client.subscribe(1, "a", "now").await;
    assert_eq!(subbed(&mut client).await, (100, false));
    assert!(matches!(client.frame().await, ServerFrame::End { id: 1, .. }));
}

#[tokio::test]
async fn closing_ends_those_who_follow() {
    let server = server_with(1).await;
    let mut client = started(&server, "now").await;
    subbed(&mut client).await;
    server.fake.append("a", "event", 1);
    server.fake.close("a");
    check_dense(&client.events(1).await, 1);
    assert!(matches!(client.frame().await, ServerFrame::End { status: EndStatus::Closed, .. }));
    until("nobody follows", async || server.metric("headwater_gateway_subscriptions").await == 0).await;
}

#[tokio::test]
async fn deleting_ends_those_who_follow() {
    let server = server_with(1).await;
    let mut client = started(&server, "now").await;
    subbed(&mut client).await;
    server.fake.append("a", "event", 1);
    client.events(1).await;
    server.fake.delete("a");
    assert!(matches!(client.frame().await, ServerFrame::End { status: EndStatus::Deleted, .. }));
}

#[tokio::test]
async fn a_stream_that_does_not_exist_is_an_error_and_the_connection_goes_on() {
    let server = server_with(1).await;
    let mut client = Client::connect(server.address).await;
    client.subscribe(4, "nowhere", "begin").await;
    assert!(matches!(client.frame().await, ServerFrame::Err { code: Code::StreamNotFound, id: Some(4), .. }));
    client.subscribe(4, "a", "begin").await;
    assert_eq!(subbed(&mut client).await, (0, false));
}

/// Subscribes at a cursor and expects a gap of this reason that goes on at `to`.
async fn check_gap(server: &Server, from: types::Cursor, reason: Code, to: u64) {
    let mut client = started(server, &from.to_string()).await;
    assert_eq!(subbed(&mut client).await, (to, false));
    match client.frame().await {
        ServerFrame::Gap { id: 1, from: Some(told), to: next, reason: why, low } => {
            assert_eq!((told, why), (from, reason));
            assert_eq!((next, low), (server.fake.cursor("a", to), Offset::new(to)));
        }
        other => panic!("expected a gap, got {other:?}"),
    }
    let batch = client.batch().await;
    assert_eq!(batch.prev, Offset::new(to).previous());
    assert_eq!(batch.offsets().first(), Some(&to));
    assert_eq!(server.metric(&format!("headwater_gateway_resumed_total{{result=\"{reason}\"}}")).await, 1);
}

#[tokio::test]
async fn what_was_trimmed_is_a_gap() {
    let server = server_with(10).await;
    let from = server.fake.cursor("a", 2);
    server.fake.trim("a", 6);
    check_gap(&server, from, Code::Trimmed, 6).await;
}

#[tokio::test]
async fn a_cursor_beyond_the_end_is_a_gap() {
    let server = server_with(10).await;
    check_gap(&server, server.fake.cursor("a", 11), Code::LogTruncated, 0).await;
}

#[tokio::test]
async fn a_cursor_of_a_deleted_stream_of_the_same_name_is_a_gap() {
    let server = server_with(10).await;
    let from = server.fake.cursor("a", 5);
    server.fake.delete("a");
    server.fake.create("a");
    server.fake.append("a", "event", 7);
    check_gap(&server, from, Code::OtherStream, 0).await;
}

#[tokio::test]
async fn a_cursor_of_another_history_is_a_gap() {
    let server = server_with(10).await;
    let from = server.fake.cursor("a", 5);
    server.fake.restore_from_backup();
    check_gap(&server, from, Code::OtherHistory, 0).await;
}

#[tokio::test]
async fn a_subscriber_without_credit_learns_later_that_its_events_were_trimmed() {
    let server = server_with(10).await;
    let mut client = Client::connect(server.address).await;
    let credit = r#"{"events":2,"bytes":100000}"#;
    client.say(format!(r#"{{"op":"sub","id":1,"stream":"a","from":"begin","credit":{credit}}}"#)).await;
    subbed(&mut client).await;
    check_dense(&client.events(2).await, 0);
    // Enough to be read and kept is still given; the next read finds the hole.
    server.fake.append("a", "event", 2000);
    server.fake.trim("a", 1500);
    client.say(r#"{"op":"credit","id":1,"events":5000,"bytes":10000000}"#).await;
    let mut next = 2;
    loop {
        match client.hear().await {
            Heard::Batch(batch) => {
                check_dense(&batch.events, next);
                next = batch.cursor.next.value();
            }
            Heard::Frame(ServerFrame::Gap { from: Some(from), to, reason: Code::Trimmed, .. }) => {
                assert_eq!((from.next.value(), to.next.value()), (next, 1500));
                next = 1500;
            }
            Heard::Frame(other) => panic!("unexpected {other:?}"),
        }
        if next == 2010 {
            break;
        }
    }
}

#[tokio::test]
async fn a_garbage_cursor_is_refused_by_its_own_number() {
    let server = server_with(1).await;
    let mut client = started(&server, "latest").await;
    assert!(matches!(client.frame().await, ServerFrame::Err { code: Code::InvalidCursor, id: Some(1), .. }));
    client.subscribe(1, "a b", "now").await;
    assert!(matches!(client.frame().await, ServerFrame::Err { code: Code::InvalidName, id: Some(1), .. }));
}

#[tokio::test]
async fn hello_brings_subscriptions_along() {
    let server = server_with(3).await;
    let mut client = Client::raw(server.address).await;
    let sub = r#"{"id":1,"stream":"a","from":"begin"}"#;
    client.say(format!(r#"{{"op":"hello","v":1,"client":"t","subs":[{sub}]}}"#)).await;
    assert!(matches!(client.frame().await, ServerFrame::Welcome { .. }));
    subbed(&mut client).await;
    check_dense(&client.events(3).await, 0);
}

#[tokio::test]
async fn unsubscribing_stops_it() {
    let server = server_with(1).await;
    let mut client = started(&server, "begin").await;
    subbed(&mut client).await;
    client.events(1).await;
    client.say(r#"{"op":"unsub","id":1}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::End { status: EndStatus::Unsubscribed, .. }));
    server.fake.append("a", "event", 5);
    client.say(r#"{"op":"unsub","id":1}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Err { code: Code::NotFound, id: Some(1), .. }));
    client.say(r#"{"op":"credit","id":1,"events":1,"bytes":1}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Err { code: Code::NotFound, id: Some(1), .. }));
}

#[tokio::test]
async fn bounds_of_subscriptions_are_told() {
    let server = Server::with(Limits { subscriptions: 2, ..quick() }).await;
    server.fake.create("a");
    let mut client = Client::connect(server.address).await;
    for id in [1, 1, 2, 3] {
        client.subscribe(id, "a", "now").await;
    }
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(match client.frame().await {
            ServerFrame::Subbed { id, .. } => (id, None),
            ServerFrame::Err { code, id: Some(id), .. } => (id, Some(code)),
            other => panic!("unexpected {other:?}"),
        });
    }
    told.sort_by_key(|(id, code)| (*id, code.is_some()));
    let expect = [(1, None), (1, Some(Code::BadMessage)), (2, None), (3, Some(Code::TooManyRequests))];
    assert_eq!(told, expect);
    let many: Vec<_> = (0..33).map(|n| format!("\"t{n}\"")).collect();
    let filter = format!(r#"{{"types":[{}]}}"#, many.join(","));
    client.say(r#"{"op":"unsub","id":2}"#).await;
    client.frame().await;
    client.say(format!(r#"{{"op":"sub","id":5,"stream":"a","from":"now","filter":{filter}}}"#)).await;
    assert!(matches!(client.frame().await, ServerFrame::Err { code: Code::BadMessage, id: Some(5), .. }));
}

#[tokio::test]
async fn subscriptions_take_turns() {
    let server = server_with(2000).await;
    server.fake.create("b");
    server.fake.append("b", "event", 2000);
    let mut client = Client::raw(server.address).await;
    let credit = r#"{"events":5000,"bytes":10000000}"#;
    let sub = |id: u32, stream: &str| format!(r#"{{"id":{id},"stream":"{stream}","from":"begin","credit":{credit}}}"#);
    client.say(format!(r#"{{"op":"hello","v":1,"client":"t","subs":[{},{}]}}"#, sub(1, "a"), sub(2, "b"))).await;
    let mut counts = [0_usize; 2];
    let mut at_half = None;
    while counts != [2000, 2000] {
        if let Heard::Batch(batch) = client.hear().await {
            assert!(batch.events.len() <= 64, "{}", batch.events.len());
            counts[batch.id as usize - 1] += batch.events.len();
            if counts[0] >= 1000 && at_half.is_none() {
                at_half = Some(counts[1]);
            }
        }
    }
    assert!(at_half.is_some_and(|other| other > 0), "one had to wait for the other to finish: {at_half:?}");
}

#[tokio::test]
async fn a_stream_that_is_made_again_is_a_gap_for_who_follows() {
    let server = server_with(5).await;
    let mut client = started(&server, "now").await;
    subbed(&mut client).await;
    server.fake.append("a", "event", 1);
    client.events(1).await;
    let old = server.fake.cursor("a", 6);
    server.fake.recreate("a");
    server.fake.append("a", "event", 2);
    match client.frame().await {
        ServerFrame::Gap { from: Some(from), to, reason: Code::OtherStream, .. } => {
            assert_eq!((from, to), (old, server.fake.cursor("a", 0)));
        }
        other => panic!("expected a gap, got {other:?}"),
    }
    check_dense(&client.events(2).await, 0);
}

#[tokio::test]
async fn a_partition_that_cannot_answer_for_a_while_costs_nothing_but_time() {
    let server = server_with(100).await;
    server.fake.fail_reads(3);
    let mut client = started(&server, "begin").await;
    subbed(&mut client).await;
    server.fake.fail_reads(3);
    check_dense(&client.events(100).await, 0);
    for round in 0..5 {
        server.fake.fail_reads(3);
        server.fake.append("a", "event", 10);
        check_dense(&client.events(10).await, 100 + 10 * round);
    }
}
