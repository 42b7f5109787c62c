//! What a reader must know to find records: how far each partition is durable, its segments, and its recent blocks.
//! The writer publishes here after each write; readers never wait for a disk while they hold a lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use types::{PartitionCount, PartitionId, Position};

use crate::checkpoint::PartitionMeta;
use crate::log::PartitionBounds;
use crate::metrics::Metrics;
use crate::partition_log::Staged;
use crate::recent::Recent;
use crate::record::{CHAINS, RetentionClass};
use crate::segment::Segment;
use crate::store::Store;

/// Which positions a segment takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentStart {
    pub(crate) number: u32,
    pub(crate) base: Position,
}

impl From<&Segment> for SegmentStart {
    fn from(segment: &Segment) -> Self {
        Self { number: segment.number, base: segment.base }
    }
}

/// One partition as readers see it.
#[derive(Debug)]
pub(crate) struct PartitionView {
    durable: AtomicU64,
    state: RwLock<ViewState>,
}

#[derive(Debug)]
pub(crate) struct ViewState {
    pub(crate) meta: PartitionMeta,
    /// Oldest first; never empty.
    pub(crate) segments: [Vec<SegmentStart>; CHAINS],
    pub(crate) recent: Recent,
}

impl PartitionView {
    pub(crate) fn new(durable: Position, state: ViewState) -> Self {
        Self { durable: AtomicU64::new(durable.value()), state: RwLock::new(state) }
    }

    pub(crate) fn durable(&self) -> Position {
        Position::new(self.durable.load(Ordering::Acquire))
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
        let PartitionMeta { history, start } = view.read().meta;
        PartitionBounds {
            history,
            start_run: start[RetentionClass::Run.index()],
            start_stream: start[RetentionClass::Stream.index()],
            end: view.durable(),
        }
    }

    /// Shows what was written. Readers still wait for it to be durable.
    pub(crate) fn publish(&self, staged: Staged) {
        let partition = staged.partition;
        let bytes: Vec<usize> = staged.blocks.iter().map(|(block, _)| block.bytes().len()).collect();
        {
            let mut state = self.view(partition).write();
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

    /// Everything before `end` is durable from now on.
    pub(crate) fn set_durable(&self, partition: PartitionId, end: Position) {
        let before = self.view(partition).durable.fetch_max(end.value(), Ordering::AcqRel);
        debug_assert!(before <= end.value(), "what is durable stays durable");
    }

    pub(crate) fn durable(&self) -> Vec<Position> {
        self.partitions.iter().map(PartitionView::durable).collect()
    }
}
