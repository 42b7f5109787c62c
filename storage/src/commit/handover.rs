//! What goes from the writing thread to the syncing one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use types::{PartitionId, Position};

use crate::group::Waiting;
use crate::limits::{AWAITED_APPENDS, SYNC_PATIENCE};

/// A group that is written and not yet durable.
pub(super) struct Written {
    pub(super) waiting: Vec<Waiting>,
    pub(super) ends: Vec<(PartitionId, Position)>,
    pub(super) sequence: u64,
    pub(super) batches: usize,
    pub(super) bytes: usize,
}

#[derive(Default)]
pub(super) struct Handover {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    written: Vec<Written>,
    /// How many appends are written, by way of here or not.
    batches: u64,
    /// The syncing thread should look at the watermark.
    nudged: bool,
    /// Something is acknowledged that is not synced.
    sync_owed: bool,
    finished: bool,
}

impl Handover {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, written: Written) {
        let mut state = self.state();
        state.batches += written.batches as u64;
        state.written.push(written);
        drop(state);
        self.changed.notify_one();
    }

    /// So many appends need no syncing thread. `nudge`: but it has to keep the watermark some time soon.
    pub(super) fn pass_by(&self, batches: usize, nudge: bool) {
        let mut state = self.state();
        state.batches += batches as u64;
        state.nudged |= nudge;
        drop(state);
        if nudge {
            self.changed.notify_one();
        }
    }

    /// A group was acknowledged without a sync: one has to come some time.
    pub(super) fn owe_sync(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.sync_owed, true) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Sleeps until a sync is owed and `every` has passed since, or all is over, or at most `patience`. Gives whether
    /// to sync, and whether that is the last time. Without `every` only the last one is.
    pub(super) fn wait_for_sync(&self, every: Option<Duration>, patience: Option<Duration>) -> (bool, bool) {
        let idle = |state: &mut State| !(state.finished || state.sync_owed && every.is_some());
        let state = self.state();
        let mut state = match patience {
            None => self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.changed.wait_timeout_while(state, patience, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        if let (Some(every), true) = (every, state.sync_owed) {
            let waited = self.changed.wait_timeout_while(state, every, |state| !state.finished);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let due = state.sync_owed && (every.is_some() || state.finished);
        // What is written from now on owes a sync of its own.
        state.sync_owed &= !due;
        (due, state.finished)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().written.is_empty()
    }

    pub(super) fn finish(&self) {
        self.state().finished = true;
        self.changed.notify_one();
    }

    /// Sleeps until something is written, at most `patience`.
    ///
    /// When there is something, all that was appended until now is waited for too, unless that is enough for a sync of
    /// its own: those whom the last sync answered have appended again, and would otherwise wait for two syncs.
    pub(super) fn wait(&self, patience: Option<Duration>, appended: impl Fn() -> u64) {
        let mut state = self.state();
        while state.written.is_empty() && !state.finished && !state.nudged {
            match patience {
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.changed.wait_timeout(state, patience);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                    break;
                }
            }
        }
        state.nudged = false;
        if !state.written.is_empty() {
            let all = appended();
            let behind = |state: &mut State| {
                let missing = all.saturating_sub(state.batches);
                (1..=AWAITED_APPENDS).contains(&missing) && !state.finished
            };
            drop(self.changed.wait_timeout_while(state, SYNC_PATIENCE, behind));
        }
    }

    /// What is written, and whether that is the last of it.
    pub(super) fn take(&self) -> (Vec<Written>, bool) {
        let mut state = self.state();
        (std::mem::take(&mut state.written), state.finished)
    }
}
