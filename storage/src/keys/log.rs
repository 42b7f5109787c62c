//! Where a block is: a partition's chain, a segment of it, and the position of its first record.

use types::{PartitionId, Position};

use super::KeyReader;
use crate::codec::Damage;
use crate::record::RetentionClass;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogKey {
    pub(crate) partition: PartitionId,
    pub(crate) class: RetentionClass,
    pub(crate) segment: u32,
    pub(crate) base: Position,
}

impl LogKey {
    /// The first possible key of a chain.
    pub(crate) const fn chain_start(partition: PartitionId, class: RetentionClass) -> Self {
        Self { partition, class, segment: 0, base: Position::ZERO }
    }

    /// A key beyond all of a chain: no segment has this number.
    pub(crate) const fn chain_end(partition: PartitionId, class: RetentionClass) -> Self {
        Self { partition, class, segment: u32::MAX, base: Position::new(u64::MAX) }
    }

    pub(crate) fn encode(&self) -> [u8; 17] {
        let mut key = [0; 17];
        key[..4].copy_from_slice(&self.partition.value().to_be_bytes());
        key[4] = self.class.code();
        key[5..9].copy_from_slice(&self.segment.to_be_bytes());
        key[9..].copy_from_slice(&self.base.value().to_be_bytes());
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Result<Self, Damage> {
        let mut reader = KeyReader(key);
        let key = Self {
            partition: reader.partition()?,
            class: reader.class()?,
            segment: reader.u32()?,
            base: Position::new(reader.u64()?),
        };
        reader.end().map(|()| key)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_class() -> impl Strategy<Value = RetentionClass> {
        prop_oneof![Just(RetentionClass::Run), Just(RetentionClass::Stream)]
    }

    pub(crate) fn any_log_key() -> impl Strategy<Value = LogKey> {
        (any::<u32>(), any_class(), any::<u32>(), any::<u64>()).prop_map(|(partition, class, segment, base)| LogKey {
            partition: PartitionId::new(partition),
            class,
            segment,
            base: Position::new(base),
        })
    }

    proptest! {
        #[test]
        fn a_log_key_comes_back_and_sorts(one in any_log_key(), other in any_log_key()) {
            prop_assert_eq!(LogKey::decode(&one.encode()), Ok(one));
            prop_assert_eq!(one.encode().cmp(&other.encode()), one.cmp(&other));
            prop_assert!(LogKey::chain_start(one.partition, one.class) <= one);
            prop_assert!(one <= LogKey::chain_end(one.partition, one.class));
        }
    }

    #[test]
    fn a_key_of_another_length_or_class_is_damage() {
        let good = LogKey::chain_start(PartitionId::new(1), RetentionClass::Run).encode();
        assert!(LogKey::decode(&good[..16]).is_err());
        assert!(LogKey::decode(&[&good[..], &[0]].concat()).is_err());
        let mut other = good;
        other[4] = 3;
        assert!(LogKey::decode(&other).is_err());
    }
}
