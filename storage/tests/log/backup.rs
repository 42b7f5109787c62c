//! Backups: of a log at work and of a stopped one, believed only when every bit is as it was, restored as a new history.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use storage::{
    AppendBatch, BackupError, BackupOptions, BackupReport, Log, OpenError, Options, ReadOnlyLog, RocksLog, Step,
    StoredRecord, back_up_stopped, restore, verify_backup,
};
use types::{PartitionId, Position, Timestamp};

use crate::harness::{Answer, Harness, PARTITIONS, Rocks, SMALL, USUAL, copy_folder, fact, output, partition};
use crate::reading::mixture;

pub(crate) const SEED: u32 = 0x5eed;

pub(crate) fn options(second: u64) -> BackupOptions {
    BackupOptions { now: Timestamp::from_millis(1_795_493_220_000 + second * 1000), copy: false }
}

pub(crate) fn quiet(_: Step<'_>) {}

pub(crate) fn back_up(rocks: &Rocks, target: &Path, second: u64) -> BackupReport {
    rocks.rocks().back_up(target, options(second), &mut quiet).expect("it is backed up")
}

pub(crate) fn all(log: &dyn Log, partition: PartitionId) -> Vec<StoredRecord> {
    let mut all: Vec<StoredRecord> = Vec::new();
    loop {
        let from = all.last().map_or(Position::ZERO, |last| last.position.next());
        let next = log.read(partition, from, 1000, 1 << 20).expect("it reads");
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

pub(crate) fn partitions() -> impl Iterator<Item = PartitionId> {
    (0..PARTITIONS).map(partition)
}

fn is_table(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "sst")
}

/// Names below `folder`, with `/` between the parts.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let entry = entry.expect("readable");
        let name = entry.file_name().into_string().expect("text");
        if entry.file_type().expect("readable").is_dir() {
            names.extend(self::names(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

#[test]
fn what_was_acknowledged_before_a_backup_is_in_it_while_appends_go_on() {
    let mut rocks = Rocks::new(SMALL);
    mixture(&rocks, 40);
    let (folder, stop) = (rocks.folder.path().to_owned(), AtomicBool::new(false));
    let before: Vec<_> = partitions().map(|id| all(&**rocks.rocks(), id)).collect();
    let report = std::thread::scope(|scope| {
        let log = rocks.rocks();
        scope.spawn(|| {
            let mut end = log.bounds(partition(0)).end;
            while !stop.load(Ordering::Relaxed) {
                let answer = Answer::default();
                let records = vec![fact(99, end.value())];
                let batch = AppendBatch { partition: partition(0), expected: end, records, rows: Vec::new() };
                log.append(batch, answer.callback());
                while answer.take().is_none() {
                    std::thread::yield_now();
                }
                end = end.next();
            }
        });
        let report = back_up(&rocks, &folder.join("backups"), 1);
        stop.store(true, Ordering::Relaxed);
        report
    });
    let verified = verify_backup(&folder.join("backups"), &mut quiet).expect("it is whole");
    assert_eq!((verified.path, verified.bytes, verified.log.records), (report.path, report.bytes, report.positions));
    let restored = restore(&folder.join("backups"), &folder.join("again"), SEED, &mut quiet).expect("it restores");
    assert_eq!(restored.positions, report.positions);
    let after: Vec<_> = partitions().map(|id| all(&**rocks.rocks(), id)).collect();
    rocks.log = None;
    let (log, opened) = RocksLog::open(&folder.join("again"), &rocks.options).expect("it opens");
    assert!(opened.clean, "{opened:?}");
    for (id, (before, after)) in partitions().zip(before.into_iter().zip(after)) {
        let kept = all(&*log, id);
        assert!(kept.len() >= before.len(), "partition {id} lost records");
        assert_eq!(kept[..], after[..kept.len()], "partition {id} has other records");
    }
    assert!(!rocks.path.join("frozen").exists(), "the links are gone");
}

#[test]
fn a_restored_log_has_a_new_history_and_goes_on() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 10);
    let (folder, target) = (rocks.folder.path(), rocks.folder.path().join("backups"));
    back_up(&rocks, &target, 1);
    let before: Vec<_> = partitions().map(|id| rocks.rocks().bounds(id)).collect();
    let restored = restore(&target, &folder.join("again"), SEED, &mut quiet).expect("it restores");
    let (log, _) = RocksLog::open(&folder.join("again"), &rocks.options).expect("it opens");
    for (id, before) in partitions().zip(&before) {
        let now = log.bounds(id);
        assert_ne!(now.history, before.history);
        assert_eq!((now.history, now.end), (restored.histories[id.value() as usize], before.end));
    }
    let (answer, end) = (Answer::default(), before[1].end);
    let batch = AppendBatch { partition: partition(1), expected: end, records: vec![fact(77, 0)], rows: Vec::new() };
    log.append(batch, answer.callback());
    log.close().expect("it closes");
    assert_eq!(answer.take(), Some(Ok(end.next())));
    drop(log);
    assert_eq!(storage::verify(&folder.join("again")).expect("it reads").damages, Vec::new());
}

#[test]
fn a_later_backup_links_what_an_earlier_one_has() {
    let mut rocks = Rocks::new(SMALL);
    mixture(&rocks, 60);
    let target = rocks.folder.path().join("backups");
    let first = back_up(&rocks, &target, 1);
    (&rocks as &dyn Harness).append(partition(3), vec![fact(77, 0)]);
    let second = back_up(&rocks, &target, 2);
    let tables = |path: &Path| -> Vec<(String, u64)> {
        let tables = names(path).into_iter().filter(|name| is_table(name));
        tables.map(|name| (name.clone(), fs::metadata(path.join(name)).expect("it is there").ino())).collect()
    };
    let (one, two) = (tables(&first.path), tables(&second.path));
    let shared = one.iter().filter(|table| two.contains(table)).count();
    assert!(shared > 0, "{one:?} {two:?}");

    // The log may go: a backup needs nothing of it. And an earlier one may be deleted: links keep what they name.
    rocks.log = None;
    fs::remove_dir_all(&rocks.path).expect("writable");
    fs::remove_dir_all(&first.path).expect("writable");
    assert_eq!(verify_backup(&second.path, &mut quiet).expect("it is whole").log.records, second.positions);
}

#[test]
fn a_copy_shares_nothing_with_the_log() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 10);
    let target = rocks.folder.path().join("backups");
    let options = BackupOptions { copy: true, ..options(1) };
    let report = rocks.rocks().back_up(&target, options, &mut quiet).expect("it is backed up");
    assert_eq!(report.copied_bytes, report.bytes);
    for name in names(&report.path) {
        assert_eq!(fs::metadata(report.path.join(&name)).expect("it is there").nlink(), 1, "{name}");
    }
}

#[test]
fn another_log_with_the_same_numbers_of_files_is_not_linked() {
    let (one, mut other) = (Rocks::new(SMALL), Rocks::new(SMALL));
    other.options.history_seed = SEED;
    other.path = other.folder.path().join("another history");
    other.log = Some(RocksLog::open(&other.path, &other.options).expect("it opens").0);
    mixture(&one, 10);
    mixture(&other, 10);
    let target = one.folder.path().join("backups");
    back_up(&one, &target, 1);
    let report = back_up(&other, &target, 2);
    let restored = restore(&report.path, &one.folder.path().join("again"), 1, &mut quiet).expect("it restores");
    assert_eq!(restored.positions, report.positions);
    for id in partitions() {
        let log = ReadOnlyLog::open(&restored.directory).expect("it opens").0;
        assert_eq!(all(&log, id), all(&**other.rocks(), id));
    }
}

#[test]
fn a_stopped_directory_is_backed_up_and_not_changed() {
    let mut rocks = Rocks::new(SMALL);
    mixture(&rocks, 20);
    let unclean = rocks.copy();
    let records: u64 = partitions().map(|id| rocks.rocks().bounds(id).end.value()).sum();
    rocks.log = None;
    for (second, path) in [(1, &rocks.path), (2, &unclean)] {
        let (before, target) = (contents(path), rocks.folder.path().join("backups"));
        let report = back_up_stopped(path, &target, options(second), &mut quiet).expect("it is backed up");
        assert_eq!(report.positions, records);
        assert_eq!(contents(path), before);
        let again = rocks.folder.path().join(format!("again-{second}"));
        restore(&report.path, &again, SEED, &mut quiet).expect("it restores");
        let (log, opened) = RocksLog::open(&again, &rocks.options).expect("it opens");
        assert!(opened.clean && opened.torn_records == 0, "{opened:?}");
        assert_eq!(partitions().map(|id| log.bounds(id).end.value()).sum::<u64>(), records);
    }
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).expect("readable"))).collect()
}

