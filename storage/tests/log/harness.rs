//! What a case needs of a log: to append, to wait until all is durable, to stop in order and out of order.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage::{
    AppendBatch, AppendError, EventClass, Log, MemoryLog, MemoryOptions, Options, OutputHeader, Record, RocksLog,
    RowChange, Rows, StoredRecord, Survives,
};
use types::{History, Offset, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

/// Small, so that short cases roll segments, take checkpoints and fall out of the tail.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "the names of the options they stand for")]
pub(crate) struct Sizes {
    pub(crate) segment_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) tail_bytes: usize,
}

pub(crate) const USUAL: Sizes = Sizes { segment_bytes: 1 << 20, checkpoint_bytes: 1 << 16, tail_bytes: 1 << 20 };
pub(crate) const SMALL: Sizes = Sizes { segment_bytes: 3_000, checkpoint_bytes: 700, tail_bytes: 900 };
/// Nothing is served from memory.
pub(crate) const COLD: Sizes = Sizes { segment_bytes: 3_000, checkpoint_bytes: 1, tail_bytes: 0 };

pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const HISTORY: u32 = 0x00ab_cdef;

pub(crate) fn partitions() -> PartitionCount {
    PartitionCount::new(PARTITIONS).expect("in range")
}

pub(crate) const fn partition(number: u32) -> PartitionId {
    PartitionId::new(number)
}

pub(crate) type Outcome = Result<Position, AppendError>;

/// Where the answer to an append will be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer(Arc<Mutex<Vec<Outcome>>>);

impl Answer {
    pub(crate) fn take(&self) -> Option<Outcome> {
        let answers = self.0.lock().expect("not poisoned");
        assert!(answers.len() <= 1, "an append is answered once");
        answers.first().cloned()
    }

    pub(crate) fn callback(&self) -> storage::OnDurable {
        let answers = Arc::clone(&self.0);
        Box::new(move |outcome| answers.lock().expect("not poisoned").push(outcome))
    }
}

/// How many answers are still to come.
pub(crate) type Outstanding = Arc<AtomicUsize>;

pub(crate) trait LogAndRows: Log + Rows {}
impl<T: Log + Rows> LogAndRows for T {}

/// A log of one kind or the other.
pub(crate) trait Harness: fmt::Debug {
    fn log(&self) -> &dyn LogAndRows;
    fn outstanding(&self) -> Outstanding;
    /// Waits until every append so far was answered.
    fn settle(&self);
    /// Closes the log and opens it again.
    fn reopen(&mut self);
    /// Opens the log as it would be found after a power cut now.
    fn crash(&mut self);
}

impl dyn Harness + '_ {
    /// Appends where the partition ends, with whatever was appended before and is settled.
    pub(crate) fn append(&self, partition: PartitionId, records: Vec<Record>) -> Position {
        self.append_with_rows(partition, records, Vec::new())
    }

    pub(crate) fn append_with_rows(
        &self,
        partition: PartitionId,
        records: Vec<Record>,
        rows: Vec<RowChange>,
    ) -> Position {
        let expected = self.log().bounds(partition).end;
        let end = expected.after(records.len() as u64);
        let answer = self.offer(AppendBatch { partition, expected, records, rows });
        self.settle();
        assert_eq!(answer.take(), Some(Ok(end)));
        assert_eq!(self.log().bounds(partition).end, end);
        end
    }

    pub(crate) fn offer(&self, batch: AppendBatch) -> Answer {
        let (answer, outstanding) = (Answer::default(), self.outstanding());
        let callback = answer.callback();
        outstanding.fetch_add(1, Ordering::SeqCst);
        let answered = move |outcome| {
            callback(outcome);
            outstanding.fetch_sub(1, Ordering::SeqCst);
        };
        self.log().append(batch, Box::new(answered));
        answer
    }

    /// All records of a partition, in small steps.
    pub(crate) fn all(&self, partition: PartitionId) -> Vec<StoredRecord> {
        let mut all: Vec<StoredRecord> = Vec::new();
        loop {
            let from = all.last().map_or(Position::ZERO, |last| last.position.next());
            let next = self.log().read(partition, from, 7, 500).expect("it reads");
            if next.is_empty() {
                return all;
            }
            all.extend(next);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Memory(pub MemoryLog);

impl Memory {
    pub(crate) fn new(sizes: Sizes) -> Self {
        let options = MemoryOptions {
            segment_bytes: sizes.segment_bytes,
            checkpoint_bytes: sizes.checkpoint_bytes,
            tail_bytes: sizes.tail_bytes,
            ..MemoryOptions::default()
        };
        Self(MemoryLog::with_options(partitions(), History::new(HISTORY), options))
    }
}

impl Harness for Memory {
    fn log(&self) -> &dyn LogAndRows {
        &self.0
    }

    fn outstanding(&self) -> Outstanding {
        // `sync` runs all callbacks before it returns.
        Outstanding::default()
    }

    fn settle(&self) {
        self.0.sync();
    }

    fn reopen(&mut self) {
        self.0.close().expect("it closes");
        self.0 = self.0.reopen().expect("it opens");
    }

    fn crash(&mut self) {
        self.0.crash(Survives::default());
        self.0 = self.0.reopen().expect("it opens");
    }
}

#[derive(Debug)]
pub(crate) struct Rocks {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
    pub(crate) log: Option<Arc<RocksLog>>,
    crashes: u32,
    outstanding: Outstanding,
}

impl Rocks {
    pub(crate) fn options(sizes: Sizes) -> Options {
        Options {
            partitions: partitions(),
            history_seed: HISTORY,
            segment_bytes: sizes.segment_bytes,
            unsaved_bytes: sizes.checkpoint_bytes * u64::from(PARTITIONS),
            tail_bytes: sizes.tail_bytes,
            ..Options::default()
        }
    }

    pub(crate) fn new(sizes: Sizes) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Self::options(sizes);
        let path = folder.path().join("data");
        let log = RocksLog::open(&path, &options).expect("it opens").0;
        Self { folder, path, options, log: Some(log), crashes: 0, outstanding: Outstanding::default() }
    }

    pub(crate) fn rocks(&self) -> &Arc<RocksLog> {
        self.log.as_ref().expect("it is open")
    }

    /// The directory as it is now, elsewhere.
    pub(crate) fn copy(&mut self) -> PathBuf {
        self.crashes += 1;
        let to = self.folder.path().join(format!("copy-{}", self.crashes));
        copy_folder(&self.path, &to);
        to
    }
}

/// A copy as of one moment: RocksDB may add and remove tables meanwhile, and then its manifest may name one that was not
/// copied, as no crash would leave it. So it is made again until none came or went.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    loop {
        let before = names(from);
        copy_once(from, to);
        if names(from) == before {
            return;
        }
        fs::remove_dir_all(to).expect("it was made");
    }
}

