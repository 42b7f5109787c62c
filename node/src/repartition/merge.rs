//! All partitions of a log as one, in order of time. What one command made stays together: its records are a cause and
//! what followed from it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use storage::{Log, ReadError, StoredRecord};
use types::{PartitionId, Position, Timestamp};

/// Bytes read ahead, over all partitions.
const READ_AHEAD_BYTES: usize = 64 * 1024 * 1024;
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_RECORDS: usize = 1024;

/// One partition, read page by page.
struct Lane {
    partition: PartitionId,
    next: Position,
    end: Position,
    page: VecDeque<StoredRecord>,
}

pub(super) struct Merge<'a> {
    log: &'a dyn Log,
    lanes: Vec<Lane>,
    /// The next record of each lane that has one: the earliest first, and of equal times the lower partition.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    page_bytes: usize,
}

impl<'a> Merge<'a> {
    pub(super) fn new(log: &'a dyn Log) -> Result<Self, ReadError> {
        let count = log.partitions();
        let page_bytes = (READ_AHEAD_BYTES / count.get() as usize).clamp(1, PAGE_BYTES);
        let lane = |partition| {
            let end = log.bounds(partition).end;
            Lane { partition, next: Position::ZERO, end, page: VecDeque::new() }
        };
        let lanes = count.partitions().map(lane).collect();
        let mut merge = Self { log, lanes, heads: BinaryHeap::new(), page_bytes };
        for lane in 0..merge.lanes.len() {
            merge.line_up(lane)?;
        }
        Ok(merge)
    }

    /// The next command's records, and where they come from.
    pub(super) fn next(&mut self) -> Result<Option<(PartitionId, Vec<StoredRecord>)>, ReadError> {
        let Some(Reverse((_, lane))) = self.heads.pop() else { return Ok(None) };
        let mut command = Vec::new();
        while let Some(next) = self.peek(lane)? {
            if next.record.cause && !command.is_empty() {
                break;
            }
            command.push(self.lanes[lane].page.pop_front().expect("it was just seen"));
        }
        self.line_up(lane)?;
        Ok(Some((self.lanes[lane].partition, command)))
    }

    fn line_up(&mut self, lane: usize) -> Result<(), ReadError> {
        let time = self.peek(lane)?.map(|next| next.record.time);
        self.heads.extend(time.map(|time| Reverse((time, lane))));
        Ok(())
    }

    fn peek(&mut self, lane: usize) -> Result<Option<&StoredRecord>, ReadError> {
        let lane = &mut self.lanes[lane];
        if lane.page.is_empty() && lane.next < lane.end {
            lane.page = self.log.read(lane.partition, lane.next, PAGE_RECORDS, self.page_bytes)?.into();
            lane.next = lane.page.back().map_or(lane.end, |last| last.position.next());
        }
        Ok(lane.page.front())
    }
}
