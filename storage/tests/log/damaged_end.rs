//! Damage in the table that holds the last block of a segment that takes records: the start cannot read what its
//! checkpoint names. The segment is sealed and quarantined, unless nobody can say that nothing followed.

use std::fs;
use std::path::Path;

use storage::{Checked, Log, OpenError, Options, ReadOnlyLog, Repair, RocksLog, SegmentFacts};

use crate::damage::{files, flip};
use crate::damaged_tables::{all_but, noise_output, served};
use crate::harness::{Harness, PARTITIONS, Rocks, Sizes, copy_folder, partition};

const SIZES: Sizes = Sizes { segment_bytes: 1 << 30, checkpoint_bytes: 20_000, tail_bytes: 0 };
const EVENTS: u64 = 40;
const STREAM: u64 = 1;
/// Of a record's payload, as much as tells it from all others.
const TOLD_BY: usize = 32;

/// Flips a bit within the last record's payload, wherever a table has it.
fn damage_last(path: &Path, payload: &[u8]) {
    let mut found = 0;
    for table in files(path, "sst") {
        let bytes = fs::read(&table).expect("readable");
        for at in bytes.windows(TOLD_BY).enumerate().filter(|(_, window)| *window == &payload[..TOLD_BY]) {
            flip(&table, at.0 + TOLD_BY / 2);
            found += 1;
        }
    }
    assert_eq!(found, 1, "the payload lies as it is in one table");
}

fn payload(number: u32, n: u64) -> bytes::Bytes {
    noise_output(n, seed(number, n)).payload
}

fn seed(number: u32, n: u64) -> u64 {
    u64::from(number) << 32 | n
}

/// A log that was closed, and its `COMMIT` of before its first record.
fn closed() -> (Rocks, Vec<u8>) {
    let mut rocks = Rocks::new(SIZES);
    rocks.log = None;
    rocks.path = rocks.folder.path().join("late");
    let options = Options { watermark_ms: 3_600_000, ..rocks.options.clone() };
    rocks.log = Some(RocksLog::open(&rocks.path, &options).expect("it is made").0);
    let early = fs::read(rocks.path.join("COMMIT")).expect("readable");
    for n in 0..EVENTS {
        for number in 0..PARTITIONS {
            (&rocks as &dyn Harness).append(partition(number), vec![noise_output(n, seed(number, n))]);
        }
    }
    rocks.rocks().close().expect("it closes");
    (rocks, early)
}

fn damaged_segments(log: &dyn Log) -> Vec<SegmentFacts> {
    let all = (0..PARTITIONS).flat_map(|number| log.segments(partition(number)).expect("it reads"));
    all.filter(|segment| segment.quarantined).collect()
}

/// It was quarantined, all else is served, and records are added, now and after each kind of stop.
fn goes_on(mut rocks: Rocks) {
    let truth: Vec<_> = {
        let log = rocks.rocks();
        (0..PARTITIONS).map(|number| vec![served(log, partition(number), STREAM, EVENTS, false)]).collect()
    };
    rocks.log = None;
    let damaged = partition(PARTITIONS - 1);
    damage_last(&rocks.path, &payload(PARTITIONS - 1, EVENTS - 1));
    let (looked_at, report) = ReadOnlyLog::open(&rocks.path).expect("it opens to be looked at");
    assert_eq!(report.quarantined, 1);
    let end = looked_at.bounds(damaged).end;
    let error = looked_at.read(damaged, types::Position::ZERO, 10, 1 << 20).expect_err("nothing of it is read");
    assert!(matches!(error, storage::ReadError::Quarantined { next, .. } if next == end), "{error}");
    drop(looked_at);

    let (log, report) = RocksLog::open(&rocks.path, &rocks.options).expect("it opens");
    assert_eq!((report.quarantined, log.bounds(damaged).end), (1, end));
    let lost = damaged_segments(&*log);
    assert_eq!(lost.iter().map(|lost| (lost.id.partition, lost.records)).collect::<Vec<_>>(), [(damaged, EVENTS)]);
    all_but(&log, &lost, &truth, &[STREAM], EVENTS);
    rocks.log = Some(log);
    let harness: &mut dyn Harness = &mut rocks;
    assert_eq!(harness.append(damaged, vec![noise_output(EVENTS, 7)]), end.next());
    harness.crash();
    assert_eq!(harness.append(damaged, vec![noise_output(EVENTS + 1, 8)]), end.next().next());
    let log = rocks.rocks();
    let now = served(log, damaged, STREAM, EVENTS + 2, false);
    assert_eq!(now.iter().map(|record| record.position.value()).collect::<Vec<_>>(), [end.value(), end.value() + 1]);
    for segment in log.segments(damaged).expect("it reads").iter().filter(|it| it.sealed && !it.quarantined) {
        assert!(matches!(log.check_segment(segment.id, &mut |_| true), Ok(Checked::Sound { .. })));
    }
}

#[test]
fn a_segment_whose_last_block_is_damaged_is_quarantined_by_the_start() {
    goes_on(closed().0);
}

#[test]
fn so_it_is_after_a_stop_without_order() {
    let mut rocks = closed().0;
    rocks.log = None;
    rocks.log = Some(RocksLog::open(&rocks.path, &rocks.options).expect("it opens").0);
    let copy = rocks.copy();
    rocks.log = None;
    rocks.path = copy;
    rocks.log = Some(RocksLog::open(&rocks.path, &rocks.options).expect("it opens").0);
    goes_on(rocks);
}

#[test]
fn where_nobody_knows_whether_something_followed_the_start_is_refused_until_that_is_accepted() {
    let (mut rocks, early) = closed();
    rocks.log = None;
    fs::write(rocks.path.join("COMMIT"), early).expect("writable");
    let whole = rocks.folder.path().join("whole");
    copy_folder(&rocks.path, &whole);
    drop(RocksLog::open(&whole, &rocks.options).expect("an early COMMIT alone refuses nothing"));

    let number = PARTITIONS - 1;
    damage_last(&rocks.path, &payload(number, EVENTS - 1));
    for _ in 0..2 {
        let refused = RocksLog::open(&rocks.path, &rocks.options).expect_err("the last records may be gone");
        assert!(matches!(&refused, OpenError::EndUnknown { partition: p, .. } if *p == partition(number)), "{refused}");
        assert!(matches!(ReadOnlyLog::open(&rocks.path), Err(OpenError::EndUnknown { .. })));
    }
    let repair = Repair::plan(&rocks.path).expect("it can be accepted");
    let [loss] = &repair.losses[..] else { panic!("{repair:?}") };
    assert_eq!((loss.partition, loss.kept), (partition(number), loss.durable));
    repair.accept(7).expect("it is accepted");
    let (log, report) = RocksLog::open(&rocks.path, &rocks.options).expect("it opens");
    assert_eq!(report.quarantined, 1);
    assert_eq!(damaged_segments(&*log).len(), 1);
    let end = log.bounds(partition(number)).end;
    rocks.log = Some(log);
    assert_eq!((&rocks as &dyn Harness).append(partition(number), vec![noise_output(EVENTS, 7)]), end.next());
}
