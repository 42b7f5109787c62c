//! Workers: over a socket, and over HTTP.

use gateway::Limits;
use gateway::backend::{Task, WorkerPush};
use protocol::{HeldStatus, ServerFrame};
use serde_json::json;
use types::{Code, Durability};

use crate::common::client::Client;
use crate::common::fake::samples::task;
use crate::common::http::post;
use crate::common::{Server, quick, until};

const QUEUES: &str = r#"[{"name":"default","tasks":["draft"],"slots":4}]"#;

async fn working(server: &Server, holding: &str) -> (Client, String) {
    let mut client = Client::connect(server.address).await;
    client.say(format!(r#"{{"op":"work","queues":{QUEUES},"holding":{holding}}}"#)).await;
    until("it is known", async || server.fake.workers().len() == 1).await;
    (client, server.fake.workers().remove(0))
}

#[tokio::test]
async fn a_worker_gets_tasks_and_cancellations() {
    let server = Server::start().await;
    let (mut client, worker) = working(&server, "[]").await;
    server.fake.give(&worker, WorkerPush::Task(task("t1")));
    assert!(matches!(client.frame().await, ServerFrame::Task(task) if task.token == "t1"));
    server.fake.give(&worker, WorkerPush::Task(task("t2")));
    server.fake.give(&worker, WorkerPush::Cancel { token: "t1".into() });
    assert!(matches!(client.frame().await, ServerFrame::Task(task) if task.token == "t2"));
    assert!(matches!(client.frame().await, ServerFrame::Cancel { token } if token == "t1"));
}

#[tokio::test]
async fn a_worker_is_told_what_became_of_what_it_holds() {
    let server = Server::start().await;
    let (mut client, _) = working(&server, r#"[{"token":"t1","next_seq":3},{"token":"gone","done":true}]"#).await;
    assert!(
        matches!(client.frame().await, ServerFrame::Held { token, status: HeldStatus::NextSeq(3) } if token == "t1")
    );
    assert!(
        matches!(client.frame().await, ServerFrame::Held { token, status: HeldStatus::Superseded } if token == "gone")
    );
}

#[tokio::test]
async fn chunks_and_results_are_answered_in_order_once_they_are_durable() {
    let server = Server::start().await;
    let (mut client, _) = working(&server, "[]").await;
    for seq in 0..3 {
        client.say(format!(r#"{{"op":"chunk","token":"t1","seq":{seq},"data":"x"}}"#)).await;
    }
    client.say(r#"{"op":"beat","token":"t1"}"#).await;
    client.say(r#"{"op":"result","token":"t1","output":null}"#).await;
    client.say(r#"{"op":"result","token":"t1","output":null}"#).await;
    for expect in 1..=3 {
        match client.frame().await {
            ServerFrame::Took { token, seq: Some(seq), result: false, durability: Durability::Commit } => {
                assert_eq!((token.as_str(), seq), ("t1", expect));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    for _ in 0..2 {
        assert!(matches!(client.frame().await, ServerFrame::Took { result: true, seq: None, .. }));
    }
    let expect = ["chunk t1 0", "chunk t1 1", "chunk t1 2", "beat t1", "result t1", "result t1"];
    assert_eq!(server.fake.calls(), expect);
}

#[tokio::test]
async fn what_is_not_taken_says_why_and_how_to_go_on() {
    let server = Server::start().await;
    let (mut client, _) = working(&server, "[]").await;
    client.say(r#"{"op":"chunk","token":"t1","seq":101,"data":1}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Untaken { code: Code::ChunkGap, next_seq: Some(3), .. }));
    client.say(r#"{"op":"result","token":"stale","output":1}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Untaken { code: Code::StaleAttempt, next_seq: None, .. }));
    client.say(r#"{"op":"result","token":"t1"}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Untaken { code: Code::BadMessage, .. }));
    client.say(r#"{"op":"result","token":"t1","failure":{"message":"no"},"retry_after_ms":5}"#).await;
    assert!(matches!(client.frame().await, ServerFrame::Took { result: true, .. }));
}

#[tokio::test]
async fn a_worker_whose_socket_is_gone_is_detached() {
    let server = Server::start().await;
    let (client, _) = working(&server, "[]").await;
    assert_eq!(server.metric("headwater_gateway_workers").await, 1);
    drop(client);
    until("it is detached", async || server.fake.workers().is_empty()).await;
    until("it is not counted", async || server.metric("headwater_gateway_workers").await == 0).await;
}

#[tokio::test]
async fn a_worker_without_a_socket_polls() {
    let server = Server::start().await;
    let (address, fake) = (server.address, server.fake.clone());
    let first = json!({"worker": "w", "queues": serde_json::from_str::<serde_json::Value>(QUEUES).expect("JSON"),
        "holding": [{"token": "t0", "next_seq": 2}], "wait_ms": 0});
    let reply = post(address, "/v1/workers/poll", &first.to_string()).await;
    assert_eq!(reply.json(), json!({"tasks": [], "cancel": [], "held": [{"token": "t0", "status": {"next_seq": 2}}]}));
    let waiting = tokio::spawn(async move { post(address, "/v1/workers/poll", r#"{"worker":"w"}"#).await });
    fake.give("w", WorkerPush::Task(task("t1")));
    let reply = waiting.await.expect("no panic").json();
    assert_eq!((&reply["tasks"][0]["token"], &reply["tasks"][0]["task"]), (&json!("t1"), &json!("draft")));
    let say = async |path: &str, body: &str| post(address, &format!("/v1/workers/{path}"), body).await;
    let reply = say("chunk", r#"{"worker":"w","token":"t1","seq":0,"data":"Hel"}"#).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"next_seq": 1})));
    assert_eq!(say("heartbeat", r#"{"worker":"w","token":"t1"}"#).await.status, 200);
    assert_eq!(say("complete", r#"{"worker":"w","token":"t1","output":{"a":1}}"#).await.status, 200);
    assert_eq!(say("fail", r#"{"worker":"w","token":"t1","failure":{"message":"no"}}"#).await.status, 200);
    let stale = say("complete", r#"{"worker":"w","token":"stale","output":1}"#).await;
    assert_eq!((stale.status, stale.problem()), (409, "stale_attempt".into()));
    let unknown = say("poll", r#"{"worker":"nobody"}"#).await;
    assert_eq!((unknown.status, unknown.problem()), (404, "not_found".into()));
    assert_eq!(server.fake.calls(), ["chunk t1 0", "beat t1", "result t1", "result t1", "result stale"]);
}

#[tokio::test]
async fn what_a_worker_says_about_itself_is_bounded_on_every_way_in() {
    let server = Server::start().await;
    let too_many = r#"[{"name":"q","tasks":["t"],"slots":1025}]"#;
    let mut client = Client::connect(server.address).await;
    client.say(format!(r#"{{"op":"work","queues":{too_many}}}"#)).await;
    assert!(matches!(client.frame().await, ServerFrame::Err { code: Code::BadRequest, id: None, .. }));
    assert!(server.fake.workers().is_empty());

    let long = "w".repeat(100_000);
    for path in ["poll", "heartbeat", "chunk", "complete", "fail"] {
        for name in ["", &long] {
            let mut body = json!({ "worker": name });
            match path {
                "heartbeat" => body["token"] = json!("t1"),
                "chunk" => body = json!({ "worker": name, "token": "t1", "seq": 0, "data": 1 }),
                "complete" => body = json!({ "worker": name, "token": "t1", "output": 1 }),
                "fail" => body = json!({ "worker": name, "token": "t1", "failure": { "message": "no" } }),
                _ => {}
            }
            let answer = post(server.address, &format!("/v1/workers/{path}"), &body.to_string()).await;
            assert_eq!((answer.status, answer.problem()), (400, "invalid_name".to_owned()), "{path}");
        }
    }
    assert!(server.fake.calls().is_empty(), "nothing of it reached the node");
}

#[tokio::test]
async fn a_worker_is_given_no_more_at_a_time_than_the_limit_of_unsent_bytes() {
    let server = Server::with(Limits { unsent_bytes: 1024, ..quick() }).await;
    let (mut client, worker) = working(&server, "[]").await;
    let large = |token: &str| {
        let input = serde_json::value::RawValue::from_string(format!("\"{}\"", "x".repeat(2000))).expect("JSON");
        WorkerPush::Task(Task { input, ..task(token) })
    };
    server.fake.give_all(&worker, ["t1", "t2", "t3"].map(large));
    for token in ["t1", "t2", "t3"] {
        assert!(matches!(client.frame().await, ServerFrame::Task(task) if task.token == token));
    }
    assert_eq!(server.fake.polled(), [1, 1, 1], "one that does not read has one of them in memory");
}
