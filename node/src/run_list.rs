//! A page of a partition's runs, newest first: those in memory and those that only rows know.

use std::collections::BTreeMap;

use engine::{Partition, RowImage, RowName, Run, stored};
use gateway::backend::{ListRuns, RunInfo};
use storage::{RowKind, Rows};
use types::{PartitionId, RunId, TenantId};

use crate::catalogue::Catalogue;
use crate::limits;
use crate::partition::LaneError;
use crate::translate;

/// Runs that only rows hold and that pass the filter, newest first: at most a page of closed ones and one of idle ones.
pub(crate) fn in_rows(
    id: PartitionId,
    partition: &Partition,
    rows: &dyn Rows,
    catalogue: &Catalogue,
    tenant: &TenantId,
    filter: &ListRuns,
) -> Result<Vec<RunInfo>, LaneError> {
    let of_kind = |kind| in_rows_of(id, kind, partition, rows, catalogue, tenant, filter);
    let mut found = of_kind(RowKind::ClosedRun)?;
    if partition.idle_runs().next().is_some() {
        found.extend(of_kind(RowKind::OpenRun)?);
    }
    Ok(found)
}

fn in_rows_of(
    id: PartitionId,
    kind: RowKind,
    partition: &Partition,
    rows: &dyn Rows,
    catalogue: &Catalogue,
    tenant: &TenantId,
    filter: &ListRuns,
) -> Result<Vec<RunInfo>, LaneError> {
    let mut found = Vec::new();
    // Ids sort newest first, so a page begins right behind the last run of the page before.
    let mut after = filter.after.map(|run| stored::row_key(&RowName::ClosedRun(run)).1.into());
    loop {
        let page = rows.scan(id, kind, after.as_ref(), limits::ROWS_PER_SCAN);
        let page = page.map_err(|source| LaneError::Read { partition: id, source })?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        for (key, row) in &page {
            let (_, image) = stored::read_row(kind as u8, key, &row.value).map_err(|error| {
                let (name, what) = ("a run".to_owned(), error.to_string());
                LaneError::Row { partition: id, name, what }
            })?;
            if let RowImage::Run(run) = image
                // Memory knows better.
                && partition.run(run.id).is_none()
                && passes(&run, tenant, filter)
            {
                found.push(translate::run_info(&run, catalogue));
            }
            if found.len() >= filter.limit {
                return Ok(found);
            }
        }
    }
}

/// With those in memory.
pub(crate) fn merge(
    partition: &Partition,
    catalogue: &Catalogue,
    tenant: &TenantId,
    filter: &ListRuns,
    in_rows: Vec<RunInfo>,
) -> Vec<RunInfo> {
    let mut runs: BTreeMap<_, _> = in_rows.into_iter().map(|info| (newest_first(info.run), info)).collect();
    for run in partition.runs() {
        let behind = filter.after.is_none_or(|after| newest_first(run.id) > newest_first(after));
        if behind && passes(run, tenant, filter) {
            runs.insert(newest_first(run.id), translate::run_info(run, catalogue));
        }
    }
    runs.into_values().take(filter.limit).collect()
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
