//! Bytes that are damaged inside RocksDB's tables while the node is stopped: the segments that hold them are found by
//! reading them through, and quarantined; everything else is served, and nothing of them ever is.

use std::collections::BTreeSet;
use std::fs;

use bytes::Bytes;
use storage::{
    Checked, Log, Quarantined, ReadError, ReadOnlyLog, Record, RocksLog, Row, RowChange, RowKey, RowKind, SegmentFacts,
    SegmentId, StoredRecord, StreamRead,
};
use types::{Offset, PartitionId, StreamOrdinal};

use crate::damage::{files, flip};
use crate::harness::{Harness, PARTITIONS, Rocks, Sizes, copy_folder, fact, output, partition};

/// Several segments a partition, none much smaller than a block of a table.
const SIZES: Sizes = Sizes { segment_bytes: 150_000, checkpoint_bytes: 20_000, tail_bytes: 0 };
const EVENTS: u64 = 120;
const PAYLOAD_BYTES: usize = 4_000;
const OUTPUT: u64 = 1;
const FACTS: u64 = 2;
/// Places in each table.
const PLACES: usize = 16;

/// Bytes that do not compress, so that tables are as long as what they hold.
fn noise(seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..PAYLOAD_BYTES).map(|_| byte()).collect()
}

fn with_noise(record: Record, seed: u64) -> Record {
    Record { payload: noise(seed), ..record }
}

/// An event of stream 1 that does not compress.
pub(crate) fn noise_output(n: u64, seed: u64) -> Record {
    with_noise(output(OUTPUT, n), seed)
}

fn fill(log: &dyn Harness) {
    for n in 0..EVENTS {
        for number in 0..PARTITIONS {
            let seed = u64::from(number) << 32 | n << 1;
            let records = vec![with_noise(output(OUTPUT, n), seed), with_noise(fact(FACTS, n), seed | 1)];
            log.append(partition(number), records);
        }
    }
    for partition in (0..PARTITIONS).map(partition) {
        let row = Row { position: log.log().bounds(partition).end, value: Bytes::new() };
        let key = RowKey { kind: RowKind::Partition, id: Bytes::new() };
        log.append_with_rows(partition, Vec::new(), vec![RowChange::Put(key, row)]);
    }
}

fn read(log: &RocksLog, partition: PartitionId, stream: u64, from: u64) -> Result<Vec<StoredRecord>, ReadError> {
    log.read_stream(StreamRead {
        partition,
        stream: StreamOrdinal::new(stream),
        from: Offset::new(from),
        until: Offset::new(u64::MAX),
        max_events: 1_000,
        max_bytes: 1 << 30,
    })
}

/// Every event of a stream that is served, from its beginning to its end, or to a last event that is quarantined: only
/// who knows where the stream ends can tell that one is missing, and the bounds say that one may be. Damage that is not quarantined ends the walk
/// when it is `expected`, and else fails.
pub(crate) fn served(
    log: &RocksLog,
    partition: PartitionId,
    stream: u64,
    end: u64,
    expected: bool,
) -> Vec<StoredRecord> {
    let (mut events, mut next) = (Vec::new(), 0);
    loop {
        match read(log, partition, stream, next) {
            Ok(found) if found.is_empty() => {
                let told = next == end || log.bounds(partition).quarantined;
                assert!(told, "stream {stream} of partition {partition} ends at {next} of {end}, and says nothing");
                return events;
            }
            Ok(found) => {
                next = found.last().expect("there are some").record.offset.value() + 1;
                events.extend(found);
            }
            Err(ReadError::EventsQuarantined { low }) => next = low.value(),
            Err(ReadError::Corrupt { .. }) if expected => return events,
            Err(error) => panic!("stream {stream} of partition {partition} at {next}: {error}"),
        }
    }
}

/// Reads all sealed segments through and quarantines what is damaged, as the scrub does.
pub(crate) fn scrub(log: &RocksLog) -> Vec<SegmentFacts> {
    let mut damaged = Vec::new();
    for partition in (0..PARTITIONS).map(partition) {
        let segments = log.segments(partition).expect("it reads");
        for segment in segments.into_iter().filter(|segment| segment.sealed && !segment.quarantined) {
            match log.check_segment(segment.id, &mut |_| true).expect("it reads") {
                Checked::Sound { .. } => {}
                Checked::Damaged { position, what } => {
                    log.quarantine(&Quarantined { segment: segment.id, position, what }).expect("it is marked");
                    damaged.push(segment);
                }
                Checked::IndexDamaged { .. } => drop(log.rebuild_index(segment.id).expect("its blocks are read")),
                Checked::Stopped => panic!("nobody stopped it"),
            }
        }
    }
    damaged
}

/// Those that the start found.
fn quarantined_at_start(log: &RocksLog) -> Vec<SegmentFacts> {
    let all = (0..PARTITIONS).flat_map(|number| log.segments(partition(number)).expect("it reads"));
    all.filter(|segment| segment.quarantined).collect()
}

