//! What a run's durable events say, by plain rules: one result per step visit, of the attempt whose turn it was, from
//! the worker that held it; no timer early or twice; nothing after the end.

use std::collections::{BTreeMap, BTreeSet};

use engine::{RunEvent, Started};
use serde_json::Value;
use types::{IdempotencyKey, Payload, RunId, Timestamp};

#[derive(Debug)]
pub(crate) struct StepTruth {
    pub(crate) path: String,
    pub(crate) attempt: u32,
    /// The timer of the next attempt.
    pub(crate) retrying: Option<u32>,
    pub(crate) open: bool,
    pub(crate) cancelling: bool,
    pub(crate) chunks: u64,
    /// An attempt whose readers must be told to cut before the next one begins.
    uncut: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct RunTruth {
    id: RunId,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) input: Payload,
    pub(crate) closed: bool,
    pub(crate) cancelled: bool,
    pub(crate) steps: BTreeMap<u32, StepTruth>,
    pub(crate) signals: BTreeSet<String>,
    paths: BTreeSet<String>,
    timers: BTreeMap<u32, Timestamp>,
    fired: BTreeSet<u32>,
}

impl StepTruth {
    /// Whether a worker may still answer for this attempt.
    pub(crate) fn is_current(&self, attempt: u32) -> bool {
        self.open && self.attempt == attempt && self.retrying.is_none()
    }
}

impl RunTruth {
    pub(crate) fn new(id: RunId, started: &Started) -> Self {
        Self {
            id,
            key: started.idempotency_key.clone(),
            input: started.input.clone(),
            closed: false,
            cancelled: false,
            steps: BTreeMap::new(),
            signals: BTreeSet::new(),
            paths: BTreeSet::new(),
            timers: BTreeMap::new(),
            fired: BTreeSet::new(),
        }
    }

    pub(crate) fn absorb(&mut self, event: &RunEvent, time: Timestamp) {
        assert!(!self.closed, "{} goes on after its end: {event:?}", self.id);
        match event {
            RunEvent::Started(_) => unreachable!("a start makes the run"),
            RunEvent::Completed { .. } | RunEvent::Failed { .. } | RunEvent::Cancelled => self.close(event),
            RunEvent::Terminated { .. } => {
                self.steps.values_mut().for_each(|step| step.open = false);
                self.close(event);
            }
            RunEvent::CancelRequested { timer, due, .. } => {
                assert!(!self.cancelled, "{} is asked to stop twice", self.id);
                self.cancelled = true;
                self.timers.clear();
                self.set(*timer, *due);
            }
            RunEvent::StepScheduled { step, path, .. } => self.schedule(*step, path),
            RunEvent::ChunkAppended { step, attempt, sequence, data } => self.chunk(*step, *attempt, *sequence, data),
            RunEvent::AttemptFailed { step, attempt, retry, .. } => {
                self.set(retry.timer, retry.due);
                let step = self.current(*step, *attempt, event);
                step.retrying = Some(retry.timer);
                step.uncut = (step.chunks > 0).then_some(*attempt);
            }
            RunEvent::AttemptSuperseded { step, attempt } => {
                let step = self.step(*step);
                assert_eq!(step.uncut.take(), Some(*attempt), "readers cut what the failed attempt streamed, once");
            }
            RunEvent::StepCompleted { step, attempt, output, .. } => self.complete(*step, *attempt, output, event),
            RunEvent::StepFailed { step, attempt, .. } => self.current(*step, *attempt, event).open = false,
            RunEvent::StepCancelRequested { step } => self.step(*step).cancelling = true,
            RunEvent::StepCancelled { step, attempt } => {
                let step = self.step(*step);
                assert!(step.open && step.attempt == *attempt, "{step:?} is over: {event:?}");
                step.open = false;
            }
            RunEvent::TimerStarted { timer, .. } | RunEvent::ErrorCaught { retry: Some(timer), .. } => {
                self.set(timer.timer, timer.due);
            }
            RunEvent::TimerFired { timer, .. } => self.fire(*timer, time),
            RunEvent::SignalReceived { id, .. } => {
                let fresh = id.clone().is_none_or(|id| self.signals.insert(id));
                assert!(fresh, "{} takes a signal twice: {event:?}", self.id);
            }
            RunEvent::ContinueOwed
            | RunEvent::Continued
            | RunEvent::ScopeOpened { .. }
            | RunEvent::IterationStarted { .. }
            | RunEvent::ScopeClosed { .. }
            | RunEvent::TaskExited { .. }
            | RunEvent::ErrorRaised { .. }
            | RunEvent::ErrorCaught { retry: None, .. }
            | RunEvent::FunctionBound { .. } => {}
        }
    }

