//! Where a row is: its partition, its kind, and the kernel's own id, sorted as bytes.

use types::PartitionId;

use crate::codec::Damage;
use crate::rows::{RowKey, RowKind};

const PREFIX: usize = 5;

pub(crate) fn row_key(partition: PartitionId, key: &RowKey) -> Vec<u8> {
    let mut bytes = row_kind_start(partition, key.kind);
    bytes.extend_from_slice(&key.id);
    bytes
}

/// The first possible key of a kind.
pub(crate) fn row_kind_start(partition: PartitionId, kind: RowKind) -> Vec<u8> {
    let mut bytes = partition.value().to_be_bytes().to_vec();
    bytes.push(kind as u8);
    bytes
}

/// The first key that is no longer of the kind.
pub(crate) fn row_kind_end(partition: PartitionId, kind: RowKind) -> Vec<u8> {
    let mut bytes = row_kind_start(partition, kind);
    bytes[PREFIX - 1] += 1;
    bytes
}

/// The id in a row's key.
pub(crate) fn row_id(key: &[u8]) -> Result<&[u8], Damage> {
    key.get(PREFIX..).ok_or_else(|| Damage::new("a row's key is too short"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::tests::any_bytes;

    proptest! {
        #[test]
        fn a_row_key_sorts_by_partition_kind_and_id(
            (p, q) in (0..3_u32, 0..3_u32), (a, b) in (any_bytes(4), any_bytes(4)), same: bool,
        ) {
            let kind = |same| if same { RowKind::Stream } else { RowKind::OpenRun };
            let (one, other) = (RowKey { kind: kind(true), id: a }, RowKey { kind: kind(same), id: b });
            let (p, q) = (PartitionId::new(p), PartitionId::new(q));
            let (left, right) = (row_key(p, &one), row_key(q, &other));
            prop_assert_eq!(row_id(&left), Ok(&one.id[..]));
            prop_assert_eq!(left.cmp(&right), (p, &one).cmp(&(q, &other)));
            prop_assert!(row_kind_start(p, one.kind) <= left && left < row_kind_end(p, one.kind));
        }
    }
}
