//! A worker that is attached: what it serves, what it holds, and the polls in which it waits for more.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::backend::QueueSlots;
use tokio::sync::Notify;
use types::{TenantId, Timestamp};

use super::task::{Key, QueueKey};

/// What a worker costs in memory besides the names that it gives.
const WORKER_BYTES: usize = 1024;
/// How often a name that it gives is kept.
const COPIES: usize = 4;

/// How much one poll takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) tasks: usize,
    /// Enough is enough: the last task may pass this.
    pub(crate) bytes: usize,
}

/// A poll that waits.
#[derive(Debug)]
pub(super) struct Poll {
    room: Room,
    /// Chosen for it, not fetched yet, with what each takes.
    given: Vec<(Key, usize)>,
    /// Wakes whoever waits in it.
    bell: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Worker {
    tenant: TenantId,
    /// By queue: how many tasks of it at a time.
    slots: BTreeMap<String, usize>,
    serves: Arc<[QueueKey]>,
    /// Steps that take up a slot, each with its queue.
    held: BTreeMap<Key, String>,
    /// How many of them, by queue: asked for with every step that finds a worker.
    used: BTreeMap<String, usize>,
    /// By number, the newest last.
    polls: BTreeMap<u64, Poll>,
    /// Tokens of attempts to be cancelled, until a poll tells it.
    cancels: Vec<String>,
    pub(super) last_seen: Timestamp,
    /// Its places among the workers that are ready.
    pub(super) places: BTreeMap<QueueKey, u64>,
    /// Where the next look for steps begins, so that no queue is always the last.
    pub(super) turn: usize,
}

/// What a worker that serves these queues costs in memory, in bytes.
pub(super) fn cost(queues: &[QueueSlots]) -> usize {
    let pairs = queues.iter().flat_map(|queue| queue.tasks.iter().map(|task| queue.name.len() + task.len()));
    WORKER_BYTES + pairs.map(|bytes| COPIES * (bytes + 64)).sum::<usize>()
}

impl Poll {
    pub(super) fn new(room: Room, bell: Arc<Notify>) -> Self {
        Self { room, given: Vec::new(), bell }
    }

    fn has_room(&self) -> bool {
        let bytes: usize = self.given.iter().map(|(_, bytes)| bytes).sum();
        self.given.len() < self.room.tasks && bytes < self.room.bytes
    }

    /// What was chosen for it; it has room again.
    pub(super) fn take(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.given).into_iter().map(|(key, _)| key).collect()
    }
}

impl Worker {
    pub(super) fn new(tenant: TenantId, now: Timestamp) -> Self {
        Self {
            tenant,
            slots: BTreeMap::new(),
            serves: Arc::default(),
            held: BTreeMap::new(),
            used: BTreeMap::new(),
            polls: BTreeMap::new(),
            cancels: Vec::new(),
            last_seen: now,
            places: BTreeMap::new(),
            turn: 0,
        }
    }

    pub(super) fn serve(&mut self, queues: &[QueueSlots]) {
        self.slots = queues.iter().map(|queue| (queue.name.clone(), queue.slots as usize)).collect();
        let key = |queue: &str, task: &str| QueueKey {
            tenant: self.tenant.clone(),
            queue: queue.to_owned(),
            task: task.to_owned(),
        };
        self.serves = queues.iter().flat_map(|queue| queue.tasks.iter().map(|task| key(&queue.name, task))).collect();
    }

    /// Everything it serves.
    pub(super) fn serves(&self) -> Arc<[QueueKey]> {
        self.serves.clone()
    }

    /// Whether it would take one more step of this queue now.
    pub(super) fn is_ready(&self, queue: &str) -> bool {
        self.has_slot(queue) && self.polls.values().any(Poll::has_room)
    }

    fn has_slot(&self, queue: &str) -> bool {
        let slots = self.slots.get(queue).copied().unwrap_or_default();
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
        for poll in self.polls.values_mut() {
            poll.given.retain(|(given, _)| *given != key);
        }
    }

    /// Steps that take up a slot.
    pub(super) fn held(&self) -> impl Iterator<Item = Key> {
        self.held.keys().copied()
    }

    /// It may be forgotten: it waits for nothing and holds nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.polls.is_empty()
    }

    pub(super) fn open(&mut self, poll: u64, waiting: Poll) {
        self.polls.insert(poll, waiting);
    }

    /// The poll is over; what was chosen for it comes back.
    pub(super) fn close(&mut self, poll: u64) -> Vec<Key> {
        self.polls.remove(&poll).map(|mut poll| poll.take()).unwrap_or_default()
    }

    pub(super) fn poll(&mut self, poll: u64) -> Option<&mut Poll> {
        self.polls.get_mut(&poll)
    }

    /// Puts a step into the newest poll with room: an older one may be of a connection that is gone. Answers with its
    /// bell; `None`: no poll has room.
    pub(super) fn give(&mut self, key: Key, bytes: usize) -> Option<Arc<Notify>> {
        let poll = self.polls.values_mut().rev().find(|poll| poll.has_room())?;
        poll.given.push((key, bytes));
        Some(poll.bell.clone())
    }

    /// It is to be told to stop working on this. Answers with the bell of whoever may tell it.
    pub(super) fn cancel(&mut self, token: String) -> Option<Arc<Notify>> {
        self.cancels.push(token);
        self.polls.values().next_back().map(|poll| poll.bell.clone())
    }

    pub(super) fn take_cancels(&mut self) -> Vec<String> {
        std::mem::take(&mut self.cancels)
    }
}
