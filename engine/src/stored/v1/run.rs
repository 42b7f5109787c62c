//! A run's whole state, as its row keeps it and as the digest sees it.

use std::collections::{BTreeMap, BTreeSet};

use super::shape::Shape;
use super::shapes::{DefinitionName, Function, MaybeValue, Purpose, ScopeKind, Value, WorkflowError};
use crate::stored::{StoredError, envelope};
use crate::{run, scope, signal, step, timer};

stored_struct! {
    Run for run::Run {
        id: [u8; 20],
        tenant: String,
        ordinal: u64,
        incarnation: u64,
        head: u64,
        definition: DefinitionName,
        hash: [u8; 32],
        key: Option<String>,
        idempotency_key: Option<String>,
        input: Value,
        seed: u64,
        tags: Vec<(String, String)>,
        status: RunStatus,
        started: u64,
        closed: Option<u64>,
        output: MaybeValue,
        error: Option<WorkflowError>,
        reason: Option<String>,
        context: MaybeValue,
        scopes: BTreeMap<u32, Scope>,
        steps: BTreeMap<u32, Step>,
        timers: BTreeMap<u32, Timer>,
        functions: Vec<Function>,
        signals: Vec<Signal>,
        signal_ids: BTreeSet<String>,
        continue_owed: bool,
        entries: u32,
        next_scope: u32,
        next_step: u32,
        next_timer: u32,
    }
}

stored_enum! {
    RunStatus for run::RunStatus { Running, Cancelling, Completed, Failed, Cancelled, Terminated }
}

/// Without the time at which the task in progress began: that needs version 4.
#[derive(bincode::Encode, bincode::Decode)]
pub(super) struct Scope {
    parent: Option<u32>,
    kind: ScopeKind,
    path: String,
    index: u32,
    visits: BTreeMap<u32, u32>,
    data: Value,
    task_input: MaybeValue,
    activity: Activity,
}

impl Shape<scope::Scope> for Scope {
    fn of(value: &scope::Scope) -> Self {
        Self {
            parent: value.parent,
            kind: Shape::of(&value.kind),
            path: value.path.clone(),
            index: value.index,
            visits: value.visits.clone(),
            data: Shape::of(&value.data),
            task_input: Shape::of(&value.task_input),
            activity: Shape::of(&value.activity),
        }
    }

    fn restore(self) -> Result<scope::Scope, StoredError> {
        Ok(scope::Scope {
            parent: self.parent,
            kind: self.kind.restore()?,
            path: self.path,
            index: self.index,
            visits: self.visits,
            data: self.data.restore()?,
            began: None,
            task_input: self.task_input.restore()?,
            activity: self.activity.restore()?,
        })
    }
}

stored_enum! {
    Activity for scope::Activity {
        Ready,
        Step { step: u32 },
        Timer { timer: u32 },
        Child { scope: u32 },
        Returned { output: Value, caught: bool },
        Raised { error: Box<WorkflowError> },
        Exiting,
        Ending,
    }
}

stored_struct! {
    Step for step::Step {
        scope: u32,
        path: String,
        function: u32,
        input: Value,
        attempt: u32,
        failures: u32,
        next_sequence: u64,
        unsuperseded: Option<u32>,
        scheduled: u64,
        status: StepStatus,
    }
}

stored_enum! {
    StepStatus for step::StepStatus { Owed, Retrying { timer: u32 }, Cancelling }
}

stored_struct! {
    Timer for timer::Timer { due: u64, purpose: Purpose }
}

stored_struct! {
    Signal for signal::Signal { name: String, id: Option<String>, payload: Value }
}

/// The same bytes for the same state, whatever led to it: maps are ordered, and equal values have one spelling.
pub(in crate::stored) fn bytes(run: &run::Run) -> Vec<u8> {
    envelope::write(&Run::of(run))
}
