//! Sealed segments go, and nothing else: what is kept reads as before, what is gone is told as gone, and a stop at any
//! point leaves a log that opens with the one or the other.

use bytes::Bytes;
use storage::retention::{Choice, Keep, Policy, Reason, choose};
use storage::{
    DropError, Log, MemoryLog, MemoryOptions, ReadError, RetentionClass, Row, RowChange, RowKey, RowKind, SegmentFacts,
    SegmentId, StoredRecord, StreamRead, Survives,
};
use types::{History, Offset, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::harness::{Harness, Rocks, SMALL, fact, on_both, output, partition, partitions};

pub(crate) const PARTITION: PartitionId = partition(1);
pub(crate) const USER: u64 = 1;
const RUN: u64 = 2;

on_both! {
    dropped_segments_are_gone_and_the_rest_reads_as_before: SMALL,
    a_segment_in_the_middle_leaves_a_hole: SMALL,
    what_recovery_needs_is_not_dropped: SMALL,
    an_idle_segment_is_sealed_when_it_is_old: SMALL,
    the_streams_of_a_segment_are_listed: SMALL,
    everything_may_go_but_the_active_segments: SMALL,
}

/// The kernel's checkpoint at the end of the partition.
pub(crate) fn checkpoint(log: &dyn Harness) {
    let end = log.log().bounds(PARTITION).end;
    let key = RowKey { kind: RowKind::Partition, id: Bytes::new() };
    let row = Row { position: end, value: Bytes::from_static(b"scalars") };
    log.append_with_rows(PARTITION, Vec::new(), vec![RowChange::Put(key, row)]);
}

/// Events of a user stream and of a run, the run's in both chains, over many segments. Gives how many of each.
fn fill(log: &dyn Harness) -> (u64, u64) {
    let (mut user, mut run) = (0, 0);
    for n in 0..300 {
        let mut records = vec![output(USER, user), output(RUN, run)];
        (user, run) = (user + 1, run + 1);
        if n % 3 == 0 {
            records.push(fact(RUN, run));
            run += 1;
        }
        log.append(PARTITION, records);
    }
    (user, run)
}

fn segments(log: &dyn Harness, class: RetentionClass) -> Vec<SegmentFacts> {
    let all = log.log().segments(PARTITION).expect("it reads");
    all.into_iter().filter(|segment| segment.id.class == class).collect()
}

pub(crate) fn all_from(log: &dyn Harness, from: Position) -> Vec<StoredRecord> {
    let mut all: Vec<StoredRecord> = Vec::new();
    loop {
        let from = all.last().map_or(from, |last| last.position.next());
        let next = log.log().read(PARTITION, from, 7, 500).expect("it reads");
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

fn read(log: &dyn Harness, stream: u64, from: u64) -> Result<Vec<StoredRecord>, ReadError> {
    log.log().read_stream(StreamRead {
        partition: PARTITION,
        stream: StreamOrdinal::new(stream),
        from: Offset::new(from),
        until: Offset::new(u64::MAX),
        max_events: 1_000,
        max_bytes: 1 << 20,
    })
}

/// All events of a stream that are kept, and the gaps between them.
pub(crate) fn walk(log: &dyn Harness, stream: u64) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut offsets, mut gaps, mut next) = (Vec::new(), Vec::new(), 0);
    loop {
        match read(log, stream, next) {
            Ok(events) if events.is_empty() => return (offsets, gaps),
            Ok(events) => {
                offsets.extend(events.iter().map(|stored| stored.record.offset.value()));
                next = offsets.last().expect("there are some") + 1;
            }
            Err(ReadError::Trimmed { low }) => {
                assert!(low.value() > next, "a gap leads on");
                gaps.push((next, low.value()));
                next = low.value();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn ids(segments: &[SegmentFacts]) -> Vec<SegmentId> {
    segments.iter().map(|segment| segment.id).collect()
}

fn dropped_segments_are_gone_and_the_rest_reads_as_before(log: &mut dyn Harness) {
    let (user, run) = fill(log);
    checkpoint(log);
    let before = all_from(log, Position::ZERO);
    let stream = segments(log, RetentionClass::Stream);
    assert!(stream.len() > 5, "{stream:?}");
    let goes = &stream[..3];
    let dropped = log.log().drop_segments(PARTITION, &ids(goes)).expect("they go");
    assert_eq!((dropped.segments, dropped.bytes), (3, goes.iter().map(|segment| segment.bytes).sum()));
    let start = goes[2].next;
    for round in 0..3 {
        let bounds = log.log().bounds(PARTITION);
        assert!(bounds.trimmed && bounds.start_run == Position::ZERO && bounds.start_stream >= start, "{bounds:?}");
        let is_gone = |stored: &&StoredRecord| stored.record.output.is_some() && stored.position < start;
        let expect: Vec<_> = before.iter().filter(|stored| !is_gone(stored)).cloned().collect();
        assert_eq!(all_from(log, Position::ZERO), expect, "round {round}");
        let (offsets, gaps) = walk(log, USER);
        assert_eq!(gaps, [(0, offsets[0])]);
        assert_eq!(offsets, (offsets[0]..user).collect::<Vec<_>>());
        // A run's facts are all there, its output is not.
        let (offsets, gaps) = walk(log, RUN);
        assert!(gaps.len() > 3 && *offsets.last().expect("some") == run - 1, "{gaps:?}");
        assert_eq!(segments(log, RetentionClass::Stream)[0].id, stream[3].id);
        match round {
            0 => log.reopen(),
            _ => log.crash(),
        }
    }
    let again = log.log().drop_segments(PARTITION, &[goes[0].id]).expect_err("it is gone");
    assert!(matches!(again, DropError::Refused { .. }), "{again}");
}

fn a_segment_in_the_middle_leaves_a_hole(log: &mut dyn Harness) {
    let (user, _) = fill(log);
    checkpoint(log);
    let stream = segments(log, RetentionClass::Stream);
    log.log().drop_segments(PARTITION, &[stream[2].id]).expect("it goes");
    let holed = |log: &dyn Harness| {
        assert_eq!(log.log().bounds(PARTITION).start_stream, Position::ZERO);
        let (offsets, gaps) = walk(log, USER);
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        let (from, until) = gaps[0];
        assert!(from > 0 && until < user, "{gaps:?}");
        assert_eq!(offsets, (0..from).chain(until..user).collect::<Vec<_>>());
    };
    holed(log);
    log.reopen();
    holed(log);
    // Once what is before it goes too, nothing of it is left to know.
    log.log().drop_segments(PARTITION, &ids(&stream[..2])).expect("they go");
    log.crash();
    let (offsets, gaps) = walk(log, USER);
    assert_eq!(gaps, [(0, offsets[0])]);
    assert_eq!(segments(log, RetentionClass::Stream)[0].id, stream[3].id);
    // The log goes on as before.
    log.append(PARTITION, vec![output(USER, user), output(USER, user + 1)]);
    log.reopen();
    assert_eq!(*walk(log, USER).0.last().expect("some"), user + 1);
}

fn what_recovery_needs_is_not_dropped(log: &mut dyn Harness) {
    fill(log);
    let stream = segments(log, RetentionClass::Stream);
    let refused = log.log().drop_segments(PARTITION, &[stream[0].id]).expect_err("no checkpoint yet");
    assert_eq!(refused, DropError::Refused { segment: stream[0].id, what: "recovery needs it" });
    checkpoint(log);
    let active = stream.last().expect("some");
    let refused = log.log().drop_segments(PARTITION, &[stream[0].id, active.id]).expect_err("it is active");
    assert!(matches!(refused, DropError::Refused { segment, .. } if segment == active.id), "{refused}");
    assert_eq!(walk(log, USER).1, [], "all or nothing");
    let unknown = SegmentId { number: 999, ..active.id };
    log.log().drop_segments(PARTITION, &[unknown]).expect_err("there is none");
    // What may go is chosen by the same rule.
    let policy = Policy { stream: Keep { records: Some(0), ..Keep::default() }, run: Keep::default() };
    let facts = segments(log, RetentionClass::Stream);
    let choices = choose(&facts, &policy, Timestamp::ZERO);
    let expect: Vec<_> = facts[..facts.len() - 1].iter().map(|segment| segment.id).collect();
    assert!(choices.iter().all(|choice| choice.reason == Reason::Room));
    assert_eq!(choices.iter().map(|Choice { segment, .. }| *segment).collect::<Vec<_>>(), expect);
    log.log().drop_segments(PARTITION, &expect).expect("they go");
}

fn an_idle_segment_is_sealed_when_it_is_old(log: &mut dyn Harness) {
    log.append(PARTITION, vec![output(USER, 0), fact(RUN, 0)]);
    checkpoint(log);
    let sealed =
        |log: &dyn Harness| log.log().segments(PARTITION).expect("it reads").iter().filter(|it| it.sealed).count();
    log.log().seal(PARTITION, Timestamp::from_millis(1_700_000_000_000 + 60_000));
    checkpoint(log);
    assert_eq!(sealed(log), 0, "it is young");
    log.log().seal(PARTITION, Timestamp::from_millis(1_700_000_000_000 + storage::limits::SEGMENT_MS));
    checkpoint(log);
    assert_eq!(sealed(log), 2);
    let all: Vec<_> =
        log.log().segments(PARTITION).expect("it reads").iter().filter(|it| it.sealed).map(|it| it.id).collect();
    log.log().drop_segments(PARTITION, &all).expect("they go");
    assert_eq!(read(log, USER, 0), Ok(Vec::new()), "nothing is left, and nothing comes after it");
    log.append(PARTITION, vec![output(USER, 1)]);
    assert_eq!(walk(log, USER), (vec![1], vec![(0, 1)]));
}

fn the_streams_of_a_segment_are_listed(log: &mut dyn Harness) {
    fill(log);
    checkpoint(log);
    let stream = segments(log, RetentionClass::Stream);
    let first = log.log().segment_streams(stream[0].id, None, 1).expect("it reads");
    assert_eq!(first.iter().map(|it| it.stream.value()).collect::<Vec<_>>(), [USER]);
    let second = log.log().segment_streams(stream[0].id, Some(first[0].stream), 10).expect("it reads");
    assert_eq!(second.iter().map(|it| it.stream.value()).collect::<Vec<_>>(), [RUN]);
    log.log().drop_segments(PARTITION, &[stream[0].id]).expect("it goes");
    assert_eq!(walk(log, USER).1, [(0, first[0].end.value())], "the extent of a user stream is exact");
    let runs = segments(log, RetentionClass::Run);
    let only = log.log().segment_streams(runs[0].id, None, 10).expect("it reads");
    assert_eq!(only.iter().map(|it| it.stream.value()).collect::<Vec<_>>(), [RUN]);
}

fn everything_may_go_but_the_active_segments(log: &mut dyn Harness) {
    let (user, run) = fill(log);
    log.log().seal(PARTITION, Timestamp::from_millis(2_000_000_000_000));
    checkpoint(log);
    let sealed: Vec<_> =
        log.log().segments(PARTITION).expect("it reads").iter().filter(|it| it.sealed).map(|it| it.id).collect();
    log.log().drop_segments(PARTITION, &sealed).expect("they go");
    for _ in 0..2 {
        let end = log.log().bounds(PARTITION).end;
        assert_eq!(log.log().read(PARTITION, end, 10, 1_000), Ok(Vec::new()));
        assert!(
            matches!(log.log().read(PARTITION, Position::ZERO, 10, 1_000), Err(ReadError::Dropped { start }) if start == end)
        );
        log.crash();
    }
    log.append(PARTITION, vec![output(USER, user), fact(RUN, run)]);
    log.reopen();
    assert_eq!(walk(log, USER), (vec![user], vec![(0, user)]));
}

#[test]
fn a_verified_directory_with_holes_is_sound() {
    let mut rocks = Rocks::new(SMALL);
    fill(&rocks);
    checkpoint(&rocks);
    let (stream, run) = (segments(&rocks, RetentionClass::Stream), segments(&rocks, RetentionClass::Run));
    rocks.rocks().drop_segments(PARTITION, &[stream[0].id, stream[2].id, run[1].id]).expect("they go");
    let copy = rocks.copy();
    let report = storage::verify(&copy).expect("it reads");
    assert_eq!(report.damages, Vec::new());
    rocks.reopen();
    rocks.rocks().close().expect("it closes");
    // A store that is open still moves its files.
    rocks.log = None;
    assert_eq!(storage::verify(&rocks.path).expect("it reads").damages, Vec::new());
}

/// A drop that stops after any number of writes, syncs and file removals leaves the segment whole or gone.
#[test]
fn a_drop_that_is_cut_short_is_finished_or_never_was() {
    let options =
        MemoryOptions { segment_bytes: 3_000, checkpoint_bytes: 700, tail_bytes: 900, ..MemoryOptions::default() };
    let (mut whole, mut gone) = (0, 0);
    for stop_after in 0..20 {
        for survives in [0, 1, 2, 3, 100] {
            let mut memory = crate::harness::Memory(MemoryLog::with_options(partitions(), History::new(1), options));
            let (user, _) = fill(&memory);
            checkpoint(&memory);
            let stream = segments(&memory, RetentionClass::Stream);
            memory.0.stop_disk_after(stop_after);
            let dropped = memory.0.drop_segments(PARTITION, &[stream[0].id, stream[1].id]);
            memory.0.crash(Survives { batches: survives, torn_bytes: 0 });
            memory.0 = memory.0.reopen().expect("it opens");
            let (offsets, gaps) = walk(&memory, USER);
            if gaps.is_empty() {
                assert!(dropped.is_err(), "what was told as gone is gone");
                assert_eq!(offsets, (0..user).collect::<Vec<_>>(), "after {stop_after}, {survives}");
                whole += 1;
            } else {
                assert_eq!(gaps, [(0, offsets[0])]);
                assert_eq!(segments(&memory, RetentionClass::Stream)[0].id, stream[2].id);
                gone += 1;
            }
            memory.0 = memory.0.reopen().expect("it opens again");
            assert_eq!(walk(&memory, USER).1, gaps);
        }
    }
    assert!(whole >= 5 && gone >= 20, "{whole} whole, {gone} gone");
}
