//! Many runs that wait hold their rows, not the node's memory: more of them than memory has room for are started, shown,
//! and ended, before and after a crash.

use std::collections::BTreeSet;

use headwater_client::{Client, IdempotencyKey, ListRuns, RunId, StartRun};
use serde_json::{Value, json};

use crate::support::{Home, Http, soon};

const RUNS: usize = 60;
/// Sixty of them are more than ten times what open runs may hold here.
const INPUT_BYTES: usize = 200 * 1024;
const DEFINITION: &str = "document: { dsl: '1.0.3', namespace: default, name: sleep, version: '1.0.0' }\n\
    do: [ { long: { wait: { hours: 1 } } } ]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_runs_wait_than_memory_has_room_for() {
    let home = Home::new().set("node.state_memory_mib", "1").set("node.partitions", "2");
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(DEFINITION).await.expect("registered");
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let start = StartRun::new("sleep").input(input(number));
        runs.push(client.start_run(&start).await.unwrap_or_else(|error| panic!("run {number}: {error}")).run);
    }
    all_wait(&client, &runs).await;
    node.kill().await;
    let node = home.start().await;
    all_wait(&client, &runs).await;
    for (number, run) in runs.iter().enumerate() {
        client.cancel_run(*run, "enough").await.unwrap_or_else(|error| panic!("run {number}: {error}"));
    }
    for run in &runs {
        assert_eq!(client.run(*run).await.expect("it is known").status, "cancelled");
    }
    assert!(node.stop().await.success(), "{}", home.log());
}

fn input(number: usize) -> Value {
    json!({ "number": number, "text": "x".repeat(INPUT_BYTES) })
}

/// Each shows its input, and the list has every one.
async fn all_wait(client: &Client, runs: &[RunId]) {
    for (number, run) in runs.iter().enumerate() {
        let shown = client.run(*run).await.unwrap_or_else(|error| panic!("run {number}: {error}"));
        assert_eq!((shown.status.as_str(), &shown.input["number"]), ("waiting", &json!(number)));
    }
    let mut list = ListRuns { status: Some("waiting".to_owned()), limit: Some(1000), ..ListRuns::default() };
    let (mut listed, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.runs(&list).await.expect("a list");
        listed.extend(page.runs.iter().map(|run| run.run));
        (list.after, pages) = (page.next, pages + 1);
        if list.after.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), RUNS);
    assert_eq!(listed.iter().collect::<BTreeSet<_>>(), runs.iter().collect());
    assert!(pages > RUNS * INPUT_BYTES / (4 * 1024 * 1024), "{pages} pages: each is bounded in bytes");
}

/// Memory is full of runs that wait for a worker: no new one begins, but who repeats an accepted start is told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_was_accepted_is_answered_again_while_new_ones_are_refused() {
    const WORK: &str = "document: { dsl: '1.0.3', namespace: default, name: work, version: '1.0.0' }\n\
        do: [ { work: { call: worker, with: { task: work } } } ]\n";
    let home = Home::new().set("node.state_memory_mib", "1").set("node.partitions", "1");
    let node = home.start().await;
    let (client, http) = (home.client(), Http::to(home.listen));
    client.register_workflow(WORK).await.expect("registered");
    let keyed = StartRun::new("work").input(input(0)).idempotency_key(IdempotencyKey::new("first").expect("a key"));
    let first = client.start_run(&keyed).await.expect("there is room");
    let body = json!({ "workflow": "work", "input": input(1) });
    let full = async {
        loop {
            let answer = http.post("/v1/runs", &body).await;
            if answer.status != 201 {
                return answer;
            }
        }
    };
    soon("the memory to be full", full).await.refuses(429, "queue_full");
    let again = client.start_run(&keyed).await.expect("it was accepted before");
    assert_eq!((again.run, again.duplicate), (first.run, true));
    assert!(node.stop().await.success(), "{}", home.log());
}