    fn close(&mut self, event: &RunEvent) {
        let open = self.steps.values().find(|step| step.open);
        assert!(open.is_none(), "{} ends with {event:?} while {open:?} is open", self.id);
        self.closed = true;
    }

    fn step(&mut self, step: u32) -> &mut StepTruth {
        self.steps.get_mut(&step).unwrap_or_else(|| panic!("step {step} was never scheduled"))
    }

    /// The step, whose turn it must be with this attempt.
    fn current(&mut self, step: u32, attempt: u32, event: &RunEvent) -> &mut StepTruth {
        let (id, step) = (self.id, self.step(step));
        assert!(step.is_current(attempt), "{id}: {event:?} is not of the current attempt: {step:?}");
        step
    }

    fn schedule(&mut self, number: u32, path: &str) {
        assert!(self.paths.insert(path.to_owned()), "{}: two visits have the address {path}", self.id);
        let step = StepTruth {
            path: path.to_owned(),
            attempt: 1,
            retrying: None,
            open: true,
            cancelling: false,
            chunks: 0,
            uncut: None,
        };
        assert!(self.steps.insert(number, step).is_none(), "a step's number is given once");
    }

    fn chunk(&mut self, number: u32, attempt: u32, sequence: u64, data: &Payload) {
        let id = self.id;
        let step = self.step(number);
        assert!(step.is_current(attempt), "{id}: attempt {attempt} streams out of turn: {step:?}");
        assert_eq!(sequence, step.chunks, "{id}: chunks of {} are dense", step.path);
        step.chunks += 1;
        let expect = format!("{id}.{number}.{attempt}/{sequence}");
        assert_eq!(data.data, expect.as_bytes(), "a chunk stands where its sender meant it");
    }

    fn complete(&mut self, number: u32, attempt: u32, output: &Payload, event: &RunEvent) {
        let id = self.id;
        let step = self.current(number, attempt, event);
        step.open = false;
        let output: Value = serde_json::from_slice(&output.data).expect("workers answer in JSON");
        assert!(output["forged"].is_null(), "{id}: a forged result was taken: {output}");
        let says = (output["attempt"].as_str(), output["path"].as_str());
        let expect = format!("{id}.{number}.{attempt}");
        assert_eq!(says, (Some(expect.as_str()), Some(step.path.as_str())), "a result is of its own attempt and visit");
    }

    fn set(&mut self, timer: u32, due: Timestamp) {
        let fresh = !self.fired.contains(&timer) && self.timers.insert(timer, due).is_none();
        assert!(fresh, "{}: timer {timer} is set twice", self.id);
    }

    fn fire(&mut self, timer: u32, time: Timestamp) {
        let due = self.timers.remove(&timer);
        let due = due.unwrap_or_else(|| panic!("{}: timer {timer} fires though it is not set", self.id));
        assert!(time >= due, "{}: timer {timer} is early: due {due}, fired {time}", self.id);
        self.fired.insert(timer);
        let retried = self.steps.values_mut().find(|step| step.retrying == Some(timer));
        if let Some(step) = retried {
            assert_eq!(step.uncut, None, "readers are told to cut before the next attempt begins");
            (step.attempt, step.chunks, step.retrying) = (step.attempt + 1, 0, None);
        }
    }
}
