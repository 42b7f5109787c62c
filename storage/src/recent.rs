//! The recent blocks of one partition. Their bytes serve live followers without the disk until the node's budget is
//! used up; their index entries stay as long as the bytes, and at least until a checkpoint has written them.

use std::collections::VecDeque;

use types::{Position, StreamOrdinal};

use crate::block::{Block, BlockSummary};
use crate::keys::LogKey;
use crate::record::CHAINS;
use crate::stream_index::RecentIndex;

#[derive(Debug)]
struct RecentBlock {
    key: LogKey,
    /// One past its last record.
    next: Position,
    /// Where the partition ended after the group that it came with: grows from block to block.
    group_end: Position,
    streams: Vec<StreamOrdinal>,
    /// `None` once its bytes had to make room.
    block: Option<Block>,
}

#[derive(Debug)]
pub(crate) struct Recent {
    blocks: VecDeque<RecentBlock>,
    /// Of `blocks`, by chain.
    bases: [VecDeque<Position>; CHAINS],
    pub(crate) index: RecentIndex,
    /// Blocks before this position are in the index on disk.
    saved: Position,
    /// Records from here on are all in memory.
    low: Position,
    /// How many blocks at the front have lost their bytes.
    evicted: usize,
}

impl Recent {
    /// Of a partition whose blocks before `saved` are in the index on disk.
    pub(crate) fn new(saved: Position) -> Self {
        let (blocks, bases) = (VecDeque::new(), [VecDeque::new(), VecDeque::new()]);
        Self { blocks, bases, index: RecentIndex::default(), saved, low: saved, evicted: 0 }
    }

    /// Adds the blocks of one group, after which the partition ends at `end`.
    pub(crate) fn add_group(&mut self, blocks: Vec<(Block, BlockSummary)>, end: Position) {
        for (block, summary) in blocks {
            self.index.add(&summary);
            self.bases[summary.key.class.index()].push_back(summary.key.base);
            self.blocks.push_back(RecentBlock {
                key: summary.key,
                next: summary.next,
                group_end: end,
                streams: summary.streams.iter().map(|run| run.stream).collect(),
                block: Some(block),
            });
        }
    }

    /// A checkpoint has written the index of all blocks before `position`.
    pub(crate) fn saved(&mut self, position: Position) {
        self.saved = position;
        self.forget();
    }

    /// All blocks with a record at or after this position are in memory, with their index entries.
    pub(crate) const fn low(&self) -> Position {
        self.low
    }

    /// Gives up the bytes of the oldest block that still has them.
    pub(crate) fn evict_oldest(&mut self) {
        if let Some(oldest) = self.blocks.get_mut(self.evicted) {
            oldest.block = None;
            self.low = self.low.max(oldest.next);
            self.evicted += 1;
            self.forget();
        }
    }

    /// Gives up the bytes of all blocks that begin before `position`, and says how many that were.
    pub(crate) fn evict_before(&mut self, position: Position) -> usize {
        // Within a group the other chain's blocks may come first and begin later.
        let last = self.blocks.iter().rposition(|recent| recent.key.base < position);
        let evicted = last.map_or(0, |last| (last + 1).saturating_sub(self.evicted));
        (0..evicted).for_each(|_| self.evict_oldest());
        evicted
    }

    /// Drops entries that are on disk and whose bytes are gone.
    fn forget(&mut self) {
        while self.evicted > 0 && self.blocks.front().is_some_and(|oldest| oldest.key.base < self.saved) {
            let oldest = self.blocks.pop_front().expect("just seen");
            self.evicted -= 1;
            self.bases[oldest.key.class.index()].pop_front();
            for stream in &oldest.streams {
                self.index.forget(&oldest.key, *stream);
            }
        }
    }

    /// Sizes of the blocks in memory, oldest first.
    pub(crate) fn block_bytes(&self) -> Vec<usize> {
        self.blocks.iter().filter_map(|recent| recent.block.as_ref()).map(|block| block.bytes().len()).collect()
    }

    /// Whole groups from the one that holds `from`, at least one and then until `max_bytes` are passed, by chain.
    /// `None`: some of it is no longer in memory.
    pub(crate) fn blocks_from(&self, from: Position, max_bytes: usize) -> Option<[VecDeque<Block>; CHAINS]> {
        if from < self.low {
            return None;
        }
        let first = self.blocks.partition_point(|recent| recent.group_end <= from);
        let mut found = [VecDeque::new(), VecDeque::new()];
        let (mut bytes, mut group) = (0, None);
        for recent in self.blocks.range(first..) {
            if bytes >= max_bytes && group != Some(recent.group_end) {
                break;
            }
            let block = recent.block.as_ref()?;
            bytes += block.bytes().len();
            group = Some(recent.group_end);
            found[recent.key.class.index()].push_back(block.clone());
        }
        Some(found)
    }

