//! What may go. `choose` decides over values which sealed segments are no longer wanted; `drop` takes them away.

mod choose;
mod damaged;
mod drop;
mod segments;

pub use choose::{Choice, Keep, Policy, Reason, choose};
pub use drop::{DropError, Dropped};
pub use segments::{SegmentFacts, SegmentId, StreamExtent};

pub(crate) use damaged::{active_damaged, quarantine, rebuild_index, sealed};
pub(crate) use drop::{drop_segments, finish_drops};
pub(crate) use segments::{check, facts, quarantined, streams};
