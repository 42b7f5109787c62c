//! A page of a partition's runs, newest first: those in memory and those that only rows know. Looking for them takes
//! a driver's time and answering takes memory, so a page is bounded in both, and says how far it looked.

use std::collections::BTreeMap;

use engine::{Partition, RowImage, RowName, Run, stored};
use gateway::backend::{ListRuns, RunInfo, RunPage};
use storage::{RowKind, Rows};
use types::{PartitionId, RunId, TenantId};

use crate::catalogue::Catalogue;
use crate::limits;
use crate::partition::LaneError;
use crate::translate;

/// Runs that pass the filter. All that are newer than `until` are among them, and maybe no others.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) runs: Vec<RunInfo>,
    /// Where the search ended early; `None`: there are no more.
    pub(crate) until: Option<RunId>,
}

/// How much of a partition one search may look at, and how much it may find.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    rows: usize,
    /// Of rows looked at; the last may pass it.
    row_bytes: usize,
    /// Of values found; the last may pass it.
    found_bytes: usize,
}

/// A page of one partition, with values of so many bytes at most; the last may pass it.
pub(crate) fn search(
    id: PartitionId,
    partition: &Partition,
    rows: &dyn Rows,
    catalogue: &Catalogue,
    tenant: &TenantId,
    filter: &ListRuns,
    most_bytes: usize,
) -> Result<Found, LaneError> {
    let bounds = Bounds { rows: limits::LISTED_ROWS, row_bytes: limits::LISTED_ROW_BYTES, found_bytes: most_bytes };
    let wanted = |run: &Run| passes(run, tenant, filter);
    let mut kinds = vec![RowKind::ClosedRun];
    if partition.idle_runs().next().is_some() {
        kinds.push(RowKind::OpenRun);
    }
    let mut parts = Vec::new();
    for kind in kinds {
        let mut looking = Looking::new(filter, bounds);
        let in_memory = |run: &Run| partition.run(run.id).is_some();
        looking.through(id, kind, rows, &mut |run| {
            // Memory knows better.
            (!in_memory(run) && wanted(run)).then(|| translate::run_info(run, catalogue))
        })?;
        parts.push(looking.found);
    }
    parts.push(in_memory(partition, catalogue, filter, &wanted));
    let page = join(parts, filter.limit, most_bytes);
    Ok(Found { runs: page.runs, until: page.next })
}

/// One page of what several searches found.
pub(crate) fn join(parts: Vec<Found>, limit: usize, most_bytes: usize) -> RunPage {
    let until = parts.iter().filter_map(|part| part.until).min_by_key(|run| newest_first(*run));
    let seen = |info: &RunInfo| until.is_none_or(|until| newest_first(info.run) <= newest_first(until));
    let mut runs: Vec<_> = parts.into_iter().flat_map(|part| part.runs).filter(seen).collect();
    runs.sort_by_key(|info| newest_first(info.run));
    let mut bytes = 0;
    let full = |info: &RunInfo| {
        let before = bytes;
        bytes += info_bytes(info);
        before >= most_bytes
    };
    let kept = runs.iter().position(full).unwrap_or(runs.len()).min(limit);
    let cut = kept < runs.len();
    runs.truncate(kept);
    let next = if cut { runs.last().map(|last| last.run) } else { until };
    RunPage { runs, next }
}

/// What a run's values take in an answer.
fn info_bytes(info: &RunInfo) -> usize {
    let error = info.error.as_ref().map_or(0, |error| error.to_string().len());
    info.input.len() + info.output.as_ref().map_or(0, types::Payload::len) + error
}

/// A search through rows.
struct Looking<'f> {
    filter: &'f ListRuns,
    left: Bounds,
    found: Found,
}

impl<'f> Looking<'f> {
    fn new(filter: &'f ListRuns, left: Bounds) -> Self {
        Self { filter, left, found: Found::default() }
    }

    fn through(
        &mut self,
        id: PartitionId,
        kind: RowKind,
        rows: &dyn Rows,
        shown: &mut dyn FnMut(&Run) -> Option<RunInfo>,
    ) -> Result<(), LaneError> {
        // Ids sort newest first, so a page begins right behind the last run of the page before.
        let mut after = self.filter.after.map(|run| stored::row_key(&RowName::ClosedRun(run)).1.into());
        loop {
            let page = rows.scan(id, kind, after.as_ref(), limits::ROWS_PER_LOOK);
            let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, row) in &page {
                let (_, image) = stored::read_row(kind as u8, key, &row.value).map_err(|error| {
                    let (name, what) = ("a run".to_owned(), error.to_string());
                    LaneError::Row { partition: id, name, what }
                })?;
                let RowImage::Run(run) = image else { continue };
                if self.take(run.id, row.value.len(), shown(&run)) {
                    return Ok(());
                }
            }
        }
    }

    /// One row was looked at; whether that is enough.
    fn take(&mut self, run: RunId, row_bytes: usize, info: Option<RunInfo>) -> bool {
        self.left.rows = self.left.rows.saturating_sub(1);
        self.left.row_bytes = self.left.row_bytes.saturating_sub(row_bytes);
        if let Some(info) = info {
            self.left.found_bytes = self.left.found_bytes.saturating_sub(info_bytes(&info));
            self.found.runs.push(info);
        }
        let Bounds { rows, row_bytes, found_bytes } = self.left;
        let enough = self.found.runs.len() >= self.filter.limit || rows == 0 || row_bytes == 0 || found_bytes == 0;
        self.found.until = enough.then_some(run);
        enough
    }
}

fn in_memory(partition: &Partition, catalogue: &Catalogue, filter: &ListRuns, wanted: &dyn Fn(&Run) -> bool) -> Found {
    let behind = |run: &Run| filter.after.is_none_or(|after| newest_first(run.id) > newest_first(after));
    let mut found: BTreeMap<_, &Run> = BTreeMap::new();
    for run in partition.runs().filter(|run| behind(run) && wanted(run)) {
        found.insert(newest_first(run.id), run);
        if found.len() > filter.limit {
            found.pop_last();
        }
    }
    let until = if found.len() < filter.limit { None } else { found.values().next_back().map(|run| run.id) };
    Found { runs: found.values().map(|run| translate::run_info(run, catalogue)).collect(), until }
}

fn passes(run: &Run, tenant: &TenantId, filter: &ListRuns) -> bool {
    let named = |name: &String| {
        *name == run.definition.name || *name == format!("{}/{}", run.definition.namespace, run.definition.name)
    };
    run.tenant == *tenant
        && filter.workflow.as_ref().is_none_or(named)
        && filter.status.as_deref().is_none_or(|status| status == translate::status_text(run))
}

/// What pages sort by: the order of a row's id.
pub(crate) fn newest_first(run: RunId) -> (u128, u32) {
    (!run.ulid(), run.routing_hash().bits())
}