/// All files below a folder.
fn names(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    entries.flat_map(|path| if path.is_dir() { names(&path) } else { BTreeSet::from([path]) }).collect()
}

fn copy_once(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy_once(&entry.path(), &target);
        } else {
            // It may go away meanwhile.
            let _ = fs::copy(entry.path(), target);
        }
    }
}

impl Harness for Rocks {
    fn log(&self) -> &dyn LogAndRows {
        &**self.rocks()
    }

    fn outstanding(&self) -> Outstanding {
        Arc::clone(&self.outstanding)
    }

    fn settle(&self) {
        let started = Instant::now();
        while self.outstanding.load(Ordering::SeqCst) > 0 {
            assert!(started.elapsed() < Duration::from_mins(1), "an append was not answered within a minute");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn reopen(&mut self) {
        self.rocks().close().expect("it closes");
        self.log = None;
        self.log = Some(RocksLog::open(&self.path, &self.options).expect("it opens").0);
    }

    fn crash(&mut self) {
        let copy = self.copy();
        self.log = None;
        self.path = copy;
        self.log = Some(RocksLog::open(&self.path, &self.options).expect("it opens").0);
    }
}

/// Makes each case two tests, one a kind of log.
macro_rules! on_both {
    ($($case:ident: $sizes:ident),* $(,)?) => {
        mod memory {
            $(#[test]
            fn $case() {
                super::$case(&mut $crate::harness::Memory::new($crate::harness::$sizes));
            })*
        }
        mod rocks {
            $(#[test]
            fn $case() {
                super::$case(&mut $crate::harness::Rocks::new($crate::harness::$sizes));
            })*
        }
    };
}
pub(crate) use on_both;

fn record(class: EventClass, stream: u64, offset: u64, payload: &str) -> Record {
    Record {
        schema: 1,
        class,
        cause: offset.is_multiple_of(3),
        time: Timestamp::from_millis(1_700_000_000_000 + offset),
        stream: StreamOrdinal::new(stream),
        offset: Offset::new(offset),
        output: None,
        key: Bytes::from_static(b"k"),
        headers: Vec::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// An event of the run chain, event `offset` of stream `stream`.
pub(crate) fn fact(stream: u64, offset: u64) -> Record {
    record(EventClass::Fact, stream, offset, &format!("fact {stream}/{offset}"))
}

/// An event of the stream chain.
pub(crate) fn output(stream: u64, offset: u64) -> Record {
    let header = OutputHeader { step: 1, attempt: 1, sequence: offset };
    Record { output: Some(header), ..record(EventClass::Output, stream, offset, &format!("output {stream}/{offset}")) }
}

/// A record that no stream shows.
pub(crate) fn attempt() -> Record {
    record(EventClass::Attempt, 0, 0, "attempt")
}
