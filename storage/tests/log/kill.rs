//! A process that is killed in the middle of its appends: every answer it gave is true of what it left.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use storage::{AppendBatch, Log, OpenReport, Options, RocksLog, StreamRead};
use types::{Durability, History, Offset, PartitionCount, Position, StreamOrdinal};

use crate::harness::{fact, output, partition};

const ROUNDS: u64 = 12;
const RELAXED_ROUNDS: u64 = 4;
const LEVEL: &str = "HEADWATER_TEST_KILLED_LEVEL";
const CHILD: &str = "HEADWATER_TEST_KILLED_CHILD";

fn options(durability: Durability) -> Options {
    Options {
        durability,
        partitions: PartitionCount::new(4).expect("in range"),
        segment_bytes: 200_000,
        unsaved_bytes: 100_000,
        ..Options::default()
    }
}

/// What the child does until it is killed: appends to all partitions at once, and prints each answer.
fn append_until_killed(path: &Path, level: Durability) {
    let (log, _) = RocksLog::open(path, &options(level)).expect("it opens");
    let mut ends: Vec<u64> = (0..4).map(|number| log.bounds(partition(number)).end.value()).collect();
    loop {
        for number in 0..4_u32 {
            let end = &mut ends[number as usize];
            let count = *end % 7 + 1;
            let record =
                |position: u64| if position.is_multiple_of(3) { fact(1, position) } else { output(1, position) };
            let records = (*end..*end + count).map(record).collect();
            let batch =
                AppendBatch { partition: partition(number), expected: Position::new(*end), records, rows: Vec::new() };
            *end += count;
            let answered = move |outcome: Result<Position, _>| {
                if let Ok(durable) = outcome {
                    // One write, so that a line is whole or not there.
                    let line = format!("{number} {durable}\n");
                    let _ = std::io::stdout().lock().write_all(line.as_bytes());
                }
            };
            log.append(batch, Box::new(answered));
        }
    }
}

#[test]
fn the_child() {
    if let Some(path) = std::env::var_os(CHILD) {
        let level = std::env::var(LEVEL).expect("it is set with the path");
        append_until_killed(Path::new(&path), level.parse().expect("a level"));
    }
}

/// A child that appends, and what it has answered so far.
pub(crate) struct Killed {
    child: Child,
    reader: Option<JoinHandle<()>>,
    /// Of each partition, the last.
    answers: Arc<Mutex<[u64; 4]>>,
    /// Told with its first answer.
    began: Receiver<()>,
}

impl Killed {
    fn start(mut command: Command, path: &Path, level: Durability) -> Self {
        let this = std::env::current_exe().expect("a test is a program");
        let arguments = ["kill::the_child", "--exact", "--nocapture", "--test-threads=1"];
        // Under another program, such as a tracer, the child is what that one runs.
        if command.get_program() != this.as_os_str() {
            command.arg(&this);
        }
        let mut child = command
            .args(arguments)
            .env(CHILD, path)
            .env(LEVEL, level.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (first, began) = std::sync::mpsc::channel();
        let answers = Arc::new(Mutex::new([0_u64; 4]));
        let last = Arc::clone(&answers);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Some((number, durable)) = line.split_once(' ') else { continue };
                let (Ok(number), Ok(durable)) = (number.parse::<usize>(), durable.parse::<u64>()) else { continue };
                remember_one(&last, number, durable);
                // Nobody listens after the first.
                let _ = first.send(());
            }
        });
        Self { child, reader: Some(reader), answers, began }
    }

    /// The last answer for each partition that has come until now.
    pub(crate) fn so_far(&self) -> [u64; 4] {
        *self.answers.lock().expect("not poisoned")
    }

    /// Waits until it has answered something.
    pub(crate) fn appends(&self) {
        self.began.recv_timeout(Duration::from_mins(1)).expect("the child appends");
    }

    /// Kills it, if nobody did, and gives the last answer for each partition.
    pub(crate) fn end(&mut self) -> [u64; 4] {
        // With all that it started: what a tracer traced lives on when the tracer dies.
        // It may be gone.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait().expect("it is ours");
        self.reader.take().expect("it ends once").join().expect("it reads");
        self.so_far()
    }
}

fn remember_one(answers: &Mutex<[u64; 4]>, number: usize, durable: u64) {
    let mut answers = answers.lock().expect("not poisoned");
    answers[number] = answers[number].max(durable);
}

