//! Damage in tables of rows: every row is served as it was written or named as damaged, wherever the damage is; none is
//! forgotten, none that was deleted or replaced comes back, and nothing ends the process.

use std::fs;

use storage::{BackupOptions, ReadError, ReadOnlyLog, RowKey, Rows};
use types::Timestamp;

use crate::damage::flip;
use crate::faults::slow_count;
use crate::harness::{PARTITIONS, copy_folder, partition};
use crate::row_truth::{KINDS, Listed, ROUNDS, Truth, filled, tables};

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
    let (rocks, truth) = filled(ROUNDS);
    let tables = tables(&rocks.path, "rows");
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
    let (rocks, _) = filled(ROUNDS);
    let table = &tables(&rocks.path, "rows")[0];
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
