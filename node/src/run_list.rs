//! A page of a partition's runs, newest first: those in memory and those that only rows know. Looking for them takes
//! a driver's time and answering takes memory, so a page is bounded in both, and says how far it looked.

use std::collections::BTreeMap;

use engine::{Partition, RowImage, RowName, Run, stored};
use gateway::backend::{DamagedRun, ListRuns, RunInfo, RunPage};
use storage::{Met, RowKind, Rows};
use types::{PartitionId, RunId, TenantId};

use crate::catalogue::Catalogue;
use crate::dispatcher::Dispatcher;
use crate::limits;
use crate::partition::LaneError;
use crate::translate;

/// What stands in a listing.
#[derive(Debug)]
pub(crate) enum Entry {
    Run(Box<RunInfo>),
    Damaged(DamagedRun),
}

impl Entry {
    fn id(&self) -> RunId {
        match self {
            Self::Run(info) => info.run,
            Self::Damaged(damaged) => damaged.through.unwrap_or(damaged.run),
        }
    }

    /// What its values take in an answer.
    fn bytes(&self) -> usize {
        match self {
            Self::Run(info) => info_bytes(info),
            Self::Damaged(damaged) => damaged.what.len(),
        }
    }
}

/// Runs that pass the filter, and those that may: whose rows are damaged. All that are newer than `until` are among them,
/// and maybe no others.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) entries: Vec<Entry>,
    /// Damaged rows that were met.
    pub(crate) unreadable: u64,
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
    (catalogue, dispatcher): (&Catalogue, &Dispatcher),
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
        let known = |run: RunId| partition.run(run).is_some() || partition.all_set_aside().contains_key(&run);
        looking.through(id, kind, rows, &known, &mut |run| {
            wanted(run).then(|| translate::run_info(run, catalogue, dispatcher))
        })?;
        parts.push(looking.found);
    }
    parts.push(in_memory(partition, (catalogue, dispatcher), filter, &wanted));
    parts.push(set_aside(partition, tenant, filter));
    Ok(merge(parts, filter.limit, most_bytes))
}

/// One page of what several searches found.
pub(crate) fn join(parts: Vec<Found>, limit: usize, most_bytes: usize) -> RunPage {
    let Found { entries, until: next, .. } = merge(parts, limit, most_bytes);
    let (mut runs, mut damaged) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Run(info) => runs.push(*info),
            Entry::Damaged(run) => damaged.push(run),
        }
    }
    RunPage { runs, damaged, next }
}

