//! A table that is damaged on disk never ends the log for good: it is taken out by the one who reads it through, or by
//! the start after a compaction came to it, and all but what it lost is served, before, meanwhile and after.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rocksdb::{DB, LiveFile};
use storage::{
    AppendBatch, AppendError, BackupError, BackupOptions, Checked, Log, OpenReport, RetentionClass, RocksLog,
    SegmentFacts, StoredRecord, back_up_stopped, restore, verify_backup,
};
use types::{PartitionId, Position, Timestamp};

use crate::damage::flip;
use crate::damaged_tables::{all_but, noise_output, scrub, served};
use crate::harness::{Harness, PARTITIONS, Rocks, Sizes, partition};
use crate::row_truth::tables;

const SIZES: Sizes = Sizes { segment_bytes: 150_000, checkpoint_bytes: 20_000, tail_bytes: 0 };
const EVENTS_A_ROUND: u64 = 40;
/// More than the tables that wait for a compaction.
const ROUNDS: u64 = 10;

/// Appends to every partition, closes and opens again: each time the memtables become tables.
fn round(rocks: &mut Rocks, number: u64) {
    for n in number * EVENTS_A_ROUND..(number + 1) * EVENTS_A_ROUND {
        for partition in (0..PARTITIONS).map(partition) {
            let seed = u64::from(partition.value()) << 32 | n;
            (&*rocks as &dyn Harness).append(partition, vec![noise_output(n, seed)]);
        }
    }
    rocks.reopen();
}

