//! Which sealed segments are no longer wanted. Pure: what is known of segments, a policy and a time in, choices out.

use std::collections::BTreeMap;

use types::{Position, Timestamp};

use super::segments::{SegmentFacts, SegmentId};
use crate::record::RetentionClass;

/// How much of one retention class is kept, over all partitions. What is `None` limits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Milliseconds of log time since a segment's last record.
    pub age_ms: Option<u64>,
    /// Bytes of blocks, of segments that are not quarantined.
    pub bytes: Option<u64>,
    pub records: Option<u64>,
}

/// What is kept of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub run: Keep,
    pub stream: Keep,
}

impl Policy {
    pub const fn of(&self, class: RetentionClass) -> Keep {
        match class {
            RetentionClass::Run => self.run,
            RetentionClass::Stream => self.stream,
        }
    }
}

/// Why a segment may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All of it is older than its class is kept. Streams that are kept longer may still hold it.
    Age,
    /// Its class has more bytes, or more records, than it may: the oldest goes, whatever its age.
    Room,
}

/// A segment that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub segment: SegmentId,
    pub reason: Reason,
}

/// The sealed segments that `policy` no longer wants at `now`, of each class the oldest first. Never one that recovery
/// needs: one with records at or after its partition's floor, the position from which recovery folds.
pub fn choose(segments: &[SegmentFacts], policy: &Policy, now: Timestamp) -> Vec<Choice> {
    let mut choices = Vec::new();
    let mut classes: BTreeMap<RetentionClass, Vec<&SegmentFacts>> = BTreeMap::new();
    for facts in segments {
        classes.entry(facts.id.class).or_default().push(facts);
    }
    for (class, mut segments) in classes {
        segments.sort_by_key(|facts| (facts.last_time, facts.id));
        choose_of_class(&segments, policy.of(class), now, &mut choices);
    }
    choices
}

fn choose_of_class(segments: &[&SegmentFacts], keep: Keep, now: Timestamp, choices: &mut Vec<Choice>) {
    // What is quarantined is there to be saved, and comes on top: it must not push out what is whole.
    let whole = segments.iter().filter(|facts| !facts.quarantined);
    let total = |count: fn(&SegmentFacts) -> u64| whole.clone().map(|facts| count(facts)).sum::<u64>();
    let (mut bytes, mut records) = (total(|facts| facts.bytes), total(|facts| facts.records));
    let over = |sum: u64, limit: Option<u64>| limit.is_some_and(|limit| sum > limit);
    for facts in segments.iter().filter(|facts| may_go(facts)) {
        let old = keep.age_ms.is_some_and(|age| now.millis_since(facts.last_time) >= age);
        let reason = if over(bytes, keep.bytes) || over(records, keep.records) {
            Reason::Room
        } else if old {
            Reason::Age
        } else {
            continue;
        };
        bytes -= facts.bytes;
        records -= facts.records;
        choices.push(Choice { segment: facts.id, reason });
    }
}