#[test]
fn a_directory_in_use_is_backed_up_by_its_node_only() {
    let rocks = Rocks::new(USUAL);
    let target = rocks.folder.path().join("backups");
    let error = back_up_stopped(&rocks.path, &target, options(1), &mut quiet).expect_err("in use");
    assert!(matches!(error, BackupError::Log(OpenError::Locked { .. })), "{error}");
}

#[test]
fn a_log_that_lost_what_it_acknowledged_is_not_backed_up() {
    let mut rocks = Rocks::new(USUAL);
    mixture(&rocks, 20);
    // Until what was acknowledged stands in the watermark, in a log that is open.
    for n in 0.. {
        (&rocks as &dyn Harness).append(partition(3), vec![fact(77, n)]);
        if rocks.rocks().metrics().watermarks() > 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let copy = rocks.copy();
    for entry in fs::read_dir(copy.join("log")).expect("readable") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "log") {
            fs::File::options().write(true).open(&path).and_then(|file| file.set_len(0)).expect("writable");
        }
    }
    let target = rocks.folder.path().join("backups");
    let error = back_up_stopped(&copy, &target, options(1), &mut quiet).expect_err("records are missing");
    assert!(matches!(error, BackupError::Log(_)) && error.to_string().contains("acknowledged"), "{error}");
    assert!(!target.exists(), "nothing was made");
}

