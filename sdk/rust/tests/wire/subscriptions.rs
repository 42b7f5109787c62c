//! A subscription delivers each event once and in order, whatever happens to its connections.

use headwater_client::{Delivery, Error, StreamName, StreamStart, SubscribeOptions, Subscription};
use serde_json::json;

use crate::scripted::{ScriptedNode, cursor};

fn stream() -> StreamName {
    StreamName::new("a/b").expect("a good name")
}

async fn subscribe(node: &ScriptedNode) -> (Subscription, crate::scripted::Peer) {
    let client = node.client();
    let (subscription, (peer, hello)) = tokio::join!(client.subscribe(stream(), StreamStart::Begin), node.welcome());
    assert_eq!(hello["subs"][0]["from"], "begin");
    (subscription.expect("connected"), peer)
}

/// The offsets of the next events; notices are passed over.
async fn offsets(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut found = Vec::new();
    while found.len() < count {
        match subscription.next().await.expect("more comes").expect("nothing fails") {
            Delivery::Event(event) => found.push(event.offset.value()),
            Delivery::Opened { .. } | Delivery::Lost { .. } | Delivery::Resumed { .. } => {}
            other @ (Delivery::Gap { .. } | Delivery::Passed { .. } | Delivery::End { .. }) => panic!("{other:?}"),
        }
    }
    found
}

#[tokio::test]
async fn a_connection_cut_in_mid_batch_is_resumed_at_the_next_event() {
    let node = ScriptedNode::start().await;
    let (mut subscription, mut peer) = subscribe(&node).await;
    peer.subbed(0, false).await;
    peer.events(None, 0..2).await;
    peer.say(json!({ "op": "batch", "id": 1, "prev": 1, "cursor": cursor(5), "n": 3 })).await;
    peer.event(2).await;
    assert_eq!(offsets(&mut subscription, 3).await, [0, 1, 2]);
    peer.cut();
    let (mut peer, hello) = node.welcome().await;
    assert_eq!(hello["subs"][0]["from"], cursor(3));
    peer.subbed(3, true).await;
    peer.events(Some(2), 3..5).await;
    assert_eq!(offsets(&mut subscription, 2).await, [3, 4]);
    assert_eq!(subscription.cursor().expect("known").to_string(), cursor(5));
    assert_eq!(subscription.stats().reconnects, 1);
}

#[tokio::test]
async fn what_comes_again_is_dropped() {
    let node = ScriptedNode::start().await;
    let (mut subscription, mut peer) = subscribe(&node).await;
    peer.subbed(0, false).await;
    peer.events(None, 0..3).await;
    peer.events(Some(0), 1..5).await;
    assert_eq!(offsets(&mut subscription, 5).await, [0, 1, 2, 3, 4]);
    assert_eq!(subscription.stats().repeats_dropped, 2);
}

#[tokio::test]
async fn a_node_that_skips_an_event_is_asked_again_from_there() {
    let node = ScriptedNode::start().await;
    let (mut subscription, mut peer) = subscribe(&node).await;
    peer.subbed(0, false).await;
    peer.events(None, 0..2).await;
    peer.events(Some(2), 3..4).await;
    let (mut peer, hello) = node.welcome().await;
    assert_eq!(hello["subs"][0]["from"], cursor(2));
    peer.subbed(2, true).await;
    peer.events(Some(1), 2..4).await;
    assert_eq!(offsets(&mut subscription, 4).await, [0, 1, 2, 3]);
    assert_eq!(subscription.stats().broken_chains, 1);
}

