//! Random histories of appends, syncs, crashes and reopenings against the obvious slow truth. A failure prints its seed
//! as a proptest case.

use proptest::prelude::*;
use storage::{AppendBatch, Log, MemoryLog, MemoryOptions, Record, StreamRead, Survives};
use types::{History, Offset, PartitionCount, PartitionId, Position, StreamOrdinal};

use crate::harness::{attempt, fact, output};

const PARTITIONS: u32 = 2;
const STREAMS: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Records of one partition: which kind, in which stream.
    Append(u32, Vec<(u8, u64)>),
    Sync,
    Crash(Survives),
    Close,
    FailSync(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let records = prop::collection::vec((0..3_u8, 1..=STREAMS), 0..6);
    prop_oneof![
        12 => (0..PARTITIONS, records).prop_map(|(partition, records)| Step::Append(partition, records)),
        4 => Just(Step::Sync),
        1 => (0..6_usize, 0..400_usize)
            .prop_map(|(batches, torn_bytes)| Step::Crash(Survives { batches, torn_bytes })),
        1 => Just(Step::Close),
        1 => (0..6_usize).prop_map(Step::FailSync),
    ]
}

/// What must be there, and what may be.
#[derive(Default)]
struct Truth {
    durable: Vec<Record>,
    written: Vec<Vec<Record>>,
}

impl Truth {
    fn end(&self) -> u64 {
        (self.durable.len() + self.written.iter().map(Vec::len).sum::<usize>()) as u64
    }

    fn offset(&self, stream: u64) -> u64 {
        let all = self.durable.iter().chain(self.written.iter().flatten());
        all.filter(|record| record.stream == StreamOrdinal::new(stream)).count() as u64
    }

    fn record(&self, kind: u8, stream: u64, before: &[Record]) -> Record {
        let same = |record: &&Record| record.stream == StreamOrdinal::new(stream);
        let offset = self.offset(stream) + before.iter().filter(same).count() as u64;
        match kind {
            0 => attempt(),
            1 => fact(stream, offset),
            _ => output(stream, offset),
        }
    }

    /// After a stop: `found` is all that was durable and a whole number of the batches after it.
    fn accept(&mut self, found: &[Record]) {
        assert!(found.starts_with(&self.durable), "acknowledged records are gone or changed");
        for batch in std::mem::take(&mut self.written) {
            if self.durable.len() < found.len() {
                self.durable.extend(batch);
            }
        }
        assert_eq!(found, self.durable, "what survived is not a front part of what was written");
    }
}

fn check(log: &MemoryLog, truths: &mut [Truth], stopped: bool) {
    for (number, truth) in (0..).zip(truths) {
        let partition = PartitionId::new(number);
        let mut found: Vec<Record> = Vec::new();
        loop {
            let next = log.read(partition, Position::new(found.len() as u64), 5, 300).expect("it reads");
            if next.is_empty() {
                break;
            }
            found.extend(next.into_iter().map(|stored| stored.record));
        }
        if stopped {
            truth.accept(&found);
        }
        assert_eq!(found, truth.durable);
        for stream in 1..=STREAMS {
            let expect: Vec<_> = found.iter().filter(|record| record.stream == StreamOrdinal::new(stream)).collect();
            let from = expect.len() / 2;
            let read = StreamRead {
                partition,
                stream: StreamOrdinal::new(stream),
                from: Offset::new(from as u64),
                until: Offset::new(u64::MAX),
                max_events: 1000,
                max_bytes: 1 << 20,
            };
            let events = log.read_stream(read).expect("it reads");
            assert_eq!(events.iter().map(|stored| &stored.record).collect::<Vec<_>>(), expect[from..]);
        }
    }
}

fn run(steps: Vec<Step>, options: MemoryOptions) {
    let partitions = PartitionCount::new(PARTITIONS).expect("in range");
    let mut log = MemoryLog::with_options(partitions, History::new(1), options);
    let mut truths = [Truth::default(), Truth::default()];
    for step in steps {
        let mut stopped = true;
        match step {
            Step::Append(number, kinds) => {
                let truth = &mut truths[number as usize];
                let mut records = Vec::new();
                for (kind, stream) in kinds {
                    records.push(truth.record(kind, stream, &records));
                }
                let (partition, expected) = (PartitionId::new(number), Position::new(truth.end()));
                truth.written.push(records.clone());
                log.append(AppendBatch { partition, expected, records, rows: Vec::new() }, Box::new(|_| ()));
                stopped = false;
            }
            Step::Sync => {
                log.sync();
                for truth in &mut truths {
                    let written = std::mem::take(&mut truth.written);
                    truth.durable.extend(written.into_iter().flatten());
                }
                stopped = false;
            }
            Step::Crash(survives) => {
                log.crash(survives);
                log = log.reopen().expect("nothing acknowledged is missing");
            }
            Step::Close => {
                log.close().expect("it closes");
                for truth in &mut truths {
                    let written = std::mem::take(&mut truth.written);
                    truth.durable.extend(written.into_iter().flatten());
                }
                log = log.reopen().expect("it opens");
            }
            Step::FailSync(batches) => {
                log.fail_next_sync();
                log.sync();
                log.crash(Survives { batches, torn_bytes: 0 });
                log = log.reopen().expect("nothing acknowledged is missing");
            }
        }
        check(&log, &mut truths, stopped);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_history_keeps_what_was_acknowledged(
        steps in prop::collection::vec(any_step(), 1..60),
        segment_bytes in 200..4000_u64,
        checkpoint_bytes in 1..2000_u64,
        tail_bytes in 0..3000_usize,
    ) {
        run(steps, MemoryOptions { segment_bytes, checkpoint_bytes, tail_bytes, ..MemoryOptions::default() });
    }
}
