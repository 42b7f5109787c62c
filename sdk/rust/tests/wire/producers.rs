//! A producer's appends arrive once and in order, also when answers are lost.

use std::time::Duration;

use headwater_client::{Error, Offset, Producer, ProducerId, ProducerOptions, StreamName};
use serde_json::{Value, json};

use crate::scripted::{Peer, ScriptedNode};

async fn produce(node: &ScriptedNode) -> (Producer, Peer) {
    produce_with(node, None).await
}

async fn produce_with(node: &ScriptedNode, patience: Option<Duration>) -> (Producer, Peer) {
    let options = ProducerOptions { id: ProducerId::new("p").expect("a good id"), epoch: 3, patience };
    let client = node.client();
    let (producer, (peer, _)) = tokio::join!(client.producer(options), node.welcome());
    (producer.expect("connected"), peer)
}

fn stream() -> StreamName {
    StreamName::new("a").expect("a good name")
}

/// Which append it is: its number in the sequence, and its data.
fn place(cmd: &Value) -> (u64, Value) {
    assert_eq!((&cmd["producer"], &cmd["epoch"], &cmd["type"]), (&json!("p"), &json!(3), &json!("append")), "{cmd}");
    (cmd["seq"].as_u64().expect("a number"), cmd["data"].clone())
}

#[tokio::test]
async fn unanswered_appends_are_sent_again_under_the_same_numbers() {
    let node = ScriptedNode::start().await;
    let (producer, mut peer) = produce(&node).await;
    let mut pending = Vec::new();
    for n in 0..3 {
        pending.push(producer.append(&stream(), &n).await.expect("there is room"));
    }
    let first = peer.hear("cmd").await;
    assert_eq!(place(&first), (0, json!(0)));
    peer.say(json!({ "op": "done", "n": first["n"], "offset": 7 })).await;
    let answer = pending.remove(0).await.expect("it was accepted");
    assert_eq!((answer.offset, answer.duplicate), (Some(Offset::new(7)), false));
    assert_eq!(place(&peer.hear("cmd").await), (1, json!(1)));
    peer.cut();

    let (mut peer, _) = node.welcome().await;
    for (seq, dup) in [(1, true), (2, false)] {
        let cmd = peer.hear("cmd").await;
        assert_eq!(place(&cmd), (seq, json!(seq)));
        peer.say(json!({ "op": "done", "n": cmd["n"], "offset": 7 + seq, "dup": dup })).await;
    }
    let [second, third] = <[_; 2]>::try_from(pending).expect("two are left");
    assert!(second.await.expect("accepted before").duplicate);
    assert!(!third.await.expect("accepted now").duplicate);
    producer.flush().await;
}

#[tokio::test]
async fn a_node_that_goes_away_for_good_ends_who_has_no_patience() {
    let node = ScriptedNode::start().await;
    let (producer, mut peer) = produce_with(&node, Some(Duration::ZERO)).await;
    let pending = producer.append(&stream(), &1).await.expect("there is room");
    peer.hear("cmd").await;
    peer.cut();
    let error = pending.await.expect_err("nobody answers");
    assert!(matches!(error, Error::Unanswered { .. }), "{error}");
    assert!(error.to_string().contains("may have happened"), "{error}");
}

#[tokio::test]
async fn a_full_queue_is_waited_for_and_a_large_event_never_sent() {
    let node = ScriptedNode::start().await;
    let (producer, mut peer) = produce(&node).await;
    let large = producer.append(&stream(), &"x".repeat(300_000)).await.expect("there is room");
    assert_eq!(large.await.expect_err("too large").code(), Some(headwater_client::Code::TooLarge));
    let pending = producer.append(&stream(), &1).await.expect("there is room");
    let cmd = peer.hear("cmd").await;
    let refused = json!({
        "op": "refused", "n": cmd["n"], "code": "queue_full", "message": "later", "retry_after_ms": 10,
    });
    peer.say(refused).await;
    let again = peer.hear("cmd").await;
    assert_eq!(place(&again), (0, json!(1)));
    peer.say(json!({ "op": "done", "n": again["n"], "offset": 0 })).await;
    pending.await.expect("accepted in the end");
}
