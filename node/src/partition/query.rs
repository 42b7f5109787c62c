//! What can be asked of a partition without changing it. The answer leaves by the gate all the same.

use std::sync::Arc;

use engine::{Need, Partition, StreamKey, Token};
use gateway::backend::{ListRuns, RunInfo};
use tokio::sync::oneshot;
use types::{Code, PartitionId, Refusal, RunId, StreamOrdinal, TenantId};

use super::host::Host;
use super::lane::Lane;
use crate::fanout::Followed;
use crate::functions::FunctionName;
use crate::run_list::Found as RunsFound;
use crate::{limits, translate};

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
        reply: Reply<RunsFound>,
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
    /// Looks, and holds the answer at the lane's gate. A row that cannot be read is an answer too.
    pub(crate) fn look(self, lane: &mut Lane<Release>, host: &Arc<Host>) {
        if let Some(refusal) = self.of_set_aside(lane.partition()) {
            let refuse = self.refuse(refusal);
            return lane.tell(|_| refuse);
        }
        let needs = self.needs(lane.partition());
        if let Err(error) = lane.prepare(&needs, host.rows.as_ref()) {
            host.note_unreadable(&error);
            let refuse = self.refuse(translate::unreadable(&error));
            return lane.tell(|_| refuse);
        }
        let (id, host) = (lane.id(), host.clone());
        lane.tell(move |partition| self.answer(id, partition, host));
    }

    /// Why nothing can be said of a run whose state is lost.
    fn of_set_aside(&self, partition: &Partition) -> Option<Refusal> {
        let (tenant, run) = match self {
            Self::Follow { key, .. } => (Some(&key.tenant), key.name.run()?),
            Self::Run { tenant, run, .. } => (Some(tenant), *run),
            Self::Functions { run, .. } => (None, *run),
            // Nobody holds an attempt of it.
            Self::Runs { .. } | Self::KeptRuns { .. } | Self::Attempt { .. } => return None,
        };
        let aside = partition.all_set_aside().get(&run)?;
        let theirs = tenant.is_none_or(|tenant| aside.tenant.as_ref().is_none_or(|owner| owner == tenant));
        theirs.then(|| translate::refusal(&aside.rejection(run)))
    }

    fn needs(&self, partition: &Partition) -> Vec<Need> {
        match self {
            Self::Follow { key, .. } => partition.needs_to_show(key),
            Self::Run { tenant, run, .. } => {
                partition.needs_to_show(&StreamKey { tenant: tenant.clone(), name: types::StreamName::of_run(*run) })
            }
            Self::Runs { .. } => Vec::new(),
            Self::KeptRuns { streams, .. } => {
                streams.iter().flat_map(|stream| partition.needs_to_tell_run(*stream)).collect()
            }
            Self::Functions { run, .. } | Self::Attempt { token: Token { run, .. }, .. } => partition.run_row(*run),
        }
    }

    fn answer(self, id: PartitionId, partition: &Partition, host: Arc<Host>) -> Release {
        match self {
            Self::Follow { key, reply } => {
                let found = crate::fanout::view(partition, &key, host.history(id));
                Box::new(move || {
                    let followed = found.map(|(ordinal, info)| host.fanout().follow(id, &key, ordinal, info));
                    drop(reply.send(followed.ok_or_else(|| not_found(&key))));
                })
            }
            Self::Run { tenant, run, reply } => {
                let found = partition.run(run).filter(|run| run.tenant == tenant);
                let found = found.map(|run| translate::run_info(run, &host.catalogue, &host.dispatcher));
                Box::new(move || drop(reply.send(found.ok_or_else(|| run_not_found(run)))))
            }
            Self::Runs { tenant, filter, reply } => {
                let rows = host.rows.as_ref();
                let partitions = host.partitions().get() as usize;
                let most_bytes = (limits::LISTED_BYTES / partitions).max(limits::LISTED_LEAST_BYTES);
                let found = crate::run_list::search(
                    id,
                    partition,
                    rows,
                    (&host.catalogue, &host.dispatcher),
                    &tenant,
                    &filter,
                    most_bytes,
                );
                if let Ok(found) = &found
                    && found.unreadable > 0
                {
                    host.metrics.unreadable.inc_by(found.unreadable);
                    tracing::error!(partition = %id, rows = found.unreadable, "a listing came by damaged rows and names them");
                }
                let page = found.map_err(|error| {
                    host.note_unreadable(&error);
                    translate::unreadable(&error)
                });
                Box::new(move || drop(reply.send(page)))
            }
            Self::KeptRuns { streams, reply } => {
                let kept = streams.iter().filter_map(|stream| partition.kept_run(*stream)).collect();
                Box::new(move || drop(reply.send(Ok(kept))))
            }
            Self::Functions { run, reply } => {
                let found = partition.run(run).map(translate::function_names);
                Box::new(move || drop(reply.send(found.ok_or_else(|| run_not_found(run)))))
            }
            Self::Attempt { token, reply } => {
                let view = match partition.held(&token) {
                    Some(next_sequence) => AttemptView::Current { next_sequence },
                    None => AttemptView::Superseded,
                };
                Box::new(move || drop(reply.send(Ok(view))))
            }
        }
    }

    fn refuse(self, refusal: Refusal) -> Release {
        match self {
            Self::Follow { reply, .. } => Box::new(move || drop(reply.send(Err(refusal)))),
            Self::Run { reply, .. } => Box::new(move || drop(reply.send(Err(refusal)))),
            Self::Runs { reply, .. } => Box::new(move || drop(reply.send(Err(refusal)))),
            Self::KeptRuns { reply, .. } => Box::new(move || drop(reply.send(Err(refusal)))),
            Self::Functions { reply, .. } => Box::new(move || drop(reply.send(Err(refusal)))),
            Self::Attempt { reply, .. } => Box::new(move || drop(reply.send(Err(refusal)))),
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
