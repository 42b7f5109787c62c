//! The data directory as a whole: who may open it, which format it has, what a reader without rights sees.

use std::fs;
use std::sync::Arc;

use storage::{AppendBatch, AppendError, Log, OpenError, ReadOnlyLog, RocksLog, Rows};
use types::Position;

use crate::harness::{Answer, Harness, Rocks, SMALL, USUAL, fact, partition};
use crate::reading::mixture;

#[test]
fn reports_say_what_was_found() {
    let mut rocks = Rocks::new(USUAL);
    let (path, options) = (rocks.path.clone(), rocks.options.clone());
    (&rocks as &dyn Harness).append(partition(0), vec![fact(1, 0)]);
    let unclean = rocks.copy();
    rocks.rocks().close().expect("it closes");
    rocks.log = None;

    let (log, report) = RocksLog::open(&path, &options).expect("it opens");
    assert!(!report.created && report.clean && report.term == 2, "{report:?}");
    assert_eq!((report.torn_blocks, report.torn_records), (0, 0));
    drop(log);

    let (_log, report) = RocksLog::open(&unclean, &options).expect("it opens");
    assert!(!report.created && !report.clean && report.term == 2 && report.wal_bytes > 0, "{report:?}");

    let (_log, report) = RocksLog::open(&rocks.folder.path().join("new"), &options).expect("it is made");
    assert!(report.created && report.clean && report.term == 1, "{report:?}");
}

#[test]
fn a_log_that_is_dropped_was_closed() {
    let mut rocks = Rocks::new(USUAL);
    for n in 0..10 {
        let batch = AppendBatch {
            partition: partition(0),
            expected: Position::new(n),
            records: vec![fact(1, n)],
            rows: Vec::new(),
        };
        rocks.rocks().append(batch, Answer::default().callback());
    }
    rocks.log = None;
    let (log, report) = RocksLog::open(&rocks.path, &rocks.options).expect("it opens");
    assert!(report.clean);
    assert_eq!(log.bounds(partition(0)).end, Position::new(10));
}

#[test]
fn the_last_handle_may_be_dropped_by_a_callback() {
    let mut rocks = Rocks::new(USUAL);
    let log = rocks.log.take().expect("it is open");
    let (handle, answer) = (Arc::clone(&log), Answer::default());
    let callback = answer.callback();
    let (told, wait) = std::sync::mpsc::channel();
    let records = vec![fact(1, 0)];
    let batch = AppendBatch { partition: partition(0), expected: Position::ZERO, records, rows: Vec::new() };
    let dropping = move |outcome| {
        callback(outcome);
        drop(handle);
        told.send(()).expect("somebody waits");
    };
    log.append(batch, Box::new(dropping));
    drop(log);
    wait.recv().expect("the callback ran");
    assert_eq!(answer.take(), Some(Ok(Position::new(1))));
}

#[test]
fn a_directory_in_use_is_refused_with_the_process() {
    let rocks = Rocks::new(USUAL);
    let error = RocksLog::open(&rocks.path, &rocks.options).expect_err("it is in use");
    assert!(matches!(error, OpenError::Locked { .. }));
    let text = error.to_string();
    assert!(text.contains(&format!("already in use by process {}", std::process::id())), "{text}");
}

#[test]
fn a_newer_format_is_refused_with_the_version_it_needs() {
    let mut rocks = Rocks::new(USUAL);
    rocks.log = None;
    let text = "headwater data directory\nformat 9\nneeds headwater 0.9.3\n";
    fs::write(rocks.path.join("FORMAT"), text).expect("writable");
    for error in [
        RocksLog::open(&rocks.path, &rocks.options).expect_err("newer"),
        ReadOnlyLog::open(&rocks.path).expect_err("newer"),
        storage::verify(&rocks.path).expect_err("newer"),
    ] {
        let text = error.to_string();
        assert!(text.contains("was written in format 9, which needs headwater 0.9.3 or later"), "{text}");
    }
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let rocks = Rocks::new(USUAL);
    let other = rocks.folder.path().join("other");
    fs::create_dir(&other).expect("writable");
    fs::write(other.join("letter.txt"), "dear").expect("writable");
    let error = RocksLog::open(&other, &rocks.options).expect_err("not ours");
    assert!(matches!(error, OpenError::NotADataDirectory { .. }), "{error}");
    assert_eq!(fs::read_dir(&other).expect("readable").count(), 2, "a letter and a lock");
}