    /// A block by its key, if its bytes are still here.
    pub(crate) fn block(&self, key: &LogKey) -> Option<Block> {
        let first = self.blocks.partition_point(|recent| recent.group_end <= key.base);
        let end = self.blocks.get(first)?.group_end;
        let mut group = self.blocks.range(first..).take_while(|recent| recent.group_end == end);
        group.find(|recent| recent.key == *key)?.block.clone()
    }

    /// The base of the chain's oldest block whose index entries are in memory; all older ones are on disk.
    pub(crate) fn indexed_from(&self, chain: usize) -> Option<Position> {
        self.bases[chain].front().copied()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use types::{Offset, PartitionId, Timestamp};

    use super::*;
    use crate::block::{BlockBuilder, BlockContext};
    use crate::record::{EventClass, Record, RetentionClass};

    fn block(class: RetentionClass, positions: &[u64]) -> (Block, BlockSummary) {
        let base = Position::new(positions[0]);
        let mut builder = BlockBuilder::new(LogKey { partition: PartitionId::SYSTEM, class, segment: 1, base });
        for position in positions {
            let record = Record {
                schema: 1,
                class: EventClass::Fact,
                cause: false,
                time: Timestamp::ZERO,
                stream: StreamOrdinal::FIRST,
                offset: Offset::new(*position),
                output: None,
                key: Bytes::new(),
                headers: Vec::new(),
                payload: Bytes::from_static(b"0123456789"),
            };
            builder.push(Position::new(*position), &record);
        }
        let context = BlockContext { term: 1, durable: Position::ZERO, group_end: Position::new(100) };
        let (block, summary, _) = builder.finish(context, 0);
        (block, summary)
    }

    /// Three groups: positions 0..4, 4..6, 6..7.
    fn recent() -> Recent {
        let (run, stream) = (RetentionClass::Run, RetentionClass::Stream);
        let mut recent = Recent::new(Position::ZERO);
        recent.add_group(vec![block(run, &[0, 3]), block(stream, &[1, 2])], Position::new(4));
        recent.add_group(vec![block(stream, &[4, 5])], Position::new(6));
        recent.add_group(vec![block(run, &[6])], Position::new(7));
        recent
    }

    fn bases(recent: &Recent, from: u64, max_bytes: usize) -> Option<[Vec<u64>; CHAINS]> {
        let found = recent.blocks_from(Position::new(from), max_bytes)?;
        Some(found.map(|blocks| blocks.iter().map(|block| block.header.key.base.value()).collect()))
    }

    #[test]
    fn groups_are_given_whole() {
        let recent = recent();
        assert_eq!(bases(&recent, 2, usize::MAX), Some([vec![0, 6], vec![1, 4]]));
        assert_eq!(bases(&recent, 2, 1), Some([vec![0], vec![1]]));
        assert_eq!(bases(&recent, 5, 1), Some([vec![], vec![4]]));
        assert_eq!(bases(&recent, 7, 1), Some([vec![], vec![]]));
    }

    #[test]
    fn bytes_go_first_and_entries_only_once_they_are_on_disk() {
        let mut recent = recent();
        let entries =
            |recent: &Recent| recent.index.since(0, Position::ZERO).map(|(_, list)| list.len()).sum::<usize>();
        recent.evict_oldest();
        assert_eq!((bases(&recent, 3, 1), entries(&recent)), (None, 2));
        assert_eq!(bases(&recent, 4, 1), Some([vec![], vec![4]]));
        assert_eq!(recent.indexed_from(0), Some(Position::ZERO));
        recent.saved(Position::new(6));
        assert_eq!((recent.indexed_from(0), entries(&recent)), (Some(Position::new(6)), 1));
        assert_eq!(recent.indexed_from(1), Some(Position::new(1)));
        for _ in 0..5 {
            recent.evict_oldest();
        }
        assert_eq!((recent.indexed_from(0), recent.indexed_from(1)), (Some(Position::new(6)), None));
        recent.saved(Position::new(7));
        assert_eq!((recent.indexed_from(0), entries(&recent)), (None, 0));
    }

    #[test]
    fn a_block_is_found_by_its_key() {
        let recent = recent();
        for blocks in recent.blocks_from(Position::ZERO, usize::MAX).expect("all in memory") {
            for block in blocks {
                assert_eq!(recent.block(&block.header.key), Some(block));
            }
        }
        let key =
            LogKey { partition: PartitionId::SYSTEM, class: RetentionClass::Run, segment: 1, base: Position::new(4) };
        assert_eq!(recent.block(&key), None);
    }
}
