//! Bounds on what the streams of one tenant keep: its oldest events go, whatever their age, and those of others stay. A
//! segment goes when nobody keeps any of it, so the room comes back later than the events go.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{Answer, Command, RowImage, RowName, StreamKey, TrimStreams, stored};
use storage::retention::{Keep, Policy, choose};
use storage::{RetentionClass, RowKey, SegmentFacts, SegmentId, StreamExtent};
use types::{Offset, PartitionId, StreamOrdinal, TenantId};

use super::{Interrupted, Pass, or_pass_over};
use crate::partition::Notice;
use crate::{limits, translate};

/// What one segment holds of tenants.
pub(super) type Shares = BTreeMap<TenantId, Share>;

/// What a segment holds of a tenant's streams that they still keep.
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
        let is_there = |id: &SegmentId| segments.iter().any(|segment| segment.id == *id);
        self.shares.retain(|id, _| is_there(id));
        self.recount.retain(|id, _| is_there(id));
        self.held.retain(|(id, _), _| is_there(id));
        for segment in &segments {
            self.count(segment)?;
        }
        for (tenant, keep) in self.settings.tenants.clone() {
            let share = |segment: &SegmentFacts| {
                let share = self.shares.get(&segment.id).and_then(|shares| shares.get(&tenant))?;
                Some((*segment, *share))
            };
            let shares: Vec<_> = segments.iter().filter_map(share).collect();
            for segment in over(&shares, keep) {
                let held = self.held.get(&(segment.id, tenant.clone()));
                if held.is_none_or(|until| *until <= self.host.now()) {
                    self.trim_tenant(&segment, &tenant)?;
                }
            }
        }
        Ok(())
    }

    /// Finds out what a segment holds of tenants, unless that is known, or rows do not know all of it yet.
    fn count(&mut self, segment: &SegmentFacts) -> Result<(), Interrupted> {
        if self.shares.contains_key(&segment.id) {
            return Ok(());
        }
        if self.recount.get(&segment.id).is_some_and(|reflected| *reflected > segment.floor) {
            let partition = segment.id.partition;
            self.host.mailbox(partition).notify(Notice::Checkpoint(partition));
            return Ok(());
        }
        if let Some(shares) = or_pass_over(segment, self.shares_of(segment))? {
            self.recount.remove(&segment.id);
            self.shares.insert(segment.id, shares);
        }
        Ok(())
    }

    /// Streams gave up some of what it holds: what is known of tenants' shares is too much.
    pub(super) fn count_again(&mut self, segment: &SegmentFacts) {
        if !self.settings.tenants.is_empty() {
            self.shares.remove(&segment.id);
            self.recount.insert(segment.id, self.host.log.bounds(segment.id.partition).end);
        }
    }

    fn shares_of(&self, segment: &SegmentFacts) -> Result<Shares, Interrupted> {
        let mut records: BTreeMap<TenantId, u64> = BTreeMap::new();
        self.each_page(segment, |page| {
            for extent in page {
                let Some(key) = self.named(segment.id.partition, extent.stream)? else { continue };
                if self.settings.tenants.contains_key(&key.tenant) {
                    let low = self.low(segment.id.partition, &key, extent.stream)?;
                    let kept = extent.events.min(extent.end.value().saturating_sub(low.value()));
                    *records.entry(key.tenant).or_default() += kept;
                }
            }
            Ok(())
        })?;
        Ok(records.into_iter().map(|(tenant, records)| (tenant, Share::of(segment, records))).collect())
    }

    fn trim_tenant(&mut self, segment: &SegmentFacts, tenant: &TenantId) -> Result<(), Interrupted> {
        let partition = segment.id.partition;
        let (mut all, mut any) = (true, false);
        self.each_page(segment, |page| {
            let mut extents = Vec::new();
            for extent in page {
                if self.named(partition, extent.stream)?.is_some_and(|key| key.tenant == *tenant) {
                    extents.push((extent.stream, extent.end));
                }
            }
            if extents.is_empty() {
                return Ok(());
            }
            let command =
                Command::TrimStreams(Box::new(TrimStreams { newest: segment.last_time, extents, room: true }));
            let Answer::Trimmed { trimmed, cleared, .. } = self.command(partition, command)? else {
                unreachable!("a trim is answered with what was trimmed")
            };
            (all, any) = (all && cleared, any || !trimmed.is_empty());
            trimmed.into_iter().try_for_each(|(key, ordinal, low)| self.forget_producers(partition, &key, ordinal, low))
        })?;
        if any {
            self.count_again(segment);
            self.looked_at.remove(&segment.id);
        }
        if !all {
            let again = self.host.now().plus_millis(limits::PINNED_TRIM_MS);
            self.held.insert((segment.id, tenant.clone()), again);
        }
        Ok(())
    }

    fn each_page(
        &self,
        segment: &SegmentFacts,
        mut with: impl FnMut(&[StreamExtent]) -> Result<(), Interrupted>,
    ) -> Result<(), Interrupted> {
        let mut after = None;
        loop {
            let page = self.host.log.segment_streams(segment.id, after, limits::STREAMS_PER_TRIM)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.stream);
            with(&page)?;
        }
    }

    /// The stream of that ordinal; `None`: it is a run's, or was deleted.
    fn named(&self, partition: PartitionId, stream: StreamOrdinal) -> Result<Option<StreamKey>, Interrupted> {
        match self.row(partition, &RowName::StreamName(stream))? {
            None => Ok(None),
            Some(RowImage::StreamName(key)) => Ok(Some(key)),
            Some(_) => Err(Interrupted::Log("a row of a stream's name holds something else".to_owned())),
        }
    }

    /// The first offset that a stream keeps, as rows have it; all is given up of one that lives no more.
    fn low(&self, partition: PartitionId, key: &StreamKey, ordinal: StreamOrdinal) -> Result<Offset, Interrupted> {
        match self.row(partition, &RowName::Stream(key.clone()))? {
            Some(RowImage::Stream(stream)) if stream.ordinal == ordinal => Ok(stream.low),
            _ => Ok(Offset::new(u64::MAX)),
        }
    }

    fn row(&self, partition: PartitionId, name: &RowName) -> Result<Option<RowImage>, Interrupted> {
        let (kind, id) = stored::row_key(name);
        let key = RowKey { kind: translate::row_kind(kind), id: Bytes::from(id) };
        let Some(row) = self.host.rows.get(partition, &key)? else { return Ok(None) };
        let image = stored::decode_row(name, &row.value).map_err(|error| Interrupted::Log(error.to_string()))?;
        Ok(Some(image))
    }
}

#[cfg(test)]
mod tests {
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
