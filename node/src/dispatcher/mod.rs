//! Brings owed steps to workers. Leases are volatile: after a crash the kernel says again what is owed, and workers
//! say what they hold.

mod handed;
mod queues;
mod state;
mod task;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Command, Effect, Token};
use gateway::backend::{QueueSlots, WorkerPush};
use tokio::sync::Notify;
use types::{PartitionId, RunId, TenantId, Timestamp};

pub(crate) use handed::{Attempt, Handed};
pub(crate) use state::{Settings, State, TooManyWorkers};
pub(crate) use worker::Room;

/// Commands that the node owes a partition because of what happened here.
pub(crate) type Owed = Vec<(PartitionId, Command)>;

/// The one dispatcher of a node.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    state: Mutex<State>,
    /// Taken after `state`.
    handed: Mutex<Handed>,
    /// Wakes the alarm when an earlier deadline came in.
    alarm: Notify,
}

impl Dispatcher {
    pub(crate) fn new(settings: Settings, handed: Handed) -> Self {
        let (state, handed) = (Mutex::new(State::new(settings)), Mutex::new(handed));
        Self { state, handed, alarm: Notify::new() }
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

    /// A worker is there; it serves nothing yet. Answers with the attempts that it has by its name, from before.
    pub(crate) fn attach(
        &self,
        worker: &str,
        tenant: &TenantId,
        queues: &[QueueSlots],
        now: Timestamp,
    ) -> Result<Vec<Attempt>, TooManyWorkers> {
        self.lock().attach(worker, tenant, queues, now)
    }

    /// The worker said what it holds and serves: `claimed` is its own, `disclaimed` is nobody's any more.
    pub(crate) fn serve(
        &self,
        worker: &str,
        queues: &[QueueSlots],
        claimed: &[Token],
        disclaimed: Vec<Attempt>,
        now: Timestamp,
    ) -> Owed {
        let mut state = self.lock();
        // What it holds is counted before it is given more.
        for token in claimed {
            state.claim(worker, token, now);
        }
        for attempt in disclaimed {
            state.disclaim(worker, attempt);
        }
        state.serve(worker, queues);
        self.settle(state)
    }

    /// A worker waits for steps; `None`: it is not attached.
    pub(crate) fn open_poll(&self, worker: &str, room: Room, bell: Arc<Notify>, now: Timestamp) -> Option<(u64, Owed)> {
        let mut state = self.lock();
        let poll = state.open_poll(worker, room, bell, now)?;
        Some((poll, self.settle(state)))
    }

    /// Tasks and cancellations for the one who waits in this poll.
    pub(crate) fn fetch(&self, worker: &str, poll: u64, now: Timestamp) -> Vec<WorkerPush> {
        let mut state = self.lock();
        let (mut pushes, leaving) = state.fetch(worker, poll, now);
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        if !handed.note(&leaving, || state.handed()) {
            // As if they were lost on their way: their time runs, and then they go to others.
            pushes.retain(|push| !matches!(push, WorkerPush::Task(_)));
        }
        drop(handed);
        // Fetching owes nobody a command.
        drop(self.settle(state));
        pushes
    }

    pub(crate) fn close_poll(&self, worker: &str, poll: u64, now: Timestamp) -> Owed {
        let mut state = self.lock();
        state.close_poll(worker, poll, now);
        self.settle(state)
    }

    /// Tasks that were fetched and could not be told.
    pub(crate) fn give_back(&self, worker: &str, tokens: &[Token], now: Timestamp) -> Owed {
        let mut state = self.lock();
        state.give_back(worker, tokens, now);
        self.settle(state)
    }

    /// A sign of life about one attempt; false when the worker does not hold it.
    pub(crate) fn beat(&self, worker: &str, token: &Token, now: Timestamp) -> bool {
        let mut state = self.lock();
        let held = state.beat(worker, token, now);
        drop(self.settle(state));
        held
    }

    pub(crate) fn detach(&self, worker: &str, now: Timestamp) -> Owed {
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

    /// Where a step is, for people: with which worker, or in line for one.
    pub(crate) fn whereabouts(&self, run: RunId, step: u32) -> String {
        self.lock().whereabouts(run, step)
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
        for bell in rung {
            bell.notify_one();
        }
        owed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
