//! Appends over WebSocket to a node in a process of its own, each acknowledged only when it is durable. Beside it, in
//! the same run, the least that any server could do: the same sockets and messages into one plain file with group
//! commit. The client shares the cores with both.

mod common;
mod load;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{Figure, Report, median, quantile};
use load::node::Node;
use load::socket::{Socket, number};
use load::{event, figure, folder, on_one_thread, raw_server};

const EVENT_BYTES: usize = 256;
/// Sockets, and appends in flight on each.
const CASES: [(usize, usize); 4] = [(1, 1), (4, 8), (4, 32), (4, 128)];
/// The case that the goals are about.
const MAIN: (usize, usize) = (4, 32);
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(300);

/// What the sockets of one case share.
#[derive(Debug, Default)]
struct Shared {
    measuring: Cell<bool>,
    stopping: Cell<bool>,
    latencies_us: RefCell<Vec<f64>>,
}

/// Keeps so many appends in flight, each to a stream of its own, and appends again for each answer.
async fn produce(server: SocketAddr, producer: usize, in_flight: usize, shared: Rc<Shared>) {
    let mut socket = Socket::connect(server).await;
    let texts: Vec<String> = (0..in_flight)
        .map(|slot| {
            let data = event(EVENT_BYTES, slot as u64 + 1);
            format!(r#","type":"append","stream":"agent-{producer}-{slot}/tokens","data":{data}}}"#)
        })
        .collect();
    let mut started = vec![Instant::now(); in_flight];
    let mut free: Vec<usize> = (0..in_flight).collect();
    let (mut n, mut waiting) = (0_u64, 0);
    loop {
        let now = Instant::now();
        for slot in free.drain(..) {
            // The number of an append tells its slot.
            socket.push(&format!(r#"{{"op":"cmd","n":{}{}"#, n * in_flight as u64 + slot as u64, texts[slot]));
            started[slot] = now;
            n += 1;
            waiting += 1;
        }
        socket.flush().await;
        socket.fill().await;
        let now = Instant::now();
        while let Some(frame) = socket.next() {
            assert!(frame.starts_with(r#"{"op":"done""#), "an append is answered with {frame}");
            let number = number(frame, r#""n":"#).expect("an answer has a number");
            let slot = usize::try_from(number % in_flight as u64).expect("there are few slots");
            waiting -= 1;
            if shared.measuring.get() {
                shared.latencies_us.borrow_mut().push((now - started[slot]).as_secs_f64() * 1e6);
            }
            if !shared.stopping.get() {
                free.push(slot);
            }
        }
        if shared.stopping.get() && waiting == 0 {
            return;
        }
    }
}

#[derive(Debug)]
struct Measured {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

fn measure(server: SocketAddr, (sockets, in_flight): (usize, usize), duration: Duration) -> Measured {
    on_one_thread(async {
        let shared = Rc::new(Shared::default());
        let produce = |producer| tokio::task::spawn_local(produce(server, producer, in_flight, Rc::clone(&shared)));
        let producers: Vec<_> = (0..sockets).map(produce).collect();
        tokio::time::sleep(WARM_UP).await;
        let began = Instant::now();
        shared.measuring.set(true);
        tokio::time::sleep(duration).await;
        shared.measuring.set(false);
        let elapsed = began.elapsed();
        shared.stopping.set(true);
        for producer in producers {
            producer.await.expect("a producer ends when it is told to");
        }
        let mut sorted = shared.latencies_us.take();
        sorted.sort_by(f64::total_cmp);
        Measured {
            per_second: figure(sorted.len() as u64) / elapsed.as_secs_f64(),
            p50_us: quantile(&sorted, 0.5),
            p99_us: quantile(&sorted, 0.99),
        }
    })
}

fn medians(all: &[Measured]) -> Measured {
    let of = |figure: fn(&Measured) -> f64| median(&mut all.iter().map(figure).collect::<Vec<_>>());
    Measured {
        per_second: of(|measured| measured.per_second),
        p50_us: of(|measured| measured.p50_us),
        p99_us: of(|measured| measured.p99_us),
    }
}

/// Node and plain file in turn, because the machine is shared; the medians of both are told.
fn case(report: &mut Report, sizes: (usize, usize), duration: Duration) {
    let (sockets, in_flight) = sizes;
    let folder = folder();
    let node = Node::start(&folder.path().join("node"));
    let raw_server = raw_server::keeping(&folder.path().join("raw"));
    let before = node.usage();
    let (mut nodes, mut raws) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raws.push(measure(raw_server, sizes, duration));
        nodes.push(measure(node.address, sizes, duration));
    }
    let used = node.usage().since(before);
    let (appends, raw) = (medians(&nodes), medians(&raws));
    // Warm-up appends are not in `per_second`, but they are in what the node used.
    let seconds = (duration + WARM_UP).as_secs_f64() * figure(ROUNDS as u64);
    let all = appends.per_second * seconds;
    let case = format!("{} in flight, {sockets} sockets, {EVENT_BYTES} B", sockets * in_flight);
    let goal = |goal| if sizes == MAIN { Some(goal) } else { None };
    let mut add = |name: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.clone(), figure: name.to_owned(), value, unit, limit, goal });
    };
    add("appends", appends.per_second, "/s", Some(raw.per_second), goal(30_000.0));
    add("p50", appends.p50_us / 1e3, "ms", Some(raw.p50_us / 1e3), None);
    add("p99", appends.p99_us / 1e3, "ms", Some(raw.p99_us / 1e3), None);
    add("node's CPU an append, about", used.cpu_seconds / all * 1e6, "µs", None, None);
    add("written an append, about", used.written_bytes / all, "bytes", None, None);
    add("node's peak memory", node.peak_bytes() / 1e6, "MB", None, Some(200.0));
}

fn main() {
    let duration = common::seconds(1.5);
    let mut report = Report::new("append-wire");
    for sizes in CASES {
        case(&mut report, sizes, duration);
    }
    for sentence in report.finish() {
        eprintln!("missed: {sentence}");
    }
}
