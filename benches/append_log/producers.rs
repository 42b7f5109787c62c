//! Producers that wait for their answer before they append again: tasks on two threads, as a node's are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{median, quantile};
use crate::target::Target;

const WARM_UP: Duration = Duration::from_millis(200);

struct Producers {
    target: Arc<dyn Target>,
    measuring: AtomicBool,
    stopping: AtomicBool,
}

/// Appends until told to stop. Gives the microseconds from each measured append to its answer.
async fn produce(producers: Arc<Producers>, producer: usize) -> Vec<f32> {
    let mut latencies = Vec::with_capacity(1 << 12);
    for n in 0.. {
        if producers.stopping.load(Ordering::Relaxed) {
            break;
        }
        let (told, answer) = tokio::sync::oneshot::channel();
        let started = Instant::now();
        producers.target.append(producer, n, told);
        answer.await.expect("every append is answered");
        if producers.measuring.load(Ordering::Relaxed) {
            latencies.push(started.elapsed().as_secs_f32() * 1e6);
        }
    }
    latencies
}

pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// Of the whole process, producers included.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) per_sync: f64,
}

pub(crate) fn measure(target: Arc<dyn Target>, count: usize, duration: Duration) -> Measured {
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

pub(crate) fn medians(all: &[Measured]) -> Measured {
    let of = |figure: fn(&Measured) -> f64| median(&mut all.iter().map(figure).collect::<Vec<_>>());
    Measured {
        per_second: of(|measured| measured.per_second),
        cpu_us: of(|measured| measured.cpu_us),
        p50_us: of(|measured| measured.p50_us),
        p99_us: of(|measured| measured.p99_us),
        per_sync: of(|measured| measured.per_sync),
    }
}
