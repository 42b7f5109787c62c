//! Random histories of appends, syncs, drops, crashes and reopenings against the obvious slow truth, over both logs.
//! A failure prints its seed as a proptest case, shrunk.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use storage::{
    AppendBatch, MemoryLog, MemoryOptions, ReadError, Record, Row, RowChange, RowKey, RowKind, SegmentFacts,
    StreamRead, Survives,
};
use types::{History, Offset, PartitionCount, PartitionId, Position, StreamOrdinal};

use crate::harness::{Harness, LogAndRows, Rocks, Sizes, attempt, fact, output};

const PARTITIONS: u32 = 2;
const STREAMS: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Records of one partition: which kind, in which stream.
    Append(u32, Vec<(u8, u64)>),
    Sync,
    /// After a checkpoint of the kernel: one of the sealed segments goes.
    Drop(u32, usize),
    Crash(Survives),
    Close,
    FailSync(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let records = prop::collection::vec((0..3_u8, 1..=STREAMS), 0..6);
    prop_oneof![
        12 => (0..PARTITIONS, records).prop_map(|(partition, records)| Step::Append(partition, records)),
        4 => Just(Step::Sync),
        2 => (0..PARTITIONS, any::<usize>()).prop_map(|(partition, which)| Step::Drop(partition, which)),
        1 => (0..6_usize, 0..400_usize)
            .prop_map(|(batches, torn_bytes)| Step::Crash(Survives { batches, torn_bytes })),
        1 => Just(Step::Close),
        1 => (0..6_usize).prop_map(Step::FailSync),
    ]
}

/// One of the two logs, with what may happen to it.
trait Machine {
    fn log(&self) -> &dyn LogAndRows;
    fn offer(&mut self, batch: AppendBatch);
    /// Makes durable all that was offered.
    fn sync(&mut self);
    fn close(&mut self);
    /// What of the batches that were offered since the last sync survives is up to the machine.
    fn crash(&mut self, survives: Survives);
    fn fail_sync(&mut self, batches: usize);
}

impl Machine for MemoryLog {
    fn log(&self) -> &dyn LogAndRows {
        self
    }

    fn offer(&mut self, batch: AppendBatch) {
        storage::Log::append(self, batch, Box::new(|_| ()));
    }

    fn sync(&mut self) {
        MemoryLog::sync(self);
    }

    fn close(&mut self) {
        storage::Log::close(self).expect("it closes");
        *self = self.reopen().expect("it opens");
    }

    fn crash(&mut self, survives: Survives) {
        MemoryLog::crash(self, survives);
        *self = self.reopen().expect("nothing acknowledged is missing");
    }

    fn fail_sync(&mut self, batches: usize) {
        self.fail_next_sync();
        MemoryLog::sync(self);
        Machine::crash(self, Survives { batches, torn_bytes: 0 });
    }
}

impl Machine for Rocks {
    fn log(&self) -> &dyn LogAndRows {
        Harness::log(self)
    }

    fn offer(&mut self, batch: AppendBatch) {
        (self as &dyn Harness).offer(batch);
    }

    fn sync(&mut self) {
        self.settle();
    }

    fn close(&mut self) {
        Harness::reopen(self);
    }

    /// The files as they are at some moment after the last answer.
    fn crash(&mut self, _survives: Survives) {
        self.settle();
        Harness::crash(self);
    }

    /// Its disk does not fail on demand; a stop out of order is the nearest thing.
    fn fail_sync(&mut self, _batches: usize) {
        Machine::crash(self, Survives::default());
    }
}

/// What must be there, what may be, and what is gone.
#[derive(Default)]
struct Truth {
    durable: Vec<Record>,
    written: Vec<Vec<Record>>,
    /// Positions of records that were dropped.
    gone: BTreeSet<usize>,
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

    fn all_durable(&mut self) {
        self.durable.extend(std::mem::take(&mut self.written).into_iter().flatten());
    }

    /// After a stop the log ends at `end`: behind all that was durable, and behind a whole number of the later batches.
    fn accept(&mut self, end: usize) {
        for batch in std::mem::take(&mut self.written) {
            if self.durable.len() < end {
                self.durable.extend(batch);
            }
        }
        assert_eq!(end, self.durable.len(), "acknowledged records are gone, or a batch is there in part");
    }

    fn dropped(&mut self, segment: &SegmentFacts) {
        let class = segment.id.class;
        let range = segment.base.value()..segment.next.value();
        for position in range.filter_map(|position| usize::try_from(position).ok()) {
            if self.durable[position].class.retention() == class {
                self.gone.insert(position);
            }
        }
    }

    /// Records that must be readable, from `start` on.
    fn kept(&self, start: usize) -> impl Iterator<Item = (usize, &Record)> {
        let kept = move |(position, _): &(usize, &Record)| *position >= start && !self.gone.contains(position);
        self.durable.iter().enumerate().filter(kept)
    }
}

