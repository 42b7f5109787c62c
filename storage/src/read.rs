//! Reads a partition in order of position: both chains merged, nothing missing, nothing that is not durable.

use std::collections::VecDeque;
use std::fmt;

use types::{PartitionId, Position};

use crate::block::Block;
use crate::catalog::{Catalog, SegmentStart, ViewState};
use crate::codec::Damage;
use crate::error::ReadError;
use crate::keys::{Family, LogKey};
use crate::log::RETENTION_CLASSES;
use crate::record::{CHAINS, RetentionClass, StoredRecord};
use crate::store::{Scan, StoreError};

/// A read names its partition and the position it came to when something is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) partition: PartitionId,
    pub(crate) position: Position,
}

impl Place {
    pub(crate) fn corrupt(self, what: &dyn fmt::Display) -> ReadError {
        ReadError::Corrupt { partition: self.partition, position: self.position, what: what.to_string() }
    }

    pub(crate) fn damage(self) -> impl Fn(Damage) -> ReadError {
        move |damage| self.corrupt(&damage)
    }

    pub(crate) fn store(self) -> impl Fn(StoreError) -> ReadError {
        move |error| match error {
            StoreError::Corrupt(what) => self.corrupt(&what),
            StoreError::Io(what) => ReadError::Io { what },
        }
    }
}

/// Blocks of both chains, in order within each.
enum Source<'a> {
    Tail([VecDeque<Block>; CHAINS]),
    Disk([ChainScan<'a>; CHAINS]),
}

impl Source<'_> {
    fn next(&mut self, chain: usize) -> Result<Option<Block>, ReadError> {
        match self {
            Self::Tail(blocks) => Ok(blocks[chain].pop_front()),
            Self::Disk(scans) => scans[chain].next(),
        }
    }
}

/// Walks the blocks of one chain on disk and holds each to the one before it.
pub(crate) struct ChainScan<'a> {
    scan: Box<dyn Scan + 'a>,
    place: Place,
    previous_crc: Option<u32>,
}

impl<'a> ChainScan<'a> {
    /// From the block that holds `from`, or the first one after it.
    fn from(
        catalog: &'a Catalog,
        place: Place,
        class: RetentionClass,
        segments: &[SegmentStart],
        expect_bytes: usize,
    ) -> Result<Self, ReadError> {
        let Place { partition, position: base } = place;
        let start = LogKey::chain_start(partition, class).encode();
        let after = segments.partition_point(|segment| segment.base <= base);
        let segment = segments[after.saturating_sub(1)].number;
        let seek = LogKey { partition, class, segment, base }.encode();
        let found = catalog.store.last(Family::Log, &start, &seek).map_err(place.store())?;
        let first = found.map_or_else(|| start.to_vec(), |(key, _)| key);
        Ok(Self::over(catalog, place, class, &first, expect_bytes))
    }

    /// From `first` to the end of the chain.
    pub(crate) fn over(
        catalog: &'a Catalog,
        place: Place,
        class: RetentionClass,
        first: &[u8],
        expect_bytes: usize,
    ) -> Self {
        let end = LogKey::chain_end(place.partition, class).encode();
        Self { scan: catalog.store.scan(Family::Log, first, &end, expect_bytes), place, previous_crc: None }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Block>, ReadError> {
        let Some((key, bytes)) = self.scan.next().map_err(self.place.store())? else { return Ok(None) };
        let key = LogKey::decode(&key).map_err(self.place.damage())?;
        self.place.position = key.base;
        let block = Block::decode(&key, bytes).map_err(self.place.damage())?;
        if self.previous_crc.is_some_and(|crc| crc != block.header.previous_crc) {
            return Err(self
                .place
                .corrupt(&format!("the block before this one in the {} chain is missing", key.class.name())));
        }
        self.previous_crc = Some(block.header.crc);
        Ok(Some(block))
    }
}

/// The next record of a chain.
struct Head {
    block: Block,
    index: usize,
    position: Position,
}

/// Two chains as one.
struct Merge<'a> {
    source: Source<'a>,
    heads: [Option<Head>; CHAINS],
    /// From where a chain has to go on with its next block.
    empty: [Option<Position>; CHAINS],
    place: Place,
}

