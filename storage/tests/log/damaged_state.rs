//! Damage in tables of rows and of what is known of segments: the next start takes such a table out. Every row is served
//! as it was written or named as damaged, none is forgotten, and none that was deleted or replaced comes back.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rocksdb::LiveFile;
use storage::{Log, Quarantined, ReadError, RocksLog, RowKey, Rows};
use types::Timestamp;

use crate::damage::flip;
use crate::faults::slow_count;
use crate::harness::{Harness, PARTITIONS, Rocks, SMALL, copy_folder, fact, partition};
use crate::row_truth::{KINDS, Listed, ROUNDS, Truth, filled, tables};

/// What RocksDB has at the end of each small table: without it no table can be opened.
const BEHIND_DATA: usize = 1_300;

/// Holds everything to the truth; how many rows are damaged.
pub(crate) fn holds(log: &RocksLog, truth: &Truth, what: &str) -> usize {
    let mut damaged = 0;
    for partition in (0..PARTITIONS).map(partition) {
        for kind in KINDS {
            let [listed, few] = [1_000, 3].map(|limit| Listed::of(log, partition, kind, limit));
            assert_eq!(listed.rows, few.rows, "{what}");
            let rows = truth
                .range((partition, kind, Bytes::new())..)
                .take_while(|(key, _)| (key.0, key.1) == (partition, kind));
            for ((_, _, id), expect) in rows {
                match log.get(partition, &RowKey { kind, id: id.clone() }) {
                    Ok(found) => {
                        assert_eq!(&found, expect, "{what}: {id:?} of {partition}");
                        assert!(
                            listed.rows.get(id) == expect.as_ref() || listed.names(id),
                            "{what}: {id:?} of {partition}"
                        );
                    }
                    Err(ReadError::Corrupt { .. }) => {
                        damaged += 1;
                        assert!(listed.names(id) && few.names(id), "{what}: {id:?} of {partition} is not named");
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
                assert!(
                    listed.rows.get(id).is_none_or(|row| Some(row) == expect.as_ref()),
                    "{what}: {id:?} of {partition}"
                );
            }
        }
    }
    damaged
}

pub(crate) fn note(path: &Path, table: &LiveFile) {
    let text = format!("Corruption: block checksum mismatch in {}\n", table.name.trim_start_matches('/'));
    fs::write(path.join("DAMAGED"), text).expect("writable");
}

pub(crate) fn spoiled(rocks: &Rocks, table: &LiveFile, place: usize) -> PathBuf {
    let copy = rocks.folder.path().join("spoiled");
    copy_folder(&rocks.path, &copy);
    flip(&copy.join("log").join(table.name.trim_start_matches('/')), place);
    note(&copy, table);
    copy
}

/// How many places of each table.
fn places(sample: usize, table: &LiveFile) -> impl Iterator<Item = usize> {
    (0..table.size).step_by((table.size / slow_count(sample)).max(1))
}

#[test]
fn rows_in_a_damaged_table_are_kept_or_named_wherever_it_is_damaged() {
    let (rocks, truth) = filled(ROUNDS);
    let all = tables(&rocks.path, "rows");
    assert!(all.len() > 1, "the newest word on a row is in one of several");
    let (mut mended, mut refused, mut damaged) = (0, 0, 0);
    for table in all {
        for place in places(6, &table) {
            let copy = spoiled(&rocks, &table, place);
            let what = format!("byte {place} of {}", table.name);
            match RocksLog::open(&copy, &rocks.options) {
                Ok((log, _)) => {
                    let found = holds(&log, &truth, &what);
                    log.close().expect("it closes");
                    drop(log);
                    assert!(!copy.join("DAMAGED").exists());
                    let (log, _) = RocksLog::open(&copy, &rocks.options).expect("it opens again");
                    assert_eq!(holds(&log, &truth, &what), found, "{what}");
                    (mended, damaged) = (mended + 1, damaged + found);
                    log.close().expect("it closes");
                }
                // RocksDB's own index of the table.
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains("damaged"), "{what}: {error}");
                }
            }
            fs::remove_dir_all(copy).expect("it was made");
        }
    }
    println!("damage in tables of rows: {mended} starts, {damaged} rows named as damaged, {refused} refused");
    assert!(mended > refused && damaged > 0, "{mended} starts, {damaged} rows, {refused} refused");
}

