//! A block: the records that one group commit gave to one chain of one partition, as one checked value.
//!
//! The check covers identity (which block this is) and order (the check of the block before it in its chain), so that
//! a block that is changed, misplaced or missing is found. docs/file-format.md is the contract.

use bytes::Bytes;
use types::{Offset, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::codec::{Damage, Reader, counted};
use crate::keys::LogKey;
use crate::limits::BLOCK_BYTES;
use crate::record::{Record, RetentionClass, StoredRecord};

pub(crate) const MAGIC: [u8; 4] = *b"HwB\x01";
pub(crate) const HEADER_BYTES: usize = 64;
const VERSION: u8 = 1;
/// The check covers all from here on.
const CHECKED_FROM: usize = 8;
const END_BYTES: usize = 4;

/// The fixed part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) key: LogKey,
    /// Which opening of the node wrote it.
    pub(crate) term: u32,
    /// The partition was durable up to here when the block was made: a claim that a later opening can hold the log to.
    pub(crate) durable_at_write: Position,
    /// The check of the block before it in its chain; 0 for the first.
    pub(crate) previous_crc: u32,
    pub(crate) crc: u32,
    pub(crate) count: u32,
    pub(crate) first_time: Timestamp,
    record_bytes: u32,
    /// How far after `base` the group that it came with ends. A group is whole or it is not there.
    group_length: u32,
}

impl BlockHeader {
    /// Where the partition ended after the group that it came with.
    pub(crate) const fn group_end(&self) -> Position {
        self.key.base.after(self.group_length as u64)
    }

    /// How long the whole block is.
    pub(crate) const fn block_bytes(&self) -> usize {
        HEADER_BYTES + self.count as usize * END_BYTES + self.record_bytes as usize
    }

    /// Reads the header alone and believes it: only the whole block can be checked.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(4)? != MAGIC {
            return Err(Damage::new("a block does not begin as blocks do"));
        }
        let crc = reader.u32()?;
        let version = reader.u8()?;
        if version != VERSION {
            return Err(Damage(format!("a block of the unknown version {version}")));
        }
        let class = RetentionClass::from_code(reader.u8()?)?;
        if reader.u16()? != 0 {
            return Err(Damage::new("a block with unknown flags"));
        }
        let partition = PartitionId::new(reader.u32()?);
        let segment = reader.u32()?;
        let base = Position::new(counted(reader.u64()?)?);
        Ok(Self {
            key: LogKey { partition, class, segment, base },
            term: reader.u32()?,
            durable_at_write: Position::new(counted(reader.u64()?)?),
            previous_crc: reader.u32()?,
            crc,
            count: reader.u32()?,
            first_time: Timestamp::from_millis(reader.u64()?),
            record_bytes: reader.u32()?,
            group_length: reader.u32()?,
        })
    }

    /// Checks the whole block, of which `bytes` are all.
    pub(crate) fn check(bytes: &[u8]) -> Result<Self, Damage> {
        let header = Self::decode(bytes)?;
        if header.block_bytes() != bytes.len() {
            return Err(Damage(format!("a block has {} bytes but says {}", bytes.len(), header.block_bytes())));
        }
        let crc = crc32fast::hash(&bytes[CHECKED_FROM..]);
        if crc != header.crc {
            return Err(Damage(format!("a block's check is {:#010x} but its bytes give {crc:#010x}", header.crc)));
        }
        Ok(header)
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.crc.to_le_bytes());
        out[8] = VERSION;
        out[9] = self.key.class.code();
        out[12..16].copy_from_slice(&self.key.partition.value().to_le_bytes());
        out[16..20].copy_from_slice(&self.key.segment.to_le_bytes());
        out[20..28].copy_from_slice(&self.key.base.value().to_le_bytes());
        out[28..32].copy_from_slice(&self.term.to_le_bytes());
        out[32..40].copy_from_slice(&self.durable_at_write.value().to_le_bytes());
        out[40..44].copy_from_slice(&self.previous_crc.to_le_bytes());
        out[44..48].copy_from_slice(&self.count.to_le_bytes());
        out[48..56].copy_from_slice(&self.first_time.as_millis().to_le_bytes());
        out[56..60].copy_from_slice(&self.record_bytes.to_le_bytes());
        out[60..64].copy_from_slice(&self.group_length.to_le_bytes());
        out
    }
}

