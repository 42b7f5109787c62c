//! What partitions cost in memory: each case in a process of its own, which says how much it has held at most.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use storage::Options;
use types::PartitionCount;

use crate::common::seconds;
use crate::log_target::LogTarget;
use crate::producers::{Measured, measure};

/// The first argument of such a process; then come partitions, producers, record bytes, and the folder.
pub(crate) const CHILD: &str = "--in-a-process-of-its-own";

/// What such a process says.
pub(crate) struct Held {
    pub(crate) measured: Measured,
    pub(crate) peak_bytes: f64,
}

pub(crate) fn in_its_own_process(partitions: u32, producers: usize, bytes: usize) -> Held {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("writable");
    let this = std::env::current_exe().expect("a process has an executable");
    let arguments = [CHILD.to_owned(), partitions.to_string(), producers.to_string(), bytes.to_string()];
    let output = Command::new(this).args(arguments).arg(folder.path()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let figures: Vec<f64> = said.split_whitespace().map(|figure| figure.parse().expect("figures")).collect();
    let [per_second, cpu_us, p50_us, p99_us, per_sync, peak_bytes] = figures[..] else { panic!("it said {said:?}") };
    Held { measured: Measured { per_second, cpu_us, p50_us, p99_us, per_sync }, peak_bytes }
}

/// The child's side.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) {
    let mut next = || arguments.next().expect("the parent gives four arguments");
    let (partitions, producers, bytes, folder) = (next(), next(), next(), next());
    let number = |text: String| text.parse::<usize>().expect("the parent gives numbers");
    let (producers, bytes) = (number(producers), number(bytes));
    let partitions = PartitionCount::new(partitions.parse().expect("a number")).expect("in range");
    let options = Options { partitions, ..Options::default() };
    let target = Arc::new(LogTarget::new(&Path::new(&folder).join("log"), bytes, producers, &options));
    let Measured { per_second, cpu_us, p50_us, p99_us, per_sync } =
        measure(target, producers, seconds(1.0).max(Duration::from_secs(3)));
    println!("{per_second} {cpu_us} {p50_us} {p99_us} {per_sync} {}", peak_bytes());
}

fn peak_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024.0
}