#[test]
fn a_flipped_bit_is_named_by_its_file() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 20);
    let folder = rocks.folder.path();
    let report = back_up(&rocks, &folder.join("backups"), 1);
    for name in names(&report.path) {
        let damaged = folder.join("damaged");
        let _ = fs::remove_dir_all(&damaged);
        copy_folder(&report.path, &damaged);
        let mut bytes = fs::read(damaged.join(&name)).expect("readable");
        // A fresh write-ahead log is empty.
        let Some(middle) = bytes.len().checked_sub(1).map(|last| last / 2) else { continue };
        bytes[middle] ^= 1;
        fs::write(damaged.join(&name), bytes).expect("writable");
        let error = verify_backup(&damaged, &mut quiet).expect_err(&name);
        assert!(matches!(error, BackupError::Damaged { .. }) && error.to_string().contains(&name), "{name}: {error}");
        let again = restore(&damaged, &folder.join("again"), SEED, &mut quiet).expect_err(&name);
        assert_eq!(again, error);
        assert!(!folder.join("again").exists() && !folder.join("again.restoring").exists());
    }
}

#[test]
fn a_file_that_is_missing_or_short_is_named() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 5);
    let report = back_up(&rocks, &rocks.folder.path().join("backups"), 1);
    let table = names(&report.path).into_iter().find(|name| is_table(name)).expect("there are tables");
    // The log has the same table: a copy of its own is cut.
    let bytes = fs::read(report.path.join(&table)).expect("readable");
    fs::remove_file(report.path.join(&table)).expect("writable");
    fs::write(report.path.join(&table), &bytes[1..]).expect("writable");
    fs::remove_file(report.path.join("log/CURRENT")).expect("writable");
    let error = verify_backup(&report.path, &mut quiet).expect_err("damaged").to_string();
    let short = format!("{table} has {} bytes instead of {}", bytes.len() - 1, bytes.len());
    assert!(error.contains(&short) && error.contains("log/CURRENT is missing"), "{error}");
    assert!(error.contains("damaged in 2 places"), "{error}");
}

