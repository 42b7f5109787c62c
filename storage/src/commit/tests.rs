//! Both stages over a disk whose syncs, room and watermark the test holds in its hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use types::{Durability, History, Offset, PartitionCount, PartitionId, Position, StreamOrdinal, Timestamp};

use super::*;
use crate::error::AppendError;
use crate::keys::Family;
use crate::log::AppendBatch;
use crate::metrics::Metrics;
use crate::partition_log::Policy;
use crate::record::{EventClass, Record};
use crate::recovery::{initial, recover};
use crate::salvage::Salvage;
use crate::simulated_disk::SimulatedDisk;
use crate::store::{Batch, Entry, Scan, Store, StoreError};

/// A disk whose syncs wait until the test lets them go on.
#[derive(Debug)]
struct SlowDisk {
    disk: SimulatedDisk,
    syncs: Mutex<Option<mpsc::Receiver<()>>>,
    writes: AtomicUsize,
}

impl Store for SlowDisk {
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.disk.write(batch)
    }
    fn sync(&self) -> Result<(), StoreError> {
        if let Some(syncs) = &*self.syncs.lock().expect("not poisoned") {
            let _ = syncs.recv();
        }
        self.disk.sync()
    }
    fn sequence(&self) -> u64 {
        self.disk.sequence()
    }
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.disk.get(family, key)
    }
    fn scan<'a>(&'a self, family: Family, from: &[u8], until: &[u8], expect_bytes: usize) -> Box<dyn Scan + 'a> {
        self.disk.scan(family, from, until, expect_bytes)
    }
    fn drop_files(&self, family: Family, from: &[u8], until: &[u8]) -> Result<(), StoreError> {
        self.disk.drop_files(family, from, until)
    }
    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.disk.last(family, from, until)
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Watermark>>>, Arc<AtomicUsize>);

impl KeepWatermark for Kept {
    fn keep(&mut self, watermark: &Watermark) -> Result<(), String> {
        self.0.lock().expect("not poisoned").push(watermark.clone());
        if self.1.load(Ordering::SeqCst) > 0 { Err("no space left".to_owned()) } else { Ok(()) }
    }
}

struct Setup {
    disk: Arc<SlowDisk>,
    committer: Committer,
    catalog: Arc<Catalog>,
    kept: Kept,
    fatal: Arc<Mutex<Vec<String>>>,
    answers: Mutex<mpsc::Receiver<(u64, Result<Position, AppendError>)>>,
    told: mpsc::Sender<(u64, Result<Position, AppendError>)>,
}

fn setup(bounds: QueueBounds, syncs: Option<mpsc::Receiver<()>>) -> Setup {
    relaxed_setup(bounds, syncs, Durability::Commit)
}

fn relaxed_setup(bounds: QueueBounds, syncs: Option<mpsc::Receiver<()>>, durability: Durability) -> Setup {
    let disk = SlowDisk { disk: SimulatedDisk::default(), syncs: Mutex::new(None), writes: AtomicUsize::new(0) };
    disk.write(&initial(&[History::new(1)])).and_then(|()| disk.sync()).expect("a new disk works");
    let one = PartitionCount::new(1).expect("in range");
    let watermark = Watermark { term: 1, ..Watermark::initial(one, disk.sequence()) };
    let recovered = recover(&disk, &watermark, &Salvage::none(1)).expect("an empty log opens");
    *disk.syncs.lock().expect("not poisoned") = syncs;
    let disk = Arc::new(disk);
    let store: Arc<dyn Store> = disk.clone();
    let catalog = Arc::new(Catalog::new(store, Arc::new(Metrics::new()), recovered.views, 1 << 20));
    let policy = Policy { segment_bytes: 1 << 20, segment_ms: 1 << 40, unsaved_bytes: 1 << 20 };
    let writer = Writer::new(Arc::clone(&catalog), recovered.logs, 1, policy);
    let (kept, fatal) = (Kept::default(), Arc::new(Mutex::new(Vec::new())));
    let heard = Arc::clone(&fatal);
    let on_fatal: OnFatal = Arc::new(move |cause| heard.lock().expect("not poisoned").push(cause.to_owned()));
    let watermark_every = Duration::from_millis(5);
    let options = CommitOptions { bounds, watermark_every, durability, on_fatal: Some(on_fatal) };
    let committer = Committer::start(Arc::clone(&catalog), writer, &watermark, Box::new(kept.clone()), options);
    let (told, answers) = mpsc::channel();
    Setup {
        disk,
        committer: committer.expect("threads start"),
        catalog,
        kept,
        fatal,
        answers: Mutex::new(answers),
        told,
    }
}

