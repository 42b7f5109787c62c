//! Whether an event can have happened in a state. What a log says is not trusted: recovery and replay ask before they
//! apply, so that an event which does not fit is named by its place instead of ending the process.

use types::{Offset, StreamOrdinal};

use crate::event::{Event, RunEvent};
use crate::partition::Partition;
use crate::run::Run;
use crate::timer::Purpose;

impl Partition {
    /// Why this event cannot be the next one. Rows that it needs are in memory.
    pub fn contradiction(&self, event: &Event) -> Option<String> {
        match event {
            Event::WorkflowRegistered(_) => None,
            Event::StreamCreated { ordinal, .. } => self.ordinal_is_next(*ordinal),
            Event::EventAppended { stream, offset, .. } => self.stream_stands(*stream, Some(*offset)),
            Event::StreamSequenced { stream, .. }
            | Event::StreamClosed { stream }
            | Event::StreamDeleted { stream } => self.stream_stands(*stream, None),
            Event::Retention(event) => self.retention_contradiction(event),
            Event::Run { run, event: RunEvent::Started(started) } => {
                let known = self.runs.contains_key(run) || self.is_idle(*run);
                if known { Some(format!("run {run} starts again")) } else { self.ordinal_is_next(started.ordinal) }
            }
            Event::Run { run, event } => match self.runs.get(run) {
                Some(run) if !run.status.is_closed() => run.contradiction(event),
                Some(_) => Some(format!("run {run} is closed")),
                None => Some(format!("run {run} has not started")),
            },
        }
    }

    fn ordinal_is_next(&self, ordinal: StreamOrdinal) -> Option<String> {
        let next = self.next_ordinal;
        (ordinal != next).then(|| format!("it gives the ordinal {ordinal}, the next one is {next}"))
    }

    fn stream_stands(&self, ordinal: StreamOrdinal, offset: Option<Offset>) -> Option<String> {
        let stream = self.stream_names.get(&ordinal).and_then(|key| self.streams.get(key));
        match stream.filter(|stream| stream.ordinal == ordinal) {
            None => Some(format!("stream {ordinal} does not exist")),
            Some(stream) => {
                let head = stream.head;
                let odd = offset.filter(|offset| *offset != head);
                odd.map(|offset| format!("it stands at offset {offset}, the stream ends at {head}"))
            }
        }
    }
}

impl Run {
    fn contradiction(&self, event: &RunEvent) -> Option<String> {
        match event {
            RunEvent::Started(_) => Some("a run starts once".to_owned()),
            RunEvent::ScopeOpened { scope, parent, .. } => {
                let fresh = *scope >= self.next_scope;
                self.has_scope(*parent).or_else(|| (!fresh).then(|| format!("scope {scope} was opened before")))
            }
            RunEvent::ScopeClosed { scope } | RunEvent::ErrorCaught { scope, .. } => self.has_inner_scope(*scope),
            RunEvent::IterationStarted { scope, .. }
            | RunEvent::TaskExited { scope, .. }
            | RunEvent::ErrorRaised { scope, .. }
            | RunEvent::TimerStarted { purpose: Purpose::Wait { scope }, .. } => self.has_scope(*scope),
            RunEvent::StepScheduled { step, scope, function, .. } => {
                let known = (*function as usize) < self.functions.len() && *step >= self.next_step;
                self.has_scope(*scope).or_else(|| (!known).then(|| format!("step {step} cannot be scheduled")))
            }
            RunEvent::AttemptFailed { step, .. }
            | RunEvent::StepCompleted { step, .. }
            | RunEvent::StepFailed { step, .. }
            | RunEvent::StepCancelRequested { step }
            | RunEvent::StepCancelled { step, .. }
            | RunEvent::ChunkAppended { step, .. }
            | RunEvent::AttemptSuperseded { step, .. } => self.has_step(*step),
            RunEvent::TimerFired { timer, purpose } => {
                let set = self.timers.get(timer).is_some_and(|set| set.purpose == *purpose);
                if !set {
                    return Some(format!("timer {timer} is not set for this"));
                }
                match purpose {
                    Purpose::Wait { scope } | Purpose::TryAgain { scope } => self.has_scope(*scope),
                    Purpose::Retry { step } => self.has_step(*step),
                    Purpose::CancelGrace => None,
                }
            }
            RunEvent::Completed { .. }
            | RunEvent::Failed { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::Cancelled
            | RunEvent::Terminated { .. }
            | RunEvent::ContinueOwed
            | RunEvent::Continued
            | RunEvent::FunctionBound { .. }
            | RunEvent::TimerStarted { .. }
            | RunEvent::SignalReceived { .. } => None,
        }
    }

    fn has_scope(&self, scope: u32) -> Option<String> {
        let open = self.scopes.contains_key(&scope);
        (!open).then(|| format!("scope {scope} is not open"))
    }

    /// One that a task opened, with that task's own scope around it.
    fn has_inner_scope(&self, scope: u32) -> Option<String> {
        match self.scopes.get(&scope) {
            None => self.has_scope(scope),
            Some(inner) => match inner.parent {
                Some(parent) => self.has_scope(parent),
                None => Some("the root is no task's scope".to_owned()),
            },
        }
    }

    fn has_step(&self, step: u32) -> Option<String> {
        match self.steps.get(&step) {
            None => Some(format!("step {step} is not open")),
            Some(step) => self.has_scope(step.scope),
        }
    }
}
