//! One number for what a partition holds: equal for equal state, whatever the order in which it was built.

use std::fmt;

use crate::partition::Partition;
use crate::run::Run;
use crate::stored;

/// An order-independent sum over the hashes of open runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    pub(crate) fn of(partition: &Partition) -> Self {
        let held = partition.runs.values().filter(|run| !run.status.is_closed()).map(hash);
        let idle = partition.idle.values().map(|run| run.hash);
        Self(held.chain(idle).fold(0, u64::wrapping_add))
    }

    /// Partitions add up.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// One run's part.
pub(crate) fn hash(run: &Run) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(&stored::run_bytes(run)).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