/// All that is served is what was written, and all is but what the damaged segments held.
pub(crate) fn all_but(
    log: &RocksLog,
    damaged: &[SegmentFacts],
    truth: &[Vec<Vec<StoredRecord>>],
    streams: &[u64],
    end: u64,
) {
    for (number, of_streams) in (0..).zip(truth) {
        for (stream, expect) in streams.iter().copied().zip(of_streams) {
            let found = served(log, partition(number), stream, end, false);
            let inside = |record: &StoredRecord, segment: &SegmentFacts| {
                let is_output = record.record.output.is_some();
                let of_chain = (segment.id.class == storage::RetentionClass::Stream) == is_output;
                let within = segment.base <= record.position && record.position < segment.next;
                segment.id.partition == partition(number) && of_chain && within
            };
            let kept = |record: &&StoredRecord| !damaged.iter().any(|segment| inside(record, segment));
            let expect: Vec<_> = expect.iter().filter(kept).cloned().collect();
            assert!(found == expect, "stream {stream} of partition {number}: {} of {}", found.len(), expect.len());
        }
    }
}

/// Verifying does not stop at what it cannot read: it names each damaged segment, and takes nothing for missing.
fn names_each(verified: &storage::VerifyReport, damaged: &[SegmentFacts], place: usize) {
    let named: BTreeSet<_> = verified.damages.iter().map(|it| (it.partition, it.chain, it.segment)).collect();
    for id in damaged.iter().map(|segment| segment.id) {
        let wanted = (Some(id.partition), Some(id.class), Some(id.number));
        assert!(named.contains(&wanted), "place {place}: {id:?} is not in {:?}", verified.damages);
    }
    let missing = |it: &&storage::DamageFound| it.what.contains("missing");
    assert_eq!(verified.damages.iter().find(missing), None, "place {place}");
    let records = u64::from(PARTITIONS) * EVENTS * 2;
    let lost: u64 = damaged.iter().map(|segment| segment.records).sum();
    assert!(verified.records + lost >= records, "place {place}: {} of {records} were read", verified.records);
}

#[test]
fn damage_inside_tables_quarantines_what_they_hold_and_all_else_is_served() {
    let mut rocks = Rocks::new(SIZES);
    fill(&rocks);
    let all =
        |number| [OUTPUT, FACTS].map(|stream| served(rocks.rocks(), partition(number), stream, EVENTS, false)).to_vec();
    let truth: Vec<_> = (0..PARTITIONS).map(all).collect();
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    let largest = files(&rocks.path, "sst").pop().expect("there is one");
    let len = usize::try_from(fs::metadata(&largest).expect("readable").len()).expect("small");
    assert!(len > PAYLOAD_BYTES * 100, "{len} bytes of tables");
    let (mut at_start, mut quarantined) = (0, BTreeSet::<SegmentId>::new());
    for place in 0..PLACES {
        let copy = rocks.folder.path().join("damaged");
        copy_folder(&rocks.path, &copy);
        let table = copy.join("log").join(largest.file_name().expect("it has a name"));
        flip(&table, len / PLACES * place + 4_321);
        let verified = storage::verify(&copy).expect("something can be read");
        let read_only = ReadOnlyLog::open(&copy).expect("it opens to be looked at").1;
        let (log, report) = RocksLog::open(&copy, &rocks.options).expect("damage in tables refuses no start");
        assert_eq!(read_only.quarantined, report.quarantined, "place {place}");
        at_start += usize::from(report.quarantined > 0);
        for (number, streams) in (0..).zip(&truth) {
            for (stream, expect) in [OUTPUT, FACTS].into_iter().zip(streams) {
                let mut expect = expect.iter();
                let found = served(&log, partition(number), stream, EVENTS, true);
                assert!(found.iter().all(|one| expect.any(|other| other == one)), "place {place}: served wrong");
            }
        }
        let mut damaged = quarantined_at_start(&log);
        assert_eq!(damaged.len() as u64, report.quarantined);
        damaged.extend(scrub(&log));
        all_but(&log, &damaged, &truth, &[OUTPUT, FACTS], EVENTS);
        names_each(&verified, &damaged, place);
        quarantined.extend(damaged.iter().map(|segment| segment.id));
        log.close().expect("it closes");
        drop(log);
        let (log, report) = RocksLog::open(&copy, &rocks.options).expect("it opens again");
        assert_eq!(report.quarantined, damaged.len() as u64);
        all_but(&log, &damaged, &truth, &[OUTPUT, FACTS], EVENTS);
        let goes: Vec<_> = damaged.iter().map(|segment| segment.id).collect();
        for id in goes {
            log.drop_segments(id.partition, &[id]).expect("it goes");
        }
        assert_eq!(log.quarantined(), Ok(Vec::new()));
        drop(log);
        fs::remove_dir_all(copy).expect("it was made");
    }
    println!("damage inside tables: {PLACES} places, {at_start} met at the start, {} quarantined", quarantined.len());
    assert!(at_start > 0 && quarantined.len() > PLACES / 4, "{at_start} at the start, {quarantined:?}");
}
