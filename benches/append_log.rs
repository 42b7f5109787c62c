//! Appends at the log's port, each acknowledged only when it is durable, beside a raw file with the same batching and
//! the same fdatasync in the same run. Producers wait for their answer before they append again.

mod common;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{Figure, Report, median, quantile};
use storage::{AppendBatch, EventClass, Log, Options, Record, RocksLog};
use types::{Offset, PartitionId, Position, StreamOrdinal, Timestamp};

const PRODUCERS: [usize; 5] = [1, 8, 64, 128, 512];
const RECORD_BYTES: [usize; 2] = [256, 1024];
/// Each pair of log and raw file is measured so often, in turn, and the medians are told: the machine is shared.
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(200);

type Answered = Box<dyn FnOnce() + Send>;

/// Something that takes bytes of a producer and answers when they are durable.
trait Target: Send + Sync {
    fn append(&self, producer: usize, answered: Answered);
    fn syncs(&self) -> u64;
    /// Ends its threads.
    fn close(&self);
}

/// The log: producers are spread over its partitions, as streams are.
struct LogTarget {
    log: Arc<RocksLog>,
    ends: Vec<Mutex<Place>>,
    payload: bytes::Bytes,
}

#[derive(Default)]
struct Place {
    position: u64,
    /// By producer of the partition.
    offsets: Vec<u64>,
}

impl LogTarget {
    fn new(path: &Path, bytes: usize, producers: usize) -> Self {
        let (log, _) = RocksLog::open(path, &Options::default()).expect("a new directory opens");
        let partitions = log.partitions().get() as usize;
        let place = || Mutex::new(Place { position: 0, offsets: vec![0; producers.div_ceil(partitions)] });
        Self { log, ends: (0..partitions).map(|_| place()).collect(), payload: payload(bytes) }
    }
}

impl Target for LogTarget {
    fn append(&self, producer: usize, answered: Answered) {
        let (partition, stream) = (producer % self.ends.len(), producer / self.ends.len());
        let mut place = self.ends[partition].lock().expect("not poisoned");
        let record = Record {
            schema: 1,
            class: EventClass::Output,
            cause: true,
            time: Timestamp::from_millis(1_795_493_220_000 + place.position / 100),
            stream: StreamOrdinal::new(stream as u64 + 1),
            offset: Offset::new(place.offsets[stream]),
            output: None,
            key: bytes::Bytes::new(),
            headers: Vec::new(),
            payload: self.payload.clone(),
        };
        let batch = AppendBatch {
            partition: PartitionId::new(u32::try_from(partition).expect("few")),
            expected: Position::new(place.position),
            records: vec![record],
            rows: Vec::new(),
        };
        place.position += 1;
        place.offsets[stream] += 1;
        self.log.append(
            batch,
            Box::new(move |outcome| {
                outcome.expect("an append succeeds");
                answered();
            }),
        );
    }

    fn syncs(&self) -> u64 {
        self.log.metrics().syncs()
    }

    fn close(&self) {
        self.log.close().expect("it closes");
    }
}

/// A file: one thread writes all that waits and syncs it, then answers.
struct RawTarget {
    shared: Arc<RawShared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct RawShared {
    waiting: Mutex<(Vec<Answered>, bool)>,
    filled: Condvar,
    syncs: AtomicUsize,
}

impl RawTarget {
    fn new(path: &Path, bytes: usize) -> Self {
        let mut file = File::create(path).expect("writable");
        let shared = Arc::new(RawShared::default());
        let (of_thread, payload) = (Arc::clone(&shared), payload(bytes));
        let thread = thread::spawn(move || {
            let mut buffer = Vec::new();
            loop {
                let mut waiting = of_thread.waiting.lock().expect("not poisoned");
                while waiting.0.is_empty() && !waiting.1 {
                    waiting = of_thread.filled.wait(waiting).expect("not poisoned");
                }
                let taken = std::mem::take(&mut waiting.0);
                drop(waiting);
                if taken.is_empty() {
                    return;
                }
                buffer.clear();
                for _ in &taken {
                    buffer.extend_from_slice(&payload);
                }
                file.write_all(&buffer).expect("writable");
                file.sync_data().expect("it syncs");
                of_thread.syncs.fetch_add(1, Ordering::Relaxed);
                for answered in taken {
                    answered();
                }
            }
        });
        Self { shared, thread: Mutex::new(Some(thread)) }
    }
}

impl Target for RawTarget {
    fn append(&self, _producer: usize, answered: Answered) {
        self.shared.waiting.lock().expect("not poisoned").0.push(answered);
        self.shared.filled.notify_one();
    }

    fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed) as u64
    }

    fn close(&self) {
        self.shared.waiting.lock().expect("not poisoned").1 = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.lock().expect("not poisoned").take() {
            thread.join().expect("it ends");
        }
    }
}

/// Text of the kind that models stream, so that compression finds what it usually finds.
fn payload(bytes: usize) -> bytes::Bytes {
    const WORDS: &str = r#"{"type":"token","text":" the","index":17,"model":"m-4","logprob":-0.0312},"#;
    let mut state = 7_u64;
    let mut text: Vec<u8> = WORDS.bytes().cycle().take(bytes).collect();
    for byte in text.iter_mut().step_by(3) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = b'a' + u8::try_from((state >> 33) % 26).expect("26 letters");
    }
    text.into()
}

