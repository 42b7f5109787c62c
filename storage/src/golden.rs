//! The bytes of format 1, as they were when it was settled: `fixtures/log-v1/`. They are read for ever, and what is
//! written today is the same. A new fixture is made by running with `HEADWATER_MAKE_FIXTURES=1`; an old one is never
//! changed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use types::{History, Offset, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::backup::{BackupOptions, back_up_stopped, restore, verify_backup};
use crate::block::{Block, BlockBuilder, BlockContext};
use crate::checkpoint::{Checkpoint, Directory, PartitionMeta};
use crate::keys::{IndexKey, LogKey, MetaKey, row_key};
use crate::log::{Log, StreamRead};
use crate::record::{EventClass, OutputHeader, Record, RetentionClass, StoredRecord};
use crate::rocks_log::{Options, RocksLog};
use crate::row_store::{decode_row, encode_row};
use crate::rows::{Row, RowKey, RowKind};
use crate::segment::{ChainId, Segment, SegmentState};
use crate::stream_index::{IndexEntry, decode_entries, encode_entries};
use crate::watermark::Watermark;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/log-v1")
}

fn making() -> bool {
    std::env::var_os("HEADWATER_MAKE_FIXTURES").is_some()
}

/// Holds what is encoded today to the fixture, and gives the fixture's bytes.
fn golden(name: &str, what: &str, today: &[u8]) -> Bytes {
    let path = folder().join(format!("{name}.hex"));
    if making() && !path.exists() {
        let mut text = format!("# {what}\n");
        for line in today.chunks(32) {
            for byte in line {
                write!(text, "{byte:02x}").expect("a string takes all");
            }
            text.push('\n');
        }
        fs::create_dir_all(folder()).expect("writable");
        fs::write(&path, text).expect("writable");
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two hex digits");
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    assert_eq!(today, bytes, "{name} is written otherwise than in format 1");
    bytes.into()
}

fn chunk() -> Record {
    Record {
        schema: 2,
        class: EventClass::Output,
        cause: true,
        time: Timestamp::from_millis(1_795_493_220_123),
        stream: StreamOrdinal::new(300),
        offset: Offset::new(17),
        output: Some(OutputHeader { step: 3, attempt: 2, sequence: 1000 }),
        key: Bytes::from_static(b"key"),
        headers: vec![(Bytes::from_static(b"c"), Bytes::from_static(b"text/plain"))],
        payload: Bytes::from_static(b"token"),
    }
}

fn attempt() -> Record {
    Record {
        schema: 1,
        class: EventClass::Attempt,
        cause: false,
        time: Timestamp::from_millis(1_795_493_220_100),
        stream: StreamOrdinal::NONE,
        offset: Offset::ZERO,
        output: None,
        key: Bytes::new(),
        headers: Vec::new(),
        payload: Bytes::from_static(b"failed"),
    }
}

const PARTITION: PartitionId = PartitionId::new(5);
const CHAIN: ChainId = ChainId { partition: PARTITION, class: RetentionClass::Stream };

fn block() -> (LogKey, Block, Segment) {
    let mut segment = Segment::first(CHAIN).sealed().follow(Position::new(1000));
    let key = segment.block_key(Position::new(1000));
    let mut builder = BlockBuilder::new(key);
    builder.push(Position::new(1000), &chunk());
    builder.push(Position::new(1002), &Record { offset: Offset::new(18), ..chunk() });
    let context = BlockContext { term: 7, durable: Position::new(990), group_end: Position::new(1004) };
    let (block, summary, _) = builder.finish(context, 0x0123_4567);
    segment.add(&summary);
    (key, block, segment)
}

#[test]
fn records() {
    for (name, record) in [("record-chunk", chunk()), ("record-attempt", attempt())] {
        let (base, first_time) = (Position::new(1000), Timestamp::from_millis(1_795_493_220_110));
        let mut bytes = Vec::new();
        StoredRecord::encode(&record, Position::new(1002), base, first_time, &mut bytes);
        let bytes = golden(name, "a record at position 1002 of a block that begins at 1000", &bytes);
        let stored = StoredRecord { position: Position::new(1002), record };
        assert_eq!(StoredRecord::decode(&bytes, 0..bytes.len(), base, first_time), Ok(stored));
    }
}

#[test]
fn blocks() {
    let (key, block, _) = block();
    let bytes = golden("block", "partition 5, stream chain, segment 2, positions 1000 and 1002", block.bytes());
    assert_eq!(Block::decode(&key, bytes), Ok(block));
}

#[test]
fn segments_and_checkpoints() {
    let (.., segment) = block();
    let bytes = golden("segment", "segment 2 of the stream chain of partition 5, active", &segment.value());
    assert_eq!(Segment::from_value(CHAIN, 2, &bytes), Ok(segment.clone()));
    let sealed = segment.clone().sealed();
    let bytes = golden("segment-sealed", "the same, sealed", &sealed.value());
    assert_eq!(Segment::from_value(CHAIN, 2, &bytes), Ok(sealed.clone()));
    for (name, state) in [("deleting", SegmentState::Deleting), ("dropped", SegmentState::Dropped)] {
        let gone = sealed.clone().in_state(state);
        let bytes = golden(&format!("segment-{name}"), &format!("the same, {name}"), &gone.value());
        assert_eq!(Segment::from_value(CHAIN, 2, &bytes), Ok(gone));
    }

    let [run, _] = Checkpoint::initial(PARTITION).active;
    let checkpoint = Checkpoint { partition: PARTITION, end: Position::new(1004), active: [run, segment] };
    let bytes = golden("checkpoint", "of partition 5 at position 1004", &checkpoint.value());
    assert_eq!(Checkpoint::from_value(PARTITION, &bytes), Ok(checkpoint));

    let meta = PartitionMeta { history: History::new(0x00ab_cdef), start: [Position::new(4), Position::new(900)] };
    let bytes = golden("partition", "history and starts of partition 5", &meta.value(PARTITION));
    assert_eq!(PartitionMeta::from_value(PARTITION, &bytes), Ok(meta));

    let directory = Directory { partitions: PartitionCount::default() };
    let bytes = golden("directory", "16 partitions", &directory.value());
    assert_eq!(Directory::from_value(&bytes), Ok(directory));
}

#[test]
fn index_entries_and_rows() {
    let key = IndexKey {
        partition: PARTITION,
        class: RetentionClass::Stream,
        segment: 2,
        stream: StreamOrdinal::new(300),
        base: Offset::new(17),
    };
    let entry = |base, block, first_index, count| IndexEntry {
        base: Offset::new(base),
        segment: 2,
        block: Position::new(block),
        first_index,
        count,
    };
    let entries = vec![entry(17, 1000, 0, 2), entry(20, 1010, 3, 1)];
    let bytes = golden("index", "stream 300 from offset 17, in two blocks", &encode_entries(&key, &entries));
    assert_eq!(decode_entries(&key, &bytes), Ok(entries));

    let key = row_key(PARTITION, &RowKey { kind: RowKind::OpenRun, id: Bytes::from_static(b"run-1") });
    let row = Row { position: Position::new(1003), value: Bytes::from_static(b"state") };
    let bytes = golden("row", "open run `run-1` of partition 5", &encode_row(&key, &row));
    assert_eq!(decode_row(&key, &bytes), Ok(row));
}

#[test]
fn keys() {
    let log = LogKey { partition: PARTITION, class: RetentionClass::Run, segment: 2, base: Position::new(1000) };
    let index = IndexKey {
        partition: PARTITION,
        class: RetentionClass::Stream,
        segment: 2,
        stream: StreamOrdinal::new(300),
        base: Offset::new(17),
    };
    let bytes = golden("key-log", "of the block at 1000", &log.encode());
    assert_eq!(LogKey::decode(&bytes), Ok(log));
    let bytes = golden("key-index", "of stream 300 at offset 17", &index.encode());
    assert_eq!(IndexKey::decode(&bytes), Ok(index));
    for (name, key) in [
        ("key-directory", MetaKey::Directory),
        ("key-partition", MetaKey::Partition(PARTITION)),
        ("key-segment", MetaKey::Segment(PARTITION, RetentionClass::Stream, 2)),
        ("key-checkpoint", MetaKey::Checkpoint(PARTITION)),
    ] {
        let bytes = golden(name, "in the family `meta`", &key.encode());
        assert_eq!(MetaKey::decode(&bytes), Ok(key));
    }
    let row = RowKey { kind: RowKind::DefinitionName, id: Bytes::from_static(b"id") };
    golden("key-row", "a definition's name `id` of partition 5", &row_key(PARTITION, &row));
}

#[test]
fn watermarks() {
    let durable = vec![Position::new(1), Position::new(1004)];
    let watermark = Watermark { clean: true, relaxed: false, term: 7, sequence: 99, durable };
    let bytes = golden("commit-slot", "one slot of COMMIT, its 9th write, of two partitions", &watermark.encode(9));
    assert_eq!(Watermark::decode(&bytes), Ok((9, watermark)));
}

const DIRECTORY_RECORDS: u64 = 40;

fn directory_record(n: u64) -> Record {
    let record = if n.is_multiple_of(4) { Record { stream: StreamOrdinal::new(1), ..attempt() } } else { chunk() };
    Record { stream: StreamOrdinal::new(1), offset: Offset::new(n), ..record }
}

/// A whole directory as the first version left it, with a sealed segment in each chain.
#[test]
fn directories() {
    let fixture = folder().join("directory");
    let options =
        Options { partitions: PartitionCount::new(2).expect("in range"), segment_bytes: 500, ..Options::default() };
    if making() && !fixture.exists() {
        make_directory(&fixture, &options);
    }
    let copy = tempfile::tempdir().expect("a folder");
    copy_folder(&fixture, copy.path());
    let report = crate::verify::verify(copy.path()).expect("it reads");
    assert_eq!((report.damages, report.records, report.rows), (Vec::new(), DIRECTORY_RECORDS, 1));
    let (log, report) = RocksLog::open(copy.path(), &options).expect("format 1 opens for ever");
    assert!(report.clean && report.term == 2 && report.upgraded_from == Some(1), "{report:?}");
    let read = StreamRead {
        partition: PartitionId::new(1),
        stream: StreamOrdinal::new(1),
        from: Offset::ZERO,
        until: Offset::new(u64::MAX),
        max_events: 1000,
        max_bytes: 1 << 20,
    };
    let events: Vec<_> = log.read_stream(read).expect("it reads").into_iter().map(|stored| stored.record).collect();
    assert_eq!(events, (0..DIRECTORY_RECORDS).map(directory_record).collect::<Vec<_>>());
}

/// Backups of that directory as the first version made them.
#[test]
fn backups() {
    let fixture = folder().join("../backup-v1");
    if making() && !fixture.exists() {
        make_backups(&fixture);
    }
    for name in [BACKUP, "log.tar"] {
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(&fixture, copy.path());
        let verified = verify_backup(&copy.path().join(name), &mut |_| {}).expect("format 1 is read for ever");
        assert_eq!((verified.made, verified.log.records), (chunk().time, DIRECTORY_RECORDS));
        let restored = restore(&copy.path().join(name), &copy.path().join("data"), 9, &mut |_| {}).expect("restores");
        let (log, report) = RocksLog::open(&restored.directory, &Options::default()).expect("it opens");
        assert_eq!(report.upgraded_from, Some(1));
        let records = log.read(PartitionId::new(1), Position::ZERO, 1000, 1 << 20).expect("it reads");
        let records: Vec<_> = records.into_iter().map(|stored| stored.record).collect();
        assert_eq!(records, (0..DIRECTORY_RECORDS).map(directory_record).collect::<Vec<_>>());
    }
}

const BACKUP: &str = "2026-11-24T04-07-00.123Z";

fn make_backups(fixture: &Path) {
    let copy = tempfile::tempdir().expect("a folder");
    copy_folder(&folder().join("directory"), &copy.path().join("data"));
    let options = BackupOptions { now: chunk().time, copy: true };
    for target in [fixture.to_owned(), fixture.join("log.tar")] {
        back_up_stopped(&copy.path().join("data"), &target, options, &mut |_| {}).expect("it is backed up");
    }
    fs::remove_file(fixture.join("LOCK")).expect("it was made");
}

fn make_directory(fixture: &Path, options: &Options) {
    let made = tempfile::tempdir().expect("a folder");
    let (log, _) = RocksLog::open(made.path(), options).expect("it is made");
    for n in 0..DIRECTORY_RECORDS {
        let row = Row { position: Position::new(n + 1), value: Bytes::from_static(b"state") };
        let key = RowKey { kind: RowKind::Partition, id: Bytes::new() };
        let batch = crate::log::AppendBatch {
            partition: PartitionId::new(1),
            expected: Position::new(n),
            records: vec![directory_record(n)],
            rows: vec![crate::rows::RowChange::Put(key, row)],
        };
        let (told, wait) = std::sync::mpsc::channel();
        log.append(batch, Box::new(move |outcome| told.send(outcome).expect("it waits")));
        wait.recv().expect("answered").expect("durable");
    }
    log.close().expect("it closes");
    drop(log);
    copy_folder(made.path(), fixture);
}

/// All but what RocksDB tells of itself, and locks.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let (name, kind) = (entry.file_name(), entry.file_type().expect("readable"));
        let text = name.to_string_lossy();
        if kind.is_dir() {
            copy_folder(&entry.path(), &to.join(&name));
        } else if !text.starts_with("LOG") && !text.starts_with("OPTIONS") && text != "LOCK" {
            fs::copy(entry.path(), to.join(&name)).expect("it copies");
        }
    }
}
