//! A damaged sealed segment is found by reading it through, and then nothing of it is served while all else is.

use bytes::Bytes;
use storage::retention::{Keep, Policy, choose};
use storage::{
    Checked, Log, MemoryLog, Quarantined, ReadError, RetentionClass, Row, RowChange, RowKey, RowKind, SegmentFacts,
    StreamRead,
};
use types::{Offset, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::harness::{COLD, Harness, Memory, fact, output, partition};

const PARTITION: PartitionId = partition(1);

fn fill(log: &dyn Harness) {
    for n in 0..200 {
        log.append(PARTITION, vec![output(1, n), fact(2, n)]);
    }
    let key = RowKey { kind: RowKind::Partition, id: Bytes::new() };
    let row = Row { position: log.log().bounds(PARTITION).end, value: Bytes::new() };
    log.append_with_rows(PARTITION, Vec::new(), vec![RowChange::Put(key, row)]);
}

fn sealed(log: &dyn Log) -> Vec<SegmentFacts> {
    let all = log.segments(PARTITION).expect("it reads");
    all.into_iter().filter(|segment| segment.sealed).collect()
}

fn check(log: &dyn Log, segment: &SegmentFacts) -> Checked {
    log.check_segment(segment.id, &mut |_| true).expect("it reads")
}

fn read(log: &dyn Log, stream: u64, from: u64) -> Result<Vec<u64>, ReadError> {
    let events = log.read_stream(StreamRead {
        partition: PARTITION,
        stream: StreamOrdinal::new(stream),
        from: Offset::new(from),
        until: Offset::new(u64::MAX),
        max_events: 1_000,
        max_bytes: 1 << 20,
    })?;
    Ok(events.iter().map(|stored| stored.record.offset.value()).collect())
}

/// One damaged segment of the stream chain, which `flip` made so.
fn served_but_for(log: &mut dyn Harness, damaged: &SegmentFacts) {
    let Checked::Damaged { position, what } = check(log.log(), damaged) else { panic!("it is damaged") };
    assert!(!what.is_empty());
    let found = Quarantined { segment: damaged.id, position, what };
    log.log().quarantine(&found).expect("it is marked");
    for _ in 0..2 {
        assert_eq!(log.log().quarantined(), Ok(vec![found.clone()]));
        assert!(log.log().bounds(PARTITION).quarantined && !log.log().bounds(PARTITION).trimmed);
        // The stream is served up to the segment and behind it, and told about what is between.
        let before = read(log.log(), 1, 0).expect("it reads");
        let from = before.last().expect("some") + 1;
        let Err(ReadError::EventsQuarantined { low }) = read(log.log(), 1, from) else { panic!("it is quarantined") };
        let after = read(log.log(), 1, low.value()).expect("it reads");
        assert_eq!(after.last(), Some(&199));
        assert_eq!((before.len() + after.len()) as u64, 200 - damaged.records);
        assert_eq!(read(log.log(), 2, 0).map(|offsets| offsets.len()), Ok(200), "the other chain is whole");
        let (mut positions, mut next, mut told) = (0, Position::ZERO, 0);
        loop {
            match log.log().read(PARTITION, next, 50, 10_000) {
                Ok(records) if records.is_empty() => break,
                Ok(records) => {
                    positions += records.len() as u64;
                    next = records.last().expect("some").position.next();
                }
                Err(ReadError::Quarantined { next: after, .. }) => {
                    assert!(after > next);
                    (next, told) = (after, told + 1);
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(
            (positions < 400 - damaged.records, told),
            (true, 1),
            "records of the other chain in between as well"
        );
        log.crash();
    }
    // It is not dropped by itself, but it may be.
    let facts = sealed(log.log());
    assert!(facts.iter().any(|segment| segment.id == damaged.id && segment.quarantined));
    let none = Keep { age_ms: Some(0), bytes: Some(0), records: Some(0) };
    let goes = choose(&facts, &Policy { run: none, stream: none }, Timestamp::from_millis(u64::MAX));
    let goes: Vec<_> = goes.into_iter().map(|choice| choice.segment).collect();
    let rest: Vec<_> = facts.iter().map(|segment| segment.id).filter(|id| *id != damaged.id).collect();
    assert!(rest.len() > 2 && rest.iter().all(|id| goes.contains(id)), "all that is whole goes");
    assert!(!goes.contains(&damaged.id), "what is quarantined stays, whatever the policy");
    log.log().drop_segments(PARTITION, &goes[..1]).expect("it goes");
    assert_eq!(log.log().quarantined(), Ok(vec![found]));
    log.log().drop_segments(PARTITION, &[damaged.id]).expect("it goes");
    assert_eq!(log.log().quarantined(), Ok(Vec::new()));
    let bounds = log.log().bounds(PARTITION);
    assert!(bounds.trimmed && !bounds.quarantined);
}

#[test]
fn a_sound_segment_is_found_sound() {
    let memory = Memory::new(COLD);
    fill(&memory);
    for segment in sealed(&memory.0) {
        let Checked::Sound { blocks, bytes } = check(&memory.0, &segment) else { panic!("{segment:?}") };
        assert!(blocks > 0 && bytes == segment.bytes);
        let stopped = memory.0.check_segment(segment.id, &mut |_| false).expect("it reads");
        assert_eq!(stopped, Checked::Stopped);
    }
}

#[test]
fn a_flipped_bit_quarantines_one_segment() {
    for bit in [3, 77, 4_001] {
        let mut memory = Memory::new(COLD);
        fill(&memory);
        let damaged =
            sealed(&memory.0).into_iter().filter(|it| it.id.class == RetentionClass::Stream).nth(1).expect("some");
        assert!(MemoryLog::flip_bit(&memory.0, PARTITION, position_in(&memory.0, &damaged), bit));
        served_but_for(&mut memory, &damaged);
    }
}

/// The position of some output in a segment.
fn position_in(log: &MemoryLog, segment: &SegmentFacts) -> Position {
    let records = log.read(PARTITION, segment.base, 1_000, 1 << 20).expect("it reads");
    let is_output = |position: &Position| *position > segment.base.after(3) && *position < segment.next;
    records.iter().filter(|it| it.record.output.is_some()).map(|it| it.position).find(is_output).expect("some")
}

/// A reader that meets damage where records are still added would meet it for ever, were that segment not sealed.
#[test]
fn a_damaged_segment_that_takes_records_is_sealed_and_the_stream_goes_on_behind_it() {
    for (stream, class) in [(1, RetentionClass::Stream), (2, RetentionClass::Run)] {
        let mut memory = Memory::new(COLD);
        fill(&memory);
        assert_eq!(memory.0.seal_damaged(PARTITION), Ok(0), "nothing is damaged");
        let active = memory.0.segments(PARTITION).expect("it reads");
        let active = active.into_iter().find(|it| !it.sealed && it.id.class == class).expect("there is one");
        // The first record of the stream in it.
        let (end, mut position) = (memory.0.bounds(PARTITION).end, active.base);
        while !memory.0.read(PARTITION, position, 1, 1).expect("it reads")[0]
            .record
            .stream
            .eq(&StreamOrdinal::new(stream))
        {
            position = position.next();
            assert!(position < end, "the segment is empty");
        }
        assert!(MemoryLog::flip_bit(&memory.0, PARTITION, position, 900), "there is a block");
        let before = read(&memory.0, stream, 0).expect("it reads up to the damage");
        let from = before.last().expect("some") + 1;
        assert!(matches!(read(&memory.0, stream, from), Err(ReadError::Corrupt { .. })), "it ends the reader");
        assert_eq!(memory.0.seal_damaged(PARTITION), Ok(1));
        let sealed = sealed(&memory.0).into_iter().find(|segment| segment.id == active.id).expect("it is sealed");
        let Checked::Damaged { position, what } = check(&memory.0, &sealed) else { panic!("it is damaged") };
        memory.0.quarantine(&Quarantined { segment: sealed.id, position, what }).expect("it is marked");
        let more = if class == RetentionClass::Stream { output(1, 200) } else { fact(2, 200) };
        (&memory as &dyn Harness).append(PARTITION, vec![more]);
        for _ in 0..2 {
            assert_eq!(memory.0.seal_damaged(PARTITION), Ok(0), "what is quarantined is not sealed again");
            let Err(ReadError::EventsQuarantined { low }) = read(&memory.0, stream, from) else { panic!("it is told") };
            assert_eq!(low.value(), 200);
            assert_eq!(read(&memory.0, stream, 200), Ok(vec![200]));
            memory.crash();
        }
    }
}
