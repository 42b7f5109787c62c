//! What can be asked of a partition without changing it. The answer leaves by the gate all the same.

use std::sync::Arc;

use engine::{Need, RowName, StreamKey, Token};
use gateway::backend::{ListRuns, RunInfo};
use tokio::sync::oneshot;
use types::{Code, Refusal, RunId, StreamOrdinal, TenantId};

use super::host::Host;
use super::lane::{Lane, LaneError};
use crate::fanout::Followed;
use crate::functions::FunctionName;
use crate::translate;

/// Something to do at the gate, with the answer inside.
pub(crate) type Release = Box<dyn FnOnce() + Send>;

type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// A question and where its answer goes.
#[derive(Debug)]
pub(crate) enum Query {
    /// A stream or a run's stream, to be followed from its state at the gate on.
    Follow {
        key: StreamKey,
        reply: Reply<Arc<Followed>>,
    },
    Run {
        tenant: TenantId,
        run: RunId,
        reply: Reply<RunInfo>,
    },
    Runs {
        tenant: TenantId,
        filter: ListRuns,
        reply: Reply<Vec<RunInfo>>,
    },
    /// The runs with these streams that are not forgotten, and whether each is open.
    KeptRuns {
        streams: Vec<StreamOrdinal>,
        reply: Reply<Vec<(RunId, bool)>>,
    },
    /// What a run calls its functions, those bound so far.
    Functions {
        run: RunId,
        reply: Reply<Vec<FunctionName>>,
    },
    Attempt {
        token: Token,
        reply: Reply<AttemptView>,
    },
}

/// Whether a worker that says it holds an attempt still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptView {
    /// All chunks below are durable.
    Current {
        next_sequence: u64,
    },
    Superseded,
}

impl Query {
    /// Looks, and holds the answer at the lane's gate.
    pub(crate) fn look(self, lane: &mut Lane<Release>, host: &Arc<Host>) -> Result<(), LaneError> {
        let (id, rows) = (lane.id(), host.rows());
        match self {
            Self::Follow { key, reply } => {
                let needs = lane.partition().needs_to_show(&key);
                let host = host.clone();
                lane.look(&needs, rows.as_ref(), move |partition| {
                    let found = crate::fanout::view(partition, &key, host.history(id));
                    Box::new(move || {
                        let followed = found.map(|(ordinal, info)| host.fanout().follow(id, &key, ordinal, info));
                        drop(reply.send(followed.ok_or_else(|| not_found(&key))));
                    })
                })
            }
            Self::Run { tenant, run, reply } => {
                let needs = lane
                    .partition()
                    .needs_to_show(&StreamKey { tenant: tenant.clone(), name: types::StreamName::of_run(run) });
                let host = host.clone();
                lane.look(&needs, rows.as_ref(), move |partition| {
                    let found = partition.run(run).filter(|run| run.tenant == tenant);
                    let found = found.map(|run| translate::run_info(run, &host.catalogue));
                    Box::new(move || drop(reply.send(found.ok_or_else(|| run_not_found(run)))))
                })
            }
            Self::Runs { tenant, filter, reply } => {
                let host = host.clone();
                let closed = crate::run_list::closed(id, rows.as_ref(), &host.catalogue, &tenant, &filter);
                lane.look(&[], rows.as_ref(), move |partition| {
                    let merge = |closed| crate::run_list::merge(partition, &host.catalogue, &tenant, &filter, closed);
                    let page = closed.map(merge);
                    Box::new(move || drop(reply.send(page)))
                })
            }
            Self::KeptRuns { streams, reply } => {
                let state = lane.partition();
                let needs: Vec<_> = streams.iter().flat_map(|stream| state.needs_to_tell_run(*stream)).collect();
                lane.look(&needs, rows.as_ref(), move |partition| {
                    let kept = streams.iter().filter_map(|stream| partition.kept_run(*stream)).collect();
                    Box::new(move || drop(reply.send(Ok(kept))))
                })
            }
            Self::Functions { run, reply } => {
                let needs = match lane.partition().run(run) {
                    Some(_) => Vec::new(),
                    None => vec![Need::Row(RowName::ClosedRun(run))],
                };
                lane.look(&needs, rows.as_ref(), move |partition| {
                    let found = partition.run(run).map(translate::function_names);
                    Box::new(move || drop(reply.send(found.ok_or_else(|| run_not_found(run)))))
                })
            }
            Self::Attempt { token, reply } => {
                let needs: Vec<Need> = match lane.partition().run(token.run) {
                    Some(_) => Vec::new(),
                    None => vec![Need::Row(RowName::ClosedRun(token.run))],
                };
                lane.look(&needs, rows.as_ref(), move |partition| {
                    let view = match partition.held(&token) {
                        Some(next_sequence) => AttemptView::Current { next_sequence },
                        None => AttemptView::Superseded,
                    };
                    Box::new(move || drop(reply.send(Ok(view))))
                })
            }
        }
    }
}

fn not_found(key: &StreamKey) -> Refusal {
    match key.name.run() {
        Some(run) => run_not_found(run),
        None => Refusal::new(Code::StreamNotFound, format!("stream {} does not exist: create it first", key.name)),
    }
}

fn run_not_found(run: RunId) -> Refusal {
    Refusal::new(Code::RunNotFound, format!("run {run} does not exist"))
}
