//! Workers that answer twice, too late, too much, or for steps that are not theirs: nothing of it is taken, and the step
//! is answered once.

use headwater_client::{Client, RunId, RunView, StartRun};
use serde_json::{Value, json};

use crate::support::{Answer, Home, Http, ended, soon};

/// One step, which is given up and tried again when it takes so long.
fn definition(start_to_close_ms: u32) -> String {
    format!(
        r"
document: {{ dsl: '1.0.3', namespace: default, name: errand, version: '1.0.0' }}
use:
  retries:
    soon: {{ delay: {{ milliseconds: 10 }}, limit: {{ attempt: {{ count: 3 }} }} }}
do:
  - go:
      call: worker
      with:
        task: go
        queue: errands
        stream: true
        startToClose: {{ milliseconds: {start_to_close_ms} }}
        retry: soon
"
    )
}

/// Longer than the story.
const UNHURRIED_MS: u32 = 600_000;

/// A worker without a socket, so that every answer can be looked at.
struct Errands {
    http: Http,
    client: Client,
}

impl Errands {
    async fn begin(home: &Home, start_to_close_ms: u32) -> Self {
        let client = home.client();
        client.register_workflow(&definition(start_to_close_ms)).await.expect("registered");
        Self { http: Http::to(home.listen), client }
    }

    async fn start(&self) -> RunId {
        self.client.start_run(&StartRun::new("errand").input(json!({}))).await.expect("started").run
    }

    /// The next task.
    async fn task(&self) -> Value {
        let queues = json!([{ "name": "errands", "tasks": ["go"], "slots": 4 }]);
        let polled = async {
            loop {
                let ask = json!({ "worker": "errands-1", "queues": queues, "wait_ms": 2_000 });
                let mut polled = self.http.post("/v1/workers/poll", &ask).await.ok();
                if let Some(task) = polled["tasks"].as_array_mut().and_then(Vec::pop) {
                    return task;
                }
            }
        };
        soon("a task", polled).await
    }

    async fn complete(&self, token: &Value, output: Value) -> Answer {
        let body = json!({ "worker": "errands-1", "token": token, "output": output });
        self.http.post("/v1/workers/complete", &body).await
    }

    async fn chunk(&self, token: &Value, seq: u64) -> Answer {
        let body = json!({ "worker": "errands-1", "token": token, "seq": seq, "data": "x" });
        self.http.post("/v1/workers/chunk", &body).await
    }

    async fn ended(&self, run: RunId) -> RunView {
        ended(&self.client, run).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_counts_and_a_second_is_refused() {
    let home = Home::new();
    let node = home.start().await;
    let errands = Errands::begin(&home, UNHURRIED_MS).await;
    let run = errands.start().await;
    let token = errands.task().await["token"].clone();
    errands.complete(&token, json!("first")).await.ok();
    errands.complete(&token, json!("second")).await.refuses(409, "stale_attempt");
    errands.chunk(&token, 0).await.refuses(409, "stale_attempt");
    assert_eq!(errands.ended(run).await.output, Some(json!("first")));
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_after_the_attempt_was_given_up_is_refused() {
    let home = Home::new();
    let node = home.start().await;
    let errands = Errands::begin(&home, 500).await;
    let run = errands.start().await;
    let late = errands.task().await;
    // It does not answer; the next attempt comes when this one was given up.
    let next = errands.task().await;
    assert_eq!((&late["attempt"], &next["attempt"]), (&json!(1), &json!(2)));
    assert_eq!(late["idempotency_key"], next["idempotency_key"]);
    errands.complete(&late["token"], json!("late")).await.refuses(409, "stale_attempt");
    errands.complete(&next["token"], json!("in time")).await.ok();
    assert_eq!(errands.ended(run).await.output, Some(json!("in time")));
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_and_answers_that_are_too_large_change_nothing() {
    let home = Home::new();
    let node = home.start().await;
    let errands = Errands::begin(&home, UNHURRIED_MS).await;
    let run = errands.start().await;
    let task = errands.task().await;
    let token = task["token"].as_str().expect("a token").to_owned();
    let last = if token.ends_with('0') { "1" } else { "0" };
    let forged = json!(format!("{}{last}", &token[..token.len() - 1]));
    errands.complete(&forged, json!("forged")).await.refuses(400, "forged_token");
    errands.chunk(&forged, 0).await.refuses(400, "forged_token");
    errands.complete(&json!("rubbish"), json!("forged")).await.refuses(400, "forged_token");
    errands.chunk(&json!(token), 5).await.refuses(409, "chunk_gap");
    let large = "x".repeat(2 << 20);
    errands.complete(&json!(token), json!(large)).await.refuses(413, "too_large");
    errands.complete(&json!(token), json!("x".repeat(300 << 10))).await.refuses(413, "too_large");
    assert!(!errands.client.run(run).await.expect("it is there").is_closed(), "the step is open still");

    errands.complete(&json!(token), json!("proper")).await.ok();
    assert_eq!(errands.ended(run).await.output, Some(json!("proper")));
    assert!(node.stop().await.success(), "{}", home.log());
}