/// A block that was checked, or that this process made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) header: BlockHeader,
    bytes: Bytes,
}

impl Block {
    /// Checks the bytes found under `key`.
    pub(crate) fn decode(key: &LogKey, bytes: Bytes) -> Result<Self, Damage> {
        let block = Self::decode_anywhere(bytes)?;
        if block.header.key != *key {
            return Err(Damage(format!("in its place is the block of {:?}", block.header.key)));
        }
        Ok(block)
    }

    /// Checks bytes wherever they were found.
    pub(crate) fn decode_anywhere(bytes: Bytes) -> Result<Self, Damage> {
        let header = BlockHeader::check(&bytes)?;
        let block = Self { header, bytes };
        block.check_shape().map(|()| block)
    }

    /// What the check cannot promise when the writer was wrong: there are records, and their ends grow to the last byte.
    fn check_shape(&self) -> Result<(), Damage> {
        let mut before = 0;
        for index in 0..self.count() {
            let end = self.end(index);
            if end <= before {
                return Err(Damage(format!("record {index} of a block has no bytes")));
            }
            before = end;
        }
        if before != self.header.record_bytes as usize || self.count() == 0 {
            return Err(Damage::new("a block's records do not fill it"));
        }
        if self.position(0)? != self.header.key.base {
            return Err(Damage::new("a block's first record is not the one it is named after"));
        }
        Ok(())
    }

    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) const fn count(&self) -> usize {
        self.header.count as usize
    }

    fn end(&self, index: usize) -> usize {
        let at = HEADER_BYTES + index * END_BYTES;
        let end = self.bytes[at..at + END_BYTES].try_into().expect("four bytes were taken");
        u32::from_le_bytes(end) as usize
    }

    /// Where the bytes of a record are; `index` is below `count`.
    fn place(&self, index: usize) -> std::ops::Range<usize> {
        let records = HEADER_BYTES + self.count() * END_BYTES;
        let start = if index == 0 { 0 } else { self.end(index - 1) };
        records + start..records + self.end(index)
    }

    pub(crate) fn record(&self, index: usize) -> Result<StoredRecord, Damage> {
        StoredRecord::decode(&self.bytes, self.place(index), self.header.key.base, self.header.first_time)
    }

    pub(crate) fn position(&self, index: usize) -> Result<Position, Damage> {
        StoredRecord::decode_position(&self.bytes[self.place(index)], self.header.key.base)
    }

    pub(crate) fn stream(&self, index: usize) -> Result<(StreamOrdinal, Offset), Damage> {
        StoredRecord::decode_stream(&self.bytes[self.place(index)], self.header.key.base)
    }

    /// The index of the first record at or after `position`.
    pub(crate) fn first_at(&self, position: Position) -> Result<usize, Damage> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.position(middle)? < position {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// What the rest of storage remembers of a block, worked out from its records.
    pub(crate) fn summary(&self) -> Result<BlockSummary, Damage> {
        let mut summary = BlockSummary::new(self.header.key);
        for index in 0..self.count() {
            let StoredRecord { position, record } = self.record(index)?;
            if index > 0 && position < summary.next {
                return Err(Damage(format!("record {index} of a block goes back to position {position}")));
            }
            summary.add(position, &record);
        }
        summary.bytes = self.bytes.len();
        summary.crc = self.header.crc;
        Ok(summary)
    }
}

/// The events of one stream in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamRun {
    pub(crate) stream: StreamOrdinal,
    /// The offset of the first of them.
    pub(crate) base: Offset,
    /// Which record of the block that is.
    pub(crate) first_index: u32,
    pub(crate) count: u32,
}