fn child_of(level: Durability, path: &Path) -> Killed {
    Killed::start(Command::new(std::env::current_exe().expect("a test is a program")), path, level)
}

pub(crate) fn child(path: &Path) -> Killed {
    child_of(Durability::Commit, path)
}

/// Under another program that changes what it may do.
pub(crate) fn child_under(command: Command, path: &Path) -> Killed {
    Killed::start(command, path, Durability::Commit)
}

/// Under another program that is to end it; kills it after `patience` if it does not.
pub(crate) fn run_child(command: Command, path: &Path, patience: Duration) -> [u64; 4] {
    let mut killed = Killed::start(command, path, Durability::Commit);
    let began = Instant::now();
    while began.elapsed() < patience && killed.child.try_wait().is_ok_and(|status| status.is_none()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.end()
}

pub(crate) fn remember(acknowledged: &mut [u64; 4], last: [u64; 4]) {
    for (acknowledged, last) in acknowledged.iter_mut().zip(last) {
        *acknowledged = (*acknowledged).max(last);
    }
}

#[test]
fn every_acknowledged_record_survives_kill_9() {
    let histories = kill_again_and_again(Durability::Commit, ROUNDS);
    assert!(histories.windows(2).all(|two| two[0] == two[1]), "{histories:?}");
}

/// What was written is with the operating system, which lives on. But nobody can know that it did, so each time a new
/// history begins.
#[test]
fn under_a_relaxed_level_too_and_a_new_history_begins() {
    for level in [Durability::Os, "interval=20".parse().expect("a level")] {
        let histories = kill_again_and_again(level, RELAXED_ROUNDS);
        assert!(histories.windows(2).all(|two| two[0] != two[1]), "{level}: {histories:?}");
    }
}

/// The history after each time.
fn kill_again_and_again(level: Durability, rounds: u64) -> Vec<History> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    let mut histories = Vec::new();
    let mut acknowledged = [0_u64; 4];
    for round in 0..rounds {
        let mut child = child_of(level, &path);
        child.appends();
        std::thread::sleep(Duration::from_millis(50 + 40 * round));
        remember(&mut acknowledged, child.end());
        let (report, history) = open_and_check(&path, &acknowledged, level).unwrap_or_else(|loss| panic!("{loss}"));
        assert_eq!((report.clean, report.new_history), (false, level.is_relaxed()), "{report:?}");
        histories.push(history);
    }
    assert!(acknowledged.iter().all(|end| *end > 100), "{acknowledged:?} were acknowledged");
    let report = storage::verify(&path).expect("it reads");
    assert_eq!(report.damages, Vec::new());
    histories
}

pub(crate) fn check(path: &Path, acknowledged: &[u64; 4]) {
    if let Some(loss) = loss(path, acknowledged) {
        panic!("{loss}");
    }
}

/// What of the answers is not true of the directory; all that it serves is right.
pub(crate) fn loss(path: &Path, acknowledged: &[u64; 4]) -> Option<String> {
    open_and_check(path, acknowledged, Durability::Commit).err()
}

/// `Err`: what of the answers is not true.
fn open_and_check(path: &Path, acknowledged: &[u64; 4], level: Durability) -> Result<(OpenReport, History), String> {
    let (log, report) =
        RocksLog::open(path, &options(level)).map_err(|error| format!("a killed log does not open: {error}"))?;
    let mut lost = None;
    for (number, acknowledged) in (0..).zip(acknowledged) {
        let end = log.bounds(partition(number)).end.value();
        if end < *acknowledged {
            lost = Some(format!("partition {number}: {acknowledged} were acknowledged, {end} are there"));
        }
        let read = StreamRead {
            partition: partition(number),
            stream: StreamOrdinal::new(1),
            from: Offset::ZERO,
            until: Offset::new(u64::MAX),
            max_events: usize::MAX,
            max_bytes: usize::MAX,
        };
        let events = log.read_stream(read).expect("it reads");
        assert_eq!(events.len() as u64, end);
        assert!(
            events.iter().zip(0..).all(|(stored, n)| stored.record.offset.value() == n && stored.position.value() == n)
        );
    }
    log.close().expect("it closes");
    match lost {
        Some(lost) => Err(lost),
        None => Ok((report, log.bounds(partition(0)).history)),
    }
}
