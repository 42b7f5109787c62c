//! Which partition a name belongs to: one hash for streams and runs, one jump over the partition count.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::TenantId;

/// A partition of this node's data directory, from 0. Partition 0 is the system partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(u32);

impl PartitionId {
    /// Where definitions live.
    pub const SYSTEM: Self = Self(0);

    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    pub const fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many partitions a data directory has, fixed when it is made: 1 to 1,024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PartitionCount(NonZeroU32);

impl PartitionCount {
    pub const MAX: u32 = 1024;

    pub fn new(count: u32) -> Option<Self> {
        NonZeroU32::new(count).filter(|count| count.get() <= Self::MAX).map(Self)
    }

    pub const fn get(self) -> u32 {
        self.0.get()
    }

    pub fn partitions(self) -> impl Iterator<Item = PartitionId> {
        (0..self.get()).map(PartitionId)
    }
}

impl Default for PartitionCount {
    fn default() -> Self {
        Self::new(16).expect("16 lies between 1 and 1,024")
    }
}

impl TryFrom<u32> for PartitionCount {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        Self::new(count).ok_or_else(|| format!("{count} partitions asked for, but a node has 1 to {}", Self::MAX))
    }
}

impl From<PartitionCount> for u32 {
    fn from(count: PartitionCount) -> u32 {
        count.get()
    }
}

/// The 32 bits by which a name finds its partition. A run's id carries it, so the id routes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutingHash(u32);

impl RoutingHash {
    /// Of a tenant and a partition key: the first four bytes (big-endian) of blake3 over `tenant 0x00 key`.
    pub fn of(tenant: &TenantId, key: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(tenant.as_str().as_bytes());
        hasher.update(&[0]);
        hasher.update(key.as_bytes());
        let hash = hasher.finalize();
        let [a, b, c, d, ..] = *hash.as_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The partition, by jump consistent hash (Lamping and Veach, 2014, <https://arxiv.org/abs/1406.2294>).
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the published algorithm computes in doubles; all values stay under 2^32"
    )]
    pub fn partition(self, count: PartitionCount) -> PartitionId {
        let mut key = u64::from(self.0);
        let (mut bucket, mut jump) = (0_u64, 0_u64);
        while jump < u64::from(count.get()) {
            bucket = jump;
            key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
            jump = ((bucket + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
        }
        PartitionId(u32::try_from(bucket).expect("a bucket is below the partition count"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_gets_its_share_and_growth_moves_few_keys() {
        let tenant = TenantId::default();
        let (sixteen, seventeen) = (PartitionCount::default(), PartitionCount::new(17).expect("17 is in range"));
        let mut share = [0_u32; 16];
        let mut moved = 0;
        for n in 0..16_000 {
            let hash = RoutingHash::of(&tenant, &format!("agent-{n}"));
            share[hash.partition(sixteen).value() as usize] += 1;
            moved += u32::from(hash.partition(sixteen) != hash.partition(seventeen));
        }
        assert!(share.iter().all(|&n| (850..1150).contains(&n)), "{share:?}");
        assert!((700..1200).contains(&moved), "{moved} of 16,000 keys moved");
    }

    #[test]
    fn routing_never_changes_between_versions() {
        let hash = RoutingHash::of(&TenantId::default(), "agent-42");
        assert_eq!((hash.bits(), hash.partition(PartitionCount::default()).value()), (PINNED_BITS, PINNED_PARTITION));
    }

    const PINNED_BITS: u32 = 3_285_543_746;
    const PINNED_PARTITION: u32 = 9;
}
