//! Reads a partition in order of position: both chains merged, nothing missing, nothing that is not acknowledged.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use types::{PartitionId, Position};

use crate::block::Block;
use crate::catalog::{Catalog, SegmentStart, ViewState};
use crate::codec::Damage;
use crate::error::ReadError;
use crate::holes::Holes;
use crate::keys::{Family, LogKey};
use crate::log::RETENTION_CLASSES;
use crate::record::{CHAINS, RetentionClass, StoredRecord};
use crate::store::{Entry, Scan, StoreError};

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

/// Walks the blocks of one chain on disk and holds each to the one before it. What was dropped or is quarantined is
/// left out.
pub(crate) struct ChainScan<'a> {
    catalog: &'a Catalog,
    place: Place,
    /// First key and the one behind the last, of segments that are next to each other.
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    scan: Option<Box<dyn Scan + 'a>>,
    expect_bytes: usize,
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
        let Place { partition, position } = place;
        let after = segments.partition_point(|segment| segment.base <= position);
        let segments = &segments[after.saturating_sub(1)..];
        let key = |segment, base| LogKey { partition, class, segment, base }.encode().to_vec();
        let mut ranges: VecDeque<(Vec<u8>, Vec<u8>)> = VecDeque::new();
        let mut open = None;
        for segment in segments {
            if segment.is_readable() {
                open = open.or_else(|| Some(key(segment.number, Position::ZERO)));
            } else if let Some(from) = open.take() {
                ranges.push_back((from, key(segment.number, Position::ZERO)));
            }
        }
        ranges.extend(open.map(|from| (from, LogKey::chain_end(partition, class).encode().to_vec())));
        if let (Some(segment), Some((first, _))) = (segments.first().filter(|it| it.is_readable()), ranges.front_mut())
        {
            let seek = key(segment.number, position);
            let found = catalog.store.last(Family::Log, first, &seek).map_err(place.store())?;
            *first = found.map_or_else(|| first.clone(), |(key, _)| key);
        }
        Ok(Self { catalog, place, ranges, scan: None, expect_bytes, previous_crc: None })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Block>, ReadError> {
        loop {
            let Some(scan) = &mut self.scan else {
                let Some((from, until)) = self.ranges.pop_front() else { return Ok(None) };
                self.scan = Some(self.catalog.store.scan(Family::Log, &from, &until, self.expect_bytes));
                self.previous_crc = None;
                continue;
            };
            match scan.next().map_err(self.place.store())? {
                Some(entry) => return self.block(entry).map(Some),
                None => self.scan = None,
            }
        }
    }

    fn block(&mut self, (key, bytes): Entry) -> Result<Block, ReadError> {
        let key = LogKey::decode(&key).map_err(self.place.damage())?;
        self.place.position = key.base;
        let block = Block::decode(&key, bytes).map_err(self.place.damage())?;
        if self.previous_crc.is_some_and(|crc| crc != block.header.previous_crc) {
            let chain = key.class.name();
            return Err(self.place.corrupt(&format!("the block before this one in the {chain} chain is missing")));
        }
        self.previous_crc = Some(block.header.crc);
        Ok(block)
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
    unless_dropped(catalog, partition, || read_once(catalog, partition, from, max_records, max_bytes))
}

/// Reads, and reads again when something was missing because it was dropped meanwhile.
pub(crate) fn unless_dropped<T>(
    catalog: &Catalog,
    partition: PartitionId,
    read: impl Fn() -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    loop {
        let before = catalog.view(partition).drops();
        let found = read();
        let missing = matches!(found, Err(ReadError::Corrupt { .. }));
        if !missing || catalog.view(partition).drops() == before {
            return found;
        }
    }
}

fn read_once(
    catalog: &Catalog,
    partition: PartitionId,
    from: Position,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    let view = catalog.view(partition);
    let (end, place) = (view.acknowledged(), Place { partition, position: from });
    let state = view.read();
    let start = state.meta.start[RetentionClass::Run.index()];
    if from < start {
        return Err(ReadError::Dropped { start });
    }
    if from >= end || max_records == 0 {
        return Ok(Vec::new());
    }
    let tail = state.recent.blocks_from(from, max_bytes);
    let on_disk = if tail.is_none() { Some(state.segments.clone()) } else { None };
    let missing = Missing { holes: Arc::clone(&state.holes), damaged: Arc::clone(&state.damaged) };
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
    collect(merge, end, &missing, max_records, max_bytes)
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

/// Where records may be missing, and why.
struct Missing {
    holes: Arc<Holes>,
    damaged: Arc<Holes>,
}

impl Missing {
    /// Whether all of `place..next` was dropped; else what is wrong there.
    fn explain(&self, place: Place, next: Position, otherwise: impl FnOnce() -> String) -> Result<(), ReadError> {
        let (partition, from) = (place.partition, place.position);
        if self.holes.cover(from, next) {
            return Ok(());
        }
        match self.damaged.end(from, next) {
            Some(end) => Err(ReadError::Quarantined { partition, next: end }),
            None => Err(place.corrupt(&otherwise())),
        }
    }
}

/// Takes records in order until a limit. What comes before damage is given; the damage is met by the next read.
fn collect(
    mut merge: Merge<'_>,
    end: Position,
    missing: &Missing,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut expected = merge.place.position;
    while records.len() < max_records && (records.is_empty() || bytes < max_bytes) {
        match next_record(&mut merge, expected, end, missing) {
            Ok(Some(stored)) => {
                bytes += stored.record.bytes();
                expected = stored.position.next();
                records.push(stored);
            }
            Err(error) if records.is_empty() => return Err(error),
            Ok(None) | Err(_) => break,
        }
    }
    if records.is_empty() {
        let place = Place { position: expected, ..merge.place };
        missing.explain(place, end, || format!("nothing is there, though the log reaches to {end}"))?;
    }
    Ok(records)
}

/// The record at `expected`, which is before `end`, or the next one where all between was dropped.
fn next_record(
    merge: &mut Merge<'_>,
    expected: Position,
    end: Position,
    missing: &Missing,
) -> Result<Option<StoredRecord>, ReadError> {
    merge.refill(expected)?;
    let Some((chain, position)) = merge.first().filter(|(_, position)| *position < end) else { return Ok(None) };
    if position != expected {
        let place = Place { position: expected, ..merge.place };
        missing.explain(place, position, || format!("the next record there is at position {position}"))?;
    }
    merge.take(chain).map(Some)
}

/// A state's segments of one chain that may be read, newest first.
pub(crate) fn newest_first(state: &ViewState, chain: usize) -> Vec<u32> {
    state.segments[chain].iter().rev().filter(|segment| segment.is_readable()).map(|segment| segment.number).collect()
}
