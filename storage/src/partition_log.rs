//! The writer's side of one partition: gives positions, cuts blocks, seals segments, checkpoints the stream index.

use bytes::Bytes;
use types::{PartitionId, Position, Timestamp};

use crate::block::{Block, BlockBuilder, BlockContext, BlockSummary, Buffers};
use crate::checkpoint::Checkpoint;
use crate::keys::{Family, IndexKey, MetaKey};
use crate::limits::BLOCK_BYTES;
use crate::record::{CHAINS, Record};
use crate::segment::Segment;
use crate::store::Batch;
use crate::stream_index::{RecentIndex, encode_entries};

/// When to seal and when to checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: u64,
    /// Blocks of a partition that one opening may have to read back.
    pub(crate) unsaved_bytes: u64,
}

/// What one group changes in one partition, to be shown to readers once it is written.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) partition: PartitionId,
    pub(crate) blocks: Vec<(Block, BlockSummary)>,
    /// Segments that begin with this group.
    pub(crate) opened: Vec<Segment>,
    /// A checkpoint up to here is part of the group.
    pub(crate) saved: Option<Position>,
    /// Where the partition ends after it.
    pub(crate) end: Position,
}

#[derive(Debug)]
pub(crate) struct PartitionLog {
    partition: PartitionId,
    next: Position,
    active: [Segment; CHAINS],
    /// The end at the last checkpoint, and the bytes of blocks since.
    saved: Position,
    unsaved_bytes: u64,
    /// Of the group that is being made; the last one of a chain takes more.
    builders: [Vec<BlockBuilder>; CHAINS],
    /// The memory of an earlier block.
    spare: [Buffers; CHAINS],
}

impl PartitionLog {
    /// As recovery found it: the active segments, the end, and what came after the last checkpoint.
    pub(crate) fn new(active: [Segment; CHAINS], next: Position, saved: Position, unsaved_bytes: u64) -> Self {
        let partition = active[0].chain.partition;
        Self {
            partition,
            next,
            active,
            saved,
            unsaved_bytes,
            builders: [Vec::new(), Vec::new()],
            spare: [Buffers::default(), Buffers::default()],
        }
    }

    /// Where the next record goes.
    pub(crate) const fn next(&self) -> Position {
        self.next
    }

    /// Begins a group: seals what is full or old and checkpoints what has grown. `index` is what readers have, which
    /// is all up to here.
    pub(crate) fn begin(&mut self, now: Timestamp, policy: &Policy, index: &RecentIndex, batch: &mut Batch) -> Staged {
        let due = |segment: &Segment| segment.is_due(policy.segment_bytes, policy.segment_ms, now);
        let mut staged = self.nothing();
        if self.active.iter().any(due) {
            self.write_index(index, batch);
            for segment in &mut self.active {
                if due(segment) {
                    let next = segment.follow(self.next);
                    let full = std::mem::replace(segment, next.clone()).sealed();
                    batch.put(Family::Meta, &full.key().encode(), full.value());
                    batch.put(Family::Meta, &next.key().encode(), next.value());
                    staged.opened.push(next);
                }
            }
            staged.saved = Some(self.save(batch));
        } else if self.unsaved_bytes >= policy.unsaved_bytes {
            self.write_index(index, batch);
            staged.saved = Some(self.save(batch));
        }
        staged
    }

    /// A checkpoint of all that is written, for a clean stop. `None`: there is nothing new.
    pub(crate) fn checkpoint(&mut self, index: &RecentIndex, batch: &mut Batch) -> Option<Staged> {
        if self.saved == self.next {
            return None;
        }
        self.write_index(index, batch);
        Some(Staged { saved: Some(self.save(batch)), ..self.nothing() })
    }

    fn nothing(&self) -> Staged {
        Staged { partition: self.partition, blocks: Vec::new(), opened: Vec::new(), saved: None, end: self.next }
    }

    fn write_index(&self, index: &RecentIndex, batch: &mut Batch) {
        for segment in &self.active {
            for (stream, entries) in index.since(segment.chain.class.index(), self.saved) {
                let first = entries.first().expect("only streams with entries are given");
                let key = IndexKey {
                    partition: self.partition,
                    class: segment.chain.class,
                    segment: first.segment,
                    stream,
                    base: first.base,
                };
                batch.put(Family::Index, &key.encode(), encode_entries(&key, &entries));
            }
        }
    }

    fn save(&mut self, batch: &mut Batch) -> Position {
        let checkpoint = Checkpoint { partition: self.partition, end: self.next, active: self.active.clone() };
        batch.put(Family::Meta, &MetaKey::Checkpoint(self.partition).encode(), checkpoint.value());
        self.saved = self.next;
        self.unsaved_bytes = 0;
        self.saved
    }

    /// Gives a record its position.
    pub(crate) fn push(&mut self, record: &Record) {
        let chain = record.class.retention().index();
        let full = |builder: &BlockBuilder| builder.record_bytes() + record.bytes() > BLOCK_BYTES;
        let position = self.next;
        let builders = &mut self.builders[chain];
        if builders.last().is_none_or(full) {
            let key = self.active[chain].block_key(position);
            builders.push(BlockBuilder::reusing(std::mem::take(&mut self.spare[chain]), key));
        }
        builders.last_mut().expect("there is one now").push(position, record);
        self.next = position.next();
    }

    /// Ends the group: what was pushed becomes blocks.
    pub(crate) fn finish(&mut self, term: u32, durable: Position, batch: &mut Batch, staged: &mut Staged) {
        let context = BlockContext { term, durable, group_end: self.next };
        for ((segment, builders), spare) in self.active.iter_mut().zip(&mut self.builders).zip(&mut self.spare) {
            for builder in builders.drain(..) {
                let (block, summary, buffers) = builder.finish(context, segment.last_crc());
                *spare = buffers.if_small();
                segment.add(&summary);
                self.unsaved_bytes += summary.bytes as u64;
                batch.put_block(&summary.key.encode(), Bytes::clone(block.bytes()));
                staged.blocks.push((block, summary));
            }
        }
        staged.end = self.next;
    }
}
