//! A run: its state, and how each of its events moves it. Evaluates nothing, consults no definition.

use std::collections::{BTreeMap, BTreeSet};

use types::{IdempotencyKey, Incarnation, Offset, Payload, RunId, StreamOrdinal, TenantId, Timestamp, WorkflowHash};
use workflow::WorkflowError;

use crate::definition::DefinitionName;
use crate::event::{Class, RunEvent, Started, TimerSet};
use crate::limits;
use crate::scope::{Activity, Scope, ScopeKind};
use crate::signal::Signal;
use crate::step::{Function, Step, StepStatus, UNCLAIMED};
use crate::timer::{Purpose, Timer};

/// The scope that a run begins with.
pub(crate) const ROOT: u32 = 0;

#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub id: RunId,
    pub tenant: TenantId,
    pub ordinal: StreamOrdinal,
    pub incarnation: Incarnation,
    /// The next offset of its stream.
    pub head: Offset,
    pub definition: DefinitionName,
    pub hash: WorkflowHash,
    pub key: Option<String>,
    pub idempotency_key: Option<IdempotencyKey>,
    pub input: Payload,
    pub seed: u64,
    pub tags: Vec<(String, String)>,
    pub status: RunStatus,
    pub started: Timestamp,
    pub closed: Option<Timestamp>,
    pub output: Option<Payload>,
    pub error: Option<WorkflowError>,
    /// Why it was cancelled or terminated.
    pub reason: Option<String>,
    /// `$context`, once something was exported.
    pub context: Option<Payload>,
    pub scopes: BTreeMap<u32, Scope>,
    pub steps: BTreeMap<u32, Step>,
    pub timers: BTreeMap<u32, Timer>,
    pub functions: Vec<Function>,
    pub signals: Vec<Signal>,
    /// Ids of all signals ever taken, for duplicates.
    pub signal_ids: BTreeSet<String>,
    pub continue_owed: bool,
    /// Tasks entered since the run last waited for anything, and one more for each 2 KiB that were logged meanwhile.
    pub entries: u32,
    /// The next numbers to give.
    pub next_scope: u32,
    pub next_step: u32,
    pub next_timer: u32,
}

/// Where a run stands. One of the closed ones is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    Running,
    Cancelling,
    Completed,
    Failed,
    Cancelled,
    Terminated,
}

impl RunStatus {
    pub const fn is_closed(self) -> bool {
        match self {
            Self::Running | Self::Cancelling => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Terminated => true,
        }
    }
}

impl Run {
    pub(crate) fn start(id: RunId, started: &Started, incarnation: Incarnation, time: Timestamp) -> Self {
        Self {
            id,
            tenant: started.tenant.clone(),
            ordinal: started.ordinal,
            incarnation,
            head: Offset::ZERO.next(),
            definition: started.definition.clone(),
            hash: started.hash,
            key: started.key.clone(),
            idempotency_key: started.idempotency_key.clone(),
            input: started.input.clone(),
            seed: started.seed,
            tags: started.tags.clone(),
            status: RunStatus::Running,
            started: time,
            closed: None,
            output: None,
            error: None,
            reason: None,
            context: None,
            scopes: BTreeMap::from([(
                ROOT,
                Scope::root(started.data.clone().unwrap_or_else(|| started.input.clone())),
            )]),
            steps: BTreeMap::new(),
            timers: BTreeMap::new(),
            functions: Vec::new(),
            signals: Vec::new(),
            signal_ids: BTreeSet::new(),
            continue_owed: false,
            entries: 0,
            next_scope: ROOT + 1,
            next_step: 0,
            next_timer: 0,
        }
    }

    pub(crate) fn timer_keys(&self) -> impl Iterator<Item = (Timestamp, RunId, u32)> {
        self.timers.iter().map(|(&number, timer)| (timer.due, self.id, number))
    }

    pub(crate) fn scope(&self, scope: u32) -> &Scope {
        self.scopes.get(&scope).expect("an event names an open scope")
    }

    fn scope_mut(&mut self, scope: u32) -> &mut Scope {
        self.scopes.get_mut(&scope).expect("an event names an open scope")
    }

    fn step_mut(&mut self, step: u32) -> &mut Step {
        self.steps.get_mut(&step).expect("an event names an open step")
    }

