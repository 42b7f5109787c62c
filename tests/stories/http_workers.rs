//! Workers without a socket: they pull, and a step never waits for one that does not ask.

use std::time::Duration;

use headwater_client::StartRun;
use serde_json::{Value, json};

use crate::support::{Home, Http, ended, soon};

const DEFINITION: &str = r"
document: { dsl: '1.0.3', namespace: default, name: errand, version: '1.0.0' }
use:
  retries:
    soon: { delay: { milliseconds: 10 }, limit: { attempt: { count: 3 } } }
do:
  - go:
      call: worker
      with: { task: go, queue: errands, retry: soon }
";

async fn poll(http: &Http, worker: &str, more: Value) -> Value {
    let mut ask = json!({ "worker": worker, "wait_ms": 0 });
    ask.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    http.post("/v1/workers/poll", &ask).await.ok()
}

fn queues() -> Value {
    json!([{ "name": "errands", "tasks": ["go"], "slots": 4 }])
}

/// Asks until there is a task.
async fn task(http: &Http, worker: &str) -> Value {
    soon("a task", async {
        loop {
            let mut polled = poll(http, worker, json!({ "queues": queues(), "wait_ms": 1_000 })).await;
            if let Some(task) = polled["tasks"].as_array_mut().and_then(Vec::pop) {
                return task;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_goes_to_who_asks_and_never_to_who_is_gone() {
    let home = Home::new();
    let node = home.start().await;
    let (client, http) = (home.client(), Http::to(home.listen));
    client.register_workflow(DEFINITION).await.expect("registered");
    // One asked once; another's connection broke while it waited.
    poll(&http, "silent", json!({ "queues": queues() })).await;
    let waiting = poll(&http, "broken", json!({ "queues": queues(), "wait_ms": 20_000 }));
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting).await.is_err(), "it had nothing to say");

    let run = client.start_run(&StartRun::new("errand").input(json!({}))).await.expect("started").run;
    assert_eq!(client.run(run).await.expect("there").current, ["/do/0/go waits for a worker (attempt 1)"]);
    let task = task(&http, "asking").await;
    assert_eq!(task["attempt"], 1, "nobody else had it");
    assert_eq!(client.run(run).await.expect("there").current, ["/do/0/go is with worker asking (attempt 1)"]);
    let done = json!({ "worker": "asking", "token": task["token"], "output": "done" });
    http.post("/v1/workers/complete", &done).await.ok();
    assert_eq!(ended(&client, run).await.output, Some(json!("done")));
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_holding_nothing_gives_its_step_to_others_at_once() {
    let home = Home::new();
    let node = home.start().await;
    let (client, http) = (home.client(), Http::to(home.listen));
    client.register_workflow(DEFINITION).await.expect("registered");
    let run = client.start_run(&StartRun::new("errand").input(json!({}))).await.expect("started").run;
    let lost = task(&http, "w").await;
    // It says nothing of what it holds, then that it holds this, then that it holds nothing.
    poll(&http, "w", json!({ "queues": queues() })).await;
    let held = poll(&http, "w", json!({ "queues": queues(), "holding": [{ "token": lost["token"] }] })).await;
    assert_eq!(held["held"][0]["status"], json!({ "next_seq": 0 }));
    let beat = json!({ "worker": "w", "token": lost["token"] });
    http.post("/v1/workers/heartbeat", &beat).await.ok();
    poll(&http, "w", json!({ "queues": [], "holding": [] })).await;

    let next = task(&http, "other").await;
    assert_eq!(next["attempt"], 2);
    http.post("/v1/workers/heartbeat", &beat).await.refuses(409, "stale_attempt");
    let done = json!({ "worker": "other", "token": next["token"], "output": "done" });
    http.post("/v1/workers/complete", &done).await.ok();
    assert_eq!(ended(&client, run).await.output, Some(json!("done")));
    assert!(node.stop().await.success(), "{}", home.log());
}
