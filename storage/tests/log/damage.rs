//! Bits that flip on a real disk: in the write-ahead log, in RocksDB's files, in the watermark. Each is found and
//! named, or was of something that nobody was ever told of.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use storage::{Log, OpenError, Options, ReadError, RocksLog, StoredRecord};
use types::Position;

use crate::harness::{Harness, Rocks, Sizes, USUAL, copy_folder, fact, output, partition};
use crate::reading::mixture;

/// A copy of `from` under a name of its own.
fn copy(from: &Path, name: &str) -> PathBuf {
    let to = from.parent().expect("a folder").join(name);
    copy_folder(from, &to);
    to
}

pub(crate) fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[byte] ^= 0x10;
    fs::write(path, bytes).expect("writable");
}

/// The files of `log/` whose names end in `extension`, the largest last.
pub(crate) fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(path.join("log")).expect("readable").map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort_by_key(|path| fs::metadata(path).expect("readable").len());
    files
}

/// Every byte that is not zero: the rest of a log file was never written.
pub(crate) fn used(path: &Path) -> usize {
    let bytes = fs::read(path).expect("readable");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

pub(crate) fn read_all(log: &RocksLog) -> Result<Vec<StoredRecord>, ReadError> {
    let mut all: Vec<StoredRecord> = Vec::new();
    loop {
        let from = all.last().map_or(Position::ZERO, |last| last.position.next());
        let next = log.read(partition(1), from, 1000, 1 << 20)?;
        if next.is_empty() {
            return Ok(all);
        }
        all.extend(next);
    }
}

#[test]
fn a_flipped_bit_in_the_write_ahead_log_refuses_the_start() {
    let mut rocks = Rocks::new(USUAL);
    mixture(&rocks, 200);
    // The watermark is written within 100 ms.
    std::thread::sleep(Duration::from_millis(250));
    let unclean = rocks.copy();
    let wal = files(&unclean, "log").pop().expect("there is one");
    let used = used(&wal);
    assert!(used > 20_000, "{used} bytes were written");
    let all = (&rocks as &dyn Harness).all(partition(1));
    let mut refused = 0;
    for number in 0..60 {
        let copy = copy(&unclean, &format!("wal-{number}"));
        let wal = copy.join("log").join(wal.file_name().expect("it has a name"));
        // From the beginning to shortly before the end, where the last group is.
        flip(&wal, used / 60 * number + number);
        match RocksLog::open(&copy, &rocks.options) {
            Ok((log, _)) => {
                assert_eq!(read_all(&log).as_ref(), Ok(&all), "byte {} was served changed", used / 60 * number);
            }
            Err(error) => {
                refused += 1;
                let again = RocksLog::open(&copy, &rocks.options).expect_err("and so does the next start");
                for error in [error, again] {
                    assert!(
                        matches!(error, OpenError::AcknowledgedDataMissing { .. } | OpenError::Damaged { .. }),
                        "{error}"
                    );
                }
            }
        }
        fs::remove_dir_all(copy).expect("it was made");
    }
    assert!(refused > 50, "only {refused} of 60 flipped bits were found");
}

#[test]
fn a_cut_log_is_noticed_by_what_lies_behind_the_cut_alone() {
    // The watermark comes too late to know of anything.
    let mut rocks = Rocks::new(USUAL);
    rocks.log = None;
    let path = rocks.folder.path().join("late");
    let options = Options { watermark_ms: 3_600_000, ..rocks.options.clone() };
    rocks.log = Some(RocksLog::open(&path, &options).expect("it is made").0);
    rocks.path = path;
    mixture(&rocks, 300);
    let unclean = rocks.copy();
    let wal = files(&unclean, "log").pop().expect("there is one");
    flip(&wal, used(&wal) / 3);
    let error = RocksLog::open(&unclean, &options).expect_err("two thirds are gone");
    let OpenError::AcknowledgedDataMissing { partition: number, durable, found, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*number, partition(1));
    let end = rocks.rocks().bounds(partition(1)).end;
    assert!(*found > Position::ZERO && found < durable && *durable < end, "{error}");
    assert!(durable.since(*found) > end.value() / 2, "{error}");
}

#[test]
fn a_log_shorter_than_the_watermark_is_refused() {
    let mut rocks = Rocks::new(USUAL);
    let harness: &dyn Harness = &rocks;
    harness.append(partition(2), (0..10).map(|n| fact(1, n)).collect());
    std::thread::sleep(Duration::from_millis(250));
    let before = rocks.copy();
    (&rocks as &dyn Harness).append(partition(2), (10..20).map(|n| fact(1, n)).collect());
    std::thread::sleep(Duration::from_millis(250));
    let after = rocks.copy();
    fs::copy(after.join("COMMIT"), before.join("COMMIT")).expect("writable");
    let error = RocksLog::open(&before, &rocks.options).expect_err("ten records are gone");
    let text = error.to_string();
    assert!(text.contains("partition 2 was durable up to position 20, but only 10 is there"), "{text}");
    assert!(text.contains("headwater backup restore"), "{text}");
    let report = storage::verify(&before).expect("it reads");
    assert!(report.damages.iter().any(|damage| damage.what.contains("acknowledged data is missing")), "{report:?}");
}

#[test]
fn a_watermark_of_an_older_copy_is_refused() {
    let mut rocks = Rocks::new(USUAL);
    (&rocks as &dyn Harness).append(partition(2), vec![fact(1, 0)]);
    let old = rocks.copy();
    rocks.reopen();
    (&rocks as &dyn Harness).append(partition(2), vec![fact(1, 1)]);
    let new = rocks.copy();
    fs::copy(old.join("COMMIT"), new.join("COMMIT")).expect("writable");
    let error = RocksLog::open(&new, &rocks.options).expect_err("it is another copy's");
    assert!(error.to_string().contains("it is another copy's"), "{error}");
}

#[test]
fn a_torn_last_group_is_cut() {
    // Neither the watermark nor a later block knows that it was durable: it cannot be told from one that never was.
    let mut rocks = Rocks::new(USUAL);
    rocks.log = None;
    let options = Options { watermark_ms: 3_600_000, ..rocks.options.clone() };
    rocks.path = rocks.folder.path().join("late");
    rocks.log = Some(RocksLog::open(&rocks.path, &options).expect("it is made").0);
    let harness: &dyn Harness = &rocks;
    harness.append(partition(1), vec![fact(1, 0), output(1, 1)]);
    harness.append(partition(1), vec![fact(1, 2)]);
    let torn = rocks.copy();
    let wal = files(&torn, "log").pop().expect("there is one");
    flip(&wal, used(&wal) - 3);
    let (log, report) = RocksLog::open(&torn, &options).expect("only the last group is gone");
    assert_eq!(read_all(&log).map(|records| records.len()), Ok(2));
    assert!(!report.clean, "{report:?}");
}

#[test]
fn a_flipped_bit_in_a_file_is_named_and_never_served() {
    let sizes = Sizes { segment_bytes: 20_000, checkpoint_bytes: 2_000, tail_bytes: 0 };
    let mut rocks = Rocks::new(sizes);
    mixture(&rocks, 250);
    let all = (&rocks as &dyn Harness).all(partition(1));
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    let tables = files(&rocks.path, "sst");
    let (mut named, mut unharmed) = (0, 0);
    for (table, path) in tables.iter().enumerate() {
        let len = usize::try_from(fs::metadata(path).expect("readable").len()).expect("small");
        for number in 0..12 {
            let copy = copy(&rocks.path, &format!("sst-{table}-{number}"));
            flip(&copy.join("log").join(path.file_name().expect("it has a name")), len / 12 * number + 3);
            let served = RocksLog::open(&copy, &rocks.options).map(|(log, _)| read_all(&log));
            match served {
                Err(
                    OpenError::Damaged { .. }
                    | OpenError::StoreUnreadable { .. }
                    | OpenError::AcknowledgedDataMissing { .. },
                )
                | Ok(Err(ReadError::Corrupt { .. })) => named += 1,
                Ok(Ok(records)) => {
                    assert_eq!(records, all, "table {table}, part {number}: records were served changed or missing");
                    unharmed += 1;
                }
                other => panic!("table {table}, part {number}: {other:?}"),
            }
            fs::remove_dir_all(copy).expect("it was made");
        }
    }
    assert!(named > unharmed, "{named} named, {unharmed} were of nothing that is read here");
}

#[test]
fn a_flipped_bit_in_the_watermark_costs_one_half_and_two_are_refused() {
    let mut rocks = Rocks::new(USUAL);
    (&rocks as &dyn Harness).append(partition(0), vec![fact(1, 0)]);
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    let commit = rocks.path.join("COMMIT");
    flip(&commit, 20);
    let one = copy(&rocks.path, "one");
    let (log, report) = RocksLog::open(&one, &rocks.options).expect("one half is enough");
    assert_eq!(log.bounds(partition(0)).end, Position::new(1));
    assert_eq!(report.term, 2);
    flip(&commit, 16 * 1024 + 20);
    let error = RocksLog::open(&rocks.path, &rocks.options).expect_err("both are spoiled");
    assert!(matches!(&error, OpenError::Damaged { place, .. } if place.ends_with("COMMIT")), "{error}");
}

#[test]
fn verification_finds_nothing_in_a_sound_directory() {
    let mut rocks = Rocks::new(Sizes { segment_bytes: 3_000, checkpoint_bytes: 700, tail_bytes: 900 });
    let records = mixture(&rocks, 100);
    let unclean = rocks.copy();
    rocks.reopen();
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    for path in [unclean, rocks.path.clone()] {
        let report = storage::verify(&path).expect("it reads");
        assert_eq!(report.damages, Vec::new());
        assert!(report.is_sound());
        assert_eq!((report.records, report.partitions, report.streams), (records.len() as u64, 4, 5));
        assert!(report.segments > 8 && report.blocks > 100 && report.index_entries > 100, "{report:?}");
    }
}

#[test]
fn verification_names_what_is_damaged() {
    let mut rocks = Rocks::new(Sizes { segment_bytes: 20_000, checkpoint_bytes: 2_000, tail_bytes: 0 });
    mixture(&rocks, 250);
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    let table = files(&rocks.path, "sst").pop().expect("there is one");
    let len = usize::try_from(fs::metadata(&table).expect("readable").len()).expect("small");
    flip(&table, len / 3);
    let report = storage::verify(&rocks.path).expect("something can be read");
    assert!(!report.is_sound(), "{report:?}");
    let named = |damage: &storage::DamageFound| damage.partition.is_some() && damage.what.contains(".sst");
    assert!(report.damages.iter().any(named), "{report:?}");
}
