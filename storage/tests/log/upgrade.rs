//! A directory of the first format is upgraded in place by the opening, whatever system call is the opening's last.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use storage::{Log, Options, ReadOnlyLog, RocksLog, StoredRecord};
use types::{PartitionId, Position};

use crate::faults::{can_trace, count};
use crate::harness::copy_folder;

const CHILD: &str = "HEADWATER_TEST_UPGRADING_CHILD";
const CALLS: [&str; 5] = ["rename", "fsync", "fdatasync", "unlink", "write"];
/// An opening has fewer calls of a kind.
const MOST_CALLS: usize = 500;
const PARTITION: PartitionId = PartitionId::new(1);

fn first_format() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/log-v1/directory")
}

fn all(log: &dyn Log) -> Vec<StoredRecord> {
    log.read(PARTITION, Position::ZERO, 1_000, 1 << 20).expect("it reads")
}

fn format(path: &Path) -> String {
    fs::read_to_string(path.join("FORMAT")).expect("it is always there")
}

#[test]
fn the_child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    drop(RocksLog::open(Path::new(&path), &Options::default()).expect("it opens"));
    println!("opened");
}

/// Whether the child came to its end before its `number`-th `call`.
fn came_through(path: &Path, call: &str, number: usize) -> bool {
    let mut child = Command::new("strace");
    child.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    child.args(["-e", &format!("inject={call}:signal=KILL:when={number}")]);
    child.arg(std::env::current_exe().expect("a test is a program"));
    child.args(["upgrade::the_child", "--exact", "--nocapture", "--test-threads=1"]);
    child.env(CHILD, path).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it starts").success()
}

#[test]
fn who_only_looks_upgrades_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    copy_folder(&first_format(), &path);
    let before = format(&path);
    let (log, _) = ReadOnlyLog::open(&path).expect("it opens to be looked at");
    assert!(!all(&log).is_empty());
    assert_eq!(storage::verify(&path).expect("it reads").damages, Vec::new());
    assert_eq!(format(&path), before);
}

#[test]
fn an_upgrade_that_is_killed_at_any_system_call_is_done_again() {
    if !can_trace() {
        println!("skipped: strace is not installed or may not trace");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let truth = {
        let path = folder.path().join("whole");
        copy_folder(&first_format(), &path);
        all(&ReadOnlyLog::open(&path).expect("it opens to be looked at").0)
    };
    let (mut kills, mut upgraded) = (0, 0);
    for call in CALLS {
        // Writes are many, most of them RocksDB's own: a sample, unless all are asked for.
        let step = if call == "write" && count(0) == 0 { 4 } else { 1 };
        for number in (1..).step_by(step) {
            assert!(number < MOST_CALLS, "the opening never came to its end");
            let path = folder.path().join(format!("{call}-{number}"));
            copy_folder(&first_format(), &path);
            let ended = came_through(&path, call, number);
            let found = format(&path);
            assert!(found.contains("format 1\n") || found.contains("format 2\n"), "{call} {number}: {found}");
            assert_eq!(storage::verify(&path).expect("it reads").damages, Vec::new(), "{call} {number}");
            let (log, report) = RocksLog::open(&path, &Options::default()).expect("it opens");
            assert_eq!(report.upgraded_from.is_some(), found.contains("format 1\n"), "{call} {number}");
            assert_eq!(all(&*log), truth, "{call} {number}");
            assert!(format(&path).contains("format 2\n"), "{call} {number}");
            drop(log);
            fs::remove_dir_all(&path).expect("it was made");
            if ended {
                break;
            }
            kills += 1;
            upgraded += usize::from(found.contains("format 2\n"));
        }
    }
    println!("kills in an upgrade: {kills}, {upgraded} after it and {} before", kills - upgraded);
    assert!(upgraded > 0 && kills > upgraded, "{kills} kills, {upgraded} upgraded");
}
