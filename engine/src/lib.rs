//! Decides what happens and remembers what happened: a deterministic state machine per partition.
//! Knows no bytes on disk, no sockets, no tasks and not the current time: time and seeds come in as arguments.

mod advance;
mod command;
mod decide;
mod definition;
mod digest;
mod effect;
mod event;
mod flow;
mod idle;
mod json;
pub mod limits;
mod needs;
mod owed;
mod partition;
mod possible;
mod rebuild;
mod rejection;
mod replay;
mod retention;
mod retry;
mod row;
mod run;
mod scope;
mod set_aside;
mod signal;
mod step;
pub mod stored;
mod stream;
mod timer;
mod token;
mod weight;

pub use command::{Answer, AppendEvents, Command, Decision, Outcome, ProducerStamp, StartRun, TrimStreams};
pub use definition::{Definition, DefinitionName};
pub use digest::Digest;
pub use effect::{Effect, Offer};
pub use event::{Class, Event, Next, RunEvent, Started, TimerSet};
pub use flow::Flow;
pub use needs::Need;
pub use partition::{Partition, PartitionConfig, Placed, PlantedFault};
pub use rebuild::{Gone, Rebuild, Rebuilt, Wanted};
pub use rejection::Rejection;
pub use replay::{Divergence, Verified, Verifier};
pub use retention::{Keep, KeepConfig, Pin, RetentionEvent};
pub use row::{RowImage, RowName, Scalars, StartKey, StartRecord};
pub use run::{Run, RunStatus};
pub use scope::{Activity, Items, Scope, ScopeKind};
pub use set_aside::SetAside;
pub use signal::Signal;
pub use step::{
    Failure, Function, HEARTBEAT, SCHEDULE_TO_START, START_TO_CLOSE, Step, StepStatus, UNCLAIMED, WORKER_LOST,
};
pub use stream::{ProducerWindow, Stream, StreamKey};
pub use timer::{Purpose, Timer};
pub use token::{Token, TokenError};
