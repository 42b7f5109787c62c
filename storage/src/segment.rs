//! A segment: a run of blocks of one chain that is sealed, checked and dropped as a whole.

use bytes::Bytes;
use types::{Offset, PartitionId, Position, StreamOrdinal, Timestamp};

use crate::block::BlockSummary;
use crate::checked::{seal, unseal};
use crate::codec::{Damage, Reader};
use crate::keys::{IndexKey, LogKey, MetaKey};
use crate::record::RetentionClass;

const VERSION: u8 = 1;

/// Which segment of which chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainId {
    pub(crate) partition: PartitionId,
    pub(crate) class: RetentionClass,
}

/// Where a segment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// Blocks may still be added.
    Active,
    /// Nothing of it changes any more.
    Sealed,
    /// It is being dropped: nothing of it is read any more, and some of it may be gone.
    Deleting,
    /// Nothing of it is left. What is known of it stays while an earlier segment is kept, so that the chain can still
    /// be followed across it.
    Dropped,
}

impl SegmentState {
    /// Whether its records can be read.
    pub(crate) const fn is_kept(self) -> bool {
        match self {
            Self::Active | Self::Sealed => true,
            Self::Deleting | Self::Dropped => false,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Active => 1,
            Self::Sealed => 2,
            Self::Deleting => 3,
            Self::Dropped => 4,
        }
    }

    fn from_code(code: u8) -> Result<Self, Damage> {
        match code {
            1 => Ok(Self::Active),
            2 => Ok(Self::Sealed),
            3 => Ok(Self::Deleting),
            4 => Ok(Self::Dropped),
            other => Err(Damage(format!("a segment in the unknown state {other}"))),
        }
    }
}

/// The last block of a segment, as the next one names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastBlock {
    pub(crate) base: Position,
    pub(crate) crc: u32,
}

/// What is known of a segment: the sum of its blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) chain: ChainId,
    pub(crate) number: u32,
    pub(crate) state: SegmentState,
    /// No record of the chain at or after this position lies in an earlier segment, none before it in this one.
    pub(crate) base: Position,
    /// One past its last record; `base` while it is empty.
    pub(crate) next: Position,
    pub(crate) blocks: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    /// Over the checks of all its blocks, in order.
    pub(crate) digest: u32,
    /// The check of the chain's last block before this segment; 0 for the first.
    pub(crate) before_crc: u32,
    pub(crate) last_block: Option<LastBlock>,
}

impl Segment {
    pub(crate) const fn first(chain: ChainId) -> Self {
        Self::empty(chain, 1, Position::ZERO, 0)
    }

    const fn empty(chain: ChainId, number: u32, base: Position, before_crc: u32) -> Self {
        Self {
            chain,
            number,
            state: SegmentState::Active,
            base,
            next: base,
            blocks: 0,
            records: 0,
            bytes: 0,
            first_time: Timestamp::ZERO,
            last_time: Timestamp::ZERO,
            digest: 0,
            before_crc,
            last_block: None,
        }
    }

    /// The one that follows once this is sealed. It takes records from `base` on.
    pub(crate) fn follow(&self, base: Position) -> Self {
        let number = self.number.checked_add(1).expect("4 billion segments of 256 MiB do not fit a disk");
        Self::empty(self.chain, number, base, self.last_crc())
    }

    /// The same segment before its first block.
    pub(crate) fn emptied(&self) -> Self {
        Self::empty(self.chain, self.number, self.base, self.before_crc)
    }

    #[must_use]
    pub(crate) fn sealed(self) -> Self {
        self.in_state(SegmentState::Sealed)
    }

    /// The same segment, further on in its life.
    #[must_use]
    pub(crate) fn in_state(mut self, state: SegmentState) -> Self {
        self.state = state;
        self
    }

    /// The first possible key of its blocks, and the first that is behind them.
    pub(crate) fn log_range(&self) -> (Vec<u8>, Vec<u8>) {
        let ChainId { partition, class } = self.chain;
        let key = |segment| LogKey { partition, class, segment, base: Position::ZERO }.encode().to_vec();
        (key(self.number), key(self.number + 1))
    }

    /// The same for its stream index.
    pub(crate) fn index_range(&self) -> (Vec<u8>, Vec<u8>) {
        let ChainId { partition, class } = self.chain;
        let (stream, base) = (StreamOrdinal::NONE, Offset::ZERO);
        let key = |segment| IndexKey { partition, class, segment, stream, base }.encode().to_vec();
        (key(self.number), key(self.number + 1))
    }

    /// The check that the next block of the chain must name.
    pub(crate) const fn last_crc(&self) -> u32 {
        match self.last_block {
            Some(last) => last.crc,
            None => self.before_crc,
        }
    }

    pub(crate) const fn block_key(&self, base: Position) -> LogKey {
        LogKey { partition: self.chain.partition, class: self.chain.class, segment: self.number, base }
    }

