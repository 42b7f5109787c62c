//! What storage knows of itself: the directory, its partitions, their segments and checkpoints, and what it lost.

use types::PartitionId;

use super::KeyReader;
use crate::codec::Damage;
use crate::record::RetentionClass;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MetaKey {
    Directory,
    Partition(PartitionId),
    Segment(PartitionId, RetentionClass, u32),
    Checkpoint(PartitionId),
    Quarantine(PartitionId, RetentionClass, u32),
}

impl MetaKey {
    const DIRECTORY: u8 = 1;
    const PARTITION: u8 = 2;
    const SEGMENT: u8 = 3;
    const CHECKPOINT: u8 = 4;
    const QUARANTINE: u8 = 5;
    const LOST_ROWS: u8 = 6;

    /// Of rows that were lost, the first of which has this key.
    pub(crate) fn lost_rows(first: &[u8]) -> Vec<u8> {
        [&[Self::LOST_ROWS][..], first].concat()
    }

    /// The key of the first row that was lost, of such a key.
    pub(crate) fn first_lost(key: &[u8]) -> Option<&[u8]> {
        key.split_first().filter(|(kind, _)| **kind == Self::LOST_ROWS).map(|(_, first)| first)
    }

    /// All such keys of a partition: the first possible one, and one behind the last.
    pub(crate) fn all_lost_rows(partition: PartitionId) -> (Vec<u8>, Vec<u8>) {
        all_of(Self::LOST_ROWS, partition)
    }

    /// All keys of a partition but those of rows that were lost, by kind: its own, its segments', its checkpoint's, its quarantines'.
    pub(crate) fn all_of_partition(partition: PartitionId) -> [(Vec<u8>, Vec<u8>); 4] {
        [Self::PARTITION, Self::SEGMENT, Self::CHECKPOINT, Self::QUARANTINE].map(|kind| all_of(kind, partition))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Directory => vec![Self::DIRECTORY, 0],
            Self::Partition(partition) => of_partition(Self::PARTITION, *partition),
            Self::Segment(partition, class, segment) => of_segment(Self::SEGMENT, *partition, *class, *segment),
            Self::Checkpoint(partition) => of_partition(Self::CHECKPOINT, *partition),
            Self::Quarantine(partition, class, segment) => of_segment(Self::QUARANTINE, *partition, *class, *segment),
        }
    }

    pub(crate) fn decode(key: &[u8]) -> Result<Self, Damage> {
        let mut reader = KeyReader(key);
        let key = match reader.u8()? {
            Self::DIRECTORY => {
                reader.u8()?;
                Self::Directory
            }
            Self::PARTITION => Self::Partition(reader.partition()?),
            Self::SEGMENT => Self::Segment(reader.partition()?, reader.class()?, reader.u32()?),
            Self::CHECKPOINT => Self::Checkpoint(reader.partition()?),
            Self::QUARANTINE => Self::Quarantine(reader.partition()?, reader.class()?, reader.u32()?),
            other => return Err(Damage(format!("a meta key of the unknown kind {other}"))),
        };
        reader.end().map(|()| key)
    }
}

fn of_segment(kind: u8, partition: PartitionId, class: RetentionClass, segment: u32) -> Vec<u8> {
    let mut key = of_partition(kind, partition);
    key.push(class.code());
    key.extend_from_slice(&segment.to_be_bytes());
    key
}

/// The first possible key, and one behind the last.
fn all_of(kind: u8, partition: PartitionId) -> (Vec<u8>, Vec<u8>) {
    let next = PartitionId::new(partition.value().checked_add(1).expect("there are at most 1,024 partitions"));
    (of_partition(kind, partition), of_partition(kind, next))
}

fn of_partition(kind: u8, partition: PartitionId) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&partition.value().to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::log::tests::any_class;

    fn any_meta_key() -> impl Strategy<Value = MetaKey> {
        let partition = any::<u32>().prop_map(PartitionId::new);
        prop_oneof![
            Just(MetaKey::Directory),
            partition.clone().prop_map(MetaKey::Partition),
            (partition.clone(), any_class(), any::<u32>()).prop_map(|(p, class, n)| MetaKey::Segment(p, class, n)),
            partition.clone().prop_map(MetaKey::Checkpoint),
            (partition, any_class(), any::<u32>()).prop_map(|(p, class, n)| MetaKey::Quarantine(p, class, n)),
        ]
    }

    proptest! {
        #[test]
        fn a_meta_key_comes_back_and_sorts(one in any_meta_key(), other in any_meta_key()) {
            prop_assert_eq!(MetaKey::decode(&one.encode()), Ok(one));
            prop_assert_eq!(one.encode().cmp(&other.encode()), one.cmp(&other));
        }
    }

    #[test]
    fn an_unknown_kind_is_damage() {
        assert!(MetaKey::decode(&[9, 0, 0, 0, 0]).is_err());
    }
}
