//! Workflows of 1 and 10 steps: clients that start a run and follow it to its end, workers that answer at once, all
//! over WebSocket to a node in a process of its own. The clients and workers share the cores with it.

mod common;
mod load;

use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{Figure, Report, quantile};
use load::node::{Node, Usage};
use load::steps::{self, Clients};
use load::{disk, figure, folder, on_one_thread};

const STEPS: [usize; 2] = [1, 10];
const CLIENTS: [usize; 3] = [1, 32, 128];
const WORKERS: usize = 2;
/// Slots of each worker: more than there are clients, so that no step waits for one.
const SLOTS: usize = 256;
const WARM_UP: Duration = Duration::from_millis(500);

struct Measured {
    runs: u64,
    seconds: f64,
    sorted_ms: Vec<f64>,
    used: Usage,
    failed: u64,
}

fn measure(node: &Node, workflow: &str, count: usize, duration: Duration) -> Measured {
    on_one_thread(async {
        let workers: Vec<_> =
            (0..WORKERS).map(|_| tokio::task::spawn_local(steps::work(node.address, SLOTS))).collect();
        let clients = Rc::new(Clients::default());
        let client = |_| {
            let client = steps::run_after_run(node.address, workflow.to_owned(), Rc::clone(&clients));
            tokio::task::spawn_local(client)
        };
        let running: Vec<_> = (0..count).map(client).collect();
        tokio::time::sleep(WARM_UP).await;
        let (before, began) = (node.usage(), Instant::now());
        clients.measuring.set(true);
        tokio::time::sleep(duration).await;
        clients.measuring.set(false);
        let (elapsed, used) = (began.elapsed(), node.usage().since(before));
        clients.stopping.set(true);
        for client in running {
            client.await.expect("a client ends when it is told to");
        }
        workers.iter().for_each(tokio::task::JoinHandle::abort);
        let mut sorted_ms = clients.runs.take();
        sorted_ms.sort_by(f64::total_cmp);
        let runs = sorted_ms.len() as u64;
        Measured { runs, seconds: elapsed.as_secs_f64(), sorted_ms, used, failed: clients.failed.get() }
    })
}

fn case(report: &mut Report, steps: usize, clients: usize, duration: Duration) {
    let folder = folder();
    let node = Node::start(&folder.path().join("node"));
    let sync_ms = disk::sync_ms(folder.path());
    let workflow = steps::register(node.address, steps);
    let Measured { runs, seconds, sorted_ms, used, failed } = measure(&node, &workflow, clients, duration);
    assert_eq!(failed, 0, "every run completes");
    assert!(runs > 0, "some runs complete");
    let (runs, steps_f) = (figure(runs), figure(steps as u64));
    let done = runs * steps_f;
    // One sync for the start and one a step, one after the other, is what a client has to wait for.
    let least_ms = sync_ms * (steps_f + 1.0);
    let most = figure(clients as u64) * steps_f / least_ms * 1e3;
    let case = format!("{steps} steps, {clients} clients");
    let mut add = |name: &str, value, unit, limit, goal: Option<f64>| {
        report.add(Figure { case: case.clone(), figure: name.to_owned(), value, unit, limit, goal });
    };
    let only = |wanted: bool, goal: f64| if wanted { Some(goal) } else { None };
    let (loaded, alone) = ((steps, clients) == (10, 128), (steps, clients) == (10, 1));
    add("steps", done / seconds, "/s", Some(most), only(loaded, 10_000.0));
    add("p50 a run", quantile(&sorted_ms, 0.5), "ms", Some(least_ms), None);
    add("p99 a run", quantile(&sorted_ms, 0.99), "ms", Some(least_ms), only(loaded, 250.0));
    add("node's CPU a step", used.cpu_seconds / done * 1e6, "µs", None, None);
    let least_syncs = if clients == 1 { Some(steps_f + 1.0) } else { None };
    add("fdatasync a run", used.syncs / runs, "syncs", least_syncs, only(alone, 12.0));
    add("COMMIT writes a run", used.watermarks / runs, "syncs", None, None);
    add("written a step", used.written_bytes / done, "bytes", None, None);
    add("node's peak memory", node.peak_bytes() / 1e6, "MB", None, Some(200.0));
}

fn main() {
    let duration = common::seconds(3.0);
    let mut report = Report::new("workflow");
    for steps in STEPS {
        for clients in CLIENTS {
            case(&mut report, steps, clients, duration);
        }
    }
    for sentence in report.finish() {
        eprintln!("missed: {sentence}");
    }
}
