//! A partition at work: its mailbox, its driver's verbs, and the gate that everything leaves by.

mod driver;
mod gate;
mod host;
mod lane;
mod mailbox;
mod query;
mod state_memory;

pub(crate) use driver::{Driver, Notice, Request, answer};
pub use gate::Gate;
pub(crate) use host::Host;
pub use lane::{Lane, LaneError, LaneLimits, Leaving, Moved, Programs};
pub(crate) use mailbox::{Capacity, Mailbox};
pub(crate) use query::{AttemptView, Query, Release};
pub(crate) use state_memory::StateMemory;