#[test]
fn an_interrupted_making_is_made_again() {
    let rocks = Rocks::new(USUAL);
    let half = rocks.folder.path().join("half");
    fs::create_dir_all(half.join("log")).expect("writable");
    fs::write(half.join("FORMAT.new"), "headw").expect("writable");
    fs::write(half.join("log/CURRENT"), "garbage").expect("writable");
    let (_log, report) = RocksLog::open(&half, &rocks.options).expect("it is made");
    assert!(report.created);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let rocks = Rocks::new(USUAL);
    // Not even root may make folders here.
    let error = RocksLog::open("/sys/headwater-data".as_ref(), &rocks.options).expect_err("not writable");
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("a node needs write access"), "{error}");
}

#[test]
fn a_missing_commit_file_is_refused() {
    let mut rocks = Rocks::new(USUAL);
    rocks.log = None;
    fs::remove_file(rocks.path.join("COMMIT")).expect("it is there");
    let error = RocksLog::open(&rocks.path, &rocks.options).expect_err("it is gone").to_string();
    for word in ["COMMIT", "the file is not there", "cannot be known", "repair --accept-loss", "backup"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    let report = storage::verify(&rocks.path).expect("there is something to look at");
    assert_eq!((report.damage_count, report.damages.len()), (1, 1), "{report:?}");
}

#[test]
fn a_reader_without_rights_sees_everything_and_changes_nothing() {
    let mut rocks = Rocks::new(SMALL);
    mixture(&rocks, 40);
    let all = (&rocks as &dyn Harness).all(partition(1));
    let stream = crate::streams::read(&rocks, partition(1), 2, 0);
    let copy = rocks.copy();
    let before = listing(&copy);
    let (log, report) = ReadOnlyLog::open(&copy).expect("it opens");
    assert!(!report.clean && report.term == 1, "{report:?}");
    assert_eq!(log.in_use_by(), None);
    let mut read: Vec<storage::StoredRecord> = Vec::new();
    loop {
        let from = read.last().map_or(Position::ZERO, |last| last.position.next());
        let next = log.read(partition(1), from, 10, 1000).expect("it reads");
        if next.is_empty() {
            break;
        }
        read.extend(next);
    }
    assert_eq!(read, all);
    assert_eq!(log.read_stream(crate::streams::request(partition(1), 2, 0)), Ok(stream));
    let key = storage::RowKey { kind: storage::RowKind::OpenRun, id: "x".into() };
    assert_eq!(log.get(partition(1), &key), Ok(None));
    let answer = Answer::default();
    let expected = log.bounds(partition(0)).end;
    log.append(
        AppendBatch { partition: partition(0), expected, records: Vec::new(), rows: Vec::new() },
        answer.callback(),
    );
    assert_eq!(answer.take(), Some(Err(AppendError::ReadOnly)));
    drop(log);
    assert_eq!(listing(&copy), before);
}

#[test]
fn a_reader_may_look_while_the_node_runs() {
    let rocks = Rocks::new(USUAL);
    (&rocks as &dyn Harness).append(partition(3), vec![fact(1, 0), fact(1, 1)]);
    let (log, _) = ReadOnlyLog::open(&rocks.path).expect("it opens");
    assert_eq!(log.in_use_by(), Some(format!("process {}", std::process::id()).as_str()));
    assert_eq!(log.read(partition(3), Position::ZERO, 10, 1000).expect("it reads").len(), 2);
}

/// Names and sizes of all that holds data; RocksDB's diary is not that.
fn listing(path: &std::path::Path) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let entry = entry.expect("readable");
            if entry.file_type().expect("readable").is_dir() {
                folders.push(entry.path());
            } else if !entry.file_name().to_string_lossy().starts_with("LOG") {
                all.push((entry.path().display().to_string(), entry.metadata().expect("readable").len()));
            }
        }
    }
    all.sort();
    all
}