const ROOMY: QueueBounds = QueueBounds { batches: 1000, bytes: 1 << 20 };

impl Setup {
    fn append(&self, n: u64) {
        let record = Record {
            schema: 1,
            class: EventClass::Fact,
            cause: true,
            time: Timestamp::ZERO,
            stream: StreamOrdinal::FIRST,
            offset: Offset::new(n),
            output: None,
            key: Bytes::new(),
            headers: Vec::new(),
            payload: Bytes::from_static(b"0123456789"),
        };
        let batch = AppendBatch {
            partition: PartitionId::SYSTEM,
            expected: Position::new(n),
            records: vec![record],
            rows: Vec::new(),
        };
        let told = self.told.clone();
        let on_durable = Box::new(move |outcome| told.send((n, outcome)).expect("the test waits"));
        self.committer.append(Pending::now(batch, on_durable));
    }

    fn answer(&self) -> (u64, Result<Position, AppendError>) {
        let answers = self.answers.lock().expect("not poisoned");
        answers.recv_timeout(Duration::from_mins(1)).expect("an answer within a minute")
    }
}

fn is_unknown(outcome: &Result<Position, AppendError>, cause: &str) -> bool {
    matches!(outcome, Err(AppendError::OutcomeUnknown { cause: found }) if found.contains(cause))
}

#[test]
fn one_sync_answers_all_that_was_written_before_it() {
    let (go_on, syncs) = mpsc::channel();
    let setup = setup(ROOMY, Some(syncs));
    (0..50).for_each(|n| setup.append(n));
    while setup.disk.writes.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    assert!(setup.answers.lock().expect("not poisoned").try_recv().is_err(), "nothing is answered before its sync");
    assert_eq!(setup.catalog.durable(), [Position::ZERO]);
    go_on.send(()).expect("the sync waits");
    go_on.send(()).expect("the sync waits");
    drop(go_on);
    for n in 0..50 {
        assert_eq!(setup.answer(), (n, Ok(Position::new(n + 1))));
    }
    assert_eq!(setup.catalog.durable(), [Position::new(50)]);
    assert!(setup.catalog.metrics.syncs() < 10, "{} syncs", setup.catalog.metrics.syncs());
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let setup = setup(ROOMY, None);
    setup.append(0);
    assert_eq!(setup.answer(), (0, Ok(Position::new(1))));
    setup.disk.disk.fail_next_sync();
    setup.append(1);
    let (_, outcome) = setup.answer();
    assert!(is_unknown(&outcome, "a sync failed"), "{outcome:?}");
    setup.append(2);
    let (_, outcome) = setup.answer();
    assert!(is_unknown(&outcome, "a sync failed"), "{outcome:?}");
    assert!(setup.committer.close().is_err());
    assert_eq!(setup.catalog.durable(), [Position::new(1)]);
    let fatal = setup.fatal.lock().expect("not poisoned");
    assert_eq!(fatal.len(), 1, "{fatal:?}");
    let kept = setup.kept.0.lock().expect("not poisoned");
    assert!(kept.iter().all(|watermark| !watermark.clean), "a failed log is not clean");
}

#[test]
fn a_failed_write_answers_everybody() {
    let (go_on, syncs) = mpsc::channel();
    let setup = setup(ROOMY, Some(syncs));
    setup.append(0);
    while setup.disk.writes.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    setup.disk.disk.set_full(true);
    (1..20).for_each(|n| setup.append(n));
    drop(go_on);
    // The first was written and its sync was under way.
    assert_eq!(setup.answer(), (0, Ok(Position::new(1))));
    for _ in 1..20 {
        let (n, outcome) = setup.answer();
        assert!(n > 0 && is_unknown(&outcome, "no space left"), "{n}: {outcome:?}");
    }
    assert!(setup.committer.close().is_err());
    assert_eq!(setup.fatal.lock().expect("not poisoned").len(), 1);
}

