//! Counts what one evaluation uses and stops it at the limits. Work, size and depth only: no clock.

use std::cell::Cell;

use super::value::Value;
use crate::limits;

/// Why an evaluation goes no further.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// An error of the language: `try` and `//` may catch it.
    Error(Value),
    /// `break` on its way to its label.
    Break(u64),
    /// Something further down the pipe stopped; whoever set this knows what. Nothing catches it.
    Unwind,
    /// A limit. Nothing catches it.
    Limit(Exceeded),
}

/// Which limit an evaluation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Work,
    Size,
    Depth,
}

impl Stop {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::Error(Value::text(message.into()))
    }
}

pub(crate) type Flow<T = ()> = Result<T, Stop>;

/// What is left of the limits.
#[derive(Debug)]
pub(crate) struct Meter {
    fuel: Cell<u64>,
    depth: Cell<u32>,
    labels: Cell<u64>,
    drawn: Cell<u64>,
}

impl Meter {
    pub(crate) fn new(fuel: u64) -> Self {
        Self { fuel: Cell::new(fuel), depth: Cell::new(0), labels: Cell::new(0), drawn: Cell::new(0) }
    }

    /// Steps of work that are left.
    pub(crate) fn left(&self) -> u64 {
        self.fuel.get()
    }

    /// Uses up `steps` of work.
    pub(crate) fn work(&self, steps: u64) -> Flow {
        let left = self.fuel.get().checked_sub(steps);
        self.fuel.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Stop::Limit(Exceeded::Work))
    }

    /// Pays for memory before it is allocated.
    pub(crate) fn allocate(&self, bytes: u64) -> Flow {
        if bytes > limits::MAX_VALUE_BYTES {
            return Err(Stop::Limit(Exceeded::Size));
        }
        self.work(bytes / limits::BYTES_PER_STEP)
    }

    /// Does something one level deeper. Every recursion of an evaluation passes through here.
    pub(crate) fn deeper<T>(&self, inside: impl FnOnce() -> Flow<T>) -> Flow<T> {
        let depth = self.depth.get();
        if depth >= limits::MAX_EVALUATION_DEPTH {
            return Err(Stop::Limit(Exceeded::Depth));
        }
        self.work(1)?;
        self.depth.set(depth + 1);
        let flow = inside();
        self.depth.set(depth);
        flow
    }

    /// A label that no other `label` of this evaluation has.
    pub(crate) fn fresh_label(&self) -> u64 {
        self.labels.set(self.labels.get() + 1);
        self.labels.get()
    }

    /// The how-manieth draw (of a uuid) this is.
    pub(crate) fn next_draw(&self) -> u64 {
        self.drawn.set(self.drawn.get() + 1);
        self.drawn.get()
    }
}
