//! Makes a segment's stream index anew from its blocks: it holds nothing that they do not.

use bytes::Bytes;
use types::Position;

use crate::check::{Index, blocks_of, index_block};
use crate::keys::{Family, IndexKey};
use crate::segment::{ChainId, Segment};
use crate::store::{Batch, Store, StoreError};
use crate::stream_index::encode_entries;

/// Entries under one key: as a checkpoint writes them, a read of one event decodes a few hundred at most.
const ENTRIES_A_VALUE: usize = 256;

/// The index that the blocks of `segment` before `until` give. A sentence where they do not give it: then they are
/// damaged.
pub(crate) fn index_of_blocks(
    store: &dyn Store,
    segment: &Segment,
    until: Position,
) -> Result<Result<Index, String>, StoreError> {
    let (mut sum, mut index) = (segment.emptied(), Index::new());
    for found in blocks_of(store, segment) {
        let (_, found) = match found? {
            Ok(found) => found,
            Err((_, damage)) => return Ok(Err(damage)),
        };
        if found.key.base >= until {
            break;
        }
        index_block(&mut index, &found);
        sum.add(&found);
    }
    if sum.in_state(segment.state) != *segment {
        return Ok(Err("its blocks do not add up to what it was sealed with".to_owned()));
    }
    Ok(Ok(index))
}

/// The changes that replace the index of `segment` by one of its blocks before `until`; or that sentence.
pub(crate) fn index_anew(
    store: &dyn Store,
    segment: &Segment,
    until: Position,
) -> Result<Result<Batch, String>, StoreError> {
    let index = index_of_blocks(store, segment, until)?;
    Ok(index.map(|index| replacement(segment, &index)))
}

fn replacement(segment: &Segment, index: &Index) -> Batch {
    let mut batch = emptied(segment);
    for (key, value) in values(segment.chain, segment.number, index) {
        batch.put(Family::Index, &key.encode(), value);
    }
    batch
}

/// The change that leaves a segment without an index: nobody reads what is quarantined.
pub(crate) fn emptied(segment: &Segment) -> Batch {
    let (from, until) = segment.index_range();
    let mut batch = Batch::default();
    batch.delete_range(Family::Index, &from, &until);
    batch
}

fn values(chain: ChainId, segment: u32, index: &Index) -> impl Iterator<Item = (IndexKey, Bytes)> {
    let ChainId { partition, class } = chain;
    index.iter().flat_map(move |(stream, entries)| {
        entries.chunks(ENTRIES_A_VALUE).map(move |entries| {
            let key = IndexKey { partition, class, segment, stream: *stream, base: entries[0].base };
            (key, encode_entries(&key, entries))
        })
    })
}
