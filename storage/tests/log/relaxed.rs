//! Acknowledgements that do not wait for the disk: what a crash takes back is never taken for what was never there.

use std::fs;

use storage::{Log, OpenError, Options, Repair, RocksLog, restore};
use types::{Durability, Position, Timestamp};

use crate::backup::{SEED, all, back_up, partitions, quiet};
use crate::damage::{files, flip, used};
use crate::harness::{Harness, Rocks, USUAL, copy_folder, fact, partition};
use crate::reading::mixture;

/// An empty log whose appends are acknowledged as `level` says.
fn rocks(level: Durability) -> Rocks {
    let mut rocks = Rocks::new(USUAL);
    rocks.log = None;
    rocks.options = Options { durability: level, ..rocks.options.clone() };
    rocks.path = rocks.folder.path().join("relaxed");
    rocks.log = Some(RocksLog::open(&rocks.path, &rocks.options).expect("it is made").0);
    rocks
}

fn levels() -> [Durability; 2] {
    [Durability::Os, "interval=60000".parse().expect("a level")]
}

#[test]
fn what_is_acknowledged_is_read_at_once() {
    for level in levels() {
        let rocks = rocks(level);
        let harness: &dyn Harness = &rocks;
        harness.append(partition(1), vec![fact(1, 0), fact(1, 1)]);
        let log = rocks.log.as_ref().expect("open");
        assert_eq!(log.bounds(partition(1)).end, Position::new(2));
        assert_eq!(log.read(partition(1), Position::ZERO, 10, 1 << 20).map(|records| records.len()), Ok(2));
        assert_eq!(log.metrics().syncs(), 0, "{level}: nobody has waited for the disk");
    }
}

#[test]
fn a_crash_that_takes_back_acknowledged_records_begins_a_new_history() {
    for level in levels() {
        let mut rocks = rocks(level);
        let harness: &dyn Harness = &rocks;
        (0..20).for_each(|n| {
            harness.append(partition(1), vec![fact(1, n)]);
        });
        let before = rocks.log.as_ref().expect("open").bounds(partition(1));
        let crashed = rocks.copy();
        let wal = files(&crashed, "log").pop().expect("there is one");
        let bytes = fs::read(&wal).expect("readable");
        fs::write(&wal, &bytes[..used(&wal) * 2 / 3]).expect("writable");

        let options = Options { history_seed: 77, ..rocks.options.clone() };
        let (log, report) = RocksLog::open(&crashed, &options).expect("nothing of it was ever said to be durable");
        let after = log.bounds(partition(1));
        assert!(report.new_history && !report.clean, "{report:?}");
        assert!(after.end < before.end && after.end > Position::ZERO, "{level}: {before:?}, {after:?}");
        assert_ne!(after.history, before.history, "{level}: its cursors must be refused");
        log.close().expect("it closes");
        drop(log);

        let (log, report) = RocksLog::open(&crashed, &Options { history_seed: 78, ..options }).expect("it opens");
        assert!(report.clean && !report.new_history, "{report:?}");
        assert_eq!(log.bounds(partition(1)).history, after.history, "a stop in order keeps it");
        drop(rocks.log.take());
    }
}

#[test]
fn a_history_that_is_drawn_again_is_another_one() {
    let mut rocks = rocks(Durability::Os);
    let before = rocks.log.as_ref().expect("open").bounds(partition(1)).history;
    let (log, report) = RocksLog::open(&rocks.copy(), &rocks.options).expect("it opens");
    assert!(report.new_history, "{report:?}");
    assert_ne!(log.bounds(partition(1)).history, before, "though it has the same seed");
}

#[test]
fn who_goes_back_to_commit_keeps_its_history_from_then_on() {
    let mut rocks = rocks(Durability::Os);
    let options = Options { durability: Durability::Commit, history_seed: 5, ..rocks.options.clone() };
    let (first, second) = (rocks.copy(), rocks.folder.path().join("second"));
    let (log, report) = RocksLog::open(&first, &options).expect("it opens");
    assert!(report.new_history, "{report:?}");
    copy_folder(&first, &second);
    let (again, report) = RocksLog::open(&second, &options).expect("it opens");
    assert!(!report.clean && !report.new_history, "{report:?}");
    assert_eq!(again.bounds(partition(2)).history, log.bounds(partition(2)).history);
}

#[test]
fn a_backup_has_what_was_acknowledged_and_is_durable() {
    for level in levels() {
        let rocks = rocks(level);
        mixture(&rocks, 40);
        let before: Vec<_> = partitions().map(|id| all(&**rocks.rocks(), id)).collect();
        assert_eq!(rocks.rocks().metrics().syncs(), 0, "{level}: nothing was durable yet");
        let (target, again) = (rocks.folder.path().join("backups"), rocks.folder.path().join("again"));
        back_up(&rocks, &target, 1);
        restore(&target, &again, SEED, &mut quiet).expect("it restores");
        let (log, report) = RocksLog::open(&again, &rocks.options).expect("it opens");
        assert!(report.clean && !report.new_history, "{level}: a backup is an end in order: {report:?}");
        assert_eq!(partitions().map(|id| all(&*log, id)).collect::<Vec<_>>(), before);
    }
}

/// What is durable may be lost too, by the disk. Then nobody knows what else is missing.
#[test]
fn accepting_a_loss_begins_a_new_history_everywhere() {
    let mut rocks = rocks("interval=1".parse().expect("a level"));
    let harness: &dyn Harness = &rocks;
    harness.append(partition(2), vec![fact(1, 0)]);
    let end = (0..200).map(|n| harness.append(partition(1), vec![fact(1, n)])).last().expect("some");
    let durable = |rocks: &Rocks| {
        let commit = fs::read(rocks.path.join("COMMIT")).expect("readable");
        commit.windows(8).any(|number| number == end.value().to_le_bytes())
    };
    while !durable(&rocks) {
        std::thread::yield_now();
    }
    let before: Vec<_> = partitions().map(|id| rocks.rocks().bounds(id).history).collect();
    let unclean = rocks.copy();
    let wal = files(&unclean, "log").pop().expect("there is one");
    flip(&wal, used(&wal) / 2);
    let refused = RocksLog::open(&unclean, &rocks.options).expect_err("half of what was durable is gone");
    assert!(matches!(refused, OpenError::AcknowledgedDataMissing { .. }), "{refused}");
    let repair = Repair::plan(&unclean).expect("it can be mended");
    assert_eq!(repair.losses.iter().map(|loss| loss.partition).collect::<Vec<_>>(), [partition(1)]);
    repair.accept(SEED).expect("it is mended");
    let (log, report) = RocksLog::open(&unclean, &rocks.options).expect("it opens");
    assert!(!report.new_history, "it has begun: {report:?}");
    assert_eq!(log.bounds(partition(2)).end, Position::new(1));
    for (id, before) in partitions().zip(before) {
        assert_ne!(log.bounds(id).history, before, "partition {id}");
    }
}

#[test]
fn old_segments_are_sealed_though_nothing_was_synced() {
    let mut rocks = rocks(Durability::Os);
    let harness: &dyn Harness = &rocks;
    harness.append(partition(1), vec![fact(1, 0)]);
    let late = Timestamp::from_millis(1_700_000_000_000 + storage::limits::SEGMENT_MS);
    harness.log().seal(partition(1), late);
    harness.append(partition(1), Vec::new());
    let sealed =
        harness.log().segments(partition(1)).expect("it reads").iter().filter(|segment| segment.sealed).count();
    assert_eq!((sealed, rocks.rocks().metrics().syncs()), (1, 0));
    drop(rocks.log.take());
}