fn check(log: &dyn LogAndRows, truths: &mut [Truth], stopped: bool) {
    for (number, truth) in (0..).zip(truths) {
        let partition = PartitionId::new(number);
        let bounds = log.bounds(partition);
        let index = |position: Position| usize::try_from(position.value()).expect("small");
        if stopped {
            truth.accept(index(bounds.end));
        }
        let mut found: Vec<(usize, Record)> = Vec::new();
        loop {
            let from = found.last().map_or(bounds.start_run, |(last, _)| Position::new(*last as u64 + 1));
            let next = log.read(partition, from, 5, 300).expect("it reads");
            if next.is_empty() {
                break;
            }
            found.extend(next.into_iter().map(|stored| (index(stored.position), stored.record)));
        }
        let expect: Vec<_> = truth.kept(index(bounds.start_run)).map(|(at, record)| (at, record.clone())).collect();
        assert_eq!(found, expect);
        assert_eq!(bounds.trimmed, !truth.gone.is_empty());
        for stream in 1..=STREAMS {
            check_stream(log, partition, StreamOrdinal::new(stream), truth);
        }
    }
}

/// The events of a stream from its middle on: those that are kept, in order, and a gap told wherever some are not.
fn check_stream(log: &dyn LogAndRows, partition: PartitionId, stream: StreamOrdinal, truth: &Truth) {
    let of_stream = |record: &&Record| record.stream == stream;
    let count = truth.durable.iter().filter(of_stream).count() as u64;
    let from = count / 2;
    let kept: Vec<&Record> =
        truth.kept(0).map(|(_, record)| record).filter(of_stream).filter(|it| it.offset.value() >= from).collect();
    let (mut found, mut next) = (Vec::new(), from);
    loop {
        let (max_events, max_bytes) = (3, 1 << 20);
        let (from, until) = (Offset::new(next), Offset::new(u64::MAX));
        match log.read_stream(StreamRead { partition, stream, from, until, max_events, max_bytes }) {
            Ok(events) if events.is_empty() => break,
            Ok(events) => {
                found.extend(events.into_iter().map(|stored| stored.record));
                next = found.last().expect("some").offset.value() + 1;
            }
            Err(ReadError::Trimmed { low }) => {
                let first = kept.iter().map(|record| record.offset).find(|offset| offset.value() >= next);
                assert_eq!(Some(low), first, "a gap ends at the next event that is kept");
                assert!(low.value() > next);
                next = low.value();
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(found.iter().collect::<Vec<_>>(), kept);
}

fn run(steps: Vec<Step>, machine: &mut dyn Machine) {
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
                machine.offer(AppendBatch { partition, expected, records, rows: Vec::new() });
                continue;
            }
            Step::Sync => {
                machine.sync();
                truths.iter_mut().for_each(Truth::all_durable);
                stopped = false;
            }
            Step::Drop(number, which) => {
                drop_one(machine, &mut truths, number, which);
                stopped = false;
            }
            Step::Crash(survives) => machine.crash(survives),
            Step::Close => {
                machine.close();
                truths.iter_mut().for_each(Truth::all_durable);
            }
            Step::FailSync(batches) => machine.fail_sync(batches),
        }
        check(machine.log(), &mut truths, stopped);
    }
}

fn drop_one(machine: &mut dyn Machine, truths: &mut [Truth], number: u32, which: usize) {
    let (partition, end) = (PartitionId::new(number), Position::new(truths[number as usize].end()));
    let key = RowKey { kind: RowKind::Partition, id: Bytes::new() };
    let rows = vec![RowChange::Put(key, Row { position: end, value: Bytes::new() })];
    machine.offer(AppendBatch { partition, expected: end, records: Vec::new(), rows });
    machine.sync();
    truths.iter_mut().for_each(Truth::all_durable);
    let segments = machine.log().segments(partition).expect("it reads");
    let sealed: Vec<_> = segments.into_iter().filter(|segment| segment.sealed).collect();
    if sealed.is_empty() {
        return;
    }
    let goes = sealed[which % sealed.len()];
    let dropped = machine.log().drop_segments(partition, &[goes.id]).expect("it may go");
    assert_eq!((dropped.segments, dropped.records), (1, goes.records));
    truths[number as usize].dropped(&goes);
    let gone = truths[number as usize].gone.len() as u64;
    assert!(gone >= goes.records, "{gone} records are gone, {} were dropped", goes.records);
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
        let options = MemoryOptions { segment_bytes, checkpoint_bytes, tail_bytes, ..MemoryOptions::default() };
        let partitions = PartitionCount::new(PARTITIONS).expect("in range");
        run(steps, &mut MemoryLog::with_options(partitions, History::new(1), options));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_the_real_log_keeps_what_was_acknowledged(
        steps in prop::collection::vec(any_step(), 1..60),
        segment_bytes in 200..4000_u64,
        checkpoint_bytes in 1..2000_u64,
        tail_bytes in 0..3000_usize,
    ) {
        run(steps, &mut Rocks::new(Sizes { segment_bytes, checkpoint_bytes, tail_bytes }));
    }
}