#[test]
fn what_no_backup_holds_is_refused() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 5);
    let folder = rocks.folder.path();
    let report = back_up(&rocks, &folder.join("backups"), 1);
    let table = names(&report.path).into_iter().find(|name| is_table(name)).expect("there are tables");
    let check = |change: &dyn Fn(&Path), expect: &str| {
        let changed = folder.join("changed");
        copy_folder(&report.path, &changed);
        change(&changed);
        for error in [
            verify_backup(&changed, &mut quiet).expect_err(expect),
            restore(&changed, &folder.join("again"), SEED, &mut quiet).expect_err(expect),
        ] {
            assert!(matches!(error, BackupError::Refused { .. }) && error.to_string().contains(expect), "{error}");
        }
        assert!(!folder.join("again").exists());
        fs::remove_dir_all(&changed).expect("writable");
    };
    check(&|path| fs::write(path.join("token.key"), "x").expect("writable"), "\"token.key\"");
    check(&|path| fs::write(path.join("log/999999.sst"), "x").expect("writable"), "\"log/999999.sst\"");
    check(&|path| fs::create_dir(path.join("log/more")).expect("writable"), "\"log/more\"");
    let link = |path: &Path| {
        fs::rename(path.join(&table), folder.join("elsewhere.sst")).expect("writable");
        std::os::unix::fs::symlink(folder.join("elsewhere.sst"), path.join(&table)).expect("writable");
    };
    check(&link, &format!("{table} is no plain file"));
    let link_folder = |path: &Path| {
        fs::rename(path.join("log"), folder.join("elsewhere")).expect("writable");
        std::os::unix::fs::symlink(folder.join("elsewhere"), path.join("log")).expect("writable");
    };
    check(&link_folder, "\"log\"");
}

#[test]
fn nothing_is_ever_overwritten() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 5);
    let (folder, target) = (rocks.folder.path(), rocks.folder.path().join("backups"));
    back_up(&rocks, &target, 1);
    let error = rocks.rocks().back_up(&target, options(1), &mut quiet).expect_err("the same name");
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");

    fs::write(folder.join("kept.tar"), "mine").expect("writable");
    let error = rocks.rocks().back_up(&folder.join("kept.tar"), options(2), &mut quiet).expect_err("it is there");
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    assert_eq!(fs::read(folder.join("kept.tar")).expect("it is there"), b"mine");

    let error = restore(&target, &rocks.path, SEED, &mut quiet).expect_err("a log is there");
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
    fs::create_dir_all(folder.join("data.restoring/letters")).expect("writable");
    fs::create_dir(folder.join("empty")).expect("writable");
    restore(&target, &folder.join("empty"), SEED, &mut quiet).expect("an empty folder is nothing");
    let error = restore(&target, &folder.join("empty"), SEED, &mut quiet).expect_err("now it is not");
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
}

#[test]
fn something_else_is_no_backup() {
    let rocks = Rocks::new(SMALL);
    let folder = rocks.folder.path();
    fs::write(folder.join("letter.tar"), "dear").expect("writable");
    fs::create_dir(folder.join("nothing")).expect("writable");
    for name in ["letter.tar", "nothing"] {
        let error = verify_backup(&folder.join(name), &mut quiet).expect_err(name);
        assert!(matches!(error, BackupError::NotABackup { .. }), "{error}");
    }
    let error = verify_backup(&folder.join("absent"), &mut quiet).expect_err("absent");
    assert!(error.to_string().contains("absent"), "{error}");
}

#[test]
fn two_backups_at_once_do_not_meet() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 5);
    let (log, target) = (rocks.rocks(), rocks.folder.path().join("backups"));
    let (mut tried, other) = (None, rocks.folder.path().join("other"));
    log.back_up(&target, options(1), &mut |step| {
        if step == Step::Finish {
            tried = Some(log.back_up(&other, options(2), &mut quiet));
        }
    })
    .expect("the first is made");
    assert!(matches!(tried, Some(Err(BackupError::Busy { .. }))), "{tried:?}");
}

const CHILD: &str = "HEADWATER_TEST_BACKUP_CHILD";

