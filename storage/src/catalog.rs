//! What a reader must know to find records: how far each partition is acknowledged, its segments, its recent blocks.
//! The writer publishes here after each write; readers never wait for a disk while they hold a lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use types::{History, PartitionCount, PartitionId, Position, Timestamp};

use crate::checkpoint::PartitionMeta;
use crate::holes::Holes;
use crate::log::PartitionBounds;
use crate::lost_rows::AllLost;
use crate::metrics::Metrics;
use crate::partition_log::Staged;
use crate::recent::Recent;
use crate::record::{CHAINS, RetentionClass};
use crate::retention::SegmentId;
use crate::segment::Segment;
use crate::store::Store;

/// Which positions a segment takes, and whether its records can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentStart {
    pub(crate) number: u32,
    pub(crate) base: Position,
    /// It was not dropped.
    pub(crate) kept: bool,
    /// Something in it is damaged.
    pub(crate) quarantined: bool,
}

impl SegmentStart {
    /// Whether its records may be read.
    pub(crate) const fn is_readable(&self) -> bool {
        self.kept && !self.quarantined
    }
}

impl From<&Segment> for SegmentStart {
    fn from(segment: &Segment) -> Self {
        Self { number: segment.number, base: segment.base, kept: segment.state.is_kept(), quarantined: false }
    }
}

/// One partition as readers see it.
#[derive(Debug)]
pub(crate) struct PartitionView {
    acknowledged: AtomicU64,
    durable: AtomicU64,
    written: AtomicU64,
    /// How often segments of it were dropped or quarantined since it was opened.
    drops: AtomicU64,
    /// When somebody asked last that old segments be sealed, in log time; 0 once the writer has seen it.
    seal_at: AtomicU64,
    lost_rows: AllLost,
    state: RwLock<ViewState>,
}

#[derive(Debug)]
pub(crate) struct ViewState {
    pub(crate) meta: PartitionMeta,
    /// Oldest first; never empty.
    pub(crate) segments: [Vec<SegmentStart>; CHAINS],
    /// Where records are missing because segments were dropped.
    pub(crate) holes: Arc<Holes>,
    /// Where they are because something is damaged.
    pub(crate) damaged: Arc<Holes>,
    pub(crate) recent: Recent,
}

impl ViewState {
    pub(crate) fn new(meta: PartitionMeta, segments: [Vec<SegmentStart>; CHAINS], recent: Recent) -> Self {
        let holes = Arc::new(Holes::of(meta.start, &segments));
        let damaged = Arc::new(Holes::quarantined(&segments));
        Self { meta, segments, holes, damaged, recent }
    }
}

impl PartitionView {
    pub(crate) fn new(durable: Position, lost_rows: AllLost, state: ViewState) -> Self {
        let [acknowledged, durable, written] = [durable; 3].map(|end| AtomicU64::new(end.value()));
        let [drops, seal_at] = [0; 2].map(AtomicU64::new);
        Self { acknowledged, durable, written, drops, seal_at, lost_rows, state: RwLock::new(state) }
    }

    /// Where a row that is not there may have been lost.
    pub(crate) const fn lost_rows(&self) -> &AllLost {
        &self.lost_rows
    }

    /// Changes whenever segments are dropped or quarantined: a read that met something missing looks whether it was that.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }

    /// Everything before it is acknowledged, and may be read. Never before `durable`, and beyond it only where
    /// acknowledgements do not wait for the disk.
    pub(crate) fn acknowledged(&self) -> Position {
        Position::new(self.acknowledged.load(Ordering::Acquire))
    }

    /// Gives the partition a history other than its own, and what to write for it. It is not served yet.
    pub(crate) fn begin_history(&mut self, drawn: History) -> PartitionMeta {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.meta.history = drawn.unlike(state.meta.history);
        state.meta
    }

    /// Takes the last segment of a chain for closed and quarantined, as if another one followed. It is not served yet.
    pub(crate) fn close_lost(&mut self, lost: SegmentId) {
        let end = self.durable();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let chain = &mut state.segments[lost.class.index()];
        chain.iter_mut().filter(|start| start.number == lost.number).for_each(|start| start.quarantined = true);
        chain.push(SegmentStart { number: lost.number + 1, base: end, kept: true, quarantined: false });
        state.damaged = Arc::new(Holes::quarantined(&state.segments));
        state.recent = Recent::new(end);
    }

    pub(crate) fn durable(&self) -> Position {
        Position::new(self.durable.load(Ordering::Acquire))
    }

    /// Everything before it is written, though perhaps not acknowledged.
    pub(crate) fn written(&self) -> Position {
        Position::new(self.written.load(Ordering::Acquire))
    }

    /// Asks the writer to seal what is too old at `now`. It looks with the next append, which may be an empty one.
    pub(crate) fn ask_to_seal(&self, now: Timestamp) {
        self.seal_at.fetch_max(now.as_millis(), Ordering::AcqRel);
    }

