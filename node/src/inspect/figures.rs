//! What storage knows of its segments and its store, as operators see it.

use gateway::operator::{FamilyStats, LogStats, SegmentView, Written};
use storage::{OpenError, SegmentFigures, StoreFigures};
use types::{PartitionCount, PartitionId};

/// Where figures come from: a log that is served, or one that is only looked at.
pub trait Figures {
    fn count(&self) -> PartitionCount;
    fn segments_of(&self, partition: PartitionId) -> Result<Vec<SegmentFigures>, OpenError>;
    fn store(&self) -> StoreFigures;
}

macro_rules! figures_of {
    ($log:ty) => {
        impl Figures for $log {
            fn count(&self) -> PartitionCount {
                storage::Log::partitions(self)
            }

            fn segments_of(&self, partition: PartitionId) -> Result<Vec<SegmentFigures>, OpenError> {
                self.segment_figures(partition)
            }

            fn store(&self) -> StoreFigures {
                self.store_figures()
            }
        }
    };
}

figures_of!(storage::RocksLog);
figures_of!(storage::ReadOnlyLog);

/// The segments of a partition that is there, or of all.
pub fn segments(log: &impl Figures, partition: Option<PartitionId>) -> Result<Vec<SegmentView>, OpenError> {
    let asked = log.count().partitions().filter(|id| partition.is_none_or(|partition| partition == *id));
    let mut segments = Vec::new();
    for partition in asked {
        segments.extend(log.segments_of(partition)?.iter().map(view));
    }
    Ok(segments)
}

fn view(segment: &SegmentFigures) -> SegmentView {
    SegmentView {
        partition: segment.partition,
        chain: format!("{:?}", segment.class).to_lowercase(),
        number: segment.number,
        state: segment.state.to_owned(),
        base: segment.base,
        next: segment.next,
        records: segment.records,
        blocks: segment.blocks,
        bytes: segment.bytes,
        first: segment.times.map(|(first, _)| first),
        last: segment.times.map(|(_, last)| last),
    }
}

/// What the log takes. `written`: where the node runs, what it wrote.
pub fn stats(log: &impl Figures, written: Option<Written>) -> Result<LogStats, OpenError> {
    let mut segments = Vec::new();
    for partition in log.count().partitions() {
        segments.extend(log.segments_of(partition)?.into_iter().filter(SegmentFigures::is_kept));
    }
    let store = log.store();
    let families = store.families.iter().map(|family| FamilyStats {
        name: family.name.to_owned(),
        bytes: family.bytes,
        memtable_bytes: family.memtable_bytes,
        debt_bytes: family.debt_bytes,
        level0_files: family.level0_files,
        keys: family.keys,
    });
    Ok(LogStats {
        families: families.collect(),
        wal_files: store.wal_files,
        wal_bytes: store.wal_bytes,
        segments: segments.len() as u64,
        records: segments.iter().map(|segment| segment.records).sum(),
        block_bytes: segments.iter().map(|segment| segment.bytes).sum(),
        written,
    })
}

/// What this process had the system write to disks since it was started: `write_bytes` of Linux's `/proc/self/io`.
pub(crate) fn disk_bytes() -> Option<u64> {
    written_in(&std::fs::read_to_string("/proc/self/io").ok()?)
}

fn written_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_wrote_is_read_from_its_own_words() {
        let text = "rchar: 3980\nwchar: 17\nread_bytes: 4096\nwrite_bytes: 323932160\ncancelled_write_bytes: 0\n";
        assert_eq!(written_in(text), Some(323_932_160));
        assert_eq!(written_in("wchar: 17\n"), None);
    }
}
