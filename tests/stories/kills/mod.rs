//! Twenty kills at random moments under mixed load, and nothing that was promised is missing, doubled or out of order.

mod appends;
mod crew;
mod journey;
mod readers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_client::{Client, IdempotencyKey, RunStarted, StartRun};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Chance, Home, NodeProcess, ended, insist};

use appends::Appends;
use crew::Crew;
use readers::Readers;

const KILLS: u64 = 20;
const RUNS: u64 = 100;
const WORKERS: usize = 8;
const SUBSCRIBERS: usize = 50;

/// Longer than a worker of the SDK ever pauses between two tries: whoever lives is back in time for what it holds.
const RECLAIM_MS: &str = "6000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_under_mixed_load_lose_nothing_and_repeat_nothing() {
    let chance = Chance::from_environment();
    let home = Home::new().set("workers.reclaim_ms", RECLAIM_MS);
    let node = home.start().await;
    let client = home.client();
    insist("registering the workflow", || client.register_workflow(journey::DEFINITION)).await;

    let crew = Crew::hire(&client, WORKERS, &chance).await;
    let stop = Arc::new(AtomicBool::new(false));
    let appends = Appends::begin(&client, &stop, &chance).await;
    let (announce, announced) = watch::channel(Vec::new());
    let starting = tokio::spawn(start_runs(client.clone(), announce, chance.named("starts")));
    let readers = Readers::begin(&client, SUBSCRIBERS, appends.streams(), announced).await;

    let node = kill_and_restart(&home, node, chance.named("kills")).await;

    stop.store(true, Ordering::Relaxed);
    let runs = starting.await.expect("starting runs does not panic");
    for (number, run) in &runs {
        let view = ended(&client, run.run).await;
        assert_eq!(view.status, "completed", "run {number}: {view:?}");
        assert_eq!(view.output, Some(journey::output(*number)), "run {number}");
    }
    starting_again_changes_nothing(&client, &runs).await;
    appends.verify(&client).await;
    for (number, run) in &runs {
        journey::verify(&client, *number, run).await;
    }
    readers.verify(&client).await;
    crew.verify(RUNS).await;
    assert!(node.stop().await.success(), "{}", home.log());
    home.program().run(["log".as_ref(), "verify".as_ref(), home.data().as_os_str()]).await.exits(0);
    home.program().run(["replay".as_ref(), "--verify".as_ref(), home.data().as_os_str()]).await.exits(0);
}

/// Each run is asked for until there is an answer, with the same key every time.
fn start(number: u64) -> StartRun {
    let key = IdempotencyKey::new(&format!("journey-{number}")).expect("a key");
    StartRun::new("journey").input(json!({ "number": number })).idempotency_key(key)
}

async fn start_runs(
    client: Client,
    announce: watch::Sender<Vec<RunStarted>>,
    mut chance: Chance,
) -> Vec<(u64, RunStarted)> {
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let run = insist("starting a run", || {
            let (client, start) = (client.clone(), start(number));
            async move { client.start_run(&start).await }
        })
        .await;
        runs.push((number, run));
        // Nobody may listen any more; the runs matter all the same.
        announce.send_modify(|known| known.push(run));
        tokio::time::sleep(chance.millis(20, 300)).await;
    }
    runs
}

async fn kill_and_restart(home: &Home, mut node: NodeProcess, mut chance: Chance) -> NodeProcess {
    for _ in 0..KILLS {
        tokio::time::sleep(chance.millis(50, 1_200)).await;
        node.kill().await;
        tokio::time::sleep(chance.millis(0, 300)).await;
        node = home.start().await;
    }
    node
}

async fn starting_again_changes_nothing(client: &Client, runs: &[(u64, RunStarted)]) {
    for (number, run) in runs {
        let again = client.start_run(&start(*number)).await.expect("the same start again is answered");
        assert_eq!((again.run, again.duplicate), (run.run, true), "run {number} was started twice");
    }
}

/// A task of the story, with its panic passed on.
async fn joined<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
