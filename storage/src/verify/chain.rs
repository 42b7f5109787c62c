//! Walks one chain block by block: each intact, each naming the one before it, each segment the sum of its blocks, and
//! each event where the index on disk says it is.

use std::collections::BTreeMap;

use types::{Position, StreamOrdinal};

use super::{Place, SCAN_BYTES, VerifyReport};
use crate::block::{Block, BlockSummary};
use crate::checkpoint::Checkpoint;
use crate::codec::Damage;
use crate::error::OpenError;
use crate::keys::{Family, IndexKey, LogKey};
use crate::recovery::all_segments;
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::{Entry, Scan, Store};
use crate::stream_index::{IndexEntry, decode_entries};

type Index = BTreeMap<StreamOrdinal, Vec<IndexEntry>>;

pub(super) struct ChainWalk<'a> {
    store: &'a dyn Store,
    scan: Box<dyn Scan + 'a>,
    chain: ChainId,
    /// As stored, the oldest last.
    segments: Vec<Segment>,
    /// The active one as it was at the checkpoint, and the end of the partition then.
    saved: (Segment, Position),
    current: Option<Current>,
    previous_crc: Option<u32>,
    last: Option<LogKey>,
}

/// The segment that is being read.
struct Current {
    stored: Segment,
    /// The sum of its blocks.
    sum: Segment,
    index: Index,
    /// Something of it could not be read, so that its sum means nothing.
    broken: bool,
}

impl<'a> ChainWalk<'a> {
    pub(super) fn new(store: &'a dyn Store, chain: ChainId, checkpoint: &Checkpoint) -> Result<Self, OpenError> {
        let mut segments = all_segments(store, chain)?;
        segments.reverse();
        let start = LogKey::chain_start(chain.partition, chain.class).encode();
        let end = LogKey::chain_end(chain.partition, chain.class).encode();
        let scan = store.scan(Family::Log, &start, &end, SCAN_BYTES);
        let saved = (checkpoint.active[chain.class.index()].clone(), checkpoint.end);
        Ok(Self { store, scan, chain, segments, saved, current: None, previous_crc: None, last: None })
    }

    fn place(&self) -> Place {
        let chain = Place { partition: Some(self.chain.partition), chain: Some(self.chain.class), ..Place::default() };
        self.last.map_or(chain, |last| Place::block(&last))
    }

    /// The next good block. What is wrong before it goes into the report.
    pub(super) fn next(&mut self, report: &mut VerifyReport) -> Option<Block> {
        loop {
            match self.scan.next() {
                Ok(Some(entry)) => {
                    if let Some(block) = self.look_at(entry, report) {
                        return Some(block);
                    }
                }
                Ok(None) => {
                    while self.current.is_some() || !self.segments.is_empty() {
                        self.next_segment(report);
                    }
                    return None;
                }
                Err(error) => {
                    report.damage(self.place(), &format!("what follows in the chain cannot be read: {error}"));
                    self.segments.clear();
                    self.current = None;
                    return None;
                }
            }
        }
    }

    fn look_at(&mut self, (key, value): Entry, report: &mut VerifyReport) -> Option<Block> {
        let key = match LogKey::decode(&key) {
            Ok(key) => key,
            Err(damage) => {
                report.damage(self.place(), &damage);
                return None;
            }
        };
        self.last = Some(key);
        self.go_to_segment(&key, report);
        report.blocks += 1;
        report.bytes += value.len() as u64;
        let found = Block::decode(&key, value).and_then(|block| block.summary().map(|summary| (block, summary)));
        let (block, summary) = match found {
            Ok(found) => found,
            Err(damage) => {
                report.damage(Place::block(&key), &damage);
                self.previous_crc = None;
                self.break_current();
                return None;
            }
        };
        if self.previous_crc.is_some_and(|crc| crc != block.header.previous_crc) {
            report.damage(Place::block(&key), &"the block before it in its chain is missing");
            self.break_current();
        }
        self.previous_crc = Some(block.header.crc);
        self.add(&summary);
        Some(block)
    }

    fn break_current(&mut self) {
        if let Some(current) = &mut self.current {
            current.broken = true;
        }
    }

    fn go_to_segment(&mut self, key: &LogKey, report: &mut VerifyReport) {
        let is_current = |current: &Option<Current>| current.as_ref().is_some_and(|it| it.stored.number == key.segment);
        while !is_current(&self.current) && self.segments.last().is_some_and(|next| next.number <= key.segment) {
            self.next_segment(report);
        }
        if !is_current(&self.current) {
            report.damage(Place::block(key), &"it lies in a segment that was never begun, or is gone");
        }
    }

    /// Ends the current segment and begins the next one.
    fn next_segment(&mut self, report: &mut VerifyReport) {
        if let Some(current) = self.current.take() {
            self.end_segment(current, report);
        }
        if let Some(stored) = self.segments.pop() {
            report.segments += 1;
            if self.previous_crc.is_some_and(|crc| crc != stored.before_crc) {
                report.damage(Place::segment(&stored), &"the segment before it does not end as this one says");
            }
            self.previous_crc = Some(stored.before_crc);
            let sum = stored.emptied();
            self.current = Some(Current { stored, sum, index: Index::new(), broken: false });
        }
    }

    fn add(&mut self, block: &BlockSummary) {
        let Some(current) = &mut self.current else { return };
        // What came after the checkpoint is in no index and no sum on disk.
        if current.stored.state == SegmentState::Active && block.key.base >= self.saved.1 {
            return;
        }
        current.sum.add(block);
        for run in &block.streams {
            current.index.entry(run.stream).or_default().push(IndexEntry {
                base: run.base,
                segment: block.key.segment,
                block: block.key.base,
                first_index: run.first_index,
                count: run.count,
            });
        }
    }

    fn end_segment(&self, current: Current, report: &mut VerifyReport) {
        let Current { stored, mut sum, index, broken } = current;
        let place = Place::segment(&stored);
        if broken {
            return;
        }
        let expected = match stored.state {
            SegmentState::Active => &self.saved.0,
            SegmentState::Sealed => {
                sum = sum.sealed();
                &stored
            }
        };
        if sum != *expected {
            report.damage(place, &format!("its blocks add up to {sum:?}, but it says {expected:?}"));
        }
        match self.read_index(stored.number, report) {
            Err(what) => report.damage(place, &what),
            Ok(found) if found != index => {
                let differs = |stream: &&StreamOrdinal| found.get(stream) != index.get(stream);
                let stream = index.keys().chain(found.keys()).find(differs);
                let what = format!("its stream index does not agree with its blocks, first in stream {stream:?}");
                report.damage(place, &what);
            }
            Ok(_) => {}
        }
    }

    fn read_index(&self, segment: u32, report: &mut VerifyReport) -> Result<Index, String> {
        let ChainId { partition, class } = self.chain;
        let key =
            |segment| IndexKey { partition, class, segment, stream: StreamOrdinal::NONE, base: types::Offset::ZERO };
        let (from, until) = (key(segment).encode(), key(segment.saturating_add(1)).encode());
        let mut scan = self.store.scan(Family::Index, &from, &until, SCAN_BYTES);
        let mut index = Index::new();
        while let Some((key, value)) =
            scan.next().map_err(|error| format!("its stream index cannot be read: {error}"))?
        {
            let damaged = |damage: Damage| format!("its stream index is damaged: {damage}");
            let key = IndexKey::decode(&key).map_err(damaged)?;
            let entries = decode_entries(&key, &value).map_err(damaged)?;
            report.index_entries += entries.len() as u64;
            index.entry(key.stream).or_default().extend(entries);
        }
        Ok(index)
    }
}