    /// Moves the state; `time` is the event's own. `RunEvent::Started` is `Run::start`.
    pub(crate) fn apply(&mut self, event: &RunEvent, time: Timestamp) {
        if event.class() != Class::Attempt {
            self.head = self.head.next();
        }
        self.count_logged(event);
        match event {
            RunEvent::Started(_) => unreachable!("a run starts once, and `Partition::apply` makes it"),
            RunEvent::Completed { output } => {
                let output = output.clone().unwrap_or_else(|| self.scope(ROOT).data.clone());
                self.output = Some(output);
                self.close(RunStatus::Completed, time);
            }
            RunEvent::Failed { error } => {
                self.error = Some(error.clone());
                self.close(RunStatus::Failed, time);
            }
            RunEvent::CancelRequested { reason, timer, due } => self.begin_cancelling(reason, *timer, *due, time),
            RunEvent::Cancelled => self.close(RunStatus::Cancelled, time),
            RunEvent::Terminated { reason } => {
                self.reason = Some(reason.clone());
                self.close(RunStatus::Terminated, time);
            }
            RunEvent::ContinueOwed => self.continue_owed = true,
            RunEvent::Continued => self.continue_owed = false,
            RunEvent::ScopeOpened { scope, parent, path, kind, data } => {
                let inherited = self.scope(*parent).data.clone();
                self.enter(*parent, time, data.clone(), Activity::Child { scope: *scope });
                let data = data.clone().unwrap_or(inherited);
                self.scopes.insert(*scope, Scope::new(Some(*parent), kind.clone(), path.clone(), data));
                self.next_scope = scope + 1;
            }
            RunEvent::IterationStarted { scope, iteration } => self.scope_mut(*scope).begin_iteration(*iteration),
            RunEvent::ScopeClosed { scope } => self.close_scope(*scope),
            RunEvent::TaskExited { scope, path, output, context, next, .. } => {
                self.context = context.clone().or(self.context.take());
                self.entries += u32::from(path.is_some());
                self.scope_mut(*scope).exit_task(path.is_some(), output.clone(), *next);
            }
            RunEvent::ErrorRaised { scope, error, .. } => {
                // What was open inside the task that failed is left with it.
                self.drop_descendants(*scope);
                self.entries += 1;
                let scope = self.scope_mut(*scope);
                if scope.activity == Activity::Ready {
                    // The task failed as it was entered, a `raise` always: that was a visit too.
                    scope.enter(time);
                }
                scope.raise(error);
            }
            RunEvent::ErrorCaught { scope, error, retry } => self.catch(*scope, error, *retry, time),
            RunEvent::FunctionBound { definition, .. } => self.functions.push((**definition).clone()),
            RunEvent::StepScheduled { step, scope, path, function, input, task_input } => {
                let input = input.clone().or_else(|| task_input.clone());
                let input = input.unwrap_or_else(|| self.scope(*scope).data.clone());
                self.enter(*scope, time, task_input.clone(), Activity::Step { step: *step });
                self.steps.insert(*step, Step::new(*scope, path.clone(), *function, input, time));
                self.next_step = step + 1;
            }
            RunEvent::AttemptFailed { step, attempt, failure, retry } => {
                self.set_timer(*retry, Purpose::Retry { step: *step }, time);
                let step = self.step_mut(*step);
                step.failures += u32::from(failure.kind != UNCLAIMED);
                step.status = StepStatus::Retrying { timer: retry.timer };
                step.unsuperseded = (step.next_sequence > 0).then_some(*attempt);
            }
            RunEvent::StepCompleted { step, output, .. } => {
                let scope = self.close_step(*step);
                self.scope_mut(scope).activity = Activity::Returned { output: output.clone(), caught: false };
                self.entries = 0;
            }
            RunEvent::StepFailed { step, error, .. } => {
                let scope = self.close_step(*step);
                self.scope_mut(scope).raise(error);
                self.entries = 0;
            }
            RunEvent::StepCancelRequested { step } => self.step_mut(*step).status = StepStatus::Cancelling,
            RunEvent::StepCancelled { step, .. } => {
                self.close_step(*step);
            }
            RunEvent::ChunkAppended { step, sequence, .. } => self.step_mut(*step).next_sequence = sequence + 1,
            RunEvent::AttemptSuperseded { step, .. } => self.step_mut(*step).unsuperseded = None,
            RunEvent::TimerStarted { timer, purpose, task_input, .. } => {
                if let Purpose::Wait { scope } = purpose {
                    self.enter(*scope, time, task_input.clone(), Activity::Timer { timer: timer.timer });
                }
                self.set_timer(*timer, *purpose, time);
            }
            RunEvent::TimerFired { timer, purpose } => self.fire(*timer, *purpose),
            RunEvent::SignalReceived { name, id, payload } => {
                self.signal_ids.extend(id.clone());
                self.signals.push(Signal { name: name.clone(), id: id.clone(), payload: payload.clone() });
            }
        }
    }

