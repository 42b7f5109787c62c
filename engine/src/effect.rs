//! What the world is owed. Effects are derived from state, never from history: after a crash
//! `Partition::effects()` lists exactly what is still to be done.

use types::{Payload, RunId, TenantId};

use crate::token::Token;

/// Something to do outside, once what justifies it is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Offer the current attempt of a step to a worker.
    Dispatch(Box<Offer>),
    /// The attempt is over, whoever holds it: stop offering it.
    Withdraw { run: RunId, step: u32, attempt: u32 },
    /// Tell whoever holds the step to stop, and answer with `DropStep` when nobody does.
    CancelStep { run: RunId, step: u32, attempt: u32 },
    /// Send `ContinueRun`.
    Continue { run: RunId },
}

/// An attempt of a step, ready for a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    pub tenant: TenantId,
    pub run: RunId,
    pub step: u32,
    pub attempt: u32,
    pub path: String,
    pub queue: String,
    /// What a worker registers for.
    pub task: String,
    pub input: Payload,
    pub stream: bool,
    pub token: Token,
    /// The same for every attempt of this step with this input.
    pub idempotency_key: String,
    pub heartbeat_ms: Option<u64>,
    pub start_to_close_ms: u64,
    pub schedule_to_start_ms: Option<u64>,
    /// Chunks that are durable: a holder goes on from here.
    pub next_sequence: u64,
}