fn sorted(rocks: &Rocks) {
    let began = Instant::now();
    let waiting = |rocks: &Rocks| {
        let families = rocks.rocks().store_figures().families;
        families[0].level0_files >= 8 || families[1].level0_files >= 4
    };
    while waiting(rocks) {
        assert!(began.elapsed() < Duration::from_mins(1), "the store never sorted its tables");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn path_of(rocks: &Rocks, table: &LiveFile) -> PathBuf {
    rocks.path.join("log").join(table.name.trim_start_matches('/'))
}

fn filled() -> (Rocks, Vec<Vec<Vec<StoredRecord>>>) {
    let mut rocks = Rocks::new(SIZES);
    (0..ROUNDS).for_each(|number| round(&mut rocks, number));
    sorted(&rocks);
    let truth = truth(&rocks, ROUNDS);
    (rocks, truth)
}

fn truth(rocks: &Rocks, rounds: u64) -> Vec<Vec<Vec<StoredRecord>>> {
    let all = |number| vec![served(rocks.rocks(), partition(number), 1, rounds * EVENTS_A_ROUND, false)];
    (0..PARTITIONS).map(all).collect()
}

fn close(rocks: &mut Rocks) {
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
}

fn open(rocks: &mut Rocks) -> OpenReport {
    let (log, report) = RocksLog::open(&rocks.path, &rocks.options).expect("it opens");
    rocks.log = Some(log);
    report
}

/// Flips a byte in the largest table of a family that a compaction has sorted, while the log is closed.
fn damage(rocks: &mut Rocks, family: &str) -> PathBuf {
    close(rocks);
    // Between what all partitions have that comes later: a compaction cannot pass it by.
    let of_one =
        |table: &LiveFile| family == "index" || table.start_key.as_ref().is_some_and(|key| key[..4] == [0, 0, 0, 1]);
    let sorted = tables(&rocks.path, family).into_iter().filter(|table| table.level > 0 && of_one(table));
    let table = sorted.max_by_key(|table| table.size).expect("there is one");
    let path = path_of(rocks, &table);
    flip(&path, if family == "index" { 30 } else { table.size / 2 });
    path
}

#[test]
fn a_table_that_the_scrub_finds_damaged_is_replaced_and_compactions_go_on() {
    let (mut rocks, truth) = filled();
    let table = damage(&mut rocks, "log");
    open(&mut rocks);
    let damaged = scrub(rocks.rocks());
    assert!(!damaged.is_empty());
    assert_eq!(rocks.rocks().metrics().mended().0, 1);
    assert!(rocks.path.join("quarantined").join(table.file_name().expect("it has one")).exists());
    let end = ROUNDS * EVENTS_A_ROUND;
    all_but(rocks.rocks(), &damaged, &truth, &[1], end);
    for number in ROUNDS..2 * ROUNDS {
        round(&mut rocks, number);
    }
    sorted(&rocks);
    assert!(!table.exists());
    let after = truth_of_rest(&rocks, &damaged, 2 * ROUNDS);
    let kept = |records: usize, was: &Vec<Vec<StoredRecord>>| records >= was[0].len();
    assert!(after.iter().zip(&truth).all(|(records, was)| kept(*records, was)), "{after:?}");
}

/// How many records are served of each partition; the damaged one's hole is told.
fn truth_of_rest(rocks: &Rocks, damaged: &[SegmentFacts], rounds: u64) -> Vec<usize> {
    let count = |number| {
        let found = served(rocks.rocks(), partition(number), 1, rounds * EVENTS_A_ROUND, false);
        let lost: u64 = damaged.iter().filter(|it| it.id.partition == partition(number)).map(|it| it.records).sum();
        assert_eq!(found.len() as u64 + lost, rounds * EVENTS_A_ROUND, "partition {number}");
        found.len()
    };
    (0..PARTITIONS).map(count).collect()
}

#[test]
fn a_damaged_index_is_made_anew_and_nothing_is_quarantined() {
    let (mut rocks, truth) = filled();
    damage(&mut rocks, "index");
    open(&mut rocks);
    let mut met = 0;
    for partition in (0..PARTITIONS).map(partition) {
        for segment in rocks.rocks().segments(partition).expect("it reads").into_iter().filter(|it| it.sealed) {
            match rocks.rocks().check_segment(segment.id, &mut |_| true).expect("it reads") {
                Checked::Sound { .. } => {}
                Checked::IndexDamaged { .. } => {
                    met += 1;
                    assert_eq!(rocks.rocks().rebuild_index(segment.id), Ok(true));
                    let again = rocks.rocks().check_segment(segment.id, &mut |_| true).expect("it reads");
                    assert!(matches!(again, Checked::Sound { .. }), "{again:?}");
                }
                other @ (Checked::Damaged { .. } | Checked::Stopped) => panic!("{other:?}"),
            }
        }
    }
    assert!(met > 0);
    assert_eq!(rocks.rocks().quarantined(), Ok(Vec::new()));
    for number in ROUNDS..2 * ROUNDS {
        round(&mut rocks, number);
        all_but(rocks.rocks(), &[], &truth_until(&rocks, &truth, number), &[1], (number + 1) * EVENTS_A_ROUND);
    }
}

/// What was there before, and what came since.
fn truth_until(rocks: &Rocks, before: &[Vec<Vec<StoredRecord>>], round: u64) -> Vec<Vec<Vec<StoredRecord>>> {
    let all = truth(rocks, round + 1);
    for (now, was) in all.iter().zip(before) {
        assert!(now[0].starts_with(&was[0]), "what was there before is another");
    }
    all
}

#[test]
fn a_backup_with_quarantined_segments_is_verified_and_restored_without_them() {
    let (mut rocks, truth) = filled();
    damage(&mut rocks, "log");
    let end = ROUNDS * EVENTS_A_ROUND;
    // Once as they are on disk, marked and damaged, and once with the table replaced.
    let marked_only = rocks.copy();
    open(&mut rocks);
    let damaged = scrub(rocks.rocks());
    close(&mut rocks);
    mark_by_hand(&rocks.path, &marked_only);
    for (number, data) in [rocks.path.clone(), marked_only].into_iter().enumerate() {
        let (backups, into) =
            (rocks.folder.path().join(format!("b{number}")), rocks.folder.path().join(format!("r{number}")));
        let options = BackupOptions { now: Timestamp::from_millis(1_800_000_000_000), copy: false };
        let made = back_up_stopped(&data, &backups, options, &mut |_| ()).expect("it is made");
        assert_eq!(made.quarantined, damaged.len() as u64);
        let verified = verify_backup(&backups, &mut |_| ()).expect("what else there is is sound");
        assert_eq!(verified.log.quarantined, damaged.len() as u64);
        let restored = restore(&backups, &into, 7, &mut |_| ()).expect("it is restored");
        assert_eq!(restored.quarantined, damaged.len() as u64);
        let (log, report) = RocksLog::open(&into, &rocks.options).expect("it opens");
        assert_eq!(report.quarantined, damaged.len() as u64);
        all_but(&log, &damaged, &truth, &[1], end);
        log.close().expect("it closes");
    }
    // Other damage is refused as ever.
    let of_another = |table: &LiveFile| table.start_key.as_ref().is_some_and(|key| key[..4] == [0, 0, 0, 2]);
    let sorted = tables(&rocks.path, "log").into_iter().filter(|table| table.level > 0 && of_another(table));
    let table = sorted.min_by_key(|table| table.start_key.clone()).expect("there is one");
    flip(&path_of(&rocks, &table), table.size / 2);
    let backups = rocks.folder.path().join("refused");
    let options = BackupOptions { now: Timestamp::from_millis(1_800_000_000_000), copy: true };
    back_up_stopped(&rocks.path, &backups, options, &mut |_| ()).expect("it is made");
    let refused = verify_backup(&backups, &mut |_| ()).expect_err("it is damaged");
    assert!(matches!(refused, BackupError::Damaged { .. }), "{refused}");
}

/// Gives a directory the marks of another one, as a version did that replaced no tables.
fn mark_by_hand(from: &Path, to: &Path) {
    let families = ["default", "log", "index", "meta", "rows"];
    let options = rocksdb::Options::default();
    let marked = DB::open_cf_for_read_only(&options, from.join("log"), families, false).expect("it opens");
    let other = DB::open_cf(&options, to.join("log"), families).expect("it opens");
    let meta = (marked.cf_handle("meta").expect("it is there"), other.cf_handle("meta").expect("it is there"));
    let quarantines = marked.iterator_cf(meta.0, rocksdb::IteratorMode::From(&[5], rocksdb::Direction::Forward));
    for entry in quarantines {
        let (key, value) = entry.expect("it reads");
        assert_eq!(key[0], 5, "nothing has a later kind");
        other.put_cf(meta.1, key, value).expect("it is written");
    }
}

/// Appends as a node under a supervisor does: where the log is over, it is opened again. `None`: it was over.
fn append(rocks: &Rocks, partition: PartitionId, n: u64) -> Option<Position> {
    let expected = rocks.rocks().bounds(partition).end;
    let seed = u64::from(partition.value()) << 32 | n;
    let batch = AppendBatch { partition, expected, records: vec![noise_output(n, seed)], rows: Vec::new() };
    let answer = (rocks as &dyn Harness).offer(batch);
    let began = Instant::now();
    while rocks.outstanding().load(Ordering::SeqCst) > 0 {
        assert!(began.elapsed() < Duration::from_mins(1), "an append was not answered");
        std::thread::sleep(Duration::from_micros(50));
    }
    match answer.take().expect("it is answered") {
        Ok(end) => Some(end),
        Err(AppendError::OutcomeUnknown { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_table_that_a_compaction_finds_damaged_is_mended_by_the_next_start() {
    let (mut rocks, truth) = filled();
    damage(&mut rocks, "log");
    open(&mut rocks);
    let (mut stops, mut next) = (0, [ROUNDS * EVENTS_A_ROUND; PARTITIONS as usize]);
    let end = 2 * ROUNDS * EVENTS_A_ROUND;
    while next.iter().any(|next| *next < end) {
        let mut over = false;
        for partition in (0..PARTITIONS).map(partition) {
            let next = &mut next[partition.value() as usize];
            // What was in flight when the log ended may be there or not: it is looked at.
            *next = rocks.rocks().bounds(partition).end.value();
            let until = end.min(*next + EVENTS_A_ROUND);
            while *next < until && !over {
                over = append(&rocks, partition, *next).is_none();
                *next += u64::from(!over);
            }
        }
        over |= rocks.rocks().close().is_err();
        stops += u32::from(over);
        assert!(stops < 5, "it is over again and again");
        rocks.log = None;
        open(&mut rocks);
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(stops > 0, "no compaction came to it");
    let marked = rocks.rocks().quarantined().expect("it reads");
    assert!(!marked.is_empty());
    let is_marked = |segment: &SegmentFacts| marked.iter().any(|mark| mark.segment == segment.id);
    let all = (0..PARTITIONS).flat_map(|number| rocks.rocks().segments(partition(number)).expect("it reads"));
    let damaged: Vec<_> = all.filter(is_marked).collect();
    assert!(damaged.iter().all(|segment| segment.id.class == RetentionClass::Stream));
    truth_of_rest(&rocks, &damaged, 2 * ROUNDS);
    assert!(truth.iter().all(|streams| streams[0].len() as u64 == ROUNDS * EVENTS_A_ROUND));
}
