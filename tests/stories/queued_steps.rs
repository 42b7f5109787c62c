//! Steps that wait in a queue when the node dies. Nobody has them, and the node knows: nobody is waited for. Those that
//! a worker has are waited for, and no body is repeated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_client::{Client, RunId, RunningWorker, StartRun, Step};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{Home, ended, insist, soon};

const RUNS: usize = 12;
const DEFINITION: &str = "document: { dsl: '1.0.3', namespace: default, name: work, version: '1.0.0' }\n\
    do: [ { work: { call: worker, with: { task: work } } } ]\n";

/// Bodies by idempotency key.
type Ledger = Arc<Mutex<BTreeMap<String, u32>>>;

/// Much longer than the story is patient.
fn home() -> Home {
    Home::new().set("workers.reclaim_ms", "3600000")
}

async fn start_runs(client: &Client) -> Vec<RunId> {
    client.register_workflow(DEFINITION).await.expect("registered");
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(client.start_run(&StartRun::new("work")).await.expect("started").run);
    }
    runs
}

async fn worker(client: &Client, ledger: &Ledger) -> RunningWorker {
    let ledger = Arc::clone(ledger);
    let body = move |step: Step| {
        let ledger = Arc::clone(&ledger);
        async move {
            *ledger.lock().expect("no body panics").entry(step.idempotency_key.clone()).or_default() += 1;
            sleep(Duration::from_millis(30)).await;
            Ok(json!({ "done": true }))
        }
    };
    client.worker().queue("default", 1).task("work", body).start().await.expect("a worker connects")
}

fn begun(ledger: &Ledger) -> usize {
    ledger.lock().expect("no body panics").len()
}

async fn all_done_once(client: &Client, runs: &[RunId], ledger: &Ledger) {
    for run in runs {
        insist("a run", || client.run(*run)).await;
        assert_eq!(ended(client, *run).await.status, "completed");
    }
    let bodies = ledger.lock().expect("no body panics").clone();
    assert_eq!((bodies.len(), bodies.values().max()), (RUNS, Some(&1)), "{bodies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_when_the_node_dies_is_offered_as_soon_as_it_is_back() {
    let home = home();
    let mut node = home.start().await;
    let client = home.client();
    let (runs, ledger) = (start_runs(&client).await, Ledger::default());
    let worker = worker(&client, &ledger).await;
    for crash in 1..=3 {
        soon("some bodies to begin", async {
            while begun(&ledger) < 2 * crash {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        node.kill().await;
        node = home.start().await;
    }
    all_done_once(&client, &runs, &ledger).await;
    worker.stop().await.expect("it ends in peace");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_had_no_worker_waits_for_none() {
    let home = home();
    let node = home.start().await;
    let client = home.client();
    let (runs, ledger) = (start_runs(&client).await, Ledger::default());
    node.kill().await;
    let node = home.start().await;
    let worker = worker(&client, &ledger).await;
    all_done_once(&client, &runs, &ledger).await;
    worker.stop().await.expect("it ends in peace");
    assert!(node.stop().await.success(), "{}", home.log());
}
