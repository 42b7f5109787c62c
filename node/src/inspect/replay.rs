//! Replays the log of a stopped node from its beginning, and holds what is logged against what the kernel derives.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Definition, Digest, Divergence, Event, Partition, PartitionConfig, Verified, Verifier};
use storage::{Log, ReadError, Row, RowKey, RowKind, Rows};
use thiserror::Error;
use types::{PartitionId, Position, WorkflowHash};
use workflow::Program;

use crate::limits;
use crate::partition::LaneError;
use crate::recovery;

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    pub partitions: Vec<PartitionReplay>,
    /// Definitions in the log that this version does not compile, each with the first reason.
    pub uncompiled: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionReplay {
    pub partition: PartitionId,
    pub events: u64,
    /// Its beginning is no longer kept, so it was not replayed: what it would be folded from is gone.
    pub trimmed: bool,
    /// Over open runs, at the end of the log.
    pub digest: Digest,
    pub open_runs: u64,
    /// Causes whose consequences were derived again, and how many events were compared; 0 without `verify`.
    pub causes: u64,
    pub compared: u64,
    /// Causes from which nothing could be derived, because their definition is not in the log or does not compile.
    pub unverified: u64,
}

/// Why a replay stopped.
#[derive(Debug, Error)]
pub enum ReplayError {
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// A definition's source is not what its hash says.
    #[error(
        "partition {partition}, position {position}: the source of definition {name} is not the one that was registered"
    )]
    Definition { partition: PartitionId, position: Position, name: String },
    /// The log was changed after it was written, or by a kernel that decides otherwise.
    #[error(
        "partition {partition}, position {}: the log does not say what follows from its causes\n  logged:  {}\n  derived: {}",
        divergence.position, shown(divergence.logged.as_deref()), shown(divergence.derived.as_deref())
    )]
    Diverged { partition: PartitionId, divergence: Box<Divergence> },
}

fn shown(event: Option<&Event>) -> String {
    event.map_or_else(|| "nothing".to_owned(), |event| format!("{event:?}").chars().take(400).collect())
}

/// Replays all partitions; with `verify`, derives the consequences of every cause again and compares.
pub fn replay(
    log: &dyn Log,
    config: &PartitionConfig,
    verify: bool,
    mut progress: impl FnMut(PartitionId, Position, Position),
) -> Result<ReplayReport, ReplayError> {
    let mut definitions = Definitions::default();
    let mut report = ReplayReport::default();
    // The system partition comes first: it holds the definitions that the others run.
    for id in log.partitions().partitions() {
        let replayed = replay_partition(id, log, config, verify, &mut definitions, &mut progress)?;
        report.partitions.push(replayed);
    }
    report.uncompiled = definitions.uncompiled;
    Ok(report)
}

/// Those met so far.
#[derive(Debug, Default)]
struct Definitions {
    programs: BTreeMap<WorkflowHash, Arc<Program>>,
    uncompiled: Vec<String>,
}

impl Definitions {
    /// `false`: the source is not the one that the hash is of.
    fn add(&mut self, definition: &Definition) -> bool {
        match workflow::compile(&definition.source) {
            Ok(program) => drop(self.programs.insert(definition.hash, Arc::new(program))),
            Err(problems) => {
                let why = problems.first().map_or_else(String::new, ToString::to_string);
                self.uncompiled.push(format!("{}: {why}", definition.name));
            }
        }
        WorkflowHash::of(&definition.source) == definition.hash
    }
}

fn replay_partition(
    id: PartitionId,
    log: &dyn Log,
    config: &PartitionConfig,
    verify: bool,
    definitions: &mut Definitions,
    progress: &mut impl FnMut(PartitionId, Position, Position),
) -> Result<PartitionReplay, ReplayError> {
    let mut partition = Partition::new(config.clone());
    let mut verifier = Verifier::default();
    let bounds = log.bounds(id);
    let end = bounds.end;
    if bounds.trimmed {
        let digest = partition.digest();
        let (events, open_runs, causes, compared, unverified) = (0, 0, 0, 0, 0);
        let trimmed = true;
        return Ok(PartitionReplay { partition: id, events, trimmed, digest, open_runs, causes, compared, unverified });
    }
    let diverged = |divergence| ReplayError::Diverged { partition: id, divergence: Box::new(divergence) };
    while partition.next_position() < end {
        let from = partition.next_position();
        progress(id, from, end);
        let page = log.read(id, from, limits::RECORDS_PER_FOLD, limits::FOLD_BYTES);
        let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
        if page.is_empty() {
            let what = format!("the log ends here, though {end} is durable");
            let source = ReadError::Corrupt { partition: id, position: from, what };
            return Err(LaneError::Read { partition: id, source }.into());
        }
        for stored in &page {
            let event = recovery::decode(id, &partition, stored)?;
            if let Event::WorkflowRegistered(definition) = &event
                && !definitions.add(definition)
            {
                let (position, name) = (stored.position, definition.name.to_string());
                return Err(ReplayError::Definition { partition: id, position, name });
            }
            if verify {
                let program = |hash| definitions.programs.get(&hash).cloned();
                let (position, time) = (stored.position, stored.record.time);
                verifier
                    .observe(&partition, &event, stored.record.cause, position, time, program)
                    .map_err(&diverged)?;
            }
            recovery::fold_one(id, &mut partition, &NoRows, stored, true)?;
        }
    }
    progress(id, end, end);
    let Verified { causes, compared, unverified } =
        if verify { verifier.finish(end).map_err(&diverged)? } else { Verified::default() };
    let open_runs = partition.runs().filter(|run| !run.status.is_closed()).count() as u64;
    let (events, digest) = (end.value(), partition.digest());
    Ok(PartitionReplay { partition: id, events, trimmed: false, digest, open_runs, causes, compared, unverified })
}

/// A replay from the beginning needs no rows: everything was created on the way.
#[derive(Debug)]
struct NoRows;

impl Rows for NoRows {
    fn get(&self, _: PartitionId, _: &RowKey) -> Result<Option<Row>, ReadError> {
        Ok(None)
    }

    fn scan(
        &self,
        _: PartitionId,
        _: RowKind,
        _: Option<&bytes::Bytes>,
        _: usize,
    ) -> Result<Vec<(bytes::Bytes, Row)>, ReadError> {
        Ok(Vec::new())
    }
}
