//! Where a stream's events are: which block, which record in it. Recent entries are in memory, the rest on disk.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use types::{Offset, Position, StreamOrdinal};

use crate::block::BlockSummary;
use crate::checked::{seal, unseal};
use crate::codec::{Damage, put_varint};
use crate::keys::{IndexKey, LogKey};
use crate::record::CHAINS;

const VERSION: u8 = 1;

/// The events of one stream in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// The offset of the first of them; the others follow in order, perhaps with holes that the other chain fills.
    pub(crate) base: Offset,
    pub(crate) segment: u32,
    /// The block's base.
    pub(crate) block: Position,
    pub(crate) first_index: u32,
    pub(crate) count: u32,
}

/// The value under an `IndexKey`: entries in order, the first with the key's offset, all in the key's segment.
pub(crate) fn encode_entries(key: &IndexKey, entries: &[IndexEntry]) -> Bytes {
    let mut body = Vec::new();
    put_varint(&mut body, entries.len() as u64);
    let (mut base, mut block) = (key.base, Position::ZERO);
    for entry in entries {
        put_varint(&mut body, entry.base.since(base));
        put_varint(&mut body, entry.block.since(block));
        put_varint(&mut body, u64::from(entry.first_index));
        put_varint(&mut body, u64::from(entry.count));
        (base, block) = (entry.base, entry.block);
    }
    seal(&key.encode(), VERSION, &body)
}

pub(crate) fn decode_entries(key: &IndexKey, value: &[u8]) -> Result<Vec<IndexEntry>, Damage> {
    let mut reader = unseal(&key.encode(), VERSION, value)?;
    let count = reader.number::<usize>()?;
    let (mut base, mut block) = (key.base.value(), 0_u64);
    let mut entries = Vec::new();
    let grow = |sum: u64, delta: u64| sum.checked_add(delta).ok_or_else(|| Damage::new("an index beyond 64 bits"));
    for _ in 0..count {
        base = grow(base, reader.varint()?)?;
        block = grow(block, reader.varint()?)?;
        let (first_index, count) = (reader.number()?, reader.number()?);
        let (base, block, segment) = (Offset::new(base), Position::new(block), key.segment);
        entries.push(IndexEntry { base, segment, block, first_index, count });
    }
    reader.end().map(|()| entries)
}

/// The entries of recent blocks, by chain and stream, oldest first.
#[derive(Debug, Default)]
pub(crate) struct RecentIndex {
    chains: [BTreeMap<StreamOrdinal, VecDeque<IndexEntry>>; CHAINS],
}

impl RecentIndex {
    pub(crate) fn add(&mut self, block: &BlockSummary) {
        let LogKey { class, segment, base: position, .. } = block.key;
        for run in &block.streams {
            let entry =
                IndexEntry { base: run.base, segment, block: position, first_index: run.first_index, count: run.count };
            self.chains[class.index()].entry(run.stream).or_default().push_back(entry);
        }
    }

    /// Forgets a block's entry of one stream; blocks leave in the order in which they came.
    pub(crate) fn forget(&mut self, block: &LogKey, stream: StreamOrdinal) {
        let chain = &mut self.chains[block.class.index()];
        let entries = chain.get_mut(&stream).expect("an entry is forgotten once, after it was added");
        let oldest = entries.pop_front();
        assert_eq!(oldest.map(|entry| entry.block), Some(block.base), "blocks leave in the order in which they came");
        if entries.is_empty() {
            chain.remove(&stream);
        }
    }

