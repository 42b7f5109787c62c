//! What a run holds in memory, in bytes, near enough to bound it: its texts and values, and the parts they hang on.

use types::Payload;
use workflow::WorkflowError;

use crate::command::Command;
use crate::event::RunEvent;
use crate::run::Run;
use crate::scope::{Activity, Scope, ScopeKind};
use crate::step::{Function, Step};

/// What an entry of a map costs beside its key and value.
const ENTRY_BYTES: usize = 32;

/// Whether a value, below this scope, is counted elsewhere.
type Sharing<'a> = &'a dyn Fn(&Payload, Option<&Scope>) -> bool;

impl Run {
    /// All that it holds in memory. A value that several places share counts once where that is its rule: what the run, an
    /// outer scope or the task began with, as long as nobody changed it.
    pub fn held_bytes(&self) -> usize {
        self.weigh(&|value, outer| self.is_shared(value, outer))
    }

    /// How large its state is, whoever shares memory with whom, so that a replay decides by it as the run did: what
    /// equals the input counts once.
    pub(crate) fn state_bytes(&self) -> usize {
        self.weigh(&|value, _| is_same_memory(value, &self.input) || value.data == self.input.data)
    }

    fn weigh(&self, is_shared: Sharing<'_>) -> usize {
        let tags: usize = self.tags.iter().map(|(name, value)| size_of_val(name) * 2 + name.len() + value.len()).sum();
        let names = self.definition.namespace.len() + self.definition.name.len() + self.definition.version.len();
        let scopes: usize = self.scopes.values().map(|scope| self.scope_bytes(scope, is_shared)).sum();
        let steps: usize = self.steps.values().map(|step| self.step_bytes(step, is_shared)).sum();
        let signal_ids: usize = self.signal_ids.iter().map(|id| id.len() + ENTRY_BYTES).sum();
        let signals = self
            .signals
            .iter()
            .map(|signal| size_of_val(signal) + signal.name.len() + text(signal.id.as_ref()) + signal.payload.len());
        let values = [Some(&self.input), self.output.as_ref(), self.context.as_ref()];
        size_of::<Self>()
            + names
            + text(self.key.as_ref())
            + text(self.reason.as_ref())
            + self.error.as_ref().map_or(0, error_bytes)
            + values.into_iter().flatten().map(Payload::len).sum::<usize>()
            + tags
            + scopes
            + steps
            + self.timers.len() * ENTRY_BYTES
            + self.functions.iter().map(Function::held_bytes).sum::<usize>()
            + signals.sum::<usize>()
            + signal_ids
    }

    fn scope_bytes(&self, scope: &Scope, is_shared: Sharing<'_>) -> usize {
        let outer = scope.parent.and_then(|parent| self.scopes.get(&parent));
        let own = |value: &Payload| if is_shared(value, outer) { 0 } else { value.len() };
        let kind = match &scope.kind {
            ScopeKind::Root | ScopeKind::Do | ScopeKind::Try { .. } => 0,
            ScopeKind::For { items, .. } => items.held_bytes(),
            ScopeKind::Catch { error } => error_bytes(error),
        };
        let activity = match &scope.activity {
            Activity::Returned { output, .. } => own(output),
            Activity::Raised { error } => error_bytes(error),
            Activity::Ready
            | Activity::Step { .. }
            | Activity::Timer { .. }
            | Activity::Child { .. }
            | Activity::Exiting
            | Activity::Ending => 0,
        };
        size_of_val(scope)
            + ENTRY_BYTES * (1 + scope.visits.len())
            + scope.path.len()
            + own(&scope.data)
            + scope.task_input.as_ref().map_or(0, own)
            + kind
            + activity
    }

    fn step_bytes(&self, step: &Step, is_shared: Sharing<'_>) -> usize {
        let input = if is_shared(&step.input, self.scopes.get(&step.scope)) { 0 } else { step.input.len() };
        size_of_val(step) + ENTRY_BYTES + step.path.len() + input
    }

