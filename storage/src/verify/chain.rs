//! Walks one chain block by block: each intact, each naming the one before it, each segment the sum of its blocks, and
//! each event where the index on disk says it is.

use std::collections::{BTreeSet, VecDeque};

use types::Position;

use super::{Place, SCAN_BYTES, VerifyReport};
use crate::block::{Block, BlockSummary};
use crate::check::{Index, compare_index, index_block, read_index};
use crate::checkpoint::Checkpoint;
use crate::error::OpenError;
use crate::keys::{Family, LogKey};
use crate::recovery::all_segments;
use crate::segment::{ChainId, Segment, SegmentState};
use crate::store::{Entry, Scan, Store, StoreError};

pub(super) struct ChainWalk<'a> {
    store: &'a dyn Store,
    /// `None`: nothing more of the chain can be read.
    scan: Option<Box<dyn Scan + 'a>>,
    /// The keys to go on with after it.
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    chain: ChainId,
    /// Numbers of segments that are quarantined: they are not looked at.
    marked: BTreeSet<u32>,
    /// As stored, the oldest last.
    segments: Vec<Segment>,
    /// The active one as it was at the checkpoint, and the end of the partition then.
    saved: (Segment, Position),
    current: Option<Current>,
    previous_crc: Option<u32>,
    last: Option<LogKey>,
    /// Positions of segments of which something could not be read, until somebody takes them.
    unreadable: Option<(Position, Position)>,
}

/// The segment that is being read.
struct Current {
    stored: Segment,
    /// The sum of its blocks.
    sum: Segment,
    index: Index,
    /// Something of it could not be read, so that its sum means nothing.
    broken: bool,
    /// The store could not give what follows in it.
    unreadable: bool,
}

impl Current {
    /// Whether nothing of it is still to come.
    fn is_whole(&self) -> bool {
        !self.stored.state.is_kept()
            || (self.stored.state == SegmentState::Sealed && self.sum.clone().sealed() == self.stored)
    }
}

impl<'a> ChainWalk<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        chain: ChainId,
        checkpoint: &Checkpoint,
        marked: BTreeSet<u32>,
    ) -> Result<Self, OpenError> {
        let mut segments = all_segments(store, chain)?;
        let (mut ranges, mut from) =
            (VecDeque::new(), LogKey::chain_start(chain.partition, chain.class).encode().to_vec());
        for segment in segments.iter().filter(|segment| marked.contains(&segment.number)) {
            let (first, behind) = segment.log_range();
            ranges.push_back((std::mem::replace(&mut from, behind), first));
        }
        let end = LogKey::chain_end(chain.partition, chain.class).encode().to_vec();
        ranges.push_back((from, end));
        segments.reverse();
        let (from, until) = ranges.pop_front().expect("one was just added");
        let scan = Some(store.scan(Family::Log, &from, &until, SCAN_BYTES));
        let saved = (checkpoint.active[chain.class.index()].clone(), checkpoint.end);
        let (current, previous_crc, last, unreadable) = (None, None, None, None);
        Ok(Self { store, scan, ranges, chain, marked, segments, saved, current, previous_crc, last, unreadable })
    }

    fn place(&self) -> Place {
        let chain = Place { partition: Some(self.chain.partition), chain: Some(self.chain.class), ..Place::default() };
        self.last.map_or(chain, |last| Place::block(&last))
    }

    /// The next good block. What is wrong before it goes into the report.
    pub(super) fn next(&mut self, report: &mut VerifyReport) -> Option<Block> {
        loop {
            let next = self.scan.as_mut().map_or(Ok(None), |scan| scan.next());
            match next {
                Ok(Some(entry)) => {
                    if let Some(block) = self.look_at(entry, report) {
                        return Some(block);
                    }
                }
                Ok(None) => {
                    if let Some((from, until)) = self.ranges.pop_front() {
                        self.scan = Some(self.store.scan(Family::Log, &from, &until, SCAN_BYTES));
                        continue;
                    }
                    while self.current.is_some() || !self.segments.is_empty() {
                        self.next_segment(report);
                    }
                    return None;
                }
                Err(error) => self.pass_unreadable(&error, report),
            }
        }
    }

    /// Goes on with the segment after the one of which the store cannot give what comes next.
    fn pass_unreadable(&mut self, error: &StoreError, report: &mut VerifyReport) {
        self.ranges.clear();
        while self.current.as_ref().is_none_or(|it| it.unreadable || it.is_whole()) && !self.segments.is_empty() {
            self.next_segment(report);
        }
        let place = self.place();
        let Some(current) = self.current.as_mut().filter(|current| !current.unreadable) else {
            report.damage(place, &format!("what follows in the chain cannot be read: {error}"));
            self.scan = None;
            return;
        };
        (current.unreadable, current.broken) = (true, true);
        let (from, behind) = (current.sum.next, current.stored.log_range().1);
        let place = Place { position: Some(from), ..Place::segment(&current.stored) };
        report.damage(place, &format!("what follows in the segment cannot be read: {error}"));
        let until = self.segments.last().map_or(Position::new(u64::MAX), |next| next.base);
        self.unreadable = Some(self.unreadable.map_or((from, until), |(first, _)| (first.min(from), until)));
        self.previous_crc = None;
        let end = LogKey::chain_end(self.chain.partition, self.chain.class).encode();
        self.scan = Some(self.store.scan(Family::Log, &behind, &end, SCAN_BYTES));
    }

    /// The positions that were passed because they cannot be read, once.
    pub(super) const fn take_unreadable(&mut self) -> Option<(Position, Position)> {
        self.unreadable.take()
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
        if self.current.as_ref().is_some_and(|current| current.stored.state == SegmentState::Deleting) {
            return None;
        }
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
        } else if self.current.as_ref().is_some_and(|current| current.stored.state == SegmentState::Dropped) {
            report.damage(Place::block(key), &"it lies in a segment that was dropped");
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
            let gone = !stored.state.is_kept() || self.marked.contains(&stored.number);
            self.previous_crc = Some(if gone { stored.last_crc() } else { stored.before_crc });
            let sum = stored.emptied();
            self.current = Some(Current { stored, sum, index: Index::new(), broken: gone, unreadable: false });
        }
    }

    fn add(&mut self, block: &BlockSummary) {
        let Some(current) = &mut self.current else { return };
        // What came after the checkpoint is in no index and no sum on disk.
        if current.stored.state == SegmentState::Active && block.key.base >= self.saved.1 {
            return;
        }
        current.sum.add(block);
        index_block(&mut current.index, block);
    }

    fn end_segment(&self, current: Current, report: &mut VerifyReport) {
        let Current { stored, mut sum, index, broken, unreadable: _ } = current;
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
            // Some of its blocks may be there: the next opening takes them away.
            SegmentState::Deleting | SegmentState::Dropped => return,
        };
        if sum != *expected {
            report.damage(place, &format!("its blocks add up to {sum:?}, but it says {expected:?}"));
        }
        match read_index(self.store, self.chain, stored.number) {
            Err(what) => report.damage(place, &what),
            Ok((found, entries)) => {
                report.index_entries += entries;
                if let Some(what) = compare_index(&found, &index) {
                    report.damage(place, &what);
                }
            }
        }
    }
}