    /// The entries of a stream that may hold offsets in `from..until`: from the last that begins at or before `from`.
    pub(crate) fn covering(
        &self,
        chain: usize,
        stream: StreamOrdinal,
        from: Offset,
        until: Offset,
    ) -> impl Iterator<Item = IndexEntry> + '_ {
        let entries = self.chains[chain].get(&stream);
        let first = entries.map_or(0, |entries| entries.partition_point(|entry| entry.base <= from).saturating_sub(1));
        entries.into_iter().flatten().skip(first).take_while(move |entry| entry.base < until).copied()
    }

    /// All entries of one chain in blocks at or after `position`, by stream: what a checkpoint has to write.
    pub(crate) fn since(
        &self,
        chain: usize,
        position: Position,
    ) -> impl Iterator<Item = (StreamOrdinal, Vec<IndexEntry>)> + '_ {
        self.chains[chain].iter().filter_map(move |(stream, entries)| {
            let first = entries.partition_point(|entry| entry.block < position);
            let unsaved: Vec<_> = entries.range(first..).copied().collect();
            (!unsaved.is_empty()).then_some((*stream, unsaved))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::PartitionId;

    use super::*;
    use crate::block::StreamRun;
    use crate::record::RetentionClass;

    const KEY: IndexKey = IndexKey {
        partition: PartitionId::new(1),
        class: RetentionClass::Run,
        segment: 7,
        stream: StreamOrdinal::new(5),
        base: Offset::new(10),
    };

    fn summary(block: u64, streams: &[(u64, u64, u32)]) -> BlockSummary {
        let run = |(stream, base, count): &(u64, u64, u32)| StreamRun {
            stream: StreamOrdinal::new(*stream),
            base: Offset::new(*base),
            first_index: 0,
            count: *count,
        };
        BlockSummary {
            key: LogKey {
                partition: PartitionId::new(1),
                class: RetentionClass::Run,
                segment: 7,
                base: Position::new(block),
            },
            next: Position::new(block + 10),
            count: 10,
            bytes: 100,
            crc: 0,
            first_time: types::Timestamp::ZERO,
            last_time: types::Timestamp::ZERO,
            streams: streams.iter().map(run).collect(),
        }
    }

    proptest! {
        #[test]
        fn entries_come_back(deltas in prop::collection::vec((0..1_u64 << 40, 0..1_u64 << 40, any::<u32>()), 0..20)) {
            let (mut base, mut block) = (KEY.base, Position::new(3));
            let mut entries = Vec::new();
            for (index, (offset, position, count)) in deltas.into_iter().enumerate() {
                base = base.after(if index == 0 { 0 } else { offset });
                block = block.after(position);
                entries.push(IndexEntry { base, segment: KEY.segment, block, first_index: count / 2, count });
            }
            let value = encode_entries(&KEY, &entries);
            prop_assert_eq!(decode_entries(&KEY, &value), Ok(entries));
            let elsewhere = IndexKey { segment: 8, ..KEY };
            prop_assert!(decode_entries(&elsewhere, &value).is_err());
        }
    }

    #[test]
    fn entries_are_found_from_the_one_that_covers() {
        let mut index = RecentIndex::default();
        for block in [summary(0, &[(1, 0, 5), (2, 0, 5)]), summary(10, &[(1, 5, 5)]), summary(20, &[(1, 10, 5)])] {
            index.add(&block);
        }
        let found = |from, until| -> Vec<u64> {
            let (from, until) = (Offset::new(from), Offset::new(until));
            index.covering(0, StreamOrdinal::new(1), from, until).map(|entry| entry.block.value()).collect()
        };
        assert_eq!(found(0, 100), [0, 10, 20]);
        assert_eq!(found(7, 100), [10, 20]);
        assert_eq!(found(7, 10), [10]);
        assert_eq!(found(99, 100), [20]);
        assert_eq!(index.covering(1, StreamOrdinal::new(1), Offset::ZERO, Offset::new(9)).count(), 0);
    }

    #[test]
    fn entries_leave_with_their_block() {
        let mut index = RecentIndex::default();
        let blocks = [summary(0, &[(1, 0, 5), (2, 0, 5)]), summary(10, &[(1, 5, 5)])];
        for block in &blocks {
            index.add(block);
        }
        for run in &blocks[0].streams {
            index.forget(&blocks[0].key, run.stream);
        }
        let left: Vec<_> = index.since(0, Position::ZERO).map(|(stream, entries)| (stream, entries[0].block)).collect();
        assert_eq!(left, [(StreamOrdinal::new(1), Position::new(10))]);
        assert_eq!(index.since(0, Position::new(11)).count(), 0);
    }
}