    fn close_scope(&mut self, scope: u32) {
        let closed = self.scopes.remove(&scope).expect("an event names an open scope");
        let caught = matches!(closed.kind, ScopeKind::Catch { .. });
        let parent = closed.parent.expect("the root is closed by the end of its run");
        self.scope_mut(parent).activity = Activity::Returned { output: closed.data, caught };
    }

    fn catch(&mut self, scope: u32, error: &WorkflowError, retry: Option<TimerSet>, time: Timestamp) {
        self.drop_descendants(scope);
        self.entries += 1;
        if let Some(timer) = retry {
            self.set_timer(timer, Purpose::TryAgain { scope }, time);
        }
        let initial = self.initial_data(scope);
        self.scope_mut(scope).catch(error, initial, retry.map(|set| set.timer));
    }

    fn enter(&mut self, scope: u32, time: Timestamp, task_input: Option<Payload>, activity: Activity) {
        self.entries += 1;
        let scope = self.scope_mut(scope);
        scope.enter(time);
        (scope.task_input, scope.activity) = (task_input, activity);
    }

    fn close_step(&mut self, step: u32) -> u32 {
        let closed = self.steps.remove(&step).expect("an event names an open step");
        if let StepStatus::Retrying { timer } = closed.status {
            self.timers.remove(&timer);
        }
        closed.scope
    }

    /// What the run derived by itself: what came from outside waited for that.
    fn count_logged(&mut self, event: &RunEvent) {
        if matches!(event, RunEvent::ChunkAppended { .. } | RunEvent::SignalReceived { .. }) {
            return;
        }
        let more = u32::try_from(event.value_bytes() / limits::BYTES_PER_ENTRY).unwrap_or(u32::MAX);
        self.entries = self.entries.saturating_add(more);
    }

    /// A timer that takes no time is no wait, so a loop of such timers runs into the limit of entries.
    fn set_timer(&mut self, set: TimerSet, purpose: Purpose, time: Timestamp) {
        if set.due.millis_since(time) >= limits::LEAST_WAIT_MS {
            self.entries = 0;
        }
        self.timers.insert(set.timer, Timer { due: set.due, purpose });
        self.next_timer = set.timer + 1;
    }

    fn fire(&mut self, timer: u32, purpose: Purpose) {
        self.timers.remove(&timer);
        match purpose {
            Purpose::Wait { scope } => {
                let scope = self.scope_mut(scope);
                scope.activity = Activity::Returned { output: scope.input().clone(), caught: false };
            }
            Purpose::Retry { step } => {
                let step = self.step_mut(step);
                (step.attempt, step.next_sequence, step.status) = (step.attempt + 1, 0, StepStatus::Owed);
            }
            Purpose::TryAgain { scope } => self.scope_mut(scope).activity = Activity::Ready,
            Purpose::CancelGrace => {}
        }
    }

    /// Waits end at once; steps are asked to stop by events of their own.
    fn begin_cancelling(&mut self, reason: &str, timer: u32, due: Timestamp, time: Timestamp) {
        (self.status, self.reason) = (RunStatus::Cancelling, Some(reason.to_owned()));
        self.continue_owed = false;
        self.timers.clear();
        self.set_timer(TimerSet { timer, due }, Purpose::CancelGrace, time);
    }

    fn close(&mut self, status: RunStatus, time: Timestamp) {
        (self.status, self.closed, self.continue_owed) = (status, Some(time), false);
        self.scopes.clear();
        self.steps.clear();
        self.timers.clear();
        // Functions stay: its events name them by number.
        self.signals.clear();
        self.signal_ids.clear();
        self.context = None;
    }

    /// What a scope began with: its opener's input.
    fn initial_data(&self, scope: u32) -> Payload {
        let parent = self.scope(scope).parent.expect("a try is opened by a task");
        self.scope(parent).input().clone()
    }

    /// Removes the scopes opened inside `scope`, with their steps and timers: an error has left them.
    fn drop_descendants(&mut self, scope: u32) {
        let mut doomed = BTreeSet::from([scope]);
        for (&id, inner) in &self.scopes {
            // Children have higher numbers than their parents, so one pass finds them all.
            if inner.parent.is_some_and(|parent| doomed.contains(&parent)) {
                doomed.insert(id);
            }
        }
        let steps: Vec<u32> = self.steps.iter().filter(|(_, s)| doomed.contains(&s.scope)).map(|(&id, _)| id).collect();
        for step in steps {
            self.close_step(step);
        }
        self.timers.retain(|_, timer| match timer.purpose {
            Purpose::Wait { scope } | Purpose::TryAgain { scope } => !doomed.contains(&scope),
            Purpose::Retry { .. } | Purpose::CancelGrace => true,
        });
        doomed.remove(&scope);
        self.scopes.retain(|id, _| !doomed.contains(id));
    }
}
