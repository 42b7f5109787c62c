//! What a command needs in memory before it can be decided. The driver fetches, `Partition::admit` takes it in.

use types::{ProducerId, RunId, StreamOrdinal, WorkflowHash};

use crate::command::Command;
use crate::partition::Partition;
use crate::row::{RowName, StartKey, StartRecord};
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
        if let Some(needs) = self.needs_of_set_aside(command) {
            return needs;
        }
        match command {
            Command::RegisterWorkflow { .. } => Vec::new(),
            Command::StartRun(start) => {
                let mut needs = self.program_need(start.hash);
                needs.extend(StartKey::of(start).and_then(|key| self.start_row(key)));
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
            Command::CreateStream { tenant, name, .. }
            | Command::DeleteStream { tenant, name }
            | Command::PinReader { tenant, name, .. }
            | Command::UnpinReader { tenant, name, .. } => {
                self.stream_row(&StreamKey { tenant: tenant.clone(), name: name.clone() })
            }
            Command::AppendEvents(append) => {
                let key = StreamKey { tenant: append.tenant.clone(), name: append.name.clone() };
                let mut needs = self.stream_row(&key);
                if let Some(stamp) = &append.producer {
                    needs.extend(self.producer_row(&key, &stamp.id));
                }
                needs
            }
            Command::TrimStreams(trim) => {
                trim.extents.iter().flat_map(|(ordinal, _)| self.needs_to_fold(*ordinal)).collect()
            }
            Command::ForgetRuns { runs, .. } => runs.iter().flat_map(|run| self.needs_to_forget(*run)).collect(),
            Command::ForgetProducers { stream, producers } => {
                let mut needs = self.needs_to_fold(*stream);
                if let Some(key) = self.stream_names.get(stream) {
                    needs.extend(producers.iter().filter_map(|producer| self.producer_row(key, producer)));
                }
                needs
            }
        }
    }

    /// What to fetch before `kept_run` can tell.
    pub fn needs_to_tell_run(&self, stream: StreamOrdinal) -> Vec<Need> {
        let name = RowName::RunOfStream(stream);
        let known = self.kept_run(stream).is_some() || self.gone.contains(&name);
        if known { Vec::new() } else { vec![Need::Row(name)] }
    }

    /// The run, then what its idempotency key started.
    fn needs_to_forget(&self, id: RunId) -> Vec<Need> {
        let Some(run) = self.runs.get(&id) else { return self.run_row(id) };
        StartRecord::of(run).and_then(|(key, _)| self.start_row(key)).into_iter().collect()
    }

    fn producer_row(&self, stream: &StreamKey, producer: &ProducerId) -> Option<Need> {
        let name = RowName::Producer(stream.clone(), producer.clone());
        let known = self.producers.contains_key(&(stream.clone(), producer.clone())) || self.gone.contains(&name);
        (!known).then_some(Need::Row(name))
    }

    pub(crate) fn start_row(&self, key: StartKey) -> Option<Need> {
        let known = self.starts.contains_key(&key);
        let name = RowName::Start(key);
        (!known && !self.gone.contains(&name)).then_some(Need::Row(name))
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

    /// What to fetch before a run is looked at. One that is not in memory is idle, or closed, or does not exist.
    pub fn run_row(&self, run: RunId) -> Vec<Need> {
        let name = if self.is_idle(run) { RowName::OpenRun(run) } else { RowName::ClosedRun(run) };
        let known = self.runs.contains_key(&run) || self.gone.contains(&name);
        if known { Vec::new() } else { vec![Need::Row(name)] }
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