#[tokio::test]
async fn a_gap_is_told_with_its_reason_and_the_stream_goes_on_behind_it() {
    let node = ScriptedNode::start().await;
    let (mut subscription, mut peer) = subscribe(&node).await;
    peer.subbed(0, false).await;
    peer.events(None, 0..1).await;
    let gap = json!({
        "op": "gap", "id": 1, "from": cursor(1), "to": cursor(7), "reason": "trimmed", "low": 7,
    });
    peer.say(gap).await;
    peer.events(Some(6), 7..8).await;
    peer.say(json!({ "op": "end", "id": 1, "cursor": cursor(8), "status": "closed" })).await;
    let mut told = Vec::new();
    while let Some(delivery) = subscription.next().await {
        told.push(match delivery.expect("nothing fails") {
            Delivery::Opened { .. } => "opened".to_owned(),
            Delivery::Event(event) => event.offset.to_string(),
            Delivery::Gap { to, reason, .. } => format!("gap to {} ({reason})", to.next),
            Delivery::Passed { cursor } => format!("passed {}", cursor.next),
            Delivery::End { status } => format!("{status:?}"),
            Delivery::Lost { .. } | Delivery::Resumed { .. } => "reconnected".to_owned(),
        });
    }
    assert_eq!(told, ["opened", "0", "gap to 7 (trimmed)", "7", "Closed"]);
}

#[tokio::test]
async fn credit_is_topped_up_as_events_are_taken_and_not_before() {
    let node = ScriptedNode::start().await;
    let (mut subscription, mut peer) = subscribe(&node).await;
    peer.subbed(0, false).await;
    for start in (0..256_u64).step_by(64) {
        peer.events(start.checked_sub(1), start..start + 64).await;
    }
    assert_eq!(offsets(&mut subscription, 64).await.len(), 64);
    let credit = peer.hear("credit").await;
    assert_eq!((&credit["id"], &credit["events"]), (&json!(1), &json!(64)));
    assert!(credit["bytes"].as_u64().is_some_and(|bytes| bytes > 64 * 40), "{credit}");
}

#[tokio::test]
async fn a_node_that_refuses_for_good_ends_it() {
    let node = ScriptedNode::start().await;
    let (mut subscription, peer) = subscribe(&node).await;
    peer.close(4400, "that is no frame").await;
    let lost = subscription.next().await.expect("an end");
    assert!(matches!(lost, Ok(Delivery::Lost { .. })), "{lost:?}");
    let error = subscription.next().await.expect("an end").expect_err("it is final");
    assert!(matches!(error, Error::NotUnderstood { .. }), "{error}");
    assert!(subscription.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_an_error_with_its_code() {
    let node = ScriptedNode::start().await;
    let (mut subscription, mut peer) = subscribe(&node).await;
    let message = "stream a/b does not exist";
    peer.say(json!({ "op": "err", "id": 1, "code": "stream_not_found", "message": message })).await;
    let error = subscription.next().await.expect("an answer").expect_err("there is no such stream");
    assert_eq!(error.code(), Some(headwater_client::Code::StreamNotFound));
}

#[tokio::test]
async fn a_filter_that_leaves_out_the_end_still_tells_how_far_it_came() {
    let node = ScriptedNode::start().await;
    let options = SubscribeOptions { types: vec!["event".to_owned()], ..SubscribeOptions::default() };
    let client = node.client();
    let (subscription, (mut peer, _)) = tokio::join!(client.subscribe_with(stream(), options), node.welcome());
    let mut subscription = subscription.expect("connected");
    peer.subbed(0, false).await;
    // The filter leaves out 0 to 4, 6 to 8 behind the one event, and then all up to 20.
    peer.say(json!({ "op": "batch", "id": 1, "prev": null, "cursor": cursor(9), "n": 1 })).await;
    peer.event(5).await;
    peer.say(json!({ "op": "mark", "id": 1, "cursor": cursor(20), "head": 20 })).await;
    peer.say(json!({ "op": "mark", "id": 1, "cursor": cursor(20), "head": 20 })).await;
    peer.say(json!({ "op": "end", "id": 1, "cursor": cursor(20), "status": "closed" })).await;
    let mut told = Vec::new();
    while let Some(delivery) = subscription.next().await {
        let place = subscription.cursor().map(|cursor| cursor.next.value());
        told.push((
            format!("{:?}", delivery.expect("nothing fails")).split([' ', '(']).next().map(str::to_owned),
            place,
        ));
    }
    let told: Vec<_> = told.iter().map(|(what, place)| (what.as_deref().unwrap_or_default(), *place)).collect();
    let expected =
        [("Opened", Some(0)), ("Event", Some(6)), ("Passed", Some(9)), ("Passed", Some(20)), ("End", Some(20))];
    assert_eq!(told, expected);
}
