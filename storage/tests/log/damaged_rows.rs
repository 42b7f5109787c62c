//! Damage in tables of rows: every row is served as it was written or named as damaged, wherever the damage is; none is
//! forgotten, none that was deleted or replaced comes back, and nothing ends the process.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use bytes::Bytes;
use rocksdb::{DB, LiveFile};
use storage::{BackupOptions, Log, Met, ReadError, ReadOnlyLog, Row, RowChange, RowKey, RowKind, Rows};
use types::{PartitionId, Timestamp};

use crate::damage::flip;
use crate::faults::slow_count;
use crate::harness::{Harness, PARTITIONS, Rocks, SMALL, copy_folder, fact, partition};

const KINDS: [RowKind; 2] = [RowKind::OpenRun, RowKind::Stream];
const IDS: u64 = 120;
/// Fewer than make a compaction: the newest word on a row is in one of several tables.
const ROUNDS: u64 = 3;

/// What each row is, also those that are not there.
type Truth = BTreeMap<(PartitionId, RowKind, Bytes), Option<Row>>;

fn id(n: u64) -> Bytes {
    // Long enough that keys share most of their bytes.
    format!("a run or a stream with the number {n:04}").into()
}

/// In each round another third of the rows is written, and another part of them deleted.
fn filled() -> (Rocks, Truth) {
    let mut rocks = Rocks::new(SMALL);
    let mut truth = Truth::new();
    for round in 0..ROUNDS {
        for partition in (0..PARTITIONS).map(partition) {
            (&rocks as &dyn Harness).append(partition, (0..3).map(|n| fact(1, round * 3 + n)).collect());
            let position = rocks.log().bounds(partition).end;
            let mut changes = Vec::new();
            for (kind, n) in KINDS.into_iter().flat_map(|kind| (0..IDS).map(move |n| (kind, n))) {
                let key = RowKey { kind, id: id(n) };
                let place = truth.entry((partition, kind, key.id.clone())).or_default();
                if n % ROUNDS == round || (round > 0 && n % 7 == 0) {
                    let value = Bytes::from(format!("{kind:?} {n} as of round {round}: {:x}", n * 0x9e37_79b9_7f4a));
                    let row = Row { position, value };
                    *place = Some(row.clone());
                    changes.push(RowChange::Put(key, row));
                } else if round > 0 && n % 5 == round {
                    *place = None;
                    changes.push(RowChange::Delete(key));
                }
            }
            (&rocks as &dyn Harness).append_with_rows(partition, Vec::new(), changes);
        }
        rocks.reopen();
    }
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    (rocks, truth)
}

fn tables_of_rows(path: &Path) -> Vec<LiveFile> {
    let families = ["default", "log", "index", "meta", "rows"];
    let database = DB::open_cf_for_read_only(&rocksdb::Options::default(), path.join("log"), families, false);
    let files = database.expect("it opens").live_files().expect("it tells");
    files.into_iter().filter(|file| file.column_family_name == "rows").collect()
}

/// What a listing says of the rows of a kind, in pages of `limit`.
struct Listed {
    rows: BTreeMap<Bytes, Row>,
    damaged: Vec<RangeInclusive<Bytes>>,
}

impl Listed {
    fn of(log: &dyn Rows, partition: PartitionId, kind: RowKind, limit: usize) -> Self {
        let (mut listed, mut after) = (Self { rows: BTreeMap::new(), damaged: Vec::new() }, None::<Bytes>);
        loop {
            let page = log.scan_past_damage(partition, kind, after.as_ref(), limit).expect("it reads");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { return listed };
            assert!(after.as_ref().is_none_or(|after| after < last.last()), "it goes round: {after:?}, then {last:?}");
            after = Some(last.last().clone());
            for met in page {
                match met {
                    Met::Row(id, row) => drop(listed.rows.insert(id, row)),
                    Met::Damaged { id, .. } => listed.damaged.push(id.clone()..=id),
                    Met::Unreadable { first, last, .. } => listed.damaged.push(first..=last),
                }
            }
        }
    }

    fn names(&self, id: &Bytes) -> bool {
        self.damaged.iter().any(|range| range.contains(id))
    }
}

/// Holds everything to the truth; how many rows are damaged.
fn holds(log: &dyn Rows, truth: &Truth, what: &str) -> usize {
    let mut damaged = 0;
    for (partition, kind) in (0..PARTITIONS).map(partition).flat_map(|it| KINDS.map(|kind| (it, kind))) {
        let listings = [1_000, 3].map(|limit| Listed::of(log, partition, kind, limit));
        for ((_, _, id), expect) in truth.iter().filter(|((of, is, _), _)| (*of, *is) == (partition, kind)) {
            match log.get(partition, &RowKey { kind, id: id.clone() }) {
                Ok(found) => assert_eq!(&found, expect, "{what}: {id:?} of {partition}"),
                Err(ReadError::Corrupt { .. }) => damaged += 1,
                Err(error) => panic!("{what}: {error}"),
            }
            for listed in &listings {
                let right = listed.rows.get(id) == expect.as_ref();
                let left_out = !listed.rows.contains_key(id) && listed.names(id);
                let found = (listed.rows.get(id), &listed.damaged);
                assert!(right || left_out, "{what}: {id:?} of {partition} should be {expect:?}: {found:?}");
            }
        }
    }
    damaged
}

#[test]
fn rows_are_served_or_named_wherever_their_tables_are_damaged() {
    let (rocks, truth) = filled();
    let tables = tables_of_rows(&rocks.path);
    assert!(tables.len() as u64 >= ROUNDS, "{tables:?}");
    let (mut places, mut refused, mut damaged, mut unharmed) = (0, 0, 0, 0);
    for table in &tables {
        for place in (0..table.size).step_by((table.size / slow_count(24)).max(1)) {
            let copy = rocks.folder.path().join("spoiled");
            copy_folder(&rocks.path, &copy);
            flip(&copy.join("log").join(table.name.trim_start_matches('/')), place);
            places += 1;
            match ReadOnlyLog::open(&copy) {
                // The table's own end.
                Err(_) => refused += 1,
                Ok((log, _)) => match holds(&log, &truth, &format!("byte {place} of {}", table.name)) {
                    0 => unharmed += 1,
                    some => damaged += some,
                },
            }
            fs::remove_dir_all(copy).expect("it was made");
        }
    }
    println!(
        "damage in tables of rows: {places} places, {refused} refused, {unharmed} of no harm, {damaged} rows named"
    );
    assert!(refused < places / 3 && damaged > 0, "{refused} refused, {damaged} damaged");
}

/// What cannot be read in it could not be read in what it was made of, and a node copes with that.
#[test]
fn a_backup_with_damaged_rows_is_verified_and_restored_and_says_so() {
    let (rocks, _) = filled();
    let table = &tables_of_rows(&rocks.path)[0];
    flip(&rocks.path.join("log").join(table.name.trim_start_matches('/')), table.size / 3);
    let [target, into] = ["backups", "restored"].map(|name| rocks.folder.path().join(name));
    let options = BackupOptions { now: Timestamp::from_millis(1), copy: true };
    storage::back_up_stopped(&rocks.path, &target, options, &mut |_| {}).expect("it is made");
    let verified = storage::verify_backup(&target, &mut |_| {}).expect("its files are as they were written");
    assert!(verified.log.of_rows > 0, "{verified:?}");
    let restored = storage::restore(&target, &into, 7, &mut |_| {}).expect("it is restored");
    assert_eq!(restored.damaged_rows, verified.log.of_rows);
    ReadOnlyLog::open(&into).expect("it opens");
}
