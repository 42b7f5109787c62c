//! Ways in for fuzzing: bytes from anywhere are read or refused, never believed beyond what was checked, and nothing
//! panics or allocates what a length only claims. `fuzz/` calls these with made-up bytes, a test with the corpora.
//!
//! Each takes the bytes as they are, and once more inside a frame whose check is right: a disk that lies is found by
//! the check, a writer that was wrong only behind it.

use bytes::Bytes;
use types::{PartitionId, Position, Timestamp};

use crate::block::{Block, HEADER_BYTES, MAGIC};
use crate::checked::seal;
use crate::checkpoint::{Checkpoint, Directory, PartitionMeta};
use crate::keys::{IndexKey, LogKey, MetaKey};
use crate::quarantine::Quarantined;
use crate::record::{RetentionClass, StoredRecord};
use crate::retention::SegmentId;
use crate::row_store::{decode_row, encode_row};
use crate::segment::{ChainId, Segment};
use crate::stream_index::{decode_entries, encode_entries};
use crate::watermark::{self, Watermark};

const PARTITION: PartitionId = PartitionId::new(1);

/// A block, from its first byte to its last.
pub fn block(data: &[u8]) {
    read_block(Bytes::copy_from_slice(data));
    if data.len() < HEADER_BYTES {
        return;
    }
    let mut framed = data.to_vec();
    framed[..4].copy_from_slice(&MAGIC);
    framed[8] = 1;
    let crc = crc32fast::hash(&framed[8..]);
    framed[4..8].copy_from_slice(&crc.to_le_bytes());
    read_block(framed.into());
}

fn read_block(bytes: Bytes) {
    let Ok(block) = Block::decode_anywhere(bytes) else { return };
    // Whatever a block says of itself, all of it can be asked for.
    let _ = block.summary();
    for index in 0..block.count() {
        let _ = (block.record(index), block.position(index), block.stream(index));
    }
    let _ = block.first_at(Position::new(u64::MAX));
}

/// A record inside a block.
pub fn record(data: &[u8]) {
    let (base, time) = (Position::new(1_000), Timestamp::from_millis(1_700_000_000_000));
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(stored) = StoredRecord::decode(&bytes, 0..data.len(), base, time) {
        let mut again = Vec::new();
        StoredRecord::encode(&stored.record, stored.position, base, time, &mut again);
        let len = again.len();
        let read = StoredRecord::decode(&again.into(), 0..len, base, time);
        assert_eq!(read, Ok(stored), "what was read is written and read the same");
    }
    let _ = (StoredRecord::decode_position(data, base), StoredRecord::decode_stream(data, base));
}

/// A row's value, and the small values of storage.
pub fn rows(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let keys =
        [MetaKey::Partition(PARTITION), MetaKey::Checkpoint(PARTITION), MetaKey::Directory].map(|key| key.encode());
    for key in &keys {
        for value in [bytes.clone(), seal(key, 1, data)] {
            small(&value);
            if let Ok(row) = decode_row(key, &value) {
                assert_eq!(decode_row(key, &encode_row(key, &row)), Ok(row), "a row comes back");
            }
        }
    }
    let chain = ChainId { partition: PARTITION, class: RetentionClass::Stream };
    let _ = Segment::from_value(chain, 1, &seal(&MetaKey::Segment(PARTITION, chain.class, 1).encode(), 1, data));
    let segment = SegmentId { partition: PARTITION, class: chain.class, number: 1 };
    let _ = Quarantined::from_value(segment, &seal(&crate::quarantine::key(segment).encode(), 1, data));
    let (stream, base) = (types::StreamOrdinal::FIRST, types::Offset::ZERO);
    let key = IndexKey { partition: PARTITION, class: chain.class, segment: 1, stream, base };
    if let Ok(entries) = decode_entries(&key, &seal(&key.encode(), 1, data)) {
        let ordered = entries.is_sorted_by_key(|entry| (entry.base, entry.block));
        if ordered && entries.first().is_some_and(|first| first.base == key.base) {
            assert_eq!(decode_entries(&key, &encode_entries(&key, &entries)), Ok(entries), "entries come back");
        }
    }
    let _ = (LogKey::decode(data), IndexKey::decode(data), MetaKey::decode(data));
}

fn small(value: &[u8]) {
    let _ = PartitionMeta::from_value(PARTITION, value);
    let _ = Checkpoint::from_value(PARTITION, value);
    let _ = Directory::from_value(value);
}

/// A backup as one file, and its manifest alone.
pub fn archive(data: &[u8]) {
    crate::backup::fuzz::archive(data);
}

/// The file `COMMIT`.
pub fn commit(data: &[u8]) {
    if let Ok((turn, found)) = watermark::choose(data) {
        assert_eq!(Watermark::decode(&found.encode(turn)), Ok((turn, found)), "what was read is written the same");
    }
    let mut framed = data.to_vec();
    if framed.len() < 16 {
        return;
    }
    framed[..4].copy_from_slice(b"HwC\x01");
    let count = u32::from_le_bytes([framed[12], framed[13], framed[14], framed[15]]) as usize;
    let Some(checked) = framed.get(8..(36 + 8 * count.min(4_096)).min(framed.len())) else { return };
    let crc = crc32fast::hash(checked);
    framed[4..8].copy_from_slice(&crc.to_le_bytes());
    let _ = watermark::choose(&framed);
}
