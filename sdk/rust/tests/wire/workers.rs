//! A worker runs each body once and keeps what it produced until the node has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headwater_client::{Failed, RunningWorker, Step, Unwanted, Worker};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::scripted::{Peer, ScriptedNode};

async fn start(node: &ScriptedNode, worker: Worker) -> (RunningWorker, Peer) {
    let (worker, (mut peer, _)) = tokio::join!(worker.start(), node.welcome());
    let work = peer.hear("work").await;
    assert_eq!(work["holding"], json!([]));
    (worker.expect("connected"), peer)
}

fn task(token: &str) -> Value {
    json!({
        "op": "task", "token": token, "run": "r", "path": "/do/0/draft", "step": 0, "attempt": 1, "queue": "llm",
        "task": "draft", "input": { "n": 2 }, "idempotency_key": "k", "stream": true,
    })
}

#[tokio::test]
async fn a_worker_says_what_it_serves_and_answers_in_order() {
    let node = ScriptedNode::start().await;
    let worker = node.client().worker().queue("llm", 3).task("draft", |step: Step| async move {
        let input: Value = step.input()?;
        step.chunks.send("Hel").await?;
        step.chunks.send("lo").await?;
        Ok(input)
    });
    let (worker, (mut peer, _)) = tokio::join!(worker.start(), node.welcome());
    let worker = worker.expect("connected");
    assert_eq!(peer.hear("work").await["queues"], json!([{ "name": "llm", "tasks": ["draft"], "slots": 3 }]));
    peer.say(task("t")).await;
    for (seq, data) in [(0, "Hel"), (1, "lo")] {
        let chunk = peer.hear("chunk").await;
        assert_eq!((&chunk["token"], &chunk["seq"], &chunk["data"]), (&json!("t"), &json!(seq), &json!(data)));
    }
    assert_eq!(peer.hear("result").await["output"], json!({ "n": 2 }));
    peer.say(json!({ "op": "took", "token": "t", "result": true })).await;
    stop(worker, &mut peer).await;
}