fn merge(parts: Vec<Found>, limit: usize, most_bytes: usize) -> Found {
    let until = parts.iter().filter_map(|part| part.until).min_by_key(|run| newest_first(*run));
    let unreadable = parts.iter().map(|part| part.unreadable).sum();
    let seen = |entry: &Entry| until.is_none_or(|until| newest_first(entry.id()) <= newest_first(until));
    let mut entries: Vec<_> = parts.into_iter().flat_map(|part| part.entries).filter(seen).collect();
    entries.sort_by_key(|entry| newest_first(entry.id()));
    let mut bytes = 0;
    let full = |entry: &Entry| {
        let before = bytes;
        bytes += entry.bytes();
        before >= most_bytes
    };
    let kept = entries.iter().position(full).unwrap_or(entries.len()).min(limit);
    let cut = kept < entries.len();
    entries.truncate(kept);
    let until = if cut { entries.last().map(Entry::id) } else { until };
    Found { entries, unreadable, until }
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

    /// `known`: memory knows better.
    fn through(
        &mut self,
        id: PartitionId,
        kind: RowKind,
        rows: &dyn Rows,
        known: &dyn Fn(RunId) -> bool,
        shown: &mut dyn FnMut(&Run) -> Option<RunInfo>,
    ) -> Result<(), LaneError> {
        // Ids sort newest first, so a page begins right behind the last run of the page before.
        let mut after = self.filter.after.map(|run| stored::row_key(&RowName::ClosedRun(run)).1.into());
        loop {
            let page = rows.scan_past_damage(id, kind, after.as_ref(), limits::ROWS_PER_LOOK);
            let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.last().clone());
            for met in page {
                let (run, bytes, entry) = match met {
                    Met::Row(key, row) => match stored::read_row(kind as u8, &key, &row.value) {
                        Ok((_, RowImage::Run(run))) => {
                            let entry = if known(run.id) { None } else { shown(&run) };
                            (run.id, row.value.len(), entry.map(|info| Entry::Run(Box::new(info))))
                        }
                        Ok(_) => unreachable!("the codec pairs kinds and images"),
                        Err(error) => self.damaged(kind, &key, None, error.to_string(), known),
                    },
                    Met::Damaged { id, what } => self.damaged(kind, &id, None, what, known),
                    Met::Unreadable { first, last, what } => self.damaged(kind, &first, Some(&last), what, known),
                };
                if self.take(run, bytes, entry) {
                    return Ok(());
                }
            }
        }
    }

    /// What a listing shows of rows that cannot be read: one, or all from one to another.
    fn damaged(
        &mut self,
        kind: RowKind,
        first: &[u8],
        last: Option<&[u8]>,
        what: String,
        known: &dyn Fn(RunId) -> bool,
    ) -> (RunId, usize, Option<Entry>) {
        let (run, through) = (nearest_run(first), last.map(nearest_run));
        if through.is_none() && known(run) {
            return (run, 0, None);
        }
        self.found.unreadable += 1;
        let damaged = DamagedRun { run, through, open: kind == RowKind::OpenRun, what };
        (through.unwrap_or(run), 0, Some(Entry::Damaged(damaged)))
    }

    /// One row was looked at; whether that is enough.
    fn take(&mut self, run: RunId, row_bytes: usize, entry: Option<Entry>) -> bool {
        self.left.rows = self.left.rows.saturating_sub(1);
        self.left.row_bytes = self.left.row_bytes.saturating_sub(row_bytes);
        if let Some(entry) = entry {
            self.left.found_bytes = self.left.found_bytes.saturating_sub(entry.bytes());
            self.found.entries.push(entry);
        }
        let Bounds { rows, row_bytes, found_bytes } = self.left;
        let enough = self.found.entries.len() >= self.filter.limit || rows == 0 || row_bytes == 0 || found_bytes == 0;
        self.found.until = enough.then_some(run);
        enough
    }
}

/// The run whose id these bytes are, or would be if they were as many as one has.
fn nearest_run(id: &[u8]) -> RunId {
    let mut whole = [0; 20];
    let known = id.len().min(whole.len());
    whole[..known].copy_from_slice(&id[..known]);
    match stored::row_name(RowKind::ClosedRun as u8, &whole) {
        Ok(RowName::ClosedRun(run)) => run,
        Ok(_) | Err(_) => unreachable!("20 bytes are a run's id"),
    }
}

/// Runs whose state is lost: known by name.
fn set_aside(partition: &Partition, tenant: &TenantId, filter: &ListRuns) -> Found {
    let behind = |run: RunId| filter.after.is_none_or(|after| newest_first(run) > newest_first(after));
    let all = partition.all_set_aside().iter();
    let theirs = all.filter(|(run, aside)| behind(**run) && aside.tenant.as_ref().is_none_or(|owner| owner == tenant));
    let entry = |(&run, aside): (&RunId, &engine::SetAside)| {
        Entry::Damaged(DamagedRun { run, through: None, open: true, what: aside.why.clone() })
    };
    Found { entries: theirs.map(entry).collect(), unreadable: 0, until: None }
}

fn in_memory(
    partition: &Partition,
    (catalogue, dispatcher): (&Catalogue, &Dispatcher),
    filter: &ListRuns,
    wanted: &dyn Fn(&Run) -> bool,
) -> Found {
    let behind = |run: &Run| filter.after.is_none_or(|after| newest_first(run.id) > newest_first(after));
    let mut found: BTreeMap<_, &Run> = BTreeMap::new();
    for run in partition.runs().filter(|run| behind(run) && wanted(run)) {
        found.insert(newest_first(run.id), run);
        if found.len() > filter.limit {
            found.pop_last();
        }
    }
    let until = if found.len() < filter.limit { None } else { found.values().next_back().map(|run| run.id) };
    let info = |run: &&Run| Entry::Run(Box::new(translate::run_info(run, catalogue, dispatcher)));
    Found { entries: found.values().map(info).collect(), unreadable: 0, until }
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