/// What is remembered of a block: identity, extent, and which streams it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockSummary {
    pub(crate) key: LogKey,
    /// One past its last record.
    pub(crate) next: Position,
    pub(crate) count: u32,
    pub(crate) bytes: usize,
    pub(crate) crc: u32,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    /// In the order in which the streams first appear.
    pub(crate) streams: Vec<StreamRun>,
}

impl BlockSummary {
    fn new(key: LogKey) -> Self {
        let zero = Timestamp::ZERO;
        let (first_time, last_time) = (zero, zero);
        Self { key, next: key.base, count: 0, bytes: 0, crc: 0, first_time, last_time, streams: Vec::new() }
    }

    fn add(&mut self, position: Position, record: &Record) {
        if self.count == 0 {
            self.first_time = record.time;
        }
        self.last_time = self.last_time.max(record.time);
        self.next = position.next();
        self.add_to_stream(record);
        self.count += 1;
    }

    fn add_to_stream(&mut self, record: &Record) {
        if record.stream.is_none() {
            return;
        }
        // From the back: the records of a stream come in bursts.
        match self.streams.iter_mut().rev().find(|run| run.stream == record.stream) {
            Some(run) => run.count += 1,
            None => self.streams.push(StreamRun {
                stream: record.stream,
                base: record.offset,
                first_index: self.count,
                count: 1,
            }),
        }
    }
}

/// What a new block says of the time it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockContext {
    pub(crate) term: u32,
    pub(crate) durable: Position,
    /// Where the partition ends after the group.
    pub(crate) group_end: Position,
}

/// Takes records one by one and gives a block.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    summary: BlockSummary,
    buffers: Buffers,
}

/// The memory of a builder, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    ends: Vec<u8>,
    records: Vec<u8>,
}

impl Buffers {
    /// Gives up the memory of an unusually large block.
    pub(crate) fn if_small(self) -> Self {
        if self.records.capacity() <= 2 * BLOCK_BYTES { self } else { Self::default() }
    }
}

impl BlockBuilder {
    #[cfg(test)]
    pub(crate) fn new(key: LogKey) -> Self {
        Self::reusing(Buffers::default(), key)
    }

    /// With the memory of an earlier one.
    pub(crate) fn reusing(mut buffers: Buffers, key: LogKey) -> Self {
        buffers.ends.clear();
        buffers.records.clear();
        Self { summary: BlockSummary::new(key), buffers }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.summary.count == 0
    }

    /// How many bytes of records it holds.
    pub(crate) const fn record_bytes(&self) -> usize {
        self.buffers.records.len()
    }

    /// Positions grow from record to record; the first is the block's base.
    pub(crate) fn push(&mut self, position: Position, record: &Record) {
        let first_time = if self.is_empty() { record.time } else { self.summary.first_time };
        StoredRecord::encode(record, position, self.summary.key.base, first_time, &mut self.buffers.records);
        let end =
            u32::try_from(self.buffers.records.len()).expect("a block holds 64 KiB, or one record within its limit");
        self.buffers.ends.extend_from_slice(&end.to_le_bytes());
        self.summary.add(position, record);
    }

