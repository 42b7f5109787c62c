//! What others leave for a socket while it is busy: live events, and word that the node is going away. Bounded.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};

use crate::chunk::Chunk;

/// A subscription of a socket. Its client may use a number again; `key` is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) id: u32,
    pub(crate) key: u64,
}

/// The mailbox of one socket.
#[derive(Debug)]
pub(crate) struct Inbox {
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Left,
    bytes: usize,
    waker: Option<Waker>,
}

/// What was left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) chunks: Vec<(Address, Arc<Chunk>)>,
    /// Subscriptions that no longer follow live: they read from the log.
    pub(crate) lost: Vec<Address>,
    /// The node goes away: how long this socket may still be used, in milliseconds.
    pub(crate) goaway_ms: Option<u64>,
}

impl Left {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.lost.is_empty() && self.goaway_ms.is_none()
    }
}

impl Inbox {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, state: Mutex::default() }
    }

    /// Leaves live events. `false`: there is no room, and the subscription will find itself lost.
    pub(crate) fn offer(&self, address: Address, chunk: &Arc<Chunk>) -> bool {
        let mut state = self.state();
        let fits = state.waiting.chunks.is_empty() || state.bytes + chunk.bytes().len() <= self.max_bytes;
        if fits {
            state.bytes += chunk.bytes().len();
            state.waiting.chunks.push((address, Arc::clone(chunk)));
        } else {
            state.waiting.lost.push(address);
        }
        wake(state);
        fits
    }

    /// Says that a subscription no longer follows live.
    pub(crate) fn lose(&self, address: Address) {
        let mut state = self.state();
        state.waiting.lost.push(address);
        wake(state);
    }

    pub(crate) fn go_away(&self, within_ms: u64) {
        let mut state = self.state();
        state.waiting.goaway_ms = Some(within_ms);
        wake(state);
    }

    /// Takes all, or has the caller woken when something comes.
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> Option<Left> {
        let mut state = self.state();
        if state.waiting.is_empty() {
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            return None;
        }
        state.bytes = 0;
        Some(std::mem::take(&mut state.waiting))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds an inbox")
    }
}

/// Wakes outside of the lock, so that the woken finds it free. The waker stays: the same task takes every time.
fn wake(state: MutexGuard<'_, State>) {
    let waker = state.waker.clone();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
