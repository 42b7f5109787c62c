//! A message of which not all has come yet: what it holds of the node's memory, and how long it may take. Time is watched
//! where bytes come in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::admission::CloseCode;
use crate::inbound::{Connection, Held, Pace};
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
    late: Option<Late>,
}

/// When a message began, when it last grew, and how fast, but for the time in which it was not read.
#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Instant,
    grew: Instant,
    pace: Pace,
}

/// Why a message is not waited for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// All of it, or more of it, took too long.
    Overdue,
    /// Others wait for the memory that it holds, and it comes too slowly.
    InTheWay,
}

impl Partial {
    pub(crate) fn new(connection: Connection, limits: &Limits) -> Self {
        let state = State { held: None, begun: None, clock: None, late: None };
        let Limits { message_time: time, progress_time: progress, .. } = *limits;
        Self { state: Arc::new(Mutex::new(state)), connection, time, progress }
    }

    /// More bytes came in.
    pub(crate) fn grew(&self, bytes: usize) {
        let now = Instant::now();
        let mut state = self.state();
        let begun = state.begun.get_or_insert_with(|| Begun { at: now, grew: now, pace: self.connection.pace() });
        begun.grew = now;
        begun.pace.brought(bytes);
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
            begun.pace.paused(waited);
        }
        grown.map_err(|_| {
            let reason = "messages on their way in take all the memory there is for them, and none came free in time";
            Broken::refused(CloseCode::Overloaded, reason)
        })
    }

    /// Resolves when a part of a message has waited for the rest for too long.
    pub(crate) fn poll_late(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut state = self.state();
        let state = &mut *state;
        let Some(Begun { at, grew, pace }) = state.begun.as_mut().filter(|_| state.late.is_none()) else {
            return Poll::Pending;
        };
        let overdue = (*at + self.time).min(*grew + self.progress);
        loop {
            let until = overdue.min(pace.over());
            let clock = state.clock.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if clock.deadline() != until {
                clock.as_mut().reset(until);
            }
            ready!(clock.as_mut().poll(cx));
            let now = Instant::now();
            if now >= overdue {
                state.late = Some(Late::Overdue);
                break;
            }
            if pace.look(now) && state.held.as_ref().is_some_and(Held::is_in_the_way) {
                state.late = Some(Late::InTheWay);
                break;
            }
        }
        Poll::Ready(io::ErrorKind::Other.into())
    }

    /// No message is begun.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        (state.held, state.begun, state.clock) = (None, None, None);
    }

    /// Why reading ended, if it ended here.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.state().late.map(|late| match late {
            Late::Overdue => Broken::refused(CloseCode::Late, "the message did not arrive in time"),
            Late::InTheWay => Broken::refused(CloseCode::Overloaded, "others waited for the memory of a slow message"),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }
}
