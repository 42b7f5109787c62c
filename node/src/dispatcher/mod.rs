//! Brings owed steps to workers. Leases are volatile: after a crash the kernel says again what is owed, and workers
//! say what they hold.

mod handed;
mod queues;
mod state;
mod task;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Command, Effect, Token};
use gateway::backend::QueueSlots;
use gateway::backend::WorkerPush;
use tokio::sync::Notify;
use types::{PartitionId, TenantId, Timestamp};

pub(crate) use handed::{Attempt, Handed};
pub(crate) use state::{Settings, State};

/// Commands that the node owes a partition because of what happened here.
pub(crate) type Owed = Vec<(PartitionId, Command)>;

/// The one dispatcher of a node.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    state: Mutex<State>,
    /// Taken after `state`.
    handed: Mutex<Handed>,
    /// Wakes a worker that waits for its outbox.
    bells: Mutex<HashMap<String, Arc<Notify>>>,
    /// Wakes the alarm when an earlier deadline came in.
    alarm: Notify,
}

impl Dispatcher {
    pub(crate) fn new(settings: Settings, handed: Handed) -> Self {
        let (state, handed) = (Mutex::new(State::new(settings)), Mutex::new(handed));
        Self { state, handed, bells: Mutex::default(), alarm: Notify::new() }
    }

    /// What a recovery found to be owed: maybe somebody holds it still, unless it is `known` what was handed to workers,
    /// and this was not.
    pub(crate) fn recover(
        &self,
        partition: PartitionId,
        effects: Vec<Effect>,
        known: Option<&BTreeSet<Attempt>>,
        now: Timestamp,
    ) {
        let mut state = self.lock();
        for effect in effects {
            state.recover(partition, effect, known, now);
        }
    }

    /// What an event newly owes, or owes no more.
    pub(crate) fn take(&self, partition: PartitionId, effects: Vec<Effect>, now: Timestamp) -> Owed {
        let mut state = self.lock();
        for effect in effects {
            state.take(partition, effect, now);
        }
        self.settle(state)
    }

    pub(crate) fn attach(&self, worker: &str, tenant: &TenantId, queues: Vec<QueueSlots>, now: Timestamp) -> Owed {
        let bell =
            self.bells.lock().unwrap_or_else(PoisonError::into_inner).entry(worker.to_owned()).or_default().clone();
        let mut state = self.lock();
        state.attach(worker, tenant, queues, now);
        let owed = self.settle(state);
        bell.notify_waiters();
        owed
    }

    /// A worker says that it holds this attempt, and the kernel agrees.
    pub(crate) fn claim(&self, worker: &str, token: &Token, now: Timestamp) -> Owed {
        let mut state = self.lock();
        state.claim(worker, token, now);
        self.settle(state)
    }

    /// Tasks and cancellations that wait for a worker; `None`: it is not attached.
    pub(crate) fn poll(&self, worker: &str, max: usize, now: Timestamp) -> Option<(Vec<WorkerPush>, Arc<Notify>)> {
        let bell = self.bells.lock().unwrap_or_else(PoisonError::into_inner).get(worker)?.clone();
        let mut state = self.lock();
        let (mut pushes, leaving) = state.poll(worker, max, now)?;
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        if !handed.note(&leaving, || state.handed()) {
            // As if they were lost on their way: their time runs, and then they go to others.
            pushes.retain(|push| !matches!(push, WorkerPush::Task(_)));
        }
        drop(handed);
        drop(self.settle(state));
        Some((pushes, bell))
    }

    /// A sign of life about one attempt; false when the worker does not hold it.
    pub(crate) fn beat(&self, worker: &str, token: &Token, now: Timestamp) -> bool {
        self.lock().beat(worker, token, now)
    }

    pub(crate) fn detach(&self, worker: &str, now: Timestamp) -> Owed {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).remove(worker);
        let mut state = self.lock();
        state.detach(worker, now);
        self.settle(state)
    }

    /// Deadlines that have passed.
    pub(crate) fn tick(&self, now: Timestamp) -> Owed {
        let mut state = self.lock();
        state.tick(now);
        self.settle(state)
    }

    /// Waits until the next deadline may have passed: `until` turns a time into a sleep.
    pub(crate) async fn wait_for_deadline(&self, now: Timestamp) {
        let changed = self.alarm.notified();
        let next = self.lock().next_deadline();
        let wait_ms = next.map_or(1_000, |due| due.millis_since(now).clamp(1, 1_000));
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(std::time::Duration::from_millis(wait_ms)) => {}
        }
    }

    /// Whether starts on this partition are to wait: too many steps wait for workers.
    pub(crate) fn is_paused(&self, partition: PartitionId) -> bool {
        self.lock().is_paused(partition)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    fn settle(&self, mut state: std::sync::MutexGuard<'_, State>) -> Owed {
        let (owed, rung) = (state.drain_owed(), state.drain_rung());
        let earlier = state.take_earlier_deadline();
        drop(state);
        if earlier {
            self.alarm.notify_one();
        }
        if !rung.is_empty() {
            let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
            rung.iter().filter_map(|worker| bells.get(worker)).for_each(|bell| bell.notify_one());
        }
        owed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
