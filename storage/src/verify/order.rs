//! Holds the records of a partition to dense positions, and those of each stream to dense offsets.

use std::collections::BTreeMap;

use types::{Offset, PartitionId, Position, StreamOrdinal};

use super::{Place, VerifyReport};
use crate::block::Block;
use crate::holes::Holes;
use crate::record::CHAINS;

/// What is looked at of a record.
type Seen = (Position, StreamOrdinal, Offset);

#[derive(Debug)]
pub(super) struct Order {
    partition: PartitionId,
    next: Position,
    /// Where one of the chains is no longer kept.
    holes: Holes,
    /// The next offset of each stream that was seen, and where its last event stood.
    streams: BTreeMap<StreamOrdinal, (Offset, Position)>,
    /// Records are missing before here that should be there, so a stream may go on anywhere.
    after_damage: bool,
    /// The records of the group that is being read, in the order of their blocks.
    group: Vec<Seen>,
    group_end: Position,
}

impl Order {
    pub(super) fn new(partition: PartitionId, start: [Position; CHAINS], holes: Holes) -> Self {
        let [run, stream] = start;
        let next = run.min(stream);
        let streams = BTreeMap::new();
        Self { partition, next, holes, streams, after_damage: false, group: Vec::new(), group_end: next }
    }

    /// Records of `from..until` may be missing: that they cannot be read was said already.
    pub(super) fn pass(&mut self, (from, until): (Position, Position)) {
        self.holes = std::mem::take(&mut self.holes).and(from, until);
        self.after_damage = true;
    }

    /// Adds a block; blocks come in the order of their bases.
    pub(super) fn add(&mut self, block: &Block, report: &mut VerifyReport) {
        let key = block.header.key;
        if key.base >= self.group_end {
            self.end_group(report);
        }
        self.group_end = self.group_end.max(block.header.group_end());
        for index in 0..block.count() {
            match block.record(index) {
                Err(damage) => report.damage(Place::block(&key), &damage),
                Ok(stored) => {
                    report.records += 1;
                    self.group.push((stored.position, stored.record.stream, stored.record.offset));
                }
            }
        }
    }

    /// Says where the partition ends.
    pub(super) fn finish(mut self, report: &mut VerifyReport) -> Position {
        self.end_group(report);
        report.streams += self.streams.len() as u64;
        self.next
    }

    fn end_group(&mut self, report: &mut VerifyReport) {
        let mut group = std::mem::take(&mut self.group);
        group.sort_unstable_by_key(|(position, ..)| *position);
        for (position, stream, offset) in group {
            self.reach(position, report);
            self.next = position.next();
            if !stream.is_none() {
                self.add_to_stream(position, stream, offset, report);
            }
        }
        self.reach(self.group_end, report);
    }

    /// Nothing may be missing before `position`.
    fn reach(&mut self, position: Position, report: &mut VerifyReport) {
        if !self.holes.cover(self.next, position) {
            let what = format!("the records of positions {} to {} are missing", self.next, position.value() - 1);
            report.damage(Place { position: Some(self.next), ..Place::partition(self.partition) }, &what);
            self.streams.clear();
            self.after_damage = true;
        }
        if position < self.next {
            let what = format!("position {position} is there twice");
            report.damage(Place { position: Some(position), ..Place::partition(self.partition) }, &what);
        }
        self.next = self.next.max(position);
    }

    fn add_to_stream(&mut self, position: Position, stream: StreamOrdinal, offset: Offset, report: &mut VerifyReport) {
        let known = self.streams.insert(stream, (offset.next(), position));
        let dropped = |from| self.holes.touch(from, position);
        let fits = match known {
            Some((expected, last)) => offset == expected || (offset > expected && dropped(last.next())),
            None => offset == Offset::ZERO || self.after_damage || dropped(Position::ZERO),
        };
        if !fits {
            let expected = known.map_or(Offset::ZERO, |(expected, _)| expected);
            let what = format!("stream {stream} goes on with offset {offset} instead of {expected}");
            report.damage(Place { position: Some(position), ..Place::partition(self.partition) }, &what);
        }
    }
}
