//! Who waits where: steps by queue and task, workers by what they serve, and how many slots each has free.

use std::collections::{BTreeMap, VecDeque};

use gateway::backend::QueueSlots;
use gateway::backend::WorkerPush;
use types::{TenantId, Timestamp};

use super::task::{Key, QueueKey};

/// A worker that is attached.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) tenant: TenantId,
    /// By queue: the tasks it knows and its slots.
    queues: BTreeMap<String, QueueSlots>,
    /// Steps that take up a slot, each with its queue.
    held: BTreeMap<Key, String>,
    /// How many of them, by queue: asked for with every step that finds a worker.
    used: BTreeMap<String, usize>,
    pub(super) outbox: VecDeque<Out>,
    pub(super) last_seen: Timestamp,
}

/// What waits for a worker to fetch it.
#[derive(Debug)]
pub(super) enum Out {
    Task(Key),
    Push(WorkerPush),
}

impl Worker {
    pub(super) fn new(tenant: TenantId, queues: Vec<QueueSlots>, now: Timestamp) -> Self {
        let mut worker = Self {
            tenant,
            queues: BTreeMap::new(),
            held: BTreeMap::new(),
            used: BTreeMap::new(),
            outbox: VecDeque::new(),
            last_seen: now,
        };
        worker.serve(queues);
        worker
    }

    pub(super) fn serve(&mut self, queues: Vec<QueueSlots>) {
        self.queues = queues.into_iter().map(|queue| (queue.name.clone(), queue)).collect();
    }

    /// Everything it serves.
    pub(super) fn serves(&self) -> Vec<QueueKey> {
        let keys = self.queues.values().flat_map(|queue| {
            queue.tasks.iter().map(|task| QueueKey {
                tenant: self.tenant.clone(),
                queue: queue.name.clone(),
                task: task.clone(),
            })
        });
        keys.collect()
    }

    pub(super) fn has_slot(&self, queue: &str) -> bool {
        let slots = self.queues.get(queue).map_or(0, |queue| queue.slots as usize);
        self.used.get(queue).copied().unwrap_or_default() < slots
    }

    /// A step takes up a slot of a queue.
    pub(super) fn occupy(&mut self, key: Key, queue: String) {
        self.vacate(key);
        *self.used.entry(queue.clone()).or_default() += 1;
        self.held.insert(key, queue);
    }

    /// A step takes up no slot any more.
    pub(super) fn vacate(&mut self, key: Key) {
        let Some(queue) = self.held.remove(&key) else { return };
        let used = self.used.get_mut(&queue).expect("what is held is counted");
        *used -= 1;
        if *used == 0 {
            self.used.remove(&queue);
        }
    }

    /// Everything that takes up a slot.
    pub(super) fn into_held(self) -> impl Iterator<Item = Key> {
        self.held.into_keys()
    }
}

/// Steps that wait and workers that serve, by queue and task.
#[derive(Debug, Default)]
pub(super) struct Queues {
    waiting: BTreeMap<QueueKey, VecDeque<Key>>,
    serving: BTreeMap<QueueKey, VecDeque<String>>,
}

impl Queues {
    pub(super) fn push_back(&mut self, queue: QueueKey, key: Key) {
        self.waiting.entry(queue).or_default().push_back(key);
    }

    /// For a step that was chosen and came back: it has waited already.
    pub(super) fn push_front(&mut self, queue: QueueKey, key: Key) {
        self.waiting.entry(queue).or_default().push_front(key);
    }

    pub(super) fn remove(&mut self, queue: &QueueKey, key: Key) {
        if let Some(waiting) = self.waiting.get_mut(queue) {
            if waiting.front() == Some(&key) {
                waiting.pop_front();
            } else {
                waiting.retain(|other| *other != key);
            }
            if waiting.is_empty() {
                self.waiting.remove(queue);
            }
        }
    }

    pub(super) fn first(&self, queue: &QueueKey) -> Option<Key> {
        self.waiting.get(queue)?.front().copied()
    }

    pub(super) fn serve(&mut self, worker: &str, queues: &[QueueKey]) {
        for queue in queues {
            self.serving.entry(queue.clone()).or_default().push_back(worker.to_owned());
        }
    }

    pub(super) fn leave(&mut self, worker: &str) {
        for workers in self.serving.values_mut() {
            workers.retain(|other| other != worker);
        }
        self.serving.retain(|_, workers| !workers.is_empty());
    }

    /// The next worker in turn with a free slot.
    pub(super) fn next_worker(&mut self, queue: &QueueKey, workers: &BTreeMap<String, Worker>) -> Option<String> {
        let serving = self.serving.get_mut(queue)?;
        let has_slot = |name: &String| workers.get(name).is_some_and(|worker| worker.has_slot(&queue.queue));
        let found = serving.iter().position(has_slot)?;
        let worker = serving.remove(found).expect("the position was just found");
        serving.push_back(worker.clone());
        Some(worker)
    }

    /// Where steps wait for a slot of the same queue.
    pub(super) fn busy(&self, freed: &QueueKey) -> Vec<QueueKey> {
        let same = |queue: &&QueueKey| queue.tenant == freed.tenant && queue.queue == freed.queue;
        self.waiting.keys().filter(same).cloned().collect()
    }
}
