//! Who waits where: steps for a worker, workers for a step. Each takes its place in a line and leaves it at the cost
//! of a look-up, however long the line is.

use std::collections::BTreeMap;

use super::task::{Key, QueueKey};

/// Steps that wait and workers that wait for them, by queue and task.
#[derive(Debug, Default)]
pub(super) struct Queues {
    steps: BTreeMap<QueueKey, BTreeMap<i64, Key>>,
    places: BTreeMap<Key, i64>,
    workers: BTreeMap<QueueKey, BTreeMap<u64, String>>,
    first: i64,
    last: i64,
    turns: u64,
}

impl Queues {
    pub(super) fn push_back(&mut self, queue: QueueKey, key: Key) {
        self.last += 1;
        self.push(queue, key, self.last);
    }

    /// For a step that was chosen and came back: it has waited already.
    pub(super) fn push_front(&mut self, queue: QueueKey, key: Key) {
        self.first -= 1;
        self.push(queue, key, self.first);
    }

    fn push(&mut self, queue: QueueKey, key: Key, place: i64) {
        self.steps.entry(queue).or_default().insert(place, key);
        self.places.insert(key, place);
    }

    /// A step that does not stand in line may be taken out as well.
    pub(super) fn remove(&mut self, queue: &QueueKey, key: Key) {
        let Some(place) = self.places.remove(&key) else { return };
        if let Some(line) = self.steps.get_mut(queue) {
            line.remove(&place);
            if line.is_empty() {
                self.steps.remove(queue);
            }
        }
    }

    /// The step that has waited longest.
    pub(super) fn first(&self, queue: &QueueKey) -> Option<Key> {
        self.steps.get(queue)?.values().next().copied()
    }

    /// A worker is ready for steps of this queue; the answer is its place, for leaving.
    pub(super) fn enlist(&mut self, queue: QueueKey, worker: &str) -> u64 {
        self.turns += 1;
        self.workers.entry(queue).or_default().insert(self.turns, worker.to_owned());
        self.turns
    }

    pub(super) fn leave(&mut self, queue: &QueueKey, place: u64) {
        if let Some(line) = self.workers.get_mut(queue) {
            line.remove(&place);
            if line.is_empty() {
                self.workers.remove(queue);
            }
        }
    }

    /// The worker that has been ready for longest.
    pub(super) fn next_worker(&self, queue: &QueueKey) -> Option<String> {
        self.workers.get(queue)?.values().next().cloned()
    }
}

#[cfg(test)]
mod tests {
    use types::{RunId, TenantId};

    use super::*;

    fn queue() -> QueueKey {
        QueueKey { tenant: TenantId::default(), queue: "default".into(), task: "draft".into() }
    }

    fn key(step: u32) -> Key {
        (RunId::new(types::RoutingHash::from_bits(7), 1), step)
    }

    fn drained(queues: &mut Queues) -> Vec<u32> {
        let mut order = Vec::new();
        while let Some(key) = queues.first(&queue()) {
            order.push(key.1);
            queues.remove(&queue(), key);
        }
        order
    }

    #[test]
    fn steps_go_in_the_order_in_which_they_came_and_those_that_came_back_first() {
        let mut queues = Queues::default();
        (1..=3).for_each(|step| queues.push_back(queue(), key(step)));
        queues.push_front(queue(), key(9));
        assert_eq!(drained(&mut queues), [9, 1, 2, 3]);
    }

    #[test]
    fn a_step_leaves_from_the_middle_and_only_once() {
        let mut queues = Queues::default();
        (1..=3).for_each(|step| queues.push_back(queue(), key(step)));
        queues.remove(&queue(), key(2));
        queues.remove(&queue(), key(2));
        assert_eq!(drained(&mut queues), [1, 3]);
        assert!(queues.steps.is_empty() && queues.places.is_empty(), "nothing is left of an empty line");
    }

    #[test]
    fn workers_take_turns_and_leave_nothing_behind() {
        let mut queues = Queues::default();
        let first = queues.enlist(queue(), "a");
        let second = queues.enlist(queue(), "b");
        assert_eq!(queues.next_worker(&queue()).as_deref(), Some("a"));
        queues.leave(&queue(), first);
        let again = queues.enlist(queue(), "a");
        assert_eq!(queues.next_worker(&queue()).as_deref(), Some("b"));
        queues.leave(&queue(), second);
        queues.leave(&queue(), again);
        assert_eq!(queues.next_worker(&queue()), None);
        assert!(queues.workers.is_empty());
    }
}