    pub(crate) fn finish(self, context: BlockContext, previous_crc: u32) -> (Block, BlockSummary, Buffers) {
        let mut summary = self.summary;
        let mut header = BlockHeader {
            key: summary.key,
            term: context.term,
            durable_at_write: context.durable,
            previous_crc,
            crc: 0,
            count: summary.count,
            first_time: summary.first_time,
            record_bytes: u32::try_from(self.buffers.records.len()).expect("`push` checked each end"),
            group_length: u32::try_from(context.group_end.since(summary.key.base))
                .expect("a group has fewer records than its bytes"),
        };
        let mut bytes = Vec::with_capacity(header.block_bytes());
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&self.buffers.ends);
        bytes.extend_from_slice(&self.buffers.records);
        header.crc = crc32fast::hash(&bytes[CHECKED_FROM..]);
        bytes[4..8].copy_from_slice(&header.crc.to_le_bytes());
        summary.bytes = bytes.len();
        summary.crc = header.crc;
        (Block { header, bytes: bytes.into() }, summary, self.buffers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::log_tests::any_log_key;
    use crate::record::tests::any_record;

    fn build(key: LogKey, records: &[(u8, Record)]) -> (Block, BlockSummary, Vec<StoredRecord>) {
        let mut builder = BlockBuilder::new(key);
        let mut stored = Vec::new();
        let mut position = key.base;
        for (gap, record) in records {
            builder.push(position, record);
            stored.push(StoredRecord { position, record: record.clone() });
            position = position.after(1 + u64::from(*gap));
        }
        let context = BlockContext { term: 3, durable: Position::new(77), group_end: position };
        let (block, summary, _) = builder.finish(context, 99);
        (block, summary, stored)
    }

    proptest! {
        #[test]
        fn a_block_comes_back(
            key in any_log_key(), records in prop::collection::vec((any::<u8>(), any_record()), 1..20),
        ) {
            let key = LogKey { base: Position::new(key.base.value() / 2), ..key };
            let (block, summary, stored) = build(key, &records);
            let back = Block::decode(&key, block.bytes().clone());
            prop_assert_eq!(back.as_ref(), Ok(&block));
            let back = back.expect("just compared");
            prop_assert!(back.header.group_end() >= summary.next);
            prop_assert_eq!(back.summary(), Ok(summary));
            for (index, record) in stored.iter().enumerate() {
                prop_assert_eq!(&back.record(index), &Ok(record.clone()));
                prop_assert_eq!(back.first_at(record.position), Ok(index));
                prop_assert_eq!(back.first_at(record.position.next()), Ok(index + 1));
            }
        }

        #[test]
        fn no_bytes_bring_the_decoder_down(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = BlockHeader::decode(&bytes);
            prop_assert!(Block::decode_anywhere(bytes.into()).is_err());
        }
    }

    fn sample() -> (LogKey, Block) {
        let record = Record {
            schema: 1,
            class: crate::record::EventClass::Fact,
            cause: true,
            time: Timestamp::from_millis(5),
            stream: StreamOrdinal::new(2),
            offset: Offset::new(9),
            output: None,
            key: Bytes::from_static(b"key"),
            headers: vec![(Bytes::from_static(b"name"), Bytes::from_static(b"value"))],
            payload: Bytes::from_static(b"payload"),
        };
        let key = LogKey {
            partition: PartitionId::new(7),
            class: RetentionClass::Run,
            segment: 4,
            base: Position::new(1000),
        };
        let (block, _, _) = build(key, &[(0, record.clone()), (3, record.clone()), (0, record)]);
        (key, block)
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (key, block) = sample();
        for bit in 0..block.bytes().len() * 8 {
            let mut bytes = block.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Block::decode(&key, bytes.into()).is_err(), "bit {bit} flipped unnoticed");
        }
    }

    #[test]
    fn every_torn_block_is_found() {
        let (key, block) = sample();
        for len in 0..block.bytes().len() {
            assert!(Block::decode(&key, block.bytes().slice(..len)).is_err(), "cut to {len} bytes unnoticed");
        }
    }

    #[test]
    fn a_block_in_the_place_of_another_is_found() {
        let (key, block) = sample();
        for other in [
            LogKey { partition: PartitionId::new(8), ..key },
            LogKey { class: RetentionClass::Stream, ..key },
            LogKey { segment: 5, ..key },
            LogKey { base: key.base.next(), ..key },
        ] {
            let damage = Block::decode(&other, block.bytes().clone()).expect_err("another place");
            assert!(damage.to_string().contains("in its place is the block of"), "{damage}");
        }
    }

    #[test]
    fn the_streams_of_a_block_are_counted() {
        let (_, block) = sample();
        let summary = block.summary().expect("good");
        let expect = StreamRun { stream: StreamOrdinal::new(2), base: Offset::new(9), first_index: 0, count: 3 };
        assert_eq!((summary.streams, summary.next), (vec![expect], Position::new(1006)));
    }
}
