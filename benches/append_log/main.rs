//! Appends at the log's port, each acknowledged only when it is durable, beside a raw file with the same batching and
//! the same fdatasync in the same run. Producers wait for their answer before they append again.

#[path = "../common/mod.rs"]
mod common;
mod log_target;
mod memory;
mod producers;
mod raw_target;
mod target;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Figure, Report};
use log_target::LogTarget;
use producers::{Measured, measure, medians};
use raw_target::{Kind, RawTarget};
use storage::Options;
use target::Target;

const PRODUCERS: [usize; 5] = [1, 8, 64, 128, 512];
const RECORD_BYTES: [usize; 2] = [256, 1024];
/// Log and raw file are measured so often, in turn, and the medians are told: the machine is shared.
const ROUNDS: usize = 3;
const SUSTAINED: Duration = Duration::from_secs(15);
const SUSTAINED_PRODUCERS: [usize; 2] = [128, 512];
/// What most figures are promised for.
const MAIN: usize = 128;
const LEVELS: [&str; 2] = ["interval=50", "os"];
const FEW_PARTITIONS: u32 = 16;
const MANY_PARTITIONS: u32 = 1_024;

/// The same appends to the log and to both kinds of raw file.
struct Compared {
    log: Measured,
    growing: Measured,
    written_over: Measured,
}

fn compare(producers: usize, bytes: usize, duration: Duration, rounds: usize) -> Compared {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("writable");
    let (log_path, raw_path) = (folder.path().join("log"), folder.path().join("raw"));
    let (mut logs, mut growing, mut written_over) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (kind, measured) in [(Kind::Growing, &mut growing), (Kind::WrittenOver, &mut written_over)] {
            measured.push(measure(Arc::new(RawTarget::new(&raw_path, bytes, kind)), producers, duration));
            std::fs::remove_file(&raw_path).expect("it was made");
        }
        logs.push(measure(log(&log_path, bytes, producers, &Options::default()), producers, duration));
        std::fs::remove_dir_all(&log_path).expect("it was made");
    }
    Compared { log: medians(&logs), growing: medians(&growing), written_over: medians(&written_over) }
}

fn log(path: &Path, bytes: usize, producers: usize, options: &Options) -> Arc<dyn Target> {
    Arc::new(LogTarget::new(path, bytes, producers, options))
}

/// What is promised of 256 B records.
#[derive(Clone, Copy, Default)]
struct Goals {
    of_raw: Option<f64>,
    per_second: Option<f64>,
    p99_us: Option<f64>,
}

fn goals(producers: usize, bytes: usize) -> Goals {
    let of_raw = if producers == 512 { 0.8 } else { 0.9 };
    match (bytes, producers) {
        (256, MAIN) => Goals { of_raw: Some(of_raw), per_second: Some(100_000.0), p99_us: Some(10_000.0) },
        (256, _) => Goals { of_raw: Some(of_raw), ..Goals::default() },
        _ => Goals::default(),
    }
}

fn beside_raw(report: &mut Report, case: &str, compared: &Compared, goals: Goals) {
    let Compared { log, growing: raw, written_over } = compared;
    let mut add = |figure: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.to_owned(), figure: figure.to_owned(), value, unit, limit, goal });
    };
    add("appends", log.per_second, "/s", Some(raw.per_second), goals.per_second);
    add("of a raw file", log.per_second / raw.per_second, "×", None, goals.of_raw);
    add("of a raw file that is written over", log.per_second / written_over.per_second, "×", None, None);
    add("CPU an append", log.cpu_us, "µs", Some(raw.cpu_us), None);
    add("p50", log.p50_us, "µs", Some(raw.p50_us), None);
    add("p99", log.p99_us, "µs", Some(raw.p99_us), goals.p99_us);
    add("appends a sync", log.per_sync, "", Some(raw.per_sync), None);
}

fn relaxed(report: &mut Report, case: &str, level: &str, duration: Duration) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("writable");
    let options = Options { durability: level.parse().expect("a level"), ..Options::default() };
    let measured = measure(log(&folder.path().join("log"), 256, MAIN, &options), MAIN, duration);
    let mut add = |figure: &str, value, unit| {
        let (case, figure) = (case.to_owned(), figure.to_owned());
        report.add(Figure { case, figure, value, unit, limit: None, goal: None });
    };
    add("appends", measured.per_second, "/s");
    add("CPU an append", measured.cpu_us, "µs");
    add("p99", measured.p99_us, "µs");
}

/// The limit of each is what few partitions give.
fn many_partitions(report: &mut Report, case: &str) {
    let few = memory::in_its_own_process(FEW_PARTITIONS, MAIN, 256);
    let many = memory::in_its_own_process(MANY_PARTITIONS, MAIN, 256);
    let mut add = |figure: &str, value, unit, limit, goal| {
        report.add(Figure { case: case.to_owned(), figure: figure.to_owned(), value, unit, limit, goal });
    };
    add("appends", many.measured.per_second, "/s", Some(few.measured.per_second), Some(100_000.0));
    add("CPU an append", many.measured.cpu_us, "µs", Some(few.measured.cpu_us), None);
    add("p99", many.measured.p99_us, "µs", Some(few.measured.p99_us), Some(10_000.0));
    add("peak memory", many.peak_bytes / 1e6, "MB", Some(few.peak_bytes / 1e6), None);
    add("memory more than with 16", (many.peak_bytes - few.peak_bytes) / 1e6, "MB", None, Some(50.0));
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(memory::CHILD) {
        return memory::run(arguments);
    }
    // `cargo bench --bench append_log -- '128 producers'` measures only cases that begin so.
    let wanted = first.into_iter().chain(arguments).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let duration = common::seconds(1.0);
    let mut report = Report::new("append-log");
    for bytes in RECORD_BYTES {
        for producers in PRODUCERS {
            let case = format!("{producers} producers, {bytes} B");
            if case.starts_with(&wanted) {
                beside_raw(&mut report, &case, &compare(producers, bytes, duration, ROUNDS), goals(producers, bytes));
            }
        }
    }
    for producers in SUSTAINED_PRODUCERS {
        let case = format!("sustained, {producers} producers, 256 B");
        if case.starts_with(&wanted) {
            let compared = compare(producers, 256, SUSTAINED, 1);
            beside_raw(&mut report, &case, &compared, goals(producers, 256));
        }
    }
    let case = format!("{MANY_PARTITIONS} partitions, {MAIN} producers, 256 B");
    if case.starts_with(&wanted) {
        many_partitions(&mut report, &case);
    }
    for level in LEVELS {
        let case = format!("durability {level}, {MAIN} producers, 256 B");
        if case.starts_with(&wanted) {
            relaxed(&mut report, &case, level, duration);
        }
    }
    let missed = report.finish();
    for sentence in &missed {
        eprintln!("missed: {sentence}");
    }
}
