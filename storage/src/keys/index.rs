//! Where some events of a stream are indexed: sorted so that one seek finds the entry that covers an offset.

use types::{Offset, PartitionId, StreamOrdinal};

use super::KeyReader;
use crate::codec::Damage;
use crate::record::RetentionClass;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexKey {
    pub(crate) partition: PartitionId,
    pub(crate) class: RetentionClass,
    pub(crate) segment: u32,
    pub(crate) stream: StreamOrdinal,
    /// The first offset that the value covers.
    pub(crate) base: Offset,
}

impl IndexKey {
    pub(crate) fn encode(&self) -> [u8; 25] {
        let mut key = [0; 25];
        key[..4].copy_from_slice(&self.partition.value().to_be_bytes());
        key[4] = self.class.code();
        key[5..9].copy_from_slice(&self.segment.to_be_bytes());
        key[9..17].copy_from_slice(&self.stream.value().to_be_bytes());
        key[17..].copy_from_slice(&self.base.value().to_be_bytes());
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Result<Self, Damage> {
        let mut reader = KeyReader(key);
        let key = Self {
            partition: reader.partition()?,
            class: reader.class()?,
            segment: reader.u32()?,
            stream: StreamOrdinal::new(reader.u64()?),
            base: Offset::new(reader.u64()?),
        };
        reader.end().map(|()| key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::log::tests::any_class;

    fn any_index_key() -> impl Strategy<Value = IndexKey> {
        (any::<u32>(), any_class(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(
            |(partition, class, segment, stream, base)| IndexKey {
                partition: PartitionId::new(partition),
                class,
                segment,
                stream: StreamOrdinal::new(stream),
                base: Offset::new(base),
            },
        )
    }

    proptest! {
        #[test]
        fn an_index_key_comes_back_and_sorts(one in any_index_key(), other in any_index_key()) {
            prop_assert_eq!(IndexKey::decode(&one.encode()), Ok(one));
            prop_assert_eq!(one.encode().cmp(&other.encode()), one.cmp(&other));
        }
    }
}
