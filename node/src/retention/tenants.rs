//! Bounds on what the streams of one tenant keep: its oldest events go, whatever their age, and those of others stay. A
//! segment goes when nobody keeps any of it, so the room comes back later than the events go.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{Answer, Command, RowImage, RowName, TrimStreams, stored};
use storage::retention::{Keep, Policy, choose};
use storage::{RetentionClass, RowKey, RowKind, SegmentFacts, StreamExtent};
use types::{PartitionId, StreamOrdinal, TenantId};

use super::{Interrupted, Pass, or_pass_over};
use crate::limits;

/// What one segment holds of tenants.
pub(super) type Shares = BTreeMap<TenantId, Share>;

/// What a segment holds of a tenant's streams, counted once: what streams gave up since then by age or by their own
/// bounds still counts, until the segment goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    records: u64,
    /// As if all records of the segment were of the same size.
    bytes: u64,
}

impl Share {
    fn of(segment: &SegmentFacts, records: u64) -> Self {
        let bytes = u128::from(segment.bytes) * u128::from(records) / u128::from(segment.records.max(1));
        Self { records, bytes: u64::try_from(bytes).unwrap_or(segment.bytes) }
    }
}

/// The segments whose events of one tenant go, of all in which it has a share: the oldest ones.
fn over(shares: &[(SegmentFacts, Share)], keep: Keep) -> Vec<SegmentFacts> {
    let own = |(facts, share): &(SegmentFacts, Share)| {
        let Share { records, bytes } = *share;
        SegmentFacts { records, bytes, ..*facts }
    };
    let own: Vec<_> = shares.iter().map(own).collect();
    // Age is the streams' own matter, and decided elsewhere.
    let policy = Policy { stream: Keep { age_ms: None, ..keep }, run: Keep::default() };
    let goes = choose(&own, &policy, types::Timestamp::ZERO);
    shares.iter().map(|(facts, _)| *facts).filter(|facts| goes.iter().any(|it| it.segment == facts.id)).collect()
}

impl Pass {
    /// Trims the streams of tenants of which there is more than they may have.
    pub(super) fn hold_tenants(&mut self, facts: &[SegmentFacts]) -> Result<(), Interrupted> {
        if self.settings.tenants.is_empty() {
            return Ok(());
        }
        // Of what recovery needs not everything is in rows yet.
        let ready = |segment: &&SegmentFacts| segment.sealed && !segment.quarantined && segment.next <= segment.floor;
        let of_streams = |segment: &&SegmentFacts| segment.id.class == RetentionClass::Stream && ready(segment);
        let segments: Vec<_> = facts.iter().filter(of_streams).copied().collect();
        self.shares.retain(|id, _| segments.iter().any(|segment| segment.id == *id));
        for segment in &segments {
            if !self.shares.contains_key(&segment.id)
                && let Some(shares) = or_pass_over(segment, self.shares_of(segment))?
            {
                self.shares.insert(segment.id, shares);
            }
        }
        for (tenant, keep) in self.settings.tenants.clone() {
            let share = |segment: &SegmentFacts| {
                let share = self.shares.get(&segment.id).and_then(|shares| shares.get(&tenant))?;
                Some((*segment, *share))
            };
            let shares: Vec<_> = segments.iter().filter_map(share).collect();
            for segment in over(&shares, keep) {
                self.trim_tenant(&segment, &tenant)?;
            }
        }
        Ok(())
    }

    fn shares_of(&self, segment: &SegmentFacts) -> Result<Shares, Interrupted> {
        let mut records: BTreeMap<TenantId, u64> = BTreeMap::new();
        self.each_page(segment, |pass, page| {
            for extent in page {
                let tenant = pass.tenant(segment.id.partition, extent.stream)?;
                if let Some(tenant) = tenant.filter(|tenant| pass.settings.tenants.contains_key(tenant)) {
                    *records.entry(tenant).or_default() += extent.events;
                }
            }
            Ok(())
        })?;
        Ok(records.into_iter().map(|(tenant, records)| (tenant, Share::of(segment, records))).collect())
    }

