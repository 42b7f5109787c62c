//! Where a look inside comes from: a running node by its admin port, or a data directory. The answers are the same.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use node::inspect::{self, DamagedRange, Load, LogStats, Names, ReadRecords, RecordPage, SegmentView, Wanted};
use storage::{Log, ReadError, ReadOnlyLog};
use types::{PartitionId, Position};

use crate::commands::{Context, stopped};
use crate::exit::{Exit, Failure};
use crate::render;

/// Ranges of damaged positions that are told one by one: where two chains alternate there may be many.
const RANGES_TOLD: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct From {
    /// A data directory, instead of asking the running node. Of one that a node has open it shows what is there now
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// An open one.
pub(super) struct Source<'a> {
    place: Place<'a>,
    /// Where damage was met and told.
    damaged: BTreeSet<(PartitionId, Position)>,
}

enum Place<'a> {
    Node(&'a Context),
    Directory { log: Box<ReadOnlyLog>, names: Names },
}

impl From {
    pub(super) fn open(self, context: &Context) -> Result<Source<'_>, Failure> {
        let Some(directory) = self.data else { return Ok(Source::over(Place::Node(context))) };
        let (log, _) = ReadOnlyLog::open(&directory).map_err(|error| stopped::failure(&error))?;
        if let Some(owner) = log.in_use_by() {
            render::notice(format!("{} is in use by {owner}: this is what was written until now", directory.display()));
        }
        Ok(Source::over(Place::Directory { log: Box::new(log), names: Names::default() }))
    }
}

impl<'a> Source<'a> {
    const fn over(place: Place<'a>) -> Self {
        Self { place, damaged: BTreeSet::new() }
    }

    pub(super) const fn is_directory(&self) -> bool {
        matches!(self.place, Place::Directory { .. })
    }

    /// How a command ends that showed all it read: what is damaged was not shown.
    pub(super) fn exit(&self) -> Exit {
        let untold = self.damaged.len().saturating_sub(RANGES_TOLD);
        if untold > 0 {
            render::notice(format!("not shown either: {untold} more such ranges of positions"));
        }
        if self.damaged.is_empty() { Exit::Done } else { Exit::LogFailed }
    }

    pub(super) async fn load(&self, over_ms: u64) -> Result<Load, Failure> {
        match &self.place {
            Place::Node(context) => {
                let query = [("over_ms", over_ms.to_string())];
                Ok(context.admin.inspect(&["log", "partitions"], &query).await?)
            }
            Place::Directory { log, .. } => {
                inspect::load(log.as_ref(), None, over_ms).map_err(|error| unreadable(&error))
            }
        }
    }

    pub(super) async fn segments(&self, partition: Option<PartitionId>) -> Result<Vec<SegmentView>, Failure> {
        match &self.place {
            Place::Node(context) => {
                let query: Vec<_> =
                    partition.map(|partition| ("partition", partition.to_string())).into_iter().collect();
                let found: Found = context.admin.inspect(&["log", "segments"], &query).await?;
                Ok(found.segments)
            }
            Place::Directory { log, .. } => {
                partition.map_or(Ok(()), |partition| there_is(partition, log))?;
                inspect::segments(log.as_ref(), partition).map_err(|error| stopped::failure(&error))
            }
        }
    }

    pub(super) async fn stats(&self) -> Result<LogStats, Failure> {
        match &self.place {
            Place::Node(context) => Ok(context.admin.inspect(&["log", "stats"], &[]).await?),
            Place::Directory { log, .. } => {
                inspect::stats(log.as_ref(), None).map_err(|error| stopped::failure(&error))
            }
        }
    }

    /// One page. Damage that it passed by is told once, on standard error.
    pub(super) async fn read(&mut self, request: &ReadRecords) -> Result<RecordPage, Failure> {
        let page: RecordPage = match &mut self.place {
            Place::Node(context) => {
                context.admin.operate(&["log", "records"], request, std::time::Duration::from_mins(1)).await?
            }
            Place::Directory { log, names } => {
                there_is(request.partition, log)?;
                inspect::read(log.as_ref(), log.as_ref(), names, request).map_err(|error| unreadable(&error))?
            }
        };
        for DamagedRange { from, until, what } in &page.damaged {
            if self.damaged.insert((request.partition, *from)) && self.damaged.len() <= RANGES_TOLD {
                let (partition, last) = (request.partition, until.value().saturating_sub(1));
                render::notice(format!("not shown: positions {from} to {last} of partition {partition}, since {what}"));
            }
        }
        Ok(page)
    }

    /// The partitions that can hold what is wanted.
    pub(super) async fn partitions(&self, wanted: &Wanted) -> Result<Vec<PartitionId>, Failure> {
        match &self.place {
            Place::Node(_) => {
                let all: Vec<_> = self.load(0).await?.partitions.iter().map(|load| load.partition).collect();
                let count = u32::try_from(all.len()).ok().and_then(types::PartitionCount::new);
                Ok(count.map_or(all, |count| inspect::partitions_of(count, wanted)))
            }
            Place::Directory { log, .. } => Ok(inspect::partitions_of(log.partitions(), wanted)),
        }
    }
}

#[derive(serde::Deserialize)]
struct Found {
    segments: Vec<SegmentView>,
}

fn there_is(partition: PartitionId, log: &ReadOnlyLog) -> Result<(), Failure> {
    if partition.value() < log.partitions().get() {
        return Ok(());
    }
    let last = log.partitions().get() - 1;
    let message = format!("there is no such partition as {partition}: the directory has 0 to {last}");
    Err(Failure::new(Exit::NotFound, message))
}

/// Damage and a failing disk are both the log's.
pub(super) fn unreadable(error: &ReadError) -> Failure {
    Failure::new(Exit::LogFailed, format!("failed to read: {error}"))
}
