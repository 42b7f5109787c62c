//! What was refused opens again once its loss is accepted: all that is good is there, what is lost was named before,
//! and no cursor from before is taken for one of now.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use storage::{Log, OpenError, ReadOnlyLog, Repair, RocksLog};
use types::Position;

use crate::damage::{files, flip, read_all, used};
use crate::harness::{Harness, Rocks, USUAL, copy_folder, fact, partition};
use crate::reading::mixture;

fn open(path: &Path, rocks: &Rocks) -> Result<std::sync::Arc<RocksLog>, OpenError> {
    RocksLog::open(path, &rocks.options).map(|(log, _)| log)
}

#[test]
fn a_log_cut_short_opens_without_what_is_lost() {
    let mut rocks = Rocks::new(USUAL);
    mixture(&rocks, 200);
    std::thread::sleep(Duration::from_millis(250));
    let all = (&rocks as &dyn Harness).all(partition(1));
    let before = rocks.rocks().bounds(partition(1)).history;
    let unclean = rocks.copy();
    let wal = files(&unclean, "log").pop().expect("there is one");
    flip(&wal, used(&wal) / 2);
    let size = |path: &Path| fs::metadata(path).expect("there").len();
    let wal_size = size(&wal);
    let refused = open(&unclean, &rocks).expect_err("half of it is gone");
    let OpenError::AcknowledgedDataMissing { durable, found, .. } = refused else { panic!("{refused}") };

    let repair = Repair::plan(&unclean).expect("it can be mended");
    assert!(repair.is_needed());
    let loss = repair.losses.iter().find(|loss| loss.partition == partition(1)).expect("it is named");
    assert_eq!((loss.kept, loss.durable), (found, durable));
    let locked = Repair::plan(&unclean).expect_err("one at a time");
    assert!(matches!(locked, OpenError::Locked { .. }), "{locked}");
    let commit = size(&unclean.join("COMMIT"));
    assert!(open(&unclean, &rocks).is_err(), "a plan changes nothing");
    let copy = repair.accept(7).expect("it is mended");
    assert_eq!(size(&copy.join("COMMIT")), commit);
    assert_eq!(size(&copy.join("salvage").join(wal.file_name().expect("a name"))), wal_size, "what was cut is kept");

    assert_eq!(storage::verify(&unclean).expect("it reads").damages, Vec::new());
    let log = open(&unclean, &rocks).expect("it opens");
    let kept = read_all(&log).expect("it reads");
    assert_eq!(kept, all[..kept.len()]);
    assert_eq!(kept.len() as u64, found.value());
    assert_ne!(log.bounds(partition(1)).history, before, "a new history");
    drop(log);
    let again = Repair::plan(&unclean).expect("it reads");
    assert!(!again.is_needed(), "{again:?}");
    drop(again);
    // It goes on, over a stop of any kind.
    rocks.log = None;
    rocks.path = unclean;
    rocks.log = Some(open(&rocks.path, &rocks).expect("it opens"));
    let harness: &mut dyn Harness = &mut rocks;
    let end = harness.append(partition(1), vec![fact(99, 0)]);
    assert_eq!(end, found.next());
    harness.crash();
    assert_eq!(harness.log().bounds(partition(1)).end, end);
}

#[test]
fn a_spoiled_watermark_is_made_anew() {
    made_anew(|commit| {
        for half in [0, 16 * 1024] {
            flip(commit, half + 20);
        }
    });
}

#[test]
fn a_missing_watermark_is_made_anew() {
    made_anew(|commit| fs::remove_file(commit).expect("it is there"));
}

fn made_anew(spoil: impl FnOnce(&Path)) {
    let mut rocks = Rocks::new(USUAL);
    mixture(&rocks, 20);
    let all = (&rocks as &dyn Harness).all(partition(1));
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    spoil(&rocks.path.join("COMMIT"));
    assert!(matches!(open(&rocks.path, &rocks), Err(OpenError::Damaged { .. })));
    let repair = Repair::plan(&rocks.path).expect("it can be mended");
    assert!(repair.is_needed() && repair.commit.is_some() && repair.losses.is_empty(), "{repair:?}");
    repair.accept(3).expect("it is mended");
    let log = open(&rocks.path, &rocks).expect("it opens");
    assert_eq!(read_all(&log).as_ref(), Ok(&all), "nothing was lost after all");
    drop(log);
    assert_eq!(storage::verify(&rocks.path).map(|report| report.damage_count), Ok(0));
}

#[test]
fn a_sound_directory_has_nothing_to_accept() {
    let mut rocks = Rocks::new(USUAL);
    mixture(&rocks, 20);
    let running = Repair::plan(&rocks.path).expect_err("it is in use");
    assert!(matches!(running, OpenError::Locked { .. }), "{running}");
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    assert!(!Repair::plan(&rocks.path).expect("it reads").is_needed());
    let nothing = Repair::plan(&rocks.folder.path().join("nowhere")).expect_err("nothing is there");
    assert!(matches!(nothing, OpenError::NotADataDirectory { .. }), "{nothing}");
    let log = open(&rocks.path, &rocks).expect("a plan changes nothing");
    assert!(log.bounds(partition(1)).end > Position::ZERO);
}

/// What is done to a file.
type Spoil = fn(&Path);

/// Without them RocksDB does not know what belongs to the log: every command says so, and what there is to do.
#[test]
fn a_log_whose_own_list_of_files_is_damaged_says_to_restore_a_backup() {
    let mut rocks = Rocks::new(USUAL);
    mixture(&rocks, 20);
    rocks.rocks().close().expect("it closes");
    rocks.log = None;
    let listed = fs::read_dir(rocks.path.join("log")).expect("readable").map(|entry| entry.expect("readable").path());
    let is_manifest = |path: &PathBuf| path.to_string_lossy().contains("MANIFEST-");
    let manifest = listed.into_iter().find(is_manifest).expect("there is one");
    let (table, current) = (files(&rocks.path, "sst").pop().expect("there is one"), rocks.path.join("log/CURRENT"));
    let emptied = |path: &Path| fs::write(path, "").expect("writable");
    let garbage = |path: &Path| fs::write(path, "MANIFEST-999999\n").expect("writable");
    let gone = |path: &Path| fs::remove_file(path).expect("it was there");
    let flipped = |path: &Path| flip(path, 30);
    let spoiled: [(&Path, Spoil); 6] = [
        (&manifest, flipped),
        (&manifest, emptied),
        (&manifest, gone),
        (&current, garbage),
        (&current, gone),
        (&table, gone),
    ];
    for (number, (file, spoil)) in spoiled.into_iter().enumerate() {
        let copy = rocks.folder.path().join(format!("spoiled-{number}"));
        copy_folder(&rocks.path, &copy);
        spoil(&copy.join(file.strip_prefix(&rocks.path).expect("a file of the directory")));
        let told = [
            open(&copy, &rocks).map(drop),
            ReadOnlyLog::open(&copy).map(drop),
            storage::verify(&copy).map(drop),
            Repair::plan(&copy).map(drop),
        ];
        for (command, told) in told.into_iter().enumerate() {
            let error = told.expect_err("it cannot be opened");
            assert!(matches!(error, OpenError::StoreUnreadable { .. }), "{number}, {command}: {error}");
            assert!(error.to_string().contains("headwater backup restore BACKUP --into DIR"), "{error}");
        }
    }
}
