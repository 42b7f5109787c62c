//! kill -9 and back: with 1,000 runs in flight whose steps a worker holds, with 1,000,000 events in the log, and with
//! 10,000,000. The worker is the Rust SDK's: it lives on, keeps what it has done, and offers it again to the node that comes back.

mod common;
mod load;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Figure, Report};
use headwater_client::{Client, Failed, RunningWorker, Step};
use load::disk::sync_ms;
use load::node::{Node, free_port};
use load::socket::Socket;
use load::{event, figure, folder, http, on_one_thread, steps};
use serde_json::json;
use tokio::sync::watch;

const RUNS: usize = 1_000;
const STEPS: usize = 10;
const EVENTS: usize = 1_000_000;
const EVENT_BYTES: usize = 256;
/// Sockets that fill the log, streams of each, and appends in flight on each.
const PRODUCERS: usize = 4;
const STREAMS: usize = 64;
const IN_FLIGHT: usize = 256;
/// More events than one socket after the other brings in a bench's time: so many, so many a request.
const MANY_EVENTS: usize = 10_000_000;
const EVENTS_A_REQUEST: usize = 1_000;
/// Longer than any of this may take: what waits so long will not come.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often each body ran, by run and path.
type Bodies = Arc<Mutex<BTreeMap<(String, String), u64>>>;

/// A worker whose bodies end once the gate is open.
async fn worker(client: &Client, bodies: Bodies, gate: watch::Receiver<bool>) -> RunningWorker {
    let body = move |step: Step| {
        let (bodies, mut gate) = (Arc::clone(&bodies), gate.clone());
        async move {
            *bodies.lock().expect("not poisoned").entry((step.run, step.path)).or_default() += 1;
            gate.wait_for(|open| *open).await.map_err(|_| Failed::new("the bench is over"))?;
            Ok(json!({ "ok": true }))
        }
    };
    let slots = u32::try_from(RUNS).expect("few");
    let worker = client.worker().queue(steps::QUEUE, slots).task(steps::TASK, body);
    worker.start().await.expect("the node takes workers")
}

