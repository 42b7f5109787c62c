//! A checkpoint of one partition: up to where its stream index is on disk, so that opening reads no further back.

use bytes::Bytes;
use types::{History, PartitionCount, PartitionId, Position};

use crate::checked::{seal, unseal};
use crate::codec::Damage;
use crate::keys::MetaKey;
use crate::record::RetentionClass;
use crate::segment::{ChainId, Segment};

const VERSION: u8 = 1;

/// Both active segments as they were at `end`; every block before it is in the index on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) partition: PartitionId,
    /// One past the last position.
    pub(crate) end: Position,
    /// The run chain's and the stream chain's.
    pub(crate) active: [Segment; 2],
}

impl Checkpoint {
    /// Of an empty partition.
    pub(crate) fn initial(partition: PartitionId) -> Self {
        let first = |class| Segment::first(ChainId { partition, class });
        Self { partition, end: Position::ZERO, active: [first(RetentionClass::Run), first(RetentionClass::Stream)] }
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut body = self.end.value().to_le_bytes().to_vec();
        for segment in &self.active {
            segment.encode(&mut body);
        }
        seal(&MetaKey::Checkpoint(self.partition).encode(), VERSION, &body)
    }

    pub(crate) fn from_value(partition: PartitionId, value: &[u8]) -> Result<Self, Damage> {
        let mut reader = unseal(&MetaKey::Checkpoint(partition).encode(), VERSION, value)?;
        let end = Position::new(reader.u64()?);
        let mut segment = |class| Segment::decode(ChainId { partition, class }, &mut reader);
        let active = [segment(RetentionClass::Run)?, segment(RetentionClass::Stream)?];
        reader.end()?;
        Ok(Self { partition, end, active })
    }
}

/// What is fixed for a partition between retention, repair and restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionMeta {
    pub(crate) history: History,
    /// The oldest position kept in each chain.
    pub(crate) start: [Position; 2],
}

impl PartitionMeta {
    pub(crate) fn value(&self, partition: PartitionId) -> Bytes {
        let mut body = self.history.value().to_le_bytes().to_vec();
        for start in self.start {
            body.extend_from_slice(&start.value().to_le_bytes());
        }
        seal(&MetaKey::Partition(partition).encode(), VERSION, &body)
    }

    pub(crate) fn from_value(partition: PartitionId, value: &[u8]) -> Result<Self, Damage> {
        let mut reader = unseal(&MetaKey::Partition(partition).encode(), VERSION, value)?;
        let history = History::new(reader.u32()?);
        let start = [Position::new(reader.u64()?), Position::new(reader.u64()?)];
        reader.end()?;
        Ok(Self { history, start })
    }
}

/// What is fixed when the directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) partitions: PartitionCount,
}

impl Directory {
    pub(crate) fn value(self) -> Bytes {
        seal(&MetaKey::Directory.encode(), VERSION, &self.partitions.get().to_le_bytes())
    }

    pub(crate) fn from_value(value: &[u8]) -> Result<Self, Damage> {
        let mut reader = unseal(&MetaKey::Directory.encode(), VERSION, value)?;
        let partitions = PartitionCount::try_from(reader.u32()?).map_err(Damage)?;
        reader.end()?;
        Ok(Self { partitions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_in_its_place_only() {
        let partition = PartitionId::new(5);
        let mut checkpoint = Checkpoint::initial(partition);
        checkpoint.end = Position::new(500);
        checkpoint.active[1] = checkpoint.active[1].clone().sealed().follow(Position::new(400));
        let value = checkpoint.value();
        assert_eq!(Checkpoint::from_value(partition, &value), Ok(checkpoint));
        assert!(Checkpoint::from_value(PartitionId::new(6), &value).is_err());
    }

    #[test]
    fn a_partition_and_a_directory_come_back() {
        let partition = PartitionId::new(5);
        let meta = PartitionMeta { history: History::new(77), start: [Position::new(1), Position::new(2)] };
        assert_eq!(PartitionMeta::from_value(partition, &meta.value(partition)), Ok(meta));
        let directory = Directory { partitions: PartitionCount::default() };
        assert_eq!(Directory::from_value(&directory.value()), Ok(directory));
        let none = seal(&MetaKey::Directory.encode(), VERSION, &0_u32.to_le_bytes());
        assert!(Directory::from_value(&none).is_err());
    }
}