    /// Counts a block in. It follows `last_block`: the caller has compared the checks.
    pub(crate) fn add(&mut self, block: &BlockSummary) {
        if self.blocks == 0 {
            self.first_time = block.first_time;
        }
        self.last_time = self.last_time.max(block.last_time);
        self.next = block.next;
        self.blocks += 1;
        self.records += u64::from(block.count);
        self.bytes += block.bytes as u64;
        let mut digest = crc32fast::Hasher::new_with_initial(self.digest);
        digest.update(&block.crc.to_le_bytes());
        self.digest = digest.finalize();
        self.last_block = Some(LastBlock { base: block.key.base, crc: block.crc });
    }

    pub(crate) fn is_due(&self, max_bytes: u64, max_ms: u64, now: Timestamp) -> bool {
        self.blocks > 0 && (self.bytes >= max_bytes || now.millis_since(self.first_time) >= max_ms)
    }

    pub(crate) fn key(&self) -> MetaKey {
        MetaKey::Segment(self.chain.partition, self.chain.class, self.number)
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut body = Vec::new();
        self.encode(&mut body);
        seal(&self.key().encode(), VERSION, &body)
    }

    pub(crate) fn from_value(chain: ChainId, number: u32, value: &[u8]) -> Result<Self, Damage> {
        let key = MetaKey::Segment(chain.partition, chain.class, number).encode();
        let mut reader = unseal(&key, VERSION, value)?;
        let segment = Self::decode(chain, &mut reader)?;
        reader.end()?;
        if segment.number != number {
            return Err(Damage(format!("segment {number} says it is {}", segment.number)));
        }
        Ok(segment)
    }

    /// All but the chain, which the place tells.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.state.code());
        out.extend_from_slice(&self.number.to_le_bytes());
        let (last, last_crc) = self.last_block.map_or((u64::MAX, 0), |last| (last.base.value(), last.crc));
        let times = [self.first_time.as_millis(), self.last_time.as_millis()];
        for number in [self.base.value(), self.next.value(), self.blocks, self.records, self.bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in times {
            out.extend_from_slice(&time.to_le_bytes());
        }
        for crc in [self.digest, self.before_crc, last_crc] {
            out.extend_from_slice(&crc.to_le_bytes());
        }
        out.extend_from_slice(&last.to_le_bytes());
    }

    pub(crate) fn decode(chain: ChainId, reader: &mut Reader<'_>) -> Result<Self, Damage> {
        let state = SegmentState::from_code(reader.u8()?)?;
        let number = reader.u32()?;
        let (base, next) = (Position::new(reader.u64()?), Position::new(reader.u64()?));
        let (blocks, records, bytes) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let first_time = Timestamp::from_millis(reader.u64()?);
        let last_time = Timestamp::from_millis(reader.u64()?);
        let (digest, before_crc, crc) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let last_block = match reader.u64()? {
            u64::MAX => None,
            base => Some(LastBlock { base: Position::new(base), crc }),
        };
        Ok(Self {
            chain,
            number,
            state,
            base,
            next,
            blocks,
            records,
            bytes,
            first_time,
            last_time,
            digest,
            before_crc,
            last_block,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const CHAIN: ChainId = ChainId { partition: PartitionId::new(3), class: RetentionClass::Stream };

    fn block(base: u64, crc: u32, time: u64) -> BlockSummary {
        BlockSummary {
            key: LogKey { partition: CHAIN.partition, class: CHAIN.class, segment: 1, base: Position::new(base) },
            next: Position::new(base + 10),
            count: 8,
            bytes: 1000,
            crc,
            first_time: Timestamp::from_millis(time),
            last_time: Timestamp::from_millis(time + 5),
            streams: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn a_segment_comes_back(blocks in prop::collection::vec((0..1_u64 << 40, any::<u32>(), 0..1_u64 << 40), 0..5)) {
            let mut segment = Segment::first(CHAIN);
            for (base, crc, time) in blocks {
                segment.add(&block(base, crc, time));
            }
            prop_assert_eq!(Segment::from_value(CHAIN, 1, &segment.value()), Ok(segment.clone()));
            let next = segment.clone().sealed().follow(Position::new(99));
            prop_assert_eq!(next.last_crc(), segment.last_crc());
            prop_assert_eq!(Segment::from_value(CHAIN, 2, &next.value()), Ok(next));
        }
    }

    #[test]
    fn a_segment_is_due_by_size_or_age_but_never_empty() {
        let mut segment = Segment::first(CHAIN);
        let due = |segment: &Segment, now| segment.is_due(1500, 60, Timestamp::from_millis(now));
        assert!(!due(&segment, 1_000_000));
        segment.add(&block(0, 1, 100));
        assert!(!due(&segment, 159));
        assert!(due(&segment, 160));
        segment.add(&block(10, 2, 101));
        assert!(due(&segment, 101));
    }

    #[test]
    fn the_digest_depends_on_every_block_and_their_order() {
        let digest = |crcs: &[u32]| {
            let mut segment = Segment::first(CHAIN);
            for crc in crcs {
                segment.add(&block(0, *crc, 0));
            }
            segment.digest
        };
        assert_ne!(digest(&[1, 2]), digest(&[2, 1]));
        assert_ne!(digest(&[1, 2]), digest(&[1]));
    }
}
