//! Replays the log of a stopped node from its beginning, and holds what is logged against what the kernel derives.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Digest, Divergence, Event, Partition, PartitionConfig, Verifier};
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
}

/// Why a replay stopped.
#[derive(Debug, Error)]
pub enum ReplayError {
    #[error(transparent)]
    Lane(#[from] LaneError),
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
    let mut definitions = BTreeMap::new();
    let mut report = ReplayReport::default();
    // The system partition comes first: it holds the definitions that the others run.
    for id in log.partitions().partitions() {
        let replayed = replay_partition(id, log, config, verify, &mut definitions, &mut progress)?;
        report.partitions.push(replayed);
    }
    Ok(report)
}

type Definitions = BTreeMap<WorkflowHash, Arc<Program>>;

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
        let (events, open_runs, causes, compared) = (0, 0, 0, 0);
        return Ok(PartitionReplay { partition: id, events, trimmed: true, digest, open_runs, causes, compared });
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
            if let Event::WorkflowRegistered(definition) = &event {
                let program = workflow::compile(&definition.source).ok();
                definitions.extend(program.map(|program| (definition.hash, Arc::new(program))));
            }
            if verify {
                let program = |hash| definitions.get(&hash).cloned();
                let (position, time) = (stored.position, stored.record.time);
                verifier
                    .observe(&partition, &event, stored.record.cause, position, time, program)
                    .map_err(&diverged)?;
            }
            recovery::fold_one(id, &mut partition, &NoRows, stored)?;
        }
    }
    progress(id, end, end);
    let (causes, compared) = if verify { verifier.finish(end).map_err(&diverged)? } else { (0, 0) };
    let open_runs = partition.runs().filter(|run| !run.status.is_closed()).count() as u64;
    let (events, digest) = (end.value(), partition.digest());
    Ok(PartitionReplay { partition: id, events, trimmed: false, digest, open_runs, causes, compared })
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
