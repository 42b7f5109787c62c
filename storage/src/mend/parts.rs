//! The segments that have keys in a table, and what of their keys can be read.

use types::{PartitionId, Position};

use crate::block::Block;
use crate::check::Index;
use crate::index_anew::{emptied, index_anew, index_of_blocks};
use crate::keys::{Family, IndexKey, LogKey};
use crate::log::RETENTION_CLASSES;
use crate::quarantine::{self, Quarantined};
use crate::recovery::{all_segments, checkpoint, directory};
use crate::retention::SegmentId;
use crate::rocks::{RocksStore, TableWriter};
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::{Batch, Entry, Scan, Store, StoreError};
use crate::stream_index::decode_entries;

use super::MendError;

const SCAN_BYTES: usize = 1024 * 1024;

/// A segment that is kept.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// An active one as it was at the checkpoint.
    pub(super) segment: Segment,
    /// Its index has the blocks before this position.
    pub(super) indexed: Position,
    pub(super) is_marked: bool,
    /// Its keys in the family; those of an active one reach to the end of its chain, as what follows it may begin.
    pub(super) from: Vec<u8>,
    pub(super) until: Vec<u8>,
}

impl Part {
    pub(super) fn id(&self) -> SegmentId {
        let ChainId { partition, class } = self.segment.chain;
        SegmentId { partition, class, number: self.segment.number }
    }

    pub(super) fn is_active(&self) -> bool {
        self.segment.state == SegmentState::Active
    }

    /// The mark of a segment that lost blocks.
    pub(super) fn mark(&self, what: &str) -> Quarantined {
        Quarantined { segment: self.id(), position: self.segment.base, what: what.to_owned() }
    }
}

/// All segments that are kept, in the order of their keys.
pub(super) fn all(store: &dyn Store, family: Family) -> Result<Vec<Part>, MendError> {
    let mut parts = Vec::new();
    for partition in directory(store)?.partitions.partitions() {
        parts.extend(of_partition(store, family, partition)?);
    }
    Ok(parts)
}

fn of_partition(store: &dyn Store, family: Family, partition: PartitionId) -> Result<Vec<Part>, MendError> {
    let saved = checkpoint(store, partition)?;
    let marks = quarantine::of_partition(store, partition)?;
    let mut parts = Vec::new();
    for class in RETENTION_CLASSES {
        for stored in all_segments(store, ChainId { partition, class })? {
            if !stored.state.is_kept() {
                continue;
            }
            let is_active = stored.state == SegmentState::Active;
            let (from, mut until) = match family {
                Family::Log => stored.log_range(),
                Family::Index | Family::Meta | Family::Rows => stored.index_range(),
            };
            if is_active {
                until = LogKey::chain_end(partition, class).encode().to_vec();
            }
            let segment = if is_active { saved.active[class.index()].clone() } else { stored };
            let indexed = if is_active { saved.end } else { segment.next };
            let id = SegmentId { partition, class, number: segment.number };
            let is_marked = marks.iter().any(|mark| mark.segment == id);
            parts.push(Part { segment, indexed, is_marked, from, until });
        }
    }
    Ok(parts)
}

/// What a copy lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lacks {
    /// Something between its first and last keys could not be read, for this reason.
    pub(super) damage: Option<String>,
}

/// Shows all keys of `from..until` that can be read: those before the first damage and those behind the last.
pub(super) fn readable(
    store: &RocksStore,
    family: Family,
    (from, until): (&[u8], &[u8]),
    mut visit: impl FnMut(Entry) -> Result<(), StoreError>,
) -> Result<Lacks, StoreError> {
    let Some(damage) = walk(&mut *store.scan(family, from, until, SCAN_BYTES), &mut visit)? else {
        return Ok(Lacks::default());
    };
    if let Some(first) = store.readable_end(family, from, until)? {
        // What was readable a moment ago is, but for a disk that changes under the hand.
        if let Some(what) = walk(&mut *store.scan(family, &first, until, SCAN_BYTES), &mut visit)? {
            return Err(StoreError::Corrupt(what));
        }
    }
    Ok(Lacks { damage: Some(damage) })
}

/// Shows entries until the end, or until damage, which it gives.
fn walk(
    scan: &mut dyn Scan,
    visit: &mut impl FnMut(Entry) -> Result<(), StoreError>,
) -> Result<Option<String>, StoreError> {
    loop {
        match scan.next() {
            Ok(Some(entry)) => visit(entry)?,
            Ok(None) => return Ok(None),
            Err(StoreError::Corrupt(what)) => return Ok(Some(what)),
            Err(error @ StoreError::Io(_)) => return Err(error),
        }
    }
}

/// The first damage among the keys of `from..until`.
pub(super) fn damage_in(
    store: &RocksStore,
    family: Family,
    (from, until): (&[u8], &[u8]),
) -> Result<Option<String>, StoreError> {
    walk(&mut *store.scan(family, from, until, SCAN_BYTES), &mut |_| Ok(()))
}

/// Copies what can be read of a part between two keys.
pub(super) fn copy_part(
    store: &RocksStore,
    family: Family,
    (from, until): (&[u8], &[u8]),
    table: &mut TableWriter<'_>,
) -> Result<Lacks, StoreError> {
    readable(store, family, (from, until), |entry| table.put(&entry))
}

/// The changes that make a segment's index anew from its blocks in `store`; a sentence where the blocks do not give it.
pub(super) fn index_of(store: &dyn Store, part: &Part) -> Result<Result<Batch, String>, StoreError> {
    if part.is_marked { Ok(Ok(emptied(&part.segment))) } else { index_anew(store, &part.segment, part.indexed) }
}

/// Whether all of a segment can be read: damage beside its keys is met in the same block of a table, and loses nothing.
pub(super) fn is_whole(store: &RocksStore, family: Family, part: &Part) -> Result<bool, StoreError> {
    if family == Family::Index { is_index_whole(store, part) } else { are_blocks_whole(store, part) }
}

fn are_blocks_whole(store: &RocksStore, part: &Part) -> Result<bool, StoreError> {
    let (mut sum, mut is_chained, mut crc) = (part.segment.emptied(), true, part.segment.before_crc);
    readable(store, Family::Log, (&part.from, &part.until), |(key, value)| {
        let block = LogKey::decode(&key).and_then(|key| Block::decode(&key, value));
        match block.and_then(|block| block.summary().map(|summary| (block.header.previous_crc, summary))) {
            Ok((before, found)) => {
                is_chained &= before == crc;
                crc = found.crc;
                if !part.is_active() || found.key.base < part.indexed {
                    sum.add(&found);
                }
            }
            Err(_) => is_chained = false,
        }
        Ok(())
    })?;
    Ok(is_chained && sum.in_state(part.segment.state) == part.segment)
}

fn is_index_whole(store: &RocksStore, part: &Part) -> Result<bool, StoreError> {
    let Ok(expected) = index_of_blocks(store, &part.segment, part.indexed)? else { return Ok(false) };
    let (mut found, mut is_good) = (Index::new(), true);
    readable(store, Family::Index, (&part.from, &part.until), |(key, value)| {
        let key = IndexKey::decode(&key);
        match key.and_then(|key| decode_entries(&key, &value).map(|entries| (key.stream, entries))) {
            Ok((stream, entries)) => found.entry(stream).or_default().extend(entries),
            Err(_) => is_good = false,
        }
        Ok(())
    })?;
    Ok(is_good && found == expected)
}