    /// The latest time for which that was asked and not yet taken.
    pub(crate) fn take_seal(&self) -> Option<Timestamp> {
        Some(self.seal_at.swap(0, Ordering::AcqRel)).filter(|millis| *millis > 0).map(Timestamp::from_millis)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, ViewState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ViewState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Recent blocks in the order in which they came, over all partitions, and how many bytes they hold.
#[derive(Debug, Default)]
struct Tail {
    order: VecDeque<(PartitionId, usize)>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    partitions: Vec<PartitionView>,
    tail: Mutex<Tail>,
    tail_budget: usize,
}

impl Catalog {
    /// One view a partition, in order.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        partitions: Vec<PartitionView>,
        tail_budget: usize,
    ) -> Self {
        let tail = Mutex::new(Tail::default());
        let catalog = Self { store, metrics, partitions, tail, tail_budget };
        for partition in catalog.count().partitions() {
            let blocks = catalog.view(partition).read().recent.block_bytes();
            catalog.make_room(partition, &blocks);
        }
        catalog
    }

    pub(crate) fn count(&self) -> PartitionCount {
        let count = u32::try_from(self.partitions.len()).ok().and_then(PartitionCount::new);
        count.expect("a log is made with a valid number of partitions")
    }

    /// A partition that is not there is a mistake of the caller's, not of the disk's.
    pub(crate) fn view(&self, partition: PartitionId) -> &PartitionView {
        let view = self.partitions.get(partition.value() as usize);
        view.unwrap_or_else(|| panic!("partition {partition} of {} was asked for", self.partitions.len()))
    }

    pub(crate) fn bounds(&self, partition: PartitionId) -> PartitionBounds {
        let view = self.view(partition);
        let state = view.read();
        let PartitionMeta { history, start } = state.meta;
        PartitionBounds {
            trimmed: !state.holes.is_empty(),
            quarantined: !state.damaged.is_empty(),
            history,
            start_run: start[RetentionClass::Run.index()],
            start_stream: start[RetentionClass::Stream.index()],
            end: view.acknowledged(),
        }
    }

    /// How many segments are damaged and not read, over all partitions.
    pub(crate) fn quarantined(&self) -> u64 {
        let of = |view: &PartitionView| {
            let state = view.read();
            state.segments.iter().flatten().filter(|segment| segment.quarantined && segment.kept).count() as u64
        };
        self.partitions.iter().map(of).sum()
    }

    /// Segments are gone from now on, though their bytes may still be there. Who reads finds a hole.
    pub(crate) fn publish_drop(&self, partition: PartitionId, meta: PartitionMeta, dropped: &[Segment]) {
        let view = self.view(partition);
        {
            let mut state = view.write();
            for segment in dropped {
                let chain = &mut state.segments[segment.chain.class.index()];
                chain.iter_mut().filter(|start| start.number == segment.number).for_each(|start| start.kept = false);
            }
            for (chain, start) in meta.start.iter().enumerate() {
                state.segments[chain].retain(|segment| segment.kept || segment.base >= *start);
            }
            state.meta = meta;
            state.holes = Arc::new(Holes::of(meta.start, &state.segments));
            state.damaged = Arc::new(Holes::quarantined(&state.segments));
        }
        view.drops.fetch_add(1, Ordering::AcqRel);
        if let Some(end) = dropped.iter().map(|segment| segment.next).max() {
            self.forget_before(partition, end);
        }
    }

    /// Nothing of a segment is read from now on; `next` is one past its last record.
    pub(crate) fn publish_quarantine(&self, segment: SegmentId, next: Position) {
        let view = self.view(segment.partition);
        {
            let mut state = view.write();
            let chain = &mut state.segments[segment.class.index()];
            let marked = chain.iter_mut().filter(|start| start.number == segment.number);
            marked.for_each(|start| start.quarantined = true);
            state.damaged = Arc::new(Holes::quarantined(&state.segments));
        }
        view.drops.fetch_add(1, Ordering::AcqRel);
        self.forget_before(segment.partition, next);
    }

    /// Gives up the recent blocks that begin before `position`.
    fn forget_before(&self, partition: PartitionId, position: Position) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let mut evicted = self.view(partition).write().recent.evict_before(position);
        let Tail { order, bytes } = &mut *tail;
        order.retain(|(owner, size)| {
            let goes = *owner == partition && evicted > 0;
            if goes {
                evicted -= 1;
                *bytes -= size;
            }
            !goes
        });
    }

    /// Shows what was written. Readers still wait for it to be acknowledged.
    pub(crate) fn publish(&self, staged: Staged) {
        let partition = staged.partition;
        let bytes: Vec<usize> = staged.blocks.iter().map(|(block, _)| block.bytes().len()).collect();
        {
            let view = self.view(partition);
            view.written.fetch_max(staged.end.value(), Ordering::AcqRel);
            let mut state = view.write();
            for segment in &staged.opened {
                state.segments[segment.chain.class.index()].push(segment.into());
            }
            if let Some(saved) = staged.saved {
                state.recent.saved(saved);
            }
            state.recent.add_group(staged.blocks, staged.end);
        }
        self.make_room(partition, &bytes);
    }

    fn make_room(&self, partition: PartitionId, new: &[usize]) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        for bytes in new {
            tail.order.push_back((partition, *bytes));
            tail.bytes += bytes;
        }
        while tail.bytes > self.tail_budget {
            let Some((oldest, bytes)) = tail.order.pop_front() else { break };
            tail.bytes -= bytes;
            self.view(oldest).write().recent.evict_oldest();
        }
    }

    /// Everything before `end` is durable from now on, and thereby acknowledged.
    pub(crate) fn set_durable(&self, partition: PartitionId, end: Position) {
        let before = self.view(partition).durable.fetch_max(end.value(), Ordering::AcqRel);
        debug_assert!(before <= end.value(), "what is durable stays durable");
        self.set_acknowledged(partition, end);
    }

    /// Everything before `end` is acknowledged from now on, durable or not.
    pub(crate) fn set_acknowledged(&self, partition: PartitionId, end: Position) {
        self.view(partition).acknowledged.fetch_max(end.value(), Ordering::AcqRel);
    }

    /// Of each partition, in order.
    pub(crate) fn durable(&self) -> Vec<Position> {
        self.partitions.iter().map(PartitionView::durable).collect()
    }

    /// Of each partition, in order.
    pub(crate) fn acknowledged(&self) -> Vec<Position> {
        self.partitions.iter().map(PartitionView::acknowledged).collect()
    }
}