#[test]
fn a_watermark_that_cannot_be_kept_ends_the_log() {
    let setup = setup(ROOMY, None);
    setup.kept.1.store(1, Ordering::SeqCst);
    setup.append(0);
    assert_eq!(setup.answer(), (0, Ok(Position::new(1))));
    while setup.fatal.lock().expect("not poisoned").is_empty() {
        thread::yield_now();
    }
    setup.append(1);
    let (_, outcome) = setup.answer();
    assert!(is_unknown(&outcome, "watermark could not be written"), "{outcome:?}");
    assert!(setup.committer.close().is_err());
}

#[test]
fn a_full_queue_makes_appenders_wait() {
    let (go_on, syncs) = mpsc::channel();
    let setup = setup(QueueBounds { batches: 4, bytes: 1 << 20 }, Some(syncs));
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..20 {
                setup.append(n);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        while count.load(Ordering::SeqCst) < 4 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(50));
        assert_eq!(count.load(Ordering::SeqCst), 4, "the fifth waits");
        drop(go_on);
    });
    for n in 0..20 {
        assert_eq!(setup.answer(), (n, Ok(Position::new(n + 1))));
    }
}

#[test]
fn the_watermark_follows_and_a_close_is_clean() {
    let setup = setup(ROOMY, None);
    setup.append(0);
    assert_eq!(setup.answer(), (0, Ok(Position::new(1))));
    while setup.kept.0.lock().expect("not poisoned").is_empty() {
        thread::yield_now();
    }
    setup.append(1);
    assert_eq!(setup.answer(), (1, Ok(Position::new(2))));
    setup.committer.close().expect("it closes");
    let kept = setup.kept.0.lock().expect("not poisoned");
    let last = kept.last().expect("there is one");
    assert!(last.clean && !kept[0].clean);
    assert_eq!((last.durable.clone(), kept[0].durable.clone()), (vec![Position::new(2)], vec![Position::new(1)]));
    assert_eq!(last.sequence, setup.disk.sequence());
}

#[test]
fn under_os_answers_do_not_wait_and_the_close_makes_all_durable() {
    let (go_on, syncs) = mpsc::channel();
    let setup = relaxed_setup(ROOMY, Some(syncs), Durability::Os);
    (0..10).for_each(|n| setup.append(n));
    for n in 0..10 {
        assert_eq!(setup.answer(), (n, Ok(Position::new(n + 1))), "no sync was let through");
    }
    assert_eq!(setup.catalog.acknowledged(), [Position::new(10)]);
    assert_eq!(setup.catalog.durable(), [Position::ZERO]);
    assert_eq!(setup.catalog.metrics.syncs(), 0);
    drop(go_on);
    setup.committer.close().expect("it closes");
    assert_eq!(setup.catalog.durable(), [Position::new(10)]);
    let kept = setup.kept.0.lock().expect("not poisoned");
    let last = kept.last().expect("a close keeps one");
    assert!(last.clean && last.relaxed && last.durable == [Position::new(10)], "{last:?}");
}

#[test]
fn under_an_interval_what_is_acknowledged_becomes_durable_later() {
    let (go_on, syncs) = mpsc::channel();
    let setup = relaxed_setup(ROOMY, Some(syncs), "interval=1".parse().expect("a level"));
    setup.append(0);
    assert_eq!(setup.answer(), (0, Ok(Position::new(1))));
    assert_eq!(setup.catalog.durable(), [Position::ZERO], "the first sync was not let through");
    drop(go_on);
    while setup.catalog.durable() != [Position::new(1)] {
        thread::yield_now();
    }
    while setup.kept.0.lock().expect("not poisoned").is_empty() {
        thread::yield_now();
    }
    let kept = setup.kept.0.lock().expect("not poisoned")[0].clone();
    assert!(kept.relaxed && !kept.clean && kept.durable == [Position::new(1)], "{kept:?}");
}

#[test]
fn a_failed_sync_ends_the_log_also_when_nobody_waits_for_it() {
    let setup = relaxed_setup(ROOMY, None, "interval=1".parse().expect("a level"));
    setup.disk.disk.fail_next_sync();
    setup.append(0);
    assert_eq!(setup.answer(), (0, Ok(Position::new(1))));
    while setup.fatal.lock().expect("not poisoned").is_empty() {
        thread::yield_now();
    }
    setup.append(1);
    let (_, outcome) = setup.answer();
    assert!(is_unknown(&outcome, "a sync failed"), "{outcome:?}");
    assert!(setup.committer.close().is_err());
    assert!(setup.kept.0.lock().expect("not poisoned").iter().all(|watermark| !watermark.clean));
}
