//! A message of which not all has come yet: what it holds of the node's memory, and how long it may take. Time is watched
//! where bytes come in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::admission::CloseCode;
use crate::inbound::{Connection, Held};
use crate::limits::Limits;
use crate::socket::Broken;

/// Shared by whoever reads bytes and whoever makes messages of them, on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Partial {
    state: Arc<Mutex<State>>,
    connection: Connection,
    /// For all of a message.
    time: Duration,
    /// For more of it.
    progress: Duration,
}

#[derive(Debug)]
struct State {
    /// `None`: nothing yet, or it is being waited for.
    held: Option<Held>,
    begun: Option<Begun>,
    /// Runs while a part of a message waits for more.
    clock: Option<Pin<Box<Sleep>>>,
    late: bool,
}

/// When a message began, and when it last grew, but for the time in which it was not read.
#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Instant,
    grew: Instant,
}

impl Partial {
    pub(crate) fn new(connection: Connection, limits: &Limits) -> Self {
        let state = State { held: None, begun: None, clock: None, late: false };
        let Limits { message_time: time, progress_time: progress, .. } = *limits;
        Self { state: Arc::new(Mutex::new(state)), connection, time, progress }
    }

    /// More bytes came in.
    pub(crate) fn grew(&self) {
        let now = Instant::now();
        self.state().begun.get_or_insert(Begun { at: now, grew: now }).grew = now;
    }

    /// Has room for a message of so many bytes, of which the last are still to come; nothing is read until it has.
    pub(crate) async fn room(&self, bytes: usize) -> Result<(), Broken> {
        let mut held = self.state().held.take().unwrap_or_else(|| self.connection.hold());
        let more = bytes.saturating_sub(held.bytes());
        if more == 0 {
            self.state().held = Some(held);
            return Ok(());
        }
        let asked = Instant::now();
        let grown = held.grow(more).await;
        let waited = asked.elapsed();
        let mut state = self.state();
        state.held = Some(held);
        if let Some(begun) = &mut state.begun {
            (begun.at, begun.grew) = (begun.at + waited, begun.grew + waited);
        }
        grown.map_err(|_| {
            let reason = "messages on their way in take all the memory there is for them, and none came free in time";
            Broken::refused(CloseCode::Overloaded, reason)
        })
    }

    /// Resolves when a part of a message has waited for the rest for too long.
    pub(crate) fn poll_late(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut state = self.state();
        let Some(Begun { at, grew }) = state.begun.filter(|_| !state.late) else { return Poll::Pending };
        let until = (at + self.time).min(grew + self.progress);
        let clock = state.clock.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if clock.deadline() != until {
            clock.as_mut().reset(until);
        }
        ready!(clock.as_mut().poll(cx));
        state.late = true;
        Poll::Ready(io::ErrorKind::Other.into())
    }

    /// No message is begun.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        (state.held, state.begun, state.clock) = (None, None, None);
    }

    /// Why reading ended, if it ended here.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.state().late.then(|| Broken::refused(CloseCode::Late, "the message did not arrive in time"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }
}
