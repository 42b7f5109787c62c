//! The determinism check over a log: what followed from each cause is derived again and compared.

use std::sync::Arc;

use types::{Position, Timestamp, WorkflowHash};
use workflow::Program;

use crate::advance::consequences;
use crate::event::{Event, RunEvent};
use crate::partition::Partition;
use crate::run::Run;

/// A place where the log does not say what the kernel would.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    pub position: Position,
    pub logged: Option<Box<Event>>,
    pub derived: Option<Box<Event>>,
}

/// How much of a log was held against the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Causes whose consequences were derived and compared.
    pub causes: u64,
    /// Events that were compared with a derived one.
    pub compared: u64,
    /// Causes of runs whose definition is not known, or does not compile: nothing could be derived from them.
    pub unverified: u64,
}

/// Follows a partition's log beside its state: feed it each event before the event is applied.
#[derive(Debug, Default)]
pub struct Verifier {
    expected: std::collections::VecDeque<Event>,
    causes: u64,
    compared: u64,
    unverified: u64,
    pass_rest: bool,
}

impl Verifier {
    /// `cause`: the record is marked as the first of its command. `program` finds the definition of a run.
    pub fn observe(
        &mut self,
        partition: &Partition,
        event: &Event,
        cause: bool,
        position: Position,
        time: Timestamp,
        program: impl Fn(WorkflowHash) -> Option<Arc<Program>>,
    ) -> Result<(), Divergence> {
        if partition.contradiction(event).is_some() {
            return Err(Divergence { position, logged: Some(Box::new(event.clone())), derived: None });
        }
        if cause {
            if let Some(missing) = self.expected.pop_front() {
                return Err(Divergence {
                    position,
                    logged: Some(Box::new(event.clone())),
                    derived: Some(Box::new(missing)),
                });
            }
            self.pass_rest = false;
            self.expect(partition, event, position, time, program);
            return Ok(());
        }
        if self.pass_rest {
            return Ok(());
        }
        let derived = self.expected.pop_front();
        if derived.as_ref().is_some_and(|derived| follows(derived, event)) {
            self.compared += 1;
            return Ok(());
        }
        Err(Divergence { position, logged: Some(Box::new(event.clone())), derived: derived.map(Box::new) })
    }

    /// Says that the log ends here.
    pub fn finish(self, end: Position) -> Result<Verified, Divergence> {
        match self.expected.into_iter().next() {
            Some(missing) => Err(Divergence { position: end, logged: None, derived: Some(Box::new(missing)) }),
            None => Ok(Verified { causes: self.causes, compared: self.compared, unverified: self.unverified }),
        }
    }

    fn expect(
        &mut self,
        partition: &Partition,
        event: &Event,
        position: Position,
        time: Timestamp,
        program: impl Fn(WorkflowHash) -> Option<Arc<Program>>,
    ) {
        let Event::Run { run: id, event: cause } = event else { return };
        if matches!(cause, RunEvent::ChunkAppended { .. } | RunEvent::SignalReceived { .. }) {
            return;
        }
        let scratch = if let RunEvent::Started(started) = cause {
            Run::start(*id, started, types::Incarnation::at(position), time)
        } else {
            let mut scratch = partition.runs[id].clone();
            scratch.apply(cause, time);
            scratch
        };
        // A definition that is not in this log cannot be derived from; its events are then taken as causes.
        let Some(program) = program(scratch.hash) else {
            (self.unverified, self.pass_rest) = (self.unverified + 1, true);
            return;
        };
        self.causes += 1;
        let derived = consequences(&partition.config, &program, scratch, time);
        self.expected.extend(derived.into_iter().map(|event| Event::Run { run: *id, event }));
    }
}

/// Whether what was logged is what is derived. The default retry policy is the node's setting, not the log's, and may
/// have changed since: a function that was bound with it is held to everything else.
fn follows(derived: &Event, logged: &Event) -> bool {
    use RunEvent::FunctionBound;
    match (derived, logged) {
        (
            Event::Run { run, event: FunctionBound { function, definition } },
            Event::Run { run: logged_run, event: FunctionBound { function: logged_function, definition: bound } },
        ) => run == logged_run && function == logged_function && definition.is_same_call(bound),
        (derived, logged) => derived == logged,
    }
}
