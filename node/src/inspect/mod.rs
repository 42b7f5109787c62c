//! Looks inside a log: of a running node through its admin port, of a stopped one through its directory. One code for
//! both, over the same ports.

mod damage;
mod figures;
mod load;
mod names;
mod records;
mod replay;
mod seek;
mod view;

pub(crate) use figures::disk_bytes;
pub use figures::{Figures, segments, stats};
pub use gateway::operator::{
    BackUp, BackupMade, DamagedRange, Load, LogRecord, LogStats, PartitionLoad, Producer, ReadRecords, RecordPage,
    SegmentView, Wanted, Written,
};
pub use load::{load, skew_percent};
pub(crate) use names::NOBODY;
pub use names::Names;
pub use records::{partitions_of, read};
pub use replay::{PartitionReplay, ReplayError, ReplayReport, replay};
pub(crate) use view::ordinal_of;

/// Chance for a new history, from the operating system.
pub fn random_seed() -> u32 {
    crate::router::random_u32()
}
