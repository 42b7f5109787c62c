//! What a command needs in memory before it can be decided. The driver fetches, `Partition::admit` takes it in.

use types::{RunId, StreamOrdinal, WorkflowHash};

use crate::command::Command;
use crate::partition::Partition;
use crate::row::{RowName, StartKey};
use crate::stream::StreamKey;

/// Something that a partition does not hold in memory just now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A row; absent is an answer too: then nothing is admitted.
    Row(RowName),
    /// The compiled program of this definition.
    Program(WorkflowHash),
}

impl Partition {
    /// What to fetch before `decide`. Ask again after admitting: a run names its program.
    pub fn needs(&self, command: &Command) -> Vec<Need> {
        match command {
            Command::RegisterWorkflow { .. } => Vec::new(),
            Command::StartRun(start) => {
                let mut needs = self.program_need(start.hash);
                if let Some(key) = StartKey::of(start)
                    && !self.starts.contains_key(&key)
                {
                    needs.push(Need::Row(RowName::Start(key)));
                }
                needs
            }
            Command::SignalRun { run, .. }
            | Command::CancelRun { run, .. }
            | Command::LoseAttempt { run, .. }
            | Command::DropStep { run, .. }
            | Command::FireTimer { run, .. }
            | Command::ContinueRun { run } => self.run_needs(*run),
            Command::CompleteStep { token, .. } | Command::FailStep { token, .. } => self.run_needs(token.run),
            Command::AppendChunk { token, .. } => self.run_row(token.run),
            Command::CreateStream { tenant, name, .. } | Command::DeleteStream { tenant, name } => {
                self.stream_row(&StreamKey { tenant: tenant.clone(), name: name.clone() })
            }
            Command::AppendEvents(append) => {
                let key = StreamKey { tenant: append.tenant.clone(), name: append.name.clone() };
                let mut needs = self.stream_row(&key);
                if let Some(stamp) = &append.producer
                    && !self.producers.contains_key(&(key.clone(), stamp.id.clone()))
                {
                    needs.push(Need::Row(RowName::Producer(key, stamp.id.clone())));
                }
                needs
            }
        }
    }

    /// What to fetch before folding an event of a stream that is not in memory: its name, then its row.
    pub fn needs_to_fold(&self, ordinal: StreamOrdinal) -> Vec<Need> {
        match self.stream_names.get(&ordinal) {
            Some(key) => self.stream_row(key),
            None if ordinal.is_none() || self.run_of.contains_key(&ordinal) => Vec::new(),
            None if self.gone.contains(&RowName::StreamName(ordinal)) => Vec::new(),
            None => vec![Need::Row(RowName::StreamName(ordinal))],
        }
    }

    /// What to fetch before a stream or a run is shown.
    pub fn needs_to_show(&self, key: &StreamKey) -> Vec<Need> {
        key.name.run().map_or_else(|| self.stream_row(key), |run| self.run_row(run))
    }

    fn run_needs(&self, run: RunId) -> Vec<Need> {
        match self.runs.get(&run) {
            Some(run) if run.status.is_closed() => Vec::new(),
            Some(run) => self.program_need(run.hash),
            None => self.run_row(run),
        }
    }

    /// Open runs are always in memory, so only a closed one can be missing.
    fn run_row(&self, run: RunId) -> Vec<Need> {
        let known = self.runs.contains_key(&run);
        if known { Vec::new() } else { vec![Need::Row(RowName::ClosedRun(run))] }
    }

    fn stream_row(&self, key: &StreamKey) -> Vec<Need> {
        let name = RowName::Stream(key.clone());
        let known = self.streams.contains_key(key) || self.gone.contains(&name);
        if known { Vec::new() } else { vec![Need::Row(name)] }
    }

    fn program_need(&self, hash: WorkflowHash) -> Vec<Need> {
        let known = self.programs.contains_key(&hash);
        if known { Vec::new() } else { vec![Need::Program(hash)] }
    }
}
