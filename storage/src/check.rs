//! Holds one sealed segment against what it was sealed with: every block intact and chained, their sum and digest, and
//! the stream index. For the background scrub and for `headwater log verify`.

use std::collections::BTreeMap;

use types::{Offset, Position, StreamOrdinal};

use crate::block::{Block, BlockSummary};
use crate::codec::Damage;
use crate::keys::{Family, IndexKey, LogKey};
use crate::segment::{ChainId, Segment};
use crate::store::{Scan, Store, StoreError};
use crate::stream_index::{IndexEntry, decode_entries};

/// How much one step of a walk is expected to read.
const SCAN_BYTES: usize = 1024 * 1024;

/// Where the events of each stream are, in one segment.
pub(crate) type Index = BTreeMap<StreamOrdinal, Vec<IndexEntry>>;

/// How a segment was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    Sound {
        blocks: u64,
        /// Of blocks.
        bytes: u64,
    },
    Damaged {
        /// The last good place before it.
        position: Position,
        /// A sentence.
        what: String,
    },
    /// Its blocks are intact and its stream index is not: it can be made anew from them.
    IndexDamaged {
        /// A sentence.
        what: String,
    },
    /// It was told to stop.
    Stopped,
}

/// Adds what a block holds to the index of its segment.
pub(crate) fn index_block(index: &mut Index, block: &BlockSummary) {
    for run in &block.streams {
        index.entry(run.stream).or_default().push(IndexEntry {
            base: run.base,
            segment: block.key.segment,
            block: block.key.base,
            first_index: run.first_index,
            count: run.count,
        });
    }
}

/// The index of a segment as it is on disk, and how many entries it has.
pub(crate) fn read_index(store: &dyn Store, chain: ChainId, segment: u32) -> Result<(Index, u64), String> {
    let ChainId { partition, class } = chain;
    let key = |segment| IndexKey { partition, class, segment, stream: StreamOrdinal::NONE, base: Offset::ZERO };
    let (from, until) = (key(segment).encode(), key(segment.saturating_add(1)).encode());
    let mut scan = store.scan(Family::Index, &from, &until, SCAN_BYTES);
    let (mut index, mut count) = (Index::new(), 0);
    while let Some((key, value)) = scan.next().map_err(|error| format!("its stream index cannot be read: {error}"))? {
        let damaged = |damage: Damage| format!("its stream index is damaged: {damage}");
        let key = IndexKey::decode(&key).map_err(damaged)?;
        let entries = decode_entries(&key, &value).map_err(damaged)?;
        count += entries.len() as u64;
        index.entry(key.stream).or_default().extend(entries);
    }
    Ok((index, count))
}

/// What is wrong between the blocks of a segment and its index on disk.
pub(crate) fn compare_index(found: &Index, expected: &Index) -> Option<String> {
    let differs = |stream: &&StreamOrdinal| found.get(stream) != expected.get(stream);
    let stream = expected.keys().chain(found.keys()).find(differs)?;
    Some(format!("its stream index does not agree with its blocks, first in stream {stream}"))
}

/// Reads all of a sealed segment. `pace` is told how many bytes were read and may take its time; `false` stops.
pub(crate) fn check_segment(
    store: &dyn Store,
    segment: &Segment,
    pace: &mut dyn FnMut(usize) -> bool,
) -> Result<Checked, StoreError> {
    let (mut sum, mut index) = (segment.emptied(), Index::new());
    for found in blocks_of(store, segment) {
        let (bytes, found) = match found? {
            Ok(found) => found,
            Err((position, what)) => return Ok(Checked::Damaged { position, what }),
        };
        index_block(&mut index, &found);
        sum.add(&found);
        if !pace(bytes) {
            return Ok(Checked::Stopped);
        }
    }
    let sum = sum.sealed();
    if sum != *segment {
        let (blocks, sealed) = (sum.blocks, segment.blocks);
        let what = format!("its {blocks} blocks do not add up to what it was sealed with, {sealed} blocks");
        return Ok(Checked::Damaged { position: sum.next, what });
    }
    let wrong =
        read_index(store, segment.chain, segment.number).map_or_else(Some, |(found, _)| compare_index(&found, &index));
    Ok(match wrong {
        Some(what) => Checked::IndexDamaged { what },
        None => Checked::Sound { blocks: sum.blocks, bytes: sum.bytes },
    })
}

/// A block and its bytes; or the last good place before damage and a sentence, and then no more.
type Met = Result<(usize, BlockSummary), (Position, String)>;

/// The blocks of a segment, each held to the one before it.
pub(crate) fn blocks_of<'a>(
    store: &'a dyn Store,
    segment: &Segment,
) -> impl Iterator<Item = Result<Met, StoreError>> + 'a {
    let (from, until) = segment.log_range();
    let mut scan = store.scan(Family::Log, &from, &until, SCAN_BYTES);
    let mut before = Some((segment.base, segment.before_crc));
    std::iter::from_fn(move || {
        let (position, crc) = before.take()?;
        match next_block(&mut *scan, crc) {
            Ok(None) => None,
            Ok(Some((bytes, Ok(summary)))) => {
                before = Some((summary.next, summary.crc));
                Some(Ok(Ok((bytes, summary))))
            }
            Ok(Some((_, Err((position, damage))))) => Some(Ok(Err((position, damage.to_string())))),
            Err(StoreError::Corrupt(what)) => Some(Ok(Err((position, what)))),
            Err(error @ StoreError::Io(_)) => Some(Err(error)),
        }
    })
}

type Found = (usize, Result<BlockSummary, (Position, Damage)>);

fn next_block(scan: &mut dyn Scan, previous_crc: u32) -> Result<Option<Found>, StoreError> {
    let Some((key, value)) = scan.next()? else { return Ok(None) };
    let bytes = value.len();
    let key = match LogKey::decode(&key) {
        Ok(key) => key,
        Err(damage) => return Ok(Some((bytes, Err((Position::ZERO, damage))))),
    };
    let block = Block::decode(&key, value).and_then(|block| {
        if block.header.previous_crc == previous_crc {
            block.summary()
        } else {
            Err(Damage::new("the block before it in its chain is missing"))
        }
    });
    Ok(Some((bytes, block.map_err(|damage| (key.base, damage)))))
}
