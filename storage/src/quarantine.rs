//! Segments in which something is damaged: nothing of them is read any more, and the rest of the log is served. The
//! mark outlives a restart, so that damage which was found once is never served by chance.

use bytes::Bytes;
use types::{PartitionId, Position};

use crate::checked::{seal, unseal};
use crate::codec::Damage;
use crate::keys::{Family, MetaKey};
use crate::record::RetentionClass;
use crate::retention::SegmentId;
use crate::store::{Store, StoreError};

const VERSION: u8 = 1;

/// A segment that is not read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub segment: SegmentId,
    /// Where the damage was met.
    pub position: Position,
    /// A sentence.
    pub what: String,
}

impl Quarantined {
    pub(crate) fn key(&self) -> MetaKey {
        key(self.segment)
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut body = self.position.value().to_le_bytes().to_vec();
        body.extend_from_slice(self.what.as_bytes());
        seal(&self.key().encode(), VERSION, &body)
    }

    pub(crate) fn from_value(segment: SegmentId, value: &[u8]) -> Result<Self, Damage> {
        let mut reader = unseal(&key(segment).encode(), VERSION, value)?;
        let position = Position::new(reader.u64()?);
        let what = String::from_utf8_lossy(reader.rest()).into_owned();
        Ok(Self { segment, position, what })
    }
}

pub(crate) fn key(segment: SegmentId) -> MetaKey {
    MetaKey::Quarantine(segment.partition, segment.class, segment.number)
}

/// All marks of a partition. One that cannot be read still marks: what it says is then not known.
pub(crate) fn of_partition(store: &dyn Store, partition: PartitionId) -> Result<Vec<Quarantined>, StoreError> {
    let first = MetaKey::Quarantine(partition, RetentionClass::Run, 0).encode();
    let last = MetaKey::Quarantine(partition, RetentionClass::Stream, u32::MAX).encode();
    let mut scan = store.scan(Family::Meta, &first, &last, 0);
    let mut found = Vec::new();
    while let Some((key, value)) = scan.next()? {
        let Ok(MetaKey::Quarantine(partition, class, number)) = MetaKey::decode(&key) else { continue };
        let segment = SegmentId { partition, class, number };
        let unknown = |damage: Damage| Quarantined { segment, position: Position::ZERO, what: damage.to_string() };
        found.push(Quarantined::from_value(segment, &value).unwrap_or_else(unknown));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_in_its_place_only() {
        let segment = SegmentId { partition: PartitionId::new(3), class: RetentionClass::Stream, number: 7 };
        let mark = Quarantined { segment, position: Position::new(99), what: "a block is gone".to_owned() };
        assert_eq!(Quarantined::from_value(segment, &mark.value()), Ok(mark.clone()));
        let elsewhere = SegmentId { number: 8, ..segment };
        assert!(Quarantined::from_value(elsewhere, &mark.value()).is_err());
    }
}
