//! Questions and commands over HTTP, each answered or refused with a code.

mod operator;
mod problem;
mod request;
mod runs;
mod streams;
mod workflows;

pub use problem::Problem;
pub use runs::{DamagedRun, ListRuns, RunPage, RunStarted, RunView, StartRun};
pub use streams::{AppendedAt, Appending, Page, Stamp, StreamState};
pub use workflows::{WorkflowRegistered, WorkflowSource, WorkflowView};
