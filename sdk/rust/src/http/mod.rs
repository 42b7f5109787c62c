//! Questions and commands over HTTP, each answered or refused with a code.

mod problem;
mod request;
mod runs;
mod streams;
mod workflows;

pub use problem::Problem;
pub use runs::{ListRuns, RunPage, RunStarted, RunView, StartRun};
pub use streams::{Appending, Page, StreamState};
pub use workflows::{WorkflowRegistered, WorkflowSource, WorkflowView};