async fn start_runs(node: SocketAddr, workflow: &str) {
    let mut socket = Socket::connect(node).await;
    for n in 0..RUNS {
        socket.push(&format!(r#"{{"op":"cmd","n":{n},"type":"start","workflow":"{workflow}"}}"#));
    }
    for _ in 0..RUNS {
        let answer = socket.message().await;
        assert!(answer.starts_with(r#"{"op":"done""#), "a start is answered with {answer}");
    }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come about");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

fn completed_runs(node: SocketAddr) -> usize {
    let page = http::get_json(node, &format!("/v1/runs?status=completed&limit={RUNS}"));
    page["runs"].as_array().map_or(0, Vec::len)
}

async fn runs_in_flight(report: &mut Report, data: &Path) {
    let port = free_port();
    let node = Node::start_at(data, port);
    let workflow = steps::register(node.address, STEPS);
    let client = Client::new(&format!("http://{}", node.address)).expect("it is an address");
    let (bodies, (open, gate)) = (Bodies::default(), watch::channel(false));
    let worker = worker(&client, Arc::clone(&bodies), gate).await;
    start_runs(node.address, &workflow).await;
    until("a held step of every run", || bodies.lock().expect("not poisoned").len() == RUNS).await;

    let began = Instant::now();
    node.kill();
    let left = WalLeft::of(data);
    // What the bodies hold they finish while there is no node.
    open.send_replace(true);
    let node = tokio::task::spawn_blocking({
        let data = data.to_owned();
        move || Node::start_at(&data, port)
    });
    let node = node.await.expect("the node starts");
    let ready = began.elapsed();
    until("the first result", || worker.stats().taken > 0).await;
    let first = began.elapsed();
    until("all results", || worker.stats().taken == (RUNS * STEPS) as u64).await;
    let all = began.elapsed();

    assert_eq!(completed_runs(node.address), RUNS, "every run completed");
    let bodies = bodies.lock().expect("not poisoned");
    assert_eq!(bodies.len(), RUNS * STEPS, "every step of every run had its body");
    let repeated: u64 = bodies.values().map(|times| times - 1).sum();
    let case = format!("kill -9 with {RUNS} runs of {STEPS} steps");
    // A start reads that back, a first result takes a sync more, and all of them are synced at least once a step.
    let (least, sync) = (left.read().0.as_secs_f64(), sync_ms(data.parent().expect("a folder")) / 1e3);
    let mut add = |name: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.clone(), figure: name.to_owned(), value, unit, limit, goal });
    };
    add("start of the process to ready", node.ready_after.as_secs_f64(), "s", Some(least), Some(0.3));
    add("kill to ready", ready.as_secs_f64(), "s", Some(least), None);
    add("kill to first result", first.as_secs_f64(), "s", Some(least + sync), None);
    add("kill to all done", all.as_secs_f64(), "s", Some(least + sync * figure(STEPS as u64)), None);
    add("step bodies repeated", figure(repeated), "bodies", None, Some(0.0));
    add("node's peak memory", node.peak_bytes() / 1e6, "MB", None, Some(200.0));
}

/// Appends its share of the events, so many in flight.
async fn produce(node: SocketAddr, producer: usize) {
    let mut socket = Socket::connect(node).await;
    let texts: Vec<String> = (0..STREAMS)
        .map(|stream| {
            let data = event(EVENT_BYTES, stream as u64 + 1);
            format!(r#","type":"append","stream":"agent-{producer}-{stream}/tokens","data":{data}}}"#)
        })
        .collect();
    let share = EVENTS / PRODUCERS;
    let (mut sent, mut answered) = (0, 0);
    while answered < share {
        while sent < share && sent - answered < IN_FLIGHT {
            socket.push(&format!(r#"{{"op":"cmd","n":{sent}{}"#, texts[sent % STREAMS]));
            sent += 1;
        }
        socket.flush().await;
        socket.fill().await;
        while let Some(frame) = socket.next() {
            assert!(frame.starts_with(r#"{"op":"done""#), "an append is answered with {frame}");
            answered += 1;
        }
    }
}

fn many_events(report: &mut Report, data: &Path) {
    let node = Node::start(data);
    let (before, began) = (node.usage(), Instant::now());
    on_one_thread(async {
        let address = Rc::new(node.address);
        let produce = |producer| tokio::task::spawn_local(produce(*address, producer));
        for producer in (0..PRODUCERS).map(produce).collect::<Vec<_>>() {
            producer.await.expect("a producer ends when all is appended");
        }
    });
    let (seconds, used) = (began.elapsed().as_secs_f64(), node.usage().since(before));
    let filled_peak = node.peak_bytes();
    node.kill();
    let left = WalLeft::of(data);
    let node = Node::start(data);
    let least = left.read().0.as_secs_f64();
    let events = figure(EVENTS as u64);
    let case = format!("kill -9 with {EVENTS} events of {EVENT_BYTES} B");
    let mut add = |name: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.clone(), figure: name.to_owned(), value, unit, limit, goal });
    };
    add("start of the process to ready", node.ready_after.as_secs_f64(), "s", Some(least), Some(0.3));
    add("node's peak memory at ready", node.peak_bytes() / 1e6, "MB", None, Some(200.0));
    add("appends before that", events / seconds, "/s", None, None);
    add("written an append", used.written_bytes / events, "bytes", Some(figure(EVENT_BYTES as u64)), None);
    add("node's peak memory while appending", filled_peak / 1e6, "MB", None, Some(200.0));
}

/// Whole requests of events to the streams of one producer.
fn produce_in_requests(node: SocketAddr, producer: usize) {
    let requests = MANY_EVENTS / EVENTS_A_REQUEST / PRODUCERS;
    let events: Vec<String> = (0..EVENTS_A_REQUEST).map(|n| event(EVENT_BYTES, n as u64 + 1)).collect();
    let body = format!("[{}]", events.join(","));
    for request in 0..requests {
        let path = format!("/v1/streams/agent-{producer}-{}/tokens", request % STREAMS);
        let method = if request < STREAMS { "PUT" } else { "POST" };
        http::send(node, method, &path, "application/json", &body);
    }
}

/// What is left of the write-ahead log, which a start has to read back: second names of its files, which the start then
/// does away with.
struct WalLeft {
    folder: PathBuf,
}

impl WalLeft {
    /// Of a node that was just killed.
    fn of(data: &Path) -> Self {
        let folder = data.with_extension("wal");
        std::fs::create_dir(&folder).expect("writable");
        for entry in std::fs::read_dir(data.join("log")).expect("readable") {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|extension| extension == "log") {
                std::fs::hard_link(&path, folder.join(path.file_name().expect("it is a file"))).expect("writable");
            }
        }
        Self { folder }
    }

    /// How long it takes to read all of it, and its bytes.
    fn read(self) -> (Duration, u64) {
        let began = Instant::now();
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.folder).expect("readable") {
            bytes += std::fs::read(entry.expect("readable").path()).expect("readable").len() as u64;
        }
        let took = began.elapsed();
        std::fs::remove_dir_all(self.folder).expect("it was made");
        (took, bytes)
    }
}

fn very_many_events(report: &mut Report, data: &Path) {
    let node = Node::start(data);
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let address = node.address;
            scope.spawn(move || produce_in_requests(address, producer));
        }
    });
    let filled_peak = node.peak_bytes();
    node.kill();
    let left = WalLeft::of(data);
    let node = Node::start(data);
    let (least, wal_bytes) = left.read();
    let case = format!("kill -9 with {MANY_EVENTS} events of {EVENT_BYTES} B");
    let mut add = |name: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.clone(), figure: name.to_owned(), value, unit, limit, goal });
    };
    add("start of the process to ready", node.ready_after.as_secs_f64(), "s", Some(least.as_secs_f64()), Some(2.0));
    add("write-ahead log to read back", figure(wal_bytes) / 1e6, "MB", None, None);
    add("node's peak memory at ready", node.peak_bytes() / 1e6, "MB", None, Some(200.0));
    add("node's peak memory while appending", filled_peak / 1e6, "MB", None, Some(200.0));
}

fn main() {
    let mut report = Report::new("recovery");
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime needs a few descriptors only");
    runtime.block_on(runs_in_flight(&mut report, &folder.path().join("runs")));
    drop(runtime);
    many_events(&mut report, &folder.path().join("events"));
    very_many_events(&mut report, &folder.path().join("many-events"));
    for sentence in report.finish() {
        eprintln!("missed: {sentence}");
    }
}
