//! A message of which not all has come yet: what it holds of the node's memory, and how long it may take. Both are
//! watched where bytes come in, because the library below keeps a frame to itself until it is whole.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::admission::CloseCode;
use crate::inbound::Held;
use crate::socket::Broken;

/// Shared by whoever reads bytes and whoever makes messages of them, on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Partial {
    state: Arc<Mutex<State>>,
    time: Duration,
}

#[derive(Debug)]
struct State {
    held: Held,
    /// Runs while a part of a message waits for more.
    clock: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
}

/// Why no more is read.
#[derive(Clone, Copy, Debug)]
enum Fault {
    NoRoom,
    Late,
}

impl Partial {
    pub(crate) fn new(held: Held, time: Duration) -> Self {
        Self { state: Arc::new(Mutex::new(State { held, clock: None, fault: None })), time }
    }

    /// So many bytes more came in.
    pub(crate) fn grew(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.state();
        // After a fault bytes are read only to be forgotten.
        if state.fault.is_some() {
            return Ok(());
        }
        state.held.add(bytes).map_err(|_| state.give_up(Fault::NoRoom))
    }

    /// Resolves when a part of a message has waited for the rest for too long.
    pub(crate) fn poll_late(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut state = self.state();
        if state.held.bytes() == 0 || state.fault.is_some() {
            return Poll::Pending;
        }
        let clock = state.clock.get_or_insert_with(|| Box::pin(sleep(self.time)));
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(state.give_up(Fault::Late))
    }

    /// No message is begun.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.held.clear();
        state.clock = None;
    }

    /// Why reading ended, if it ended here.
    pub(crate) fn broken(&self) -> Option<Broken> {
        let (code, reason) = match self.state().fault? {
            Fault::NoRoom => (CloseCode::Overloaded, "messages on their way in take all the memory there is for them"),
            Fault::Late => (CloseCode::Late, "the message did not arrive in time"),
        };
        Some(Broken::refused(code, reason))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }
}

impl State {
    fn give_up(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        io::ErrorKind::Other.into()
    }
}