/// A worker that stops says that it has no room, and leaves when nothing is held.
async fn stop(worker: RunningWorker, peer: &mut Peer) {
    let stopped = tokio::spawn(worker.stop());
    while let Some(frame) = peer.next().await {
        assert_eq!(frame["queues"][0]["slots"], 0, "{frame}");
    }
    stopped.await.expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn a_body_outlives_the_node_and_offers_only_what_the_next_one_lacks() {
    let node = ScriptedNode::start().await;
    let (bodies, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
    let (count, wait) = (bodies.clone(), gate.clone());
    let worker = node.client().worker().queue("llm", 1).task("draft", move |step: Step| {
        let (count, wait) = (count.clone(), wait.clone());
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            for n in 0..3 {
                step.chunks.send(&n).await?;
            }
            wait.acquire().await.expect("open").forget();
            step.chunks.send(&3).await?;
            Ok("done")
        }
    });
    let (worker, mut peer) = start(&node, worker).await;
    peer.say(task("t")).await;
    for seq in 0..3 {
        assert_eq!(peer.hear("chunk").await["seq"], seq);
    }
    peer.say(json!({ "op": "took", "token": "t", "seq": 1 })).await;
    peer.cut();
    // The body ends while there is no node.
    gate.add_permits(1);
    let (mut peer, _) = node.welcome().await;
    let work = peer.hear("work").await;
    assert_eq!(work["holding"][0]["token"], "t");
    // The fourth may have been written to the connection before it was known to be lost.
    assert!(matches!(work["holding"][0]["next_seq"].as_u64(), Some(3 | 4)), "{work}");
    peer.say(json!({ "op": "held", "token": "t", "status": { "next_seq": 2 } })).await;
    for seq in 2..4 {
        assert_eq!(peer.hear("chunk").await["seq"], seq);
    }
    assert_eq!(peer.hear("result").await["output"], "done");
    // Its answer is lost as well: the result is offered until it is taken.
    peer.cut();
    let (mut peer, _) = node.welcome().await;
    assert_eq!(peer.hear("work").await["holding"][0]["done"], true);
    peer.say(json!({ "op": "held", "token": "t", "status": { "next_seq": 4 } })).await;
    assert_eq!(peer.hear("result").await["output"], "done");
    peer.say(json!({ "op": "took", "token": "t", "result": true })).await;
    stop(worker, &mut peer).await;
    assert_eq!(bodies.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_task_that_is_given_twice_runs_once() {
    let node = ScriptedNode::start().await;
    let bodies = Arc::new(AtomicU32::new(0));
    let count = bodies.clone();
    let worker = node.client().worker().queue("llm", 2).task("draft", move |_: Step| {
        let count = count.clone();
        async move { Ok(count.fetch_add(1, Ordering::SeqCst)) }
    });
    let (worker, mut peer) = start(&node, worker).await;
    peer.say(task("t")).await;
    peer.say(task("t")).await;
    assert_eq!(peer.hear("result").await["output"], 0);
    peer.say(json!({ "op": "took", "token": "t", "result": true })).await;
    stop(worker, &mut peer).await;
    assert_eq!(bodies.load(Ordering::SeqCst), 1);
}

/// A body that runs until it is told that it is not wanted.
async fn patient(step: Step) -> Result<(), Failed> {
    step.chunks.unwanted().await;
    Err(Unwanted.into())
}

#[tokio::test]
async fn a_cancellation_reaches_the_body_and_is_answered() {
    let node = ScriptedNode::start().await;
    let (worker, mut peer) = start(&node, node.client().worker().queue("llm", 1).task("draft", patient)).await;
    peer.say(task("t")).await;
    peer.say(json!({ "op": "cancel", "token": "t" })).await;
    assert_eq!(peer.hear("result").await["failure"]["type"], "cancelled");
    peer.say(json!({ "op": "took", "token": "t", "result": true })).await;
    stop(worker, &mut peer).await;
}

#[tokio::test]
async fn a_superseded_body_is_ended_and_says_nothing_more() {
    let node = ScriptedNode::start().await;
    let (worker, mut peer) = start(&node, node.client().worker().queue("llm", 1).task("draft", patient)).await;
    peer.say(task("t")).await;
    until(|| worker.stats().bodies == 1).await;
    peer.cut();
    let (mut peer, _) = node.welcome().await;
    assert_eq!(peer.hear("work").await["holding"][0]["token"], "t");
    peer.say(json!({ "op": "held", "token": "t", "status": "superseded" })).await;
    until(|| worker.stats().cut_short == 1).await;
    stop(worker, &mut peer).await;
}

async fn until(holds: impl Fn() -> bool) {
    let waited = timeout(Duration::from_secs(10), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("it comes true");
}

#[tokio::test]
async fn a_panic_and_an_output_that_is_too_large_are_failures_of_their_step() {
    let node = ScriptedNode::start().await;
    let worker = node.client().worker().queue("llm", 2).task("draft", |step: Step| async move {
        assert!(step.attempt > 1, "the first attempt panics");
        Ok("x".repeat(300_000))
    });
    let (worker, mut peer) = start(&node, worker).await;
    peer.say(task("t")).await;
    assert_eq!(peer.hear("result").await["failure"]["type"], "panic");
    peer.say(json!({ "op": "took", "token": "t", "result": true })).await;
    let mut second = task("u");
    second["attempt"] = json!(2);
    peer.say(second).await;
    assert_eq!(peer.hear("result").await["failure"]["type"], "too_large");
    peer.say(json!({ "op": "took", "token": "u", "result": true })).await;
    stop(worker, &mut peer).await;
}

#[tokio::test]
async fn what_the_node_could_not_take_yet_is_offered_again() {
    let node = ScriptedNode::start().await;
    let worker = node.client().worker().queue("llm", 1).task("draft", |step: Step| async move {
        step.chunks.send("a").await?;
        Ok("b")
    });
    let (worker, mut peer) = start(&node, worker).await;
    peer.say(task("t")).await;
    peer.hear("chunk").await;
    peer.hear("result").await;
    let untaken = json!({
        "op": "untaken", "token": "t", "code": "queue_full", "message": "later", "retry_after_ms": 10,
    });
    peer.say(untaken).await;
    assert_eq!(peer.hear("chunk").await["seq"], 0);
    peer.hear("result").await;
    peer.say(json!({ "op": "took", "token": "t", "seq": 1 })).await;
    peer.say(json!({ "op": "took", "token": "t", "result": true })).await;
    stop(worker, &mut peer).await;
}