/// Whether a segment is at its end, recovery does without it, and it is not there to be saved.
fn may_go(facts: &SegmentFacts) -> bool {
    facts.sealed && !facts.quarantined && facts.next <= facts.floor && facts.floor > Position::ZERO
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::PartitionId;

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn facts(partition: u32, number: u32, hour: u64) -> SegmentFacts {
        SegmentFacts {
            id: SegmentId { partition: PartitionId::new(partition), class: RetentionClass::Stream, number },
            sealed: true,
            quarantined: false,
            base: Position::new(u64::from(number) * 100),
            next: Position::new(u64::from(number) * 100 + 100),
            records: 100,
            bytes: 1_000,
            first_time: Timestamp::from_millis((hour - 1) * HOUR),
            last_time: Timestamp::from_millis(hour * HOUR),
            floor: Position::new(1_000_000),
        }
    }

    fn stream(keep: Keep) -> Policy {
        Policy { stream: keep, run: Keep::default() }
    }

    fn chosen(segments: &[SegmentFacts], policy: &Policy, hour: u64) -> Vec<(u32, u32, Reason)> {
        let choices = choose(segments, policy, Timestamp::from_millis(hour * HOUR));
        choices.iter().map(|it| (it.segment.partition.value(), it.segment.number, it.reason)).collect()
    }

    #[test]
    fn age_counts_from_the_last_record() {
        let policy = stream(Keep { age_ms: Some(24 * HOUR), ..Keep::default() });
        let segments = [facts(0, 1, 1), facts(0, 2, 2), facts(1, 1, 2), facts(0, 3, 3)];
        assert_eq!(chosen(&segments, &policy, 24), []);
        assert_eq!(chosen(&segments, &policy, 25), [(0, 1, Reason::Age)]);
        let all = chosen(&segments, &policy, 1000);
        assert_eq!(all, [(0, 1, Reason::Age), (0, 2, Reason::Age), (1, 1, Reason::Age), (0, 3, Reason::Age)]);
    }

    #[test]
    fn room_is_made_by_the_oldest_over_all_partitions() {
        let segments = [facts(0, 1, 5), facts(1, 1, 2), facts(0, 2, 9), facts(1, 2, 4)];
        let room = |bytes| stream(Keep { bytes: Some(bytes), ..Keep::default() });
        assert_eq!(chosen(&segments, &room(4_000), 10), []);
        assert_eq!(chosen(&segments, &room(3_999), 10), [(1, 1, Reason::Room)]);
        assert_eq!(chosen(&segments, &room(2_000), 10), [(1, 1, Reason::Room), (1, 2, Reason::Room)]);
        let records = stream(Keep { records: Some(300), ..Keep::default() });
        assert_eq!(chosen(&segments, &records, 10), [(1, 1, Reason::Room)]);
    }

    #[test]
    fn what_is_quarantined_pushes_nothing_out() {
        let damaged = SegmentFacts { quarantined: true, ..facts(0, 1, 1) };
        let room = stream(Keep { bytes: Some(1_000), ..Keep::default() });
        assert_eq!(chosen(&[damaged, facts(0, 2, 2)], &room, 10), []);
        assert_eq!(chosen(&[damaged, facts(0, 2, 2), facts(0, 3, 3)], &room, 10), [(0, 2, Reason::Room)]);
    }

    #[test]
    fn classes_have_limits_of_their_own() {
        let of_run = |mut facts: SegmentFacts| {
            facts.id.class = RetentionClass::Run;
            facts
        };
        let segments = [of_run(facts(0, 1, 1)), facts(0, 1, 1)];
        let policy = stream(Keep { age_ms: Some(HOUR), bytes: Some(0), ..Keep::default() });
        let choices = choose(&segments, &policy, Timestamp::from_millis(100 * HOUR));
        assert_eq!(choices.iter().map(|it| it.segment.class).collect::<Vec<_>>(), [RetentionClass::Stream]);
    }

    #[test]
    fn what_recovery_needs_stays_whatever_the_policy() {
        let policy = stream(Keep { age_ms: Some(0), bytes: Some(0), records: Some(0) });
        let active = SegmentFacts { sealed: false, ..facts(0, 4, 4) };
        let needed = SegmentFacts { floor: Position::new(299), ..facts(0, 2, 2) };
        let never = SegmentFacts { floor: Position::ZERO, next: Position::ZERO, ..facts(0, 1, 1) };
        let damaged = SegmentFacts { quarantined: true, ..facts(0, 1, 1) };
        assert_eq!(chosen(&[active, needed, never, damaged], &policy, 1000), []);
        let passed = SegmentFacts { floor: Position::new(300), ..facts(0, 2, 2) };
        assert_eq!(chosen(&[passed], &policy, 1000), [(0, 2, Reason::Room)]);
    }

    proptest! {
        /// More time and less room never bring a segment back.
        #[test]
        fn a_choice_stays_a_choice(hours in prop::collection::vec(1..50_u64, 1..12), age in 0..60_u64, room in 0..12_u64) {
            let numbered = (1..).zip(&hours);
            let segments: Vec<_> = numbered.map(|(number, hour)| facts(number % 3, number, *hour)).collect();
            let policy = |age, room| stream(Keep { age_ms: Some(age * HOUR), bytes: Some(room * 1_000), records: None });
            let ids = |policy: &Policy, hour| -> Vec<_> {
                chosen(&segments, policy, hour).into_iter().map(|(partition, number, _)| (partition, number)).collect()
            };
            let before = ids(&policy(age, room), 50);
            let after = ids(&policy(age, room.saturating_sub(1)), 55);
            prop_assert!(before.iter().all(|id| after.contains(id)));
            let kept = segments.len() - before.len();
            prop_assert!(kept as u64 <= room || kept == 0);
        }
    }
}
