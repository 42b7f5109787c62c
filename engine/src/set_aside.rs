//! Runs whose state is lost: their rows are damaged and their events do not give it back. They stay known, take nothing
//! but being given up, and hold nobody else up.

use std::collections::BTreeMap;

use types::{RunId, StreamOrdinal, TenantId};

use crate::command::{Answer, Command, Decision, Outcome};
use crate::event::Event;
use crate::needs::Need;
use crate::partition::{Partition, Placed};
use crate::rebuild::{Rebuild, Wanted};
use crate::rejection::Rejection;
use crate::retention::RetentionEvent;
use crate::row::{RowImage, RowName, StartKey};

/// What is still known of such a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// What is wrong, as a fragment.
    pub why: String,
    /// The rest comes from its first event, where that can be read.
    pub ordinal: Option<StreamOrdinal>,
    pub tenant: Option<TenantId>,
    pub start: Option<StartKey>,
}

impl Partition {
    /// Takes a run out of service. Its row stays as it is: the next opening comes to the same end.
    pub fn set_aside(&mut self, id: RunId, aside: SetAside) {
        if let Some(ordinal) = aside.ordinal {
            // Retention must not take an open run's stream for nobody's.
            self.run_of.insert(ordinal, id);
        }
        if self.idle.remove(&id).is_some() {
            self.timers.retain(|(_, run, _)| *run != id);
            self.put_off.remove(&id);
        }
        self.aside.insert(id, aside);
    }

    /// Makes rows again from the events that they are of.
    pub fn rebuild(&self, wanted: Wanted) -> Rebuild {
        Rebuild::new(wanted, self.config.clone())
    }

    /// Takes in a row that was made again: it is written with the next checkpoint.
    pub fn admit_rebuilt(&mut self, name: RowName, image: RowImage) {
        self.dirty.insert(name.clone());
        self.admit(name, image);
    }

    /// The row of an open run is to go: the run closed.
    pub fn drop_open_row(&mut self, id: RunId) {
        self.dirty.insert(RowName::OpenRun(id));
    }

    /// Runs that are set aside, by id.
    pub fn all_set_aside(&self) -> &BTreeMap<RunId, SetAside> {
        &self.aside
    }

    /// Whether an event that names no run which is known may be one of a run that is set aside.
    pub fn may_be_set_aside(&self, ordinal: StreamOrdinal) -> bool {
        !ordinal.is_none() && self.aside.values().any(|aside| aside.ordinal.is_none_or(|known| known == ordinal))
    }

    /// Passes an event by that only moves what is set aside.
    pub fn pass(&mut self, placed: Placed) {
        self.time = self.time.max(placed.time);
        self.next_position = placed.position.next();
    }

    /// What to fetch before a command for such a run is decided; `None`: it is for another one.
    pub(crate) fn needs_of_set_aside(&self, command: &Command) -> Option<Vec<Need>> {
        let aside = self.aside.get(&command.run()?)?;
        let given_up = matches!(command, Command::CancelRun { .. });
        let start = aside.start.clone().filter(|_| given_up).and_then(|key| self.start_row(key));
        Some(start.into_iter().collect())
    }

    /// `None`: the command is for another run.
    pub(crate) fn decide_set_aside(&self, command: &Command) -> Option<Outcome> {
        let run = command.run()?;
        let aside = self.aside.get(&run)?;
        let Command::CancelRun { tenant, .. } = command else { return Some(Err(aside.rejection(run))) };
        if aside.tenant.as_ref().is_some_and(|owner| owner != tenant) {
            return Some(Err(Rejection::RunNotFound(run)));
        }
        let start = aside.start.clone().filter(|key| self.starts.get(key).is_some_and(|record| record.run == run));
        let stream = aside.ordinal.unwrap_or(StreamOrdinal::NONE);
        let event = Event::Retention(RetentionEvent::RunForgotten { run, stream, start });
        Some(Ok(Decision { events: vec![event], answer: Answer::Done }))
    }
}

impl SetAside {
    /// What whoever asks for it is told.
    pub fn rejection(&self, run: RunId) -> Rejection {
        Rejection::RunDamaged { run, why: self.why.clone() }
    }
}

impl Command {
    /// The run that it is for; none of those that a run's stream or a pass of retention is for.
    fn run(&self) -> Option<RunId> {
        match self {
            Self::SignalRun { run, .. }
            | Self::CancelRun { run, .. }
            | Self::LoseAttempt { run, .. }
            | Self::DropStep { run, .. }
            | Self::FireTimer { run, .. }
            | Self::ContinueRun { run } => Some(*run),
            Self::CompleteStep { token, .. } | Self::FailStep { token, .. } | Self::AppendChunk { token, .. } => {
                Some(token.run)
            }
            Self::RegisterWorkflow { .. }
            | Self::StartRun(_)
            | Self::CreateStream { .. }
            | Self::AppendEvents(_)
            | Self::DeleteStream { .. }
            | Self::PinReader { .. }
            | Self::UnpinReader { .. }
            | Self::TrimStreams(_)
            | Self::ForgetRuns { .. }
            | Self::ForgetProducers { .. } => None,
        }
    }
}