    /// Whether it is, in the same memory, what the run or the task in this scope began with. Rows keep it so.
    fn is_shared(&self, value: &Payload, outer: Option<&Scope>) -> bool {
        let is = |other: &Payload| is_same_memory(value, other);
        is(&self.input) || outer.is_some_and(|scope| is(&scope.data) || scope.task_input.as_ref().is_some_and(is))
    }
}

impl Function {
    pub(crate) fn held_bytes(&self) -> usize {
        let types: usize = self.retry.non_retryable.iter().map(|name| size_of_val(name) + name.len()).sum();
        size_of_val(self) + self.name.len() + self.task.len() + self.queue.len() + types
    }
}

impl Command {
    /// Bytes of the values and texts that it carries, near enough to bound those that wait to be decided.
    pub fn value_bytes(&self) -> usize {
        let payloads = |payloads: &[Payload]| payloads.iter().map(|payload| size_of_val(payload) + payload.len()).sum();
        match self {
            Self::RegisterWorkflow { source, .. } => source.len(),
            Self::StartRun(start) => start.input.len(),
            Self::SignalRun { payload, .. } => payload.len(),
            Self::CancelRun { reason, .. } => reason.len(),
            Self::CompleteStep { output, .. } => output.len(),
            Self::FailStep { failure, .. } | Self::LoseAttempt { failure, .. } => failure.message.len(),
            Self::AppendChunk { data, .. } => data.len(),
            Self::CreateStream { events, .. } => payloads(events),
            Self::AppendEvents(append) => payloads(&append.events),
            Self::TrimStreams(trim) => size_of_val(trim.extents.as_slice()),
            Self::ForgetRuns { runs, .. } => size_of_val(runs.as_slice()),
            Self::ForgetProducers { producers, .. } => size_of_val(producers.as_slice()),
            Self::DropStep { .. }
            | Self::FireTimer { .. }
            | Self::ContinueRun { .. }
            | Self::DeleteStream { .. }
            | Self::PinReader { .. }
            | Self::UnpinReader { .. } => 0,
        }
    }
}

impl RunEvent {
    /// Bytes of the values and texts that it carries: what the budget of a command counts.
    pub fn value_bytes(&self) -> usize {
        let size = |payload: &Option<Payload>| payload.as_ref().map_or(0, Payload::len);
        match self {
            Self::Started(started) => started.input.len() + size(&started.data),
            Self::Completed { output } => size(output),
            Self::ScopeOpened { kind, data, .. } => size(data) + kind.value_bytes(),
            Self::TaskExited { output, context, .. } => size(output) + size(context),
            Self::StepScheduled { input, task_input, .. } => size(input) + size(task_input),
            Self::StepCompleted { output, .. } => output.len(),
            Self::ChunkAppended { data, .. } => data.len(),
            Self::TimerStarted { task_input, .. } => size(task_input),
            Self::SignalReceived { payload, .. } => payload.len(),
            Self::Failed { error } | Self::ErrorRaised { error, .. } | Self::ErrorCaught { error, .. } => {
                error_bytes(error)
            }
            Self::FunctionBound { definition, .. } => definition.held_bytes(),
            Self::CancelRequested { .. }
            | Self::Cancelled
            | Self::Terminated { .. }
            | Self::ContinueOwed
            | Self::Continued
            | Self::IterationStarted { .. }
            | Self::ScopeClosed { .. }
            | Self::AttemptFailed { .. }
            | Self::StepFailed { .. }
            | Self::StepCancelRequested { .. }
            | Self::StepCancelled { .. }
            | Self::AttemptSuperseded { .. }
            | Self::TimerFired { .. } => 0,
        }
    }
}

fn is_same_memory(value: &Payload, other: &Payload) -> bool {
    !value.data.is_empty() && value.data.as_ptr() == other.data.as_ptr()
}

fn error_bytes(error: &WorkflowError) -> usize {
    let texts = [error.title.as_ref(), error.detail.as_ref(), error.instance.as_ref()];
    size_of_val(error) + error.type_.len() + texts.into_iter().map(text).sum::<usize>()
}

fn text(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}
