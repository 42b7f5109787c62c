//! Workers that live on while the node dies, and write down every body that they begin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_client::{Client, Failed, RunningWorker, Step};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::journey::{self, CHUNKS, LEGS};
use crate::support::{Chance, soon};

/// Each worker has room for its share of all runs, so that a step waits for the network only.
const SLOTS: u32 = 16;

#[derive(Debug)]
pub(super) struct Crew {
    workers: Vec<RunningWorker>,
    ledger: Arc<Ledger>,
}

/// Bodies by task and the step's idempotency key, which is the same for every attempt.
#[derive(Debug, Default)]
struct Ledger(Mutex<BTreeMap<(String, String), u64>>);

impl Ledger {
    /// Counts a body, and says the how-manieth of its step it is.
    fn begin(&self, step: &Step) -> u64 {
        let mut bodies = self.0.lock().expect("no body panics while it counts");
        let count = bodies.entry((step.task.clone(), step.idempotency_key.clone())).or_default();
        *count += 1;
        *count
    }
}

impl Crew {
    pub(super) async fn hire(client: &Client, size: usize, chance: &Chance) -> Self {
        let ledger = Arc::new(Ledger::default());
        let mut workers = Vec::new();
        for name in 0..size {
            let chance = Arc::new(Mutex::new(chance.named(&format!("worker {name}"))));
            let mut worker = client.worker().queue("journey", SLOTS);
            for task in ["plan", "speak", "stumble", "fall", "arrive"] {
                let (ledger, chance) = (ledger.clone(), chance.clone());
                worker = worker.task(task, move |step: Step| {
                    let (ledger, chance) = (ledger.clone(), chance.clone());
                    async move { body(&step, &ledger, &chance).await }
                });
            }
            workers.push(worker.start().await.expect("a worker connects"));
        }
        Self { workers, ledger }
    }

    /// No body was repeated because the node died: each step has as many as it was written to have.
    pub(super) async fn verify(self, runs: u64) {
        let mut reconnects = 0;
        for worker in self.workers {
            reconnects += worker.stats().reconnects;
            soon("a worker to stop", worker.stop()).await.expect("a worker ends in peace");
        }
        let bodies = self.ledger.0.lock().expect("all bodies have ended");
        let steps = |task: &str| bodies.keys().filter(|(of, _)| of == task).count() as u64;
        let expected = [("plan", runs), ("speak", runs * LEGS), ("stumble", runs), ("fall", runs), ("arrive", runs)];
        assert_eq!(expected.map(|(task, _)| (task, steps(task))), expected, "steps that had a body");
        for ((task, key), count) in bodies.iter() {
            let wanted = if task == "stumble" { 2 } else { 1 };
            assert_eq!(*count, wanted, "bodies of {task} with key {key}");
        }
        println!("{} bodies, none repeated; workers came back {reconnects} times", bodies.values().sum::<u64>());
    }
}

async fn body(step: &Step, ledger: &Ledger, chance: &Mutex<Chance>) -> Result<Value, Failed> {
    let nth = ledger.begin(step);
    let input: Value = step.input()?;
    let pause = |most| chance.lock().expect("drawing does not panic").millis(5, most);
    match step.task.as_str() {
        "plan" => Ok(json!({ "legs": (0..LEGS).collect::<Vec<_>>() })),
        "speak" => {
            let (number, leg) = (whole(&input, "number"), whole(&input, "leg"));
            for n in 0..CHUNKS {
                step.chunks.send(&journey::piece(number, leg, n)).await?;
                sleep(pause(60)).await;
            }
            Ok(json!({ "text": journey::text(number, leg) }))
        }
        "stumble" if nth == 1 => Err(Failed::new("the first attempt stumbles")),
        "stumble" => Ok(json!({ "attempts": nth })),
        "fall" => Err(Failed::new("this cannot go well").kind("fell").for_good()),
        "arrive" => {
            sleep(Duration::from_millis(20).max(pause(200))).await;
            Ok(json!({ "number": whole(&input, "number") }))
        }
        other => Err(Failed::new(format!("nobody asked for {other}")).for_good()),
    }
}

fn whole(input: &Value, name: &str) -> u64 {
    input[name].as_u64().expect("the workflow passes numbers on")
}
