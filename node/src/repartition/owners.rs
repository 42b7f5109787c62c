//! Where each stream and run goes, and its new number there. Numbers are given in the order of creation, as a partition
//! gives them.

use std::collections::HashMap;

use engine::StreamKey;
use types::{Incarnation, PartitionCount, PartitionId, Position, RunId, StreamOrdinal};

/// A stream or run in its new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) partition: PartitionId,
    pub(super) ordinal: StreamOrdinal,
    /// The position of its creation there.
    pub(super) incarnation: Incarnation,
    /// `None`: a stream of a user.
    pub(super) run: Option<RunId>,
}

/// All of them, by where they were. About 60 bytes a stream and run that ever was.
#[derive(Debug)]
pub(super) struct Owners {
    partitions: PartitionCount,
    by_place: HashMap<(PartitionId, StreamOrdinal), Owner>,
    next: Vec<StreamOrdinal>,
}

impl Owners {
    pub(super) fn new(partitions: PartitionCount) -> Self {
        let next = vec![StreamOrdinal::FIRST; partitions.get() as usize];
        Self { partitions, by_place: HashMap::new(), next }
    }

    pub(super) fn partition_of_run(&self, run: RunId) -> PartitionId {
        run.routing_hash().partition(self.partitions)
    }

    pub(super) fn partition_of_stream(&self, key: &StreamKey) -> PartitionId {
        key.name.routing_hash(&key.tenant).partition(self.partitions)
    }

    /// Gives something that is created at `position` of its new partition the next number there.
    pub(super) fn create(
        &mut self,
        old: (PartitionId, StreamOrdinal),
        partition: PartitionId,
        position: Position,
        run: Option<RunId>,
    ) -> Owner {
        let next = &mut self.next[partition.value() as usize];
        let owner = Owner { partition, ordinal: *next, incarnation: Incarnation::at(position), run };
        *next = next.next();
        self.by_place.insert(old, owner);
        owner
    }

    pub(super) fn get(&self, partition: PartitionId, ordinal: StreamOrdinal) -> Option<Owner> {
        self.by_place.get(&(partition, ordinal)).copied()
    }

    /// The next number of a new partition.
    pub(super) fn next(&self, partition: PartitionId) -> StreamOrdinal {
        self.next[partition.value() as usize]
    }
}
