//! A process that is killed in the middle of dropping segments from the log on disk: at every system call of the drop
//! that changes a file. Afterwards all of them are there or all are gone, and whoever was told is right.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use storage::{Log, RetentionClass, RocksLog, SegmentId};
use types::{Position, Timestamp};

use crate::faults::can_trace;
use crate::harness::{Harness, Rocks, SMALL, copy_folder, output};
use crate::retention::{PARTITION, USER, all_from, checkpoint, walk};

const CHILD: &str = "HEADWATER_TEST_DROPPING_CHILD";
const CALL: &str = "HEADWATER_TEST_DROPPING_CALL";
const CALLS: [&str; 5] = ["write", "fdatasync", "fsync", "unlink", "rename"];
/// The tracer counts the calls of each thread. The one that drops first makes so many that change nothing: more than any
/// other thread makes, so that none but this one is ended.
const CALLS_BEFORE: usize = 1_000;
/// A drop has fewer calls of a kind.
const MOST_CALLS: usize = 200;

/// The beginning and holes.
fn wanted(log: &RocksLog) -> Vec<SegmentId> {
    let all = log.segments(PARTITION).expect("it reads");
    let stream: Vec<_> = all.iter().filter(|segment| segment.id.class == RetentionClass::Stream).collect();
    [0, 2, 5].map(|number| stream[number].id).to_vec()
}

/// So many segments, each in a file of its own that was moved below level 0: from there files can be given back.
const SEGMENTS: u64 = 12;
const EVENTS_A_SEGMENT: u64 = 20;

fn fill(rocks: &mut Rocks) -> u64 {
    for segment in 0..SEGMENTS {
        for n in 0..EVENTS_A_SEGMENT {
            (&*rocks as &dyn Harness).append(PARTITION, vec![output(USER, segment * EVENTS_A_SEGMENT + n)]);
        }
        rocks.log().seal(PARTITION, Timestamp::from_millis(2_000_000_000_000));
        checkpoint(rocks);
        rocks.reopen();
    }
    let level0 = |rocks: &Rocks| rocks.rocks().store_figures().families[0].level0_files;
    let began = Instant::now();
    while level0(rocks) >= 8 {
        assert!(began.elapsed() < Duration::from_mins(1), "the store never moved its files");
        std::thread::sleep(Duration::from_millis(10));
    }
    SEGMENTS * EVENTS_A_SEGMENT
}

fn call_in_vain(call: &str) {
    let nothing = fs::File::options().write(true).open("/dev/null").expect("every Linux has it");
    let nowhere = Path::new("/nonexistent/headwater");
    for _ in 0..CALLS_BEFORE {
        // They fail, and are counted.
        let _ = match call {
            "write" => (&nothing).write(b"x").map(|_| ()),
            "pwrite64" => nothing.write_at(b"x", 0).map(|_| ()),
            "fdatasync" => nothing.sync_data(),
            "fsync" => nothing.sync_all(),
            "unlink" => fs::remove_file(nowhere),
            "rename" => fs::rename(nowhere, nowhere),
            other => panic!("no way to call {other} in vain"),
        };
    }
}

#[test]
fn the_child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let call = std::env::var(CALL).expect("it is set with the path");
    // Nothing that would have to be cleared away: it is killed.
    let (log, _) = RocksLog::open(Path::new(&path), &Rocks::options(SMALL)).expect("it opens");
    let wanted = wanted(&log);
    let dropping = std::thread::spawn(move || {
        call_in_vain(&call);
        log.drop_segments(PARTITION, &wanted)
    });
    dropping.join().expect("it is not ended by a panic").expect("they go");
    println!("dropped");
}

/// Whether the child said that it had dropped them before it was killed at its `number`-th `call`.
fn killed(path: &Path, call: &str, number: usize) -> (bool, bool) {
    let at = CALLS_BEFORE + number;
    let mut child = Command::new("strace");
    child.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    child.args(["-e", &format!("inject={call}:signal=KILL:when={at}")]);
    child.arg(std::env::current_exe().expect("a test is a program"));
    child.args(["dropping::the_child", "--exact", "--nocapture", "--test-threads=1"]);
    let output = child.env(CHILD, path).env(CALL, call).stderr(Stdio::null()).output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout).contains("dropped");
    (told, output.status.success())
}

#[test]
fn a_drop_that_is_killed_at_any_system_call_is_finished_or_never_was() {
    if !can_trace() {
        println!("skipped: strace is not installed or may not trace");
        return;
    }
    let mut rocks = Rocks::new(SMALL);
    let user = fill(&mut rocks);
    let whole = (all_from(&rocks, Position::ZERO), walk(&rocks, USER));
    assert_eq!(whole.1, ((0..user).collect(), Vec::new()));
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    let original = std::mem::replace(&mut rocks.path, rocks.folder.path().join("dropped"));
    copy_folder(&original, &rocks.path);
    rocks.log = Some(RocksLog::open(&rocks.path, &rocks.options).expect("it opens").0);
    rocks.rocks().drop_segments(PARTITION, &wanted(rocks.rocks())).expect("they go");
    let gone = (all_from(&rocks, Position::ZERO), walk(&rocks, USER));
    assert_eq!(gone.1.1.len(), 3, "a beginning and holes");
    let (mut kills, mut finished) = (0, 0);
    for call in CALLS {
        for number in 1..=MOST_CALLS {
            assert!(number < MOST_CALLS, "the drop never came to its end");
            rocks.log = None;
            rocks.path = rocks.folder.path().join(format!("{call}-{number}"));
            copy_folder(&original, &rocks.path);
            let (told, ended) = killed(&rocks.path, call, number);
            rocks.log = Some(RocksLog::open(&rocks.path, &rocks.options).expect("it opens").0);
            let first = (all_from(&rocks, Position::ZERO), walk(&rocks, USER));
            assert!(first == gone || (first == whole && !told), "killed at {call} {number}");
            rocks.reopen();
            assert_eq!((all_from(&rocks, Position::ZERO), walk(&rocks, USER)), first, "killed at {call} {number}");
            rocks.rocks().close().expect("it closes");
            // It may still be compacting.
            rocks.log = None;
            assert_eq!(storage::verify(&rocks.path).expect("it reads").damages, Vec::new());
            fs::remove_dir_all(&rocks.path).expect("it was made");
            if ended {
                assert!(told, "nobody killed it");
                break;
            }
            kills += 1;
            finished += usize::from(first == gone);
        }
    }
    println!("kills in a drop: {kills}, {finished} were gone afterwards and {} whole", kills - finished);
    assert!(finished > 2 && kills - finished > 0, "{kills} kills, {finished} gone");
}