#[test]
fn what_is_known_of_segments_is_kept_or_the_start_is_refused_by_name() {
    // Too few for a compaction of `meta`: what is overwritten since does not matter.
    let (rocks, truth) = filled(2);
    let (mut mended, mut refused) = (0, 0);
    let all = tables(&rocks.path, "meta");
    assert!(all.len() > 1, "the newest word is in one of several");
    let step = if slow_count(1) > 1 { 1 } else { 40 };
    for table in all {
        for place in (0..table.size.saturating_sub(BEHIND_DATA)).step_by(step) {
            let copy = spoiled(&rocks, &table, place);
            let what = format!("byte {place} of {}", table.name);
            match RocksLog::open(&copy, &rocks.options) {
                Ok((log, _)) => {
                    assert_eq!(holds(&log, &truth, &what), 0);
                    log.close().expect("it closes");
                    drop(log);
                    assert_eq!(storage::verify(&copy).expect("it reads").damages, [], "{what}");
                    mended += 1;
                }
                Err(error) => {
                    refused += 1;
                    let text = error.to_string();
                    let named = text.contains(table.name.trim_start_matches('/')) || text.contains("RocksDB needs");
                    assert!(named, "{what}: {error}");
                }
            }
            fs::remove_dir_all(copy).expect("it was made");
        }
    }
    println!("damage in tables of what is known of segments: {mended} starts, {refused} refused");
    assert!(mended > 0 && refused > 0, "{mended} starts, {refused} refused");
}

/// The store of a closed log: where in which table of `meta` the sentence stands.
fn place_of(path: &Path, sentence: &str) -> (LiveFile, usize) {
    let found = tables(path, "meta").into_iter().find_map(|table| {
        let bytes = fs::read(path.join("log").join(table.name.trim_start_matches('/'))).expect("readable");
        let at = bytes.windows(sentence.len()).position(|window| window == sentence.as_bytes())?;
        Some((table, at))
    });
    found.expect("it is in some table")
}

#[test]
fn a_quarantine_that_cannot_be_read_is_one_all_the_same() {
    const SENTENCE: &str = "jqwvkzxhpyfgb";
    let mut rocks = Rocks::new(SMALL);
    for n in 0..40 {
        (&rocks as &dyn Harness).append(partition(1), vec![fact(1, n)]);
    }
    rocks.rocks().seal(partition(1), Timestamp::from_millis(2_000_000_000_000));
    (&rocks as &dyn Harness).append(partition(1), vec![fact(1, 40)]);
    let all = rocks.rocks().segments(partition(1)).expect("it reads");
    let segment = all.into_iter().find(|segment| segment.sealed).expect("one is sealed");
    let found = Quarantined { segment: segment.id, position: segment.base, what: SENTENCE.to_owned() };
    rocks.rocks().quarantine(&found).expect("it is marked");
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    let (table, place) = place_of(&rocks.path, SENTENCE);
    let copy = spoiled(&rocks, &table, place);
    for _ in 0..2 {
        let (log, report) = RocksLog::open(&copy, &rocks.options).expect("it opens");
        assert_eq!(report.quarantined, 1);
        let marks = log.quarantined().expect("it reads");
        assert_eq!(marks.iter().map(|mark| mark.segment).collect::<Vec<_>>(), [segment.id]);
        assert!(!marks[0].what.contains(SENTENCE), "what it said is lost");
        log.close().expect("it closes");
    }
    assert!(!copy.join("DAMAGED").exists() && copy.join("quarantined").exists());
}