impl Merge<'_> {
    /// Fetches the next block where one was used up, unless the record at `expected` is at hand: damage in one chain
    /// does not hide what the other has before it.
    fn refill(&mut self, expected: Position) -> Result<(), ReadError> {
        let mut refilled = Ok(());
        for chain in 0..CHAINS {
            if self.first().is_some_and(|(_, position)| position == expected) {
                return Ok(());
            }
            if let Some(from) = self.empty[chain] {
                match self.fill(chain, from) {
                    Ok(()) => self.empty[chain] = None,
                    Err(error) => refilled = refilled.and(Err(error)),
                }
            }
        }
        if self.first().is_some_and(|(_, position)| position == expected) { Ok(()) } else { refilled }
    }

    fn fill(&mut self, chain: usize, from: Position) -> Result<(), ReadError> {
        while let Some(block) = self.source.next(chain)? {
            let index = block.first_at(from).map_err(self.place.damage())?;
            if index < block.count() {
                let position = block.position(index).map_err(self.place.damage())?;
                self.heads[chain] = Some(Head { block, index, position });
                break;
            }
        }
        Ok(())
    }

    /// The chain with the next record, and that record's position.
    fn first(&self) -> Option<(usize, Position)> {
        let position = |chain: usize| self.heads[chain].as_ref().map(|head| (chain, head.position));
        (0..CHAINS).filter_map(position).min_by_key(|(_, position)| *position)
    }

    /// Takes the chain's next record.
    fn take(&mut self, chain: usize) -> Result<StoredRecord, ReadError> {
        let head = self.heads[chain].as_mut().expect("`first` named this chain");
        let stored = head.block.record(head.index).map_err(self.place.damage())?;
        head.index += 1;
        if head.index < head.block.count() {
            head.position = head.block.position(head.index).map_err(self.place.damage())?;
        } else {
            self.heads[chain] = None;
            self.empty[chain] = Some(stored.position.next());
        }
        Ok(stored)
    }
}

pub(crate) fn read(
    catalog: &Catalog,
    partition: PartitionId,
    from: Position,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    let view = catalog.view(partition);
    let (durable, place) = (view.durable(), Place { partition, position: from });
    let state = view.read();
    let start = state.meta.start;
    if from < start[RetentionClass::Run.index()] {
        return Err(ReadError::Dropped { start: start[RetentionClass::Run.index()] });
    }
    if from >= durable || max_records == 0 {
        return Ok(Vec::new());
    }
    let tail = state.recent.blocks_from(from, max_bytes);
    let on_disk = if tail.is_none() { Some(state.segments.clone()) } else { None };
    drop(state);
    let source = match (tail, on_disk) {
        (Some(blocks), _) => {
            catalog.metrics.tail_hit();
            Source::Tail(blocks)
        }
        (None, segments) => {
            catalog.metrics.cold_read();
            Source::Disk(scans(catalog, place, &segments.expect("asked for when the tail has it not"), max_bytes)?)
        }
    };
    let merge = Merge { source, heads: [None, None], empty: [Some(from); CHAINS], place };
    collect(merge, durable, start[RetentionClass::Stream.index()], max_records, max_bytes)
}

fn scans<'a>(
    catalog: &'a Catalog,
    place: Place,
    segments: &[Vec<SegmentStart>; CHAINS],
    max_bytes: usize,
) -> Result<[ChainScan<'a>; CHAINS], ReadError> {
    let scan = |class: RetentionClass| ChainScan::from(catalog, place, class, &segments[class.index()], max_bytes);
    let [run, stream] = RETENTION_CLASSES;
    Ok([scan(run)?, scan(stream)?])
}

/// Takes records in order until a limit. What comes before damage is given; the damage is met by the next read.
fn collect(
    mut merge: Merge<'_>,
    durable: Position,
    start_stream: Position,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut expected = merge.place.position;
    while records.len() < max_records && (records.is_empty() || bytes < max_bytes) {
        match next_record(&mut merge, expected, durable, start_stream) {
            Ok(Some(stored)) => {
                bytes += stored.record.bytes();
                expected = stored.position.next();
                records.push(stored);
            }
            Err(error) if records.is_empty() => return Err(error),
            Ok(None) | Err(_) => break,
        }
    }
    if records.is_empty() && expected >= start_stream {
        merge.place.position = expected;
        return Err(merge.place.corrupt(&format!("nothing is there, though the log is durable up to {durable}")));
    }
    Ok(records)
}

/// The durable record at `expected`. Below `start_stream` the stream chain is gone, so there it may be a later one.
fn next_record(
    merge: &mut Merge<'_>,
    expected: Position,
    durable: Position,
    start_stream: Position,
) -> Result<Option<StoredRecord>, ReadError> {
    merge.refill(expected)?;
    let Some((chain, position)) = merge.first().filter(|(_, position)| *position < durable) else { return Ok(None) };
    let trimmed = position > expected && position <= start_stream;
    if position != expected.max(start_stream) && position != expected && !trimmed {
        merge.place.position = expected;
        return Err(merge.place.corrupt(&format!("the next record there is at position {position}")));
    }
    merge.take(chain).map(Some)
}

/// A state's segments of one chain, newest first.
pub(crate) fn newest_first(state: &ViewState, chain: usize) -> Vec<u32> {
    state.segments[chain].iter().rev().map(|segment| segment.number).collect()
}
