//! What the write-ahead log's files still say, also behind damage, where RocksDB stops reading. Each block in them says
//! up to where its partition was durable when it was made: a claim that the opened log is held to.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use types::{PartitionId, Position};

use crate::block::BlockHeader;
use crate::keys::LogKey;
use crate::wal;
use crate::watermark::Watermark;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvage {
    /// By partition: some intact block says that all before was durable.
    pub(crate) claims: Vec<Position>,
    /// No change with a higher number than this is in a table; not known where the newest file is empty. Memory is written
    /// to tables as a whole, and a new file of the write-ahead log begins with new memory.
    tables_end: Option<u64>,
    /// Blocks of the last opening at or beyond the watermark, with how many records each has.
    recent: BTreeMap<LogKey, u32>,
}

impl Salvage {
    /// Of a log that says by itself where it ends.
    pub(crate) fn none(partitions: usize) -> Self {
        Self { claims: vec![Position::ZERO; partitions], tables_end: Some(0), recent: BTreeMap::new() }
    }

    /// Looks through all files.
    pub(crate) fn scan(files: &[PathBuf], watermark: &Watermark) -> io::Result<Self> {
        let mut salvage = Self::none(watermark.durable.len());
        wal::for_each_put(files, |key, value| salvage.see(key, value, watermark))?;
        salvage.tables_end = wal::first_change(files)?.map(|first| first.saturating_sub(1));
        Ok(salvage)
    }

    /// Believes a good block under its own key, made in a term that has begun.
    fn see(&mut self, key: &[u8], value: &[u8], watermark: &Watermark) {
        let Ok(key) = LogKey::decode(key) else { return };
        if let Ok(header) = BlockHeader::check(value)
            && header.key == key
            && header.term <= watermark.term
        {
            self.add(&header, watermark);
        }
    }

    fn add(&mut self, header: &BlockHeader, watermark: &Watermark) {
        let partition = header.key.partition.value() as usize;
        let Some(claim) = self.claims.get_mut(partition) else { return };
        *claim = (*claim).max(header.durable_at_write);
        if header.term == watermark.term && header.key.base >= watermark.durable[partition] {
            self.recent.insert(header.key, header.count);
        }
    }

    /// Whether `watermark` speaks of everything that is in a table. `sequence` is the number of the log's last change.
    pub(crate) fn covers_tables(&self, watermark: &Watermark, sequence: u64) -> bool {
        self.tables_end.unwrap_or(sequence) <= watermark.sequence
    }

    /// How many blocks and records lie beyond the end of their partition: written, never acknowledged, now gone.
    pub(crate) fn beyond(&self, end: impl Fn(PartitionId) -> Position) -> (u64, u64) {
        let torn = self.recent.iter().filter(|(key, _)| key.base >= end(key.partition));
        torn.fold((0, 0), |(blocks, records), (_, count)| (blocks + 1, records + u64::from(*count)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use types::{Offset, StreamOrdinal, Timestamp};

    use super::*;
    use crate::block::{BlockBuilder, BlockContext};
    use crate::record::{EventClass, Record, RetentionClass};

    fn block(base: u64, durable: u64, payload: usize) -> Vec<u8> {
        let partition = PartitionId::new(1);
        let key = LogKey { partition, class: RetentionClass::Run, segment: 1, base: Position::new(base) };
        let mut builder = BlockBuilder::new(key);
        let record = Record {
            schema: 1,
            class: EventClass::Fact,
            cause: false,
            time: Timestamp::ZERO,
            stream: StreamOrdinal::NONE,
            offset: Offset::ZERO,
            output: None,
            key: Bytes::new(),
            headers: Vec::new(),
            payload: vec![b'H'; payload].into(),
        };
        builder.push(Position::new(base), &record);
        let context = BlockContext { term: 2, durable: Position::new(durable), group_end: Position::new(base + 1) };
        builder.finish(context, 0).0.bytes().to_vec()
    }

    /// A directory of one file whose batches put these values, each under the key that it names or another.
    fn scan(puts: &[(Vec<u8>, Vec<u8>)]) -> Salvage {
        let watermark =
            Watermark { clean: false, relaxed: false, term: 2, sequence: 0, durable: vec![Position::ZERO; 2] };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("000009.log");
        let batch = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let mut batch = rocksdb::WriteBatch::default();
            batch.put(key, value);
            batch.data().to_vec()
        };
        let batches: Vec<_> = puts.iter().map(batch).collect();
        std::fs::write(&path, wal::tests::file(9, &batches)).expect("writable");
        Salvage::scan(&[path], &watermark).expect("readable")
    }

    /// In batches that are numbered from 0.
    fn nothing() -> Salvage {
        Salvage { tables_end: Some(0), ..Salvage::none(2) }
    }

    fn under_its_key(block: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        let key = BlockHeader::decode(&block).expect("a block").key;
        (key.encode().to_vec(), block)
    }

    #[test]
    fn blocks_claim_what_was_durable() {
        let blocks = (0..50_u16).map(|n| block(u64::from(n), u64::from(n) / 2, 1 + usize::from(n) * 997));
        let salvage = scan(&blocks.map(under_its_key).collect::<Vec<_>>());
        assert_eq!(salvage.claims, [Position::ZERO, Position::new(24)]);
        assert_eq!(salvage.beyond(|_| Position::new(45)), (5, 5));
    }

    #[test]
    fn damaged_blocks_claim_nothing() {
        let (key, mut bytes) = under_its_key(block(7, 7, 100));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(scan(&[(key, bytes)]), nothing());
    }

    #[test]
    fn a_block_anywhere_but_under_its_own_key_claims_nothing() {
        let (key, bytes) = under_its_key(block(7, 1 << 50, 100));
        let mut other = key.clone();
        other[16] ^= 1;
        let within = |before: usize| [vec![b'x'; before], bytes.clone(), bytes.clone()].concat();
        let forged = [(other, bytes.clone()), (key.clone(), within(0)), (key.clone(), within(30_000))];
        assert_eq!(scan(&forged), nothing());
        assert_eq!(scan(&[(key, bytes)]).claims[1], Position::new(1 << 50));
    }

    #[test]
    fn a_term_that_never_began_claims_nothing() {
        let (key, _) = under_its_key(block(7, 7, 100));
        let watermark =
            Watermark { clean: false, relaxed: false, term: 1, sequence: 0, durable: vec![Position::ZERO; 2] };
        let mut salvage = Salvage::none(2);
        salvage.see(&key, &block(7, 7, 100), &watermark);
        assert_eq!(salvage, Salvage::none(2));
    }
}
