//! A start that takes a damaged table out is killed at a system call: whichever that was, the next start comes to the same
//! end as one that nobody killed.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use storage::{Log, RocksLog, SegmentId};

use crate::damaged_state::{holds, spoiled};
use crate::damaged_tables::{noise_output, served};
use crate::faults::{can_trace, count};
use crate::harness::{Harness, PARTITIONS, Rocks, Sizes, copy_folder, partition};
use crate::row_truth::{filled, tables};

const CHILD: &str = "HEADWATER_TEST_MENDING_CHILD";
const CALLS: [&str; 8] = ["rename", "link", "linkat", "unlink", "unlinkat", "fsync", "fdatasync", "write"];
/// Of each call, unless all are asked for.
const KILLS_A_CALL: usize = 4;
/// A few segments, since each costs a mend some syncs.
const SIZES: Sizes = Sizes { segment_bytes: 100_000, checkpoint_bytes: 20_000, tail_bytes: 0 };
const EVENTS: u64 = 15;

#[test]
fn the_child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    RocksLog::open(Path::new(&path), &Rocks::options(SIZES)).expect("it opens");
}

fn traced(path: &Path, arguments: &[&str]) -> ExitStatus {
    let mut child = Command::new("strace");
    child.args(["-f", "-qq"]).args(arguments).arg(std::env::current_exe().expect("a test is a program"));
    child.args(["mend_killed::the_child", "--exact", "--nocapture", "--test-threads=1"]);
    child.env(CHILD, path).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it starts")
}

/// How often the busiest thread makes each call in a start that nobody kills: the tracer counts by thread.
fn calls(path: &Path) -> BTreeMap<&'static str, usize> {
    let diary = path.with_extension("calls");
    let names = format!("trace={}", CALLS.join(","));
    let ended = traced(path, &["-o", diary.to_str().expect("it is text"), "-e", &names]);
    assert!(ended.success(), "the mend fails without a kill");
    let mut by_thread = BTreeMap::<(&str, &str), usize>::new();
    let text = fs::read_to_string(&diary).expect("it was written");
    for (thread, call) in text.lines().filter_map(|line| line.split_once(' ')) {
        let name = call.trim_start().split('(').next().unwrap_or_default();
        *by_thread.entry((thread, name)).or_default() += 1;
    }
    let most = |call: &str| by_thread.iter().filter(|((_, name), _)| *name == call).map(|(_, many)| *many).max();
    CALLS.into_iter().filter_map(|call| Some((call, most(call)?))).collect()
}

/// At which of so many calls a start is killed: all over them.
fn numbers(many: usize) -> impl Iterator<Item = usize> {
    let kills = if count(0) == 0 { KILLS_A_CALL.min(many) } else { many };
    (0..kills).map(move |kill| 1 + kill * many / kills)
}

/// `seen` is what is there after a start.
fn check<T: PartialEq + Debug>(original: &Path, seen: impl Fn(&RocksLog) -> T) {
    let whole = original.with_extension("whole");
    copy_folder(original, &whole);
    let calls = calls(&whole);
    let look = |path: &Path| {
        let (log, _) = RocksLog::open(path, &Rocks::options(SIZES)).expect("it opens");
        let seen = seen(&log);
        log.close().expect("it closes");
        seen
    };
    let expected = look(&whole);
    let (mut kills, mut tried) = (0, 0);
    for (call, many) in &calls {
        for number in numbers(*many) {
            let what = format!("killed at {call} {number}");
            let path = original.with_extension(format!("{call}-{number}"));
            copy_folder(original, &path);
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let ended = traced(&path, &["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
            (kills, tried) = (kills + usize::from(!ended.success()), tried + 1);
            for _ in 0..2 {
                assert!(look(&path) == expected, "{what}: {:?}, not {expected:?}", look(&path));
                assert!(!path.join("DAMAGED").exists() && !path.join("log.made").exists(), "{what}");
            }
            fs::remove_dir_all(&path).expect("it was made");
        }
    }
    println!("kills in a mend: {kills} of {tried}, calls: {calls:?}");
    assert!(kills > tried / 2, "{kills} kills of {tried}");
}

fn quarantined(log: &RocksLog) -> Vec<SegmentId> {
    log.quarantined().expect("it reads").into_iter().map(|mark| mark.segment).collect()
}

#[test]
fn a_mend_of_an_unsorted_table_of_the_log_is_done_again_wherever_it_was_killed() {
    if !can_trace() {
        println!("skipped: strace is not installed or may not trace");
        return;
    }
    let mut rocks = Rocks::new(SIZES);
    for round in 0..3 {
        for n in round * EVENTS..(round + 1) * EVENTS {
            for number in 0..PARTITIONS {
                let seed = u64::from(number) << 32 | n;
                (&rocks as &dyn Harness).append(partition(number), vec![noise_output(n, seed)]);
            }
        }
        rocks.reopen();
    }
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    let table = tables(&rocks.path, "log").into_iter().min_by_key(|table| table.name.clone()).expect("some");
    assert_eq!(table.level, 0, "it is not sorted");
    let copy = spoiled(&rocks, &table, table.size / 3);
    check(&copy, |log| {
        let streams = (0..PARTITIONS).map(|number| served(log, partition(number), 1, 3 * EVENTS, false));
        let records: Vec<Vec<u64>> =
            streams.map(|events| events.iter().map(|event| event.record.offset.value()).collect()).collect();
        let marked = quarantined(log);
        assert!(!marked.is_empty(), "something was lost");
        (records, marked)
    });
}

#[test]
fn a_mend_of_a_table_of_rows_is_done_again_wherever_it_was_killed() {
    if !can_trace() {
        println!("skipped: strace is not installed or may not trace");
        return;
    }
    let (rocks, truth) = filled(3);
    let table = tables(&rocks.path, "rows").into_iter().max_by_key(|table| table.size).expect("there is one");
    let copy = spoiled(&rocks, &table, table.size / 3);
    check(&copy, |log| {
        let damaged = holds(log, &truth, "after a kill");
        assert!(damaged > 0, "something was lost");
        damaged
    });
}