/// Backs up or restores, and ends at the step it is told, as `kill -9` would end it.
#[test]
fn the_child() {
    let Some(task) = std::env::var_os(CHILD) else { return };
    let task = task.into_string().expect("text");
    let [verb, at, from, to] = task.splitn(4, '|').collect::<Vec<_>>()[..] else { panic!("{task}") };
    let mut left: u32 = at.parse().expect("a number");
    let mut die = |_: Step<'_>| {
        left = left.checked_sub(1).unwrap_or_else(|| {
            // Nothing is unwound and nothing is dropped.
            std::process::abort();
        });
    };
    match verb {
        "create" => drop(back_up_stopped(from.as_ref(), to.as_ref(), options(1), &mut die).expect("it is backed up")),
        "restore" => drop(restore(from.as_ref(), to.as_ref(), SEED, &mut die).expect("it restores")),
        other => panic!("{other}"),
    }
}

/// Whether it came to its end.
fn child(verb: &str, at: u32, from: &Path, to: &Path) -> bool {
    let this = std::env::current_exe().expect("a test is a program");
    let status = std::process::Command::new(this)
        .args(["backup::the_child", "--exact", "--test-threads=1"])
        .env(CHILD, format!("{verb}|{at}|{}|{}", from.display(), to.display()))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    status.expect("it starts").success()
}

/// Kills the verb at every step it has, and lets it end at last.
fn killed_at_every_step(verb: &str, from: &Path, to: &Path, mut check: impl FnMut(u32)) {
    for at in 0.. {
        if child(verb, at, from, to) {
            assert!(at > 3, "only {at} steps");
            return;
        }
        check(at);
    }
}

#[test]
fn killed_at_any_step_a_backup_is_not_there_and_the_next_one_is() {
    let mut rocks = Rocks::new(SMALL);
    mixture(&rocks, 5);
    rocks.log = None;
    for name in ["backups", "log.tar"] {
        let target = rocks.folder.path().join("targets").join(name);
        killed_at_every_step("create", &rocks.path, &target, |at| {
            if target.exists() {
                verify_backup(&target, &mut quiet).expect_err(&format!("killed at step {at} it has a name"));
            }
        });
        verify_backup(&target, &mut quiet).expect("it is whole");
    }
    let left = |name: &str| names(&rocks.folder.path().join("targets")).iter().any(|path| path.contains(name));
    assert!(!left("unfinished"), "{:?}", names(&rocks.folder.path().join("targets")));
}

#[test]
fn killed_at_any_step_a_restore_leaves_nothing_and_the_next_one_ends() {
    let mut rocks = Rocks::new(SMALL);
    mixture(&rocks, 5);
    let folder: PathBuf = rocks.folder.path().to_owned();
    back_up(&rocks, &folder.join("backups"), 1);
    back_up(&rocks, &folder.join("log.tar"), 1);
    rocks.log = None;
    for (backup, into) in [("backups", "again"), ("log.tar", "once more")] {
        let (backup, into) = (folder.join(backup), folder.join(into));
        killed_at_every_step("restore", &backup, &into, |at| {
            assert!(!into.exists(), "killed at step {at} it is there");
        });
        let (log, opened) = RocksLog::open(&into, &Options::default()).expect("it opens");
        assert!(opened.clean && !log.partitions().partitions().all(|id| log.bounds(id).end == Position::ZERO));
    }
    assert!(names(&folder).iter().all(|name| !name.contains("restoring")), "{:?}", names(&folder));
}

#[test]
fn a_backup_can_be_looked_at_and_is_not_served() {
    let rocks = Rocks::new(USUAL);
    (&rocks as &dyn Harness).append(partition(2), vec![fact(1, 0), output(1, 1)]);
    let report = back_up(&rocks, &rocks.folder.path().join("backups"), 1);
    let log = ReadOnlyLog::open(&report.path).expect("a backup is a data directory").0;
    assert_eq!(all(&log, partition(2)).len(), 2);
    let error = RocksLog::open(&report.path, &rocks.options).expect_err("a node would change it");
    assert!(error.to_string().contains("headwater backup restore"), "{error}");
    verify_backup(&report.path, &mut quiet).expect("nothing was changed");
}
