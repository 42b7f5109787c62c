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
    /// The first run that it may be of.
    fn first(&self) -> RunId {
        match self {
            Self::Run(info) => info.run,
            Self::Damaged(damaged) => damaged.run,
        }
    }

    fn last(&self) -> RunId {
        match self {
            Self::Run(info) => info.run,
            Self::Damaged(damaged) => damaged.through.unwrap_or(damaged.run),
        }
    }

    /// What of it is not behind `until`; the next page finds the rest. `None` for `until`: all of it.
    fn cut(mut self, until: Option<RunId>) -> Option<Self> {
        let Some(until) = until else { return Some(self) };
        if newest_first(self.first()) > newest_first(until) {
            return None;
        }
        if newest_first(self.last()) > newest_first(until)
            && let Self::Damaged(damaged) = &mut self
        {
            damaged.through = Some(until);
        }
        Some(self)
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
    let entries = parts.into_iter().flat_map(|part| part.entries);
    let mut entries: Vec<_> = entries.filter_map(|entry| entry.cut(until)).collect();
    entries.sort_by_key(|entry| newest_first(entry.first()));
    let mut bytes = 0;
    let full = |entry: &Entry| {
        let before = bytes;
        bytes += entry.bytes();
        before >= most_bytes
    };
    let mut kept = entries.iter().position(full).unwrap_or(entries.len()).min(limit);
    // Two that begin alike are on one page, since the next begins behind both.
    while kept > 0 && kept < entries.len() && entries[kept].first() == entries[kept - 1].first() {
        kept += 1;
    }
    let Some(next) = entries.get(kept).map(Entry::first) else { return Found { entries, unreadable, until } };
    entries.truncate(kept);
    // A place that cannot be read may reach over runs that follow it, which come with the next page.
    let until = entries.last().map(|last| match before(next) {
        Some(before) if newest_first(before) < newest_first(last.last()) => before,
        Some(_) | None => last.last(),
    });
    Found { entries: entries.into_iter().filter_map(|entry| entry.cut(until)).collect(), unreadable, until }
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
        let through = last.map(last_run);
        let run = if last.is_some() { first_run(first) } else { last_run(first) };
        let is_nobody = through.is_some_and(|through| newest_first(run) > newest_first(through));
        if is_nobody || (through.is_none() && known(run)) {
            return (through.unwrap_or(run), 0, None);
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

/// Bytes of a run's id, in the order of rows.
const ID_BYTES: usize = 20;

/// The last run whose id is not behind these bytes: the one that they are, if they are as many as one has.
fn last_run(id: &[u8]) -> RunId {
    let mut whole = [0; ID_BYTES];
    let known = id.len().min(whole.len());
    whole[..known].copy_from_slice(&id[..known]);
    let run = run_of(&whole);
    if id.len() < ID_BYTES { before(run).unwrap_or(run) } else { run }
}

/// The first run whose id is not before these bytes. What is longer than an id is behind it.
fn first_run(id: &[u8]) -> RunId {
    let run = last_run(id);
    if id.len() == ID_BYTES { run } else { behind(run).unwrap_or(run) }
}

fn run_of(id: &[u8; ID_BYTES]) -> RunId {
    match stored::row_name(RowKind::ClosedRun as u8, id) {
        Ok(RowName::ClosedRun(run)) => run,
        Ok(_) | Err(_) => unreachable!("20 bytes are a run's id"),
    }
}

fn id_of(run: RunId) -> [u8; ID_BYTES] {
    stored::row_key(&RowName::ClosedRun(run)).1.try_into().expect("20 bytes are a run's id")
}

/// The id right behind this one; `None`: there is none.
fn behind(run: RunId) -> Option<RunId> {
    let mut id = id_of(run);
    for byte in id.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(run_of(&id));
        }
    }
    None
}

/// The id right before this one; `None`: there is none.
fn before(run: RunId) -> Option<RunId> {
    let mut id = id_of(run);
    for byte in id.iter_mut().rev() {
        *byte = byte.wrapping_sub(1);
        if *byte != u8::MAX {
            return Some(run_of(&id));
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn run(number: u8) -> RunId {
        let mut id = [7; ID_BYTES];
        id[ID_BYTES - 1] = number;
        run_of(&id)
    }

    /// What a search of one partition finds behind `after`: places that cannot be read, from the first run to the last.
    fn found(places: &[(u8, u8)], after: Option<u8>, limit: usize) -> Found {
        let begin = after.map_or(0, |after| after + 1);
        let left = places.iter().filter(|(_, last)| *last >= begin).map(|(first, last)| ((*first).max(begin), *last));
        let left: Vec<_> = left.take(limit).collect();
        let until = left.get(limit - 1).map(|(_, last)| run(*last));
        let entry = |(first, last): (u8, u8)| {
            let through = (first != last).then(|| run(last));
            Entry::Damaged(DamagedRun { run: run(first), through, open: false, what: "damaged".to_owned() })
        };
        Found { entries: left.into_iter().map(entry).collect(), unreadable: 0, until }
    }

    #[test]
    fn whatever_the_pages_all_that_cannot_be_read_is_named() {
        let parts: [&[(u8, u8)]; 3] =
            [&[(3, 90), (95, 95), (100, 140)], &[(1, 1), (5, 5), (50, 60), (99, 101)], &[(5, 5), (7, 7), (139, 200)]];
        let places = || parts.iter().copied().flatten();
        let expected: BTreeSet<u8> = places().flat_map(|(first, last)| *first..=*last).collect();
        for limit in 1..12 {
            let (mut named, mut after, mut pages) = (BTreeSet::new(), None, 0);
            loop {
                let found = parts.iter().map(|places| found(places, after, limit)).collect();
                let page = merge(found, limit, usize::MAX);
                for entry in &page.entries {
                    let [first, last] = [entry.first(), entry.last()].map(|run| id_of(run)[ID_BYTES - 1]);
                    assert!(after.is_none_or(|after| first > after), "page {pages} of {limit} goes back");
                    named.extend(first..=last);
                }
                let Some(until) = page.until else { break };
                after = Some(id_of(until)[ID_BYTES - 1]);
                pages += 1;
                assert!(pages < 250, "pages of {limit} never end");
            }
            assert_eq!(named, expected, "pages of {limit}");
        }
    }

    #[test]
    fn a_place_between_two_ids_is_of_nobody() {
        let id = id_of(run(9));
        let (first, last) = ([&id[..], &[0]].concat(), [&id[..], &[u8::MAX]].concat());
        assert_eq!((first_run(&first), last_run(&last)), (run(10), run(9)));
        assert_eq!((first_run(&id), last_run(&id)), (run(9), run(9)));
        assert_eq!(last_run(&id[..ID_BYTES - 1]), before(run(0)).expect("not the first of all"));
    }
}