    fn trim_tenant(&mut self, segment: &SegmentFacts, tenant: &TenantId) -> Result<(), Interrupted> {
        let partition = segment.id.partition;
        let mut all = true;
        self.each_page(segment, |pass, page| {
            let mut extents = Vec::new();
            for extent in page {
                if pass.tenant(partition, extent.stream)?.as_ref() == Some(tenant) {
                    extents.push((extent.stream, extent.end));
                }
            }
            if extents.is_empty() {
                return Ok(());
            }
            let command =
                Command::TrimStreams(Box::new(TrimStreams { newest: segment.last_time, extents, room: true }));
            let Answer::Trimmed { trimmed, cleared, .. } = pass.command(partition, command)? else {
                unreachable!("a trim is answered with what was trimmed")
            };
            all &= cleared;
            trimmed.into_iter().try_for_each(|(key, ordinal, low)| pass.forget_producers(partition, &key, ordinal, low))
        })?;
        // What a pinned reader holds back is asked for again by the next pass.
        if all && let Some(shares) = self.shares.get_mut(&segment.id) {
            shares.remove(tenant);
        }
        self.looked_at.remove(&segment.id);
        Ok(())
    }

    fn each_page(
        &self,
        segment: &SegmentFacts,
        mut with: impl FnMut(&Self, &[StreamExtent]) -> Result<(), Interrupted>,
    ) -> Result<(), Interrupted> {
        let mut after = None;
        loop {
            let page = self.host.log.segment_streams(segment.id, after, limits::STREAMS_PER_TRIM)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.stream);
            with(self, &page)?;
        }
    }

    /// Whose stream it is; `None`: a run's, or it was deleted.
    fn tenant(&self, partition: PartitionId, stream: StreamOrdinal) -> Result<Option<TenantId>, Interrupted> {
        let (_, id) = stored::row_key(&RowName::StreamName(stream));
        let key = RowKey { kind: RowKind::StreamName, id: Bytes::from(id) };
        let Some(row) = self.host.rows.get(partition, &key)? else { return Ok(None) };
        let read = stored::read_row(RowKind::StreamName as u8, &key.id, &row.value);
        match read.map_err(|error| Interrupted::Log(error.to_string()))? {
            (_, RowImage::StreamName(key)) => Ok(Some(key.tenant)),
            _ => Err(Interrupted::Log("a row of a stream's name holds something else".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::SegmentId;
    use types::{Position, Timestamp};

    use super::*;

    fn segment(number: u32, bytes: u64) -> SegmentFacts {
        SegmentFacts {
            id: SegmentId { partition: PartitionId::SYSTEM, class: RetentionClass::Stream, number },
            sealed: true,
            quarantined: false,
            base: Position::ZERO,
            next: Position::new(100),
            records: 100,
            bytes,
            first_time: Timestamp::ZERO,
            last_time: Timestamp::from_millis(u64::from(number)),
            floor: Position::new(1_000),
        }
    }

    #[test]
    fn a_share_is_in_proportion_to_the_records() {
        assert_eq!(Share::of(&segment(1, 5_000), 20), Share { records: 20, bytes: 1_000 });
        assert_eq!(Share::of(&segment(1, u64::MAX), 100), Share { records: 100, bytes: u64::MAX });
    }

    #[test]
    fn the_oldest_shares_go_until_the_rest_is_within_bounds() {
        let shares: Vec<_> = [(1, 10), (2, 40), (3, 40)]
            .map(|(number, records)| (segment(number, 1_000), Share::of(&segment(number, 1_000), records)))
            .to_vec();
        let check = |bytes, records, expect: &[u32]| {
            let goes = over(&shares, Keep { age_ms: None, bytes, records });
            assert_eq!(goes.iter().map(|it| it.id.number).collect::<Vec<_>>(), expect, "{bytes:?} {records:?}");
        };
        check(Some(900), Some(90), &[]);
        check(Some(899), None, &[1]);
        check(None, Some(80), &[1]);
        check(None, Some(79), &[1, 2]);
        check(Some(0), None, &[1, 2, 3]);
        check(None, None, &[]);
    }
}
