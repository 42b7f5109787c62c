//! The bounded queue in front of the log: appends in order, and a pause for whoever brings more than the disk takes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::AppendError;
use crate::group::Pending;
use crate::limits::GROUP_BYTES;
use crate::log::OnDurable;

/// How much may wait and be in flight together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueBounds {
    pub(crate) batches: usize,
    pub(crate) bytes: usize,
}

/// Appends from all threads to the one that writes.
pub(crate) struct Queue {
    bounds: QueueBounds,
    state: Mutex<State>,
    /// The writer waits for appends.
    filled: Condvar,
    /// Appenders wait for room.
    room: Condvar,
}

/// Appends that are written together.
pub(crate) struct Taken {
    pub(crate) appends: Vec<Pending>,
    /// Of their records.
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct State {
    waiting: Vec<Pending>,
    /// Of `waiting`.
    waiting_bytes: usize,
    /// Taken by the writer and not yet answered.
    in_flight_batches: usize,
    in_flight_bytes: usize,
    /// How many appends came in so far.
    appended: u64,
    writer_sleeps: bool,
    appenders_sleep: usize,
    closed: Option<AppendError>,
}

impl State {
    fn take(&mut self) -> Taken {
        let (mut count, mut bytes) = (0, 0);
        for pending in &self.waiting {
            if count > 0 && bytes + pending.bytes > GROUP_BYTES {
                break;
            }
            count += 1;
            bytes += pending.bytes;
        }
        let appends: Vec<_> = if count == self.waiting.len() {
            // As much room as the last group needed: the next one is likely to be like it.
            std::mem::replace(&mut self.waiting, Vec::with_capacity(count))
        } else {
            self.waiting.drain(..count).collect()
        };
        self.waiting_bytes -= bytes;
        self.in_flight_batches += count;
        self.in_flight_bytes += bytes;
        Taken { appends, bytes }
    }
}

impl Queue {
    pub(crate) fn new(bounds: QueueBounds) -> Self {
        Self { bounds, state: Mutex::default(), filled: Condvar::new(), room: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an append, waiting while there is no room. An append larger than all bounds passes when it is alone.
    /// Gives back who is to be told when the queue is closed, and why it is.
    pub(crate) fn push(&self, pending: Pending) -> Option<(OnDurable, AppendError)> {
        let bytes = pending.bytes;
        let mut state = self.state();
        while state.closed.is_none() && !self.has_room(&state, bytes) {
            state.appenders_sleep += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.appenders_sleep -= 1;
        }
        if let Some(reason) = state.closed.clone() {
            return Some((pending.on_durable, reason));
        }
        state.waiting.push(pending);
        state.waiting_bytes += bytes;
        state.appended += 1;
        // Told once: telling costs a system call, and those who come before the writer is up need not pay another.
        let wake = std::mem::take(&mut state.writer_sleeps);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        None
    }

    fn has_room(&self, state: &State, bytes: usize) -> bool {
        let batches = state.waiting.len() + state.in_flight_batches;
        let held = state.waiting_bytes + state.in_flight_bytes;
        batches == 0 || (batches < self.bounds.batches && held + bytes <= self.bounds.bytes)
    }

    /// All that wait, up to a group's size, oldest first; sleeps while there are none. `None`: closed and empty.
    pub(crate) fn take(&self) -> Option<Taken> {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.closed.is_some() {
                return None;
            }
            state.writer_sleeps = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.writer_sleeps = false;
        }
        Some(state.take())
    }

    /// How many appends wait for the writer.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// How many appends were taken in so far.
    pub(crate) fn appended(&self) -> u64 {
        self.state().appended
    }

    /// So many appends were answered.
    pub(crate) fn answered(&self, batches: usize, bytes: usize) {
        let mut state = self.state();
        state.in_flight_batches -= batches;
        state.in_flight_bytes -= bytes;
        if state.appenders_sleep > 0 {
            self.room.notify_all();
        }
    }

    /// Refuses what comes from now on. What waits is still taken.
    pub(crate) fn close(&self, reason: AppendError) {
        self.state().closed.get_or_insert(reason);
        self.filled.notify_all();
        self.room.notify_all();
    }

    /// Refuses what comes from now on and gives back what waits.
    pub(crate) fn fail(&self, reason: AppendError) -> Vec<Pending> {
        let mut state = self.state();
        state.closed = Some(reason);
        state.waiting_bytes = 0;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.filled.notify_all();
        self.room.notify_all();
        waiting
    }

    /// Whether anything waits or is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        state.waiting.is_empty() && state.in_flight_batches == 0
    }
}
