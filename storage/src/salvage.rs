//! Looks through the write-ahead log's files for blocks, also behind damage, where RocksDB stops reading. Each block
//! says up to where its partition was durable when it was made: a claim that the opened log is held to.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use types::{PartitionId, Position};

use crate::block::{BlockHeader, MAGIC};
use crate::keys::LogKey;
use crate::watermark::Watermark;

/// The files are made of these; no record of theirs crosses one without being cut.
const CHUNK_BYTES: usize = 32 * 1024;
/// Check, length and type; files that are used again have the number of the file in addition.
const SHORT_HEADER: usize = 7;
const LONG_HEADER: usize = 11;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvage {
    /// By partition: some intact block says that all before was durable.
    pub(crate) claims: Vec<Position>,
    /// Blocks of the last opening at or beyond the watermark, with how many records each has.
    recent: BTreeMap<LogKey, u32>,
}

impl Salvage {
    pub(crate) fn none(partitions: usize) -> Self {
        Self { claims: vec![Position::ZERO; partitions], recent: BTreeMap::new() }
    }

    /// Looks through all files.
    pub(crate) fn scan(files: &[PathBuf], watermark: &Watermark) -> io::Result<Self> {
        let mut salvage = Self::none(watermark.durable.len());
        for file in files {
            pieces(&std::fs::read(file)?, |piece| salvage.blocks_in(piece, watermark));
        }
        Ok(salvage)
    }

    fn blocks_in(&mut self, piece: &[u8], watermark: &Watermark) {
        let mut rest = piece;
        while let Some(at) = rest.iter().position(|byte| *byte == MAGIC[0]) {
            rest = &rest[at..];
            let checked = BlockHeader::decode(rest).ok().and_then(|header| {
                let whole = rest.get(..header.block_bytes())?;
                BlockHeader::check(whole).ok()
            });
            match checked {
                Some(header) => {
                    self.add(&header, watermark);
                    rest = &rest[header.block_bytes()..];
                }
                None => rest = &rest[1..],
            }
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

    /// How many blocks and records lie beyond the end of their partition: written, never acknowledged, now gone.
    pub(crate) fn beyond(&self, end: impl Fn(PartitionId) -> Position) -> (u64, u64) {
        let torn = self.recent.iter().filter(|(key, _)| key.base >= end(key.partition));
        torn.fold((0, 0), |(blocks, records), (_, count)| (blocks + 1, records + u64::from(*count)))
    }
}

/// The contents of the records in a file, as far as they can be put together. Damage costs the rest of its chunk.
fn pieces(file: &[u8], mut visit: impl FnMut(&[u8])) {
    let mut open = Vec::new();
    for chunk in file.chunks(CHUNK_BYTES) {
        let mut rest = chunk;
        while rest.len() >= SHORT_HEADER {
            let Some((kind, content, after)) = record(rest) else {
                visit(&open);
                open.clear();
                break;
            };
            match kind {
                Kind::Full => {
                    visit(&open);
                    open.clear();
                    visit(content);
                }
                Kind::First => {
                    visit(&open);
                    open.clear();
                    open.extend_from_slice(content);
                }
                Kind::Middle => open.extend_from_slice(content),
                Kind::Last => {
                    open.extend_from_slice(content);
                    visit(&open);
                    open.clear();
                }
                Kind::Other => {}
            }
            rest = after;
        }
    }
    visit(&open);
}

/// Which part of a record a physical record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Full,
    First,
    Middle,
    Last,
    Other,
}

/// The physical record at the front: its kind, its content, and what follows.
fn record(bytes: &[u8]) -> Option<(Kind, &[u8], &[u8])> {
    let length = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    let (kind, header) = match bytes[6] {
        1 => (Kind::Full, SHORT_HEADER),
        2 => (Kind::First, SHORT_HEADER),
        3 => (Kind::Middle, SHORT_HEADER),
        4 => (Kind::Last, SHORT_HEADER),
        5 => (Kind::Full, LONG_HEADER),
        6 => (Kind::First, LONG_HEADER),
        7 => (Kind::Middle, LONG_HEADER),
        8 => (Kind::Last, LONG_HEADER),
        // Notes of RocksDB to itself: compression, timestamps, the file before.
        9 | 10 | 130 => (Kind::Other, SHORT_HEADER),
        11 | 131 => (Kind::Other, LONG_HEADER),
        _ => return None,
    };
    let content = bytes.get(header..header + length)?;
    Some((kind, content, &bytes[header + length..]))
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

    /// As RocksDB cuts a record into chunks, with headers for files that are used again.
    fn log_file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut file = Vec::new();
        for record in records {
            let mut rest = &record[..];
            let mut first = true;
            loop {
                let room = CHUNK_BYTES - file.len() % CHUNK_BYTES;
                if room < LONG_HEADER {
                    file.resize(file.len() + room, 0);
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(room - LONG_HEADER));
                let kind = match (first, later.is_empty()) {
                    (true, true) => 5,
                    (true, false) => 6,
                    (false, false) => 7,
                    (false, true) => 8,
                };
                file.extend_from_slice(&[0; 4]);
                file.extend_from_slice(&u16::try_from(now.len()).expect("a chunk is small").to_le_bytes());
                file.push(kind);
                file.extend_from_slice(&[0; 4]);
                file.extend_from_slice(now);
                (rest, first) = (later, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        file
    }

    fn scan(file: &[u8]) -> Salvage {
        let watermark = Watermark { clean: false, term: 2, sequence: 0, durable: vec![Position::ZERO; 2] };
        let mut salvage = Salvage::none(2);
        pieces(file, |piece| salvage.blocks_in(piece, &watermark));
        salvage
    }

    #[test]
    fn blocks_are_found_across_chunks() {
        let records: Vec<_> = (0..50_u16)
            .map(|n| [b"batch".to_vec(), block(u64::from(n), u64::from(n) / 2, 1 + usize::from(n) * 997)].concat())
            .collect();
        let salvage = scan(&log_file(&records));
        assert_eq!(salvage.claims, [Position::ZERO, Position::new(24)]);
        assert_eq!(salvage.beyond(|_| Position::new(45)), (5, 5));
    }

    #[test]
    fn blocks_behind_damage_are_found() {
        let records: Vec<_> = (0..400).map(|n| block(n, n, 500)).collect();
        let mut file = log_file(&records);
        assert!(file.len() > 5 * CHUNK_BYTES);
        // A length in the middle of the second chunk, and all of the third.
        file[CHUNK_BYTES + 10_000..CHUNK_BYTES + 11_000].fill(0xff);
        file[2 * CHUNK_BYTES..3 * CHUNK_BYTES].fill(0);
        assert_eq!(scan(&file).claims[1], Position::new(399));
    }

    #[test]
    fn damaged_blocks_claim_nothing() {
        let mut bytes = block(7, 7, 100);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(scan(&log_file(&[bytes])), Salvage::none(2));
    }
}