/// Many producers: tasks on two threads, each of which waits for its answer before it appends again.
struct Producers {
    target: Arc<dyn Target>,
    measuring: AtomicBool,
    stopping: AtomicBool,
}

/// Appends until told to stop. Gives the microseconds from each measured append to its answer.
async fn produce(producers: Arc<Producers>, producer: usize) -> Vec<f32> {
    let mut latencies = Vec::with_capacity(1 << 16);
    while !producers.stopping.load(Ordering::Relaxed) {
        let (told, answer) = tokio::sync::oneshot::channel();
        let started = Instant::now();
        producers.target.append(producer, Box::new(move || told.send(()).expect("the producer waits")));
        answer.await.expect("every append is answered");
        if producers.measuring.load(Ordering::Relaxed) {
            latencies.push(started.elapsed().as_secs_f32() * 1e6);
        }
    }
    latencies
}

struct Measured {
    per_second: f64,
    /// Of the whole process, producers included.
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    per_sync: f64,
}

fn measure(target: Arc<dyn Target>, count: usize, duration: Duration) -> Measured {
    let producers = Arc::new(Producers { target, measuring: AtomicBool::new(false), stopping: AtomicBool::new(false) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("threads start");
    let tasks: Vec<_> = (0..count).map(|producer| runtime.spawn(produce(Arc::clone(&producers), producer))).collect();
    thread::sleep(WARM_UP);
    let (started, cpu, syncs) = (Instant::now(), cpu_us(), producers.target.syncs());
    producers.measuring.store(true, Ordering::Relaxed);
    thread::sleep(duration);
    producers.measuring.store(false, Ordering::Relaxed);
    let (elapsed, cpu, syncs) = (started.elapsed(), cpu_us() - cpu, producers.target.syncs() - syncs);
    producers.stopping.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(runtime.block_on(task).expect("a producer ends"));
    }
    drop(runtime);
    producers.target.close();
    let mut sorted: Vec<f64> = latencies.iter().map(|latency| f64::from(*latency)).collect();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let (appends, syncs) = (sorted.len() as f64, syncs.max(1) as f64);
    Measured {
        per_second: appends / elapsed.as_secs_f64(),
        cpu_us: cpu / appends,
        p50_us: quantile(&sorted, 0.5),
        p99_us: quantile(&sorted, 0.99),
        per_sync: appends / syncs,
    }
}

/// CPU time of this process so far, in steps of 10 ms: fields 14 and 15 of `/proc/self/stat`, in ticks of 10 ms.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() * 10_000.0
}

/// The medians of both, measured in turn.
fn compare(producers: usize, bytes: usize, duration: Duration) -> (Measured, Measured) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("writable");
    let (mut logs, mut raws) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (log_path, raw_path) = (folder.path().join(format!("log-{round}")), folder.path().join("raw"));
        let raw = Arc::new(RawTarget::new(&raw_path, bytes));
        raws.push(measure(raw, producers, duration));
        std::fs::remove_file(raw_path).expect("it was made");
        let log = Arc::new(LogTarget::new(&log_path, bytes, producers));
        logs.push(measure(log, producers, duration));
        std::fs::remove_dir_all(log_path).expect("it was made");
    }
    (medians(&logs), medians(&raws))
}

fn medians(all: &[Measured]) -> Measured {
    let of = |figure: fn(&Measured) -> f64| median(&mut all.iter().map(figure).collect::<Vec<_>>());
    Measured {
        per_second: of(|measured| measured.per_second),
        cpu_us: of(|measured| measured.cpu_us),
        p50_us: of(|measured| measured.p50_us),
        p99_us: of(|measured| measured.p99_us),
        per_sync: of(|measured| measured.per_sync),
    }
}

fn main() {
    let duration = common::seconds(1.0);
    let mut report = Report::new("append-log");
    // `cargo bench --bench append_log -- '128 producers'` measures only such cases.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for bytes in RECORD_BYTES {
        for producers in PRODUCERS {
            let case = format!("{producers} producers, {bytes} B");
            if !case.contains(&wanted) {
                continue;
            }
            let (log, raw) = compare(producers, bytes, duration);
            let main_case = producers == 128 && bytes == 256;
            let goal = |goal| if main_case { Some(goal) } else { None };
            let figure = |figure: &str, value, unit, limit, goal| Figure {
                case: case.clone(),
                figure: figure.to_owned(),
                value,
                unit,
                limit,
                goal,
            };
            report.add(figure("appends", log.per_second, "/s", Some(raw.per_second), goal(50_000.0)));
            report.add(figure("of a raw file", log.per_second / raw.per_second, "×", None, goal(0.7)));
            report.add(figure("CPU an append", log.cpu_us, "µs", Some(raw.cpu_us), None));
            report.add(figure("p50", log.p50_us, "µs", Some(raw.p50_us), None));
            report.add(figure("p99", log.p99_us, "µs", Some(raw.p99_us), goal(10_000.0)));
            report.add(figure("appends a sync", log.per_sync, "", Some(raw.per_sync), None));
        }
    }
    let missed = report.finish();
    for sentence in &missed {
        eprintln!("missed: {sentence}");
    }
}
