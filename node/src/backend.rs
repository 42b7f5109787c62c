//! The node as a gateway sees it: requests are routed to their partition's driver, answers come back through its gate.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Answer, AppendEvents, Command, ProducerStamp, StreamKey, Token};
use gateway::backend::HeldStatus;
use gateway::backend::{
    Append, Appended, AttachWorker, Backend, CancelRun, Chunk, ChunkTaken, CreateStream, Damage, Event, ListRuns, Pin,
    PollWorker, Producer, Read, ReadReply, RegisterWorkflow, RunAccepted, RunInfo, RunPage, SignalAccepted, SignalRun,
    StartRun, StepOutcome, StepResult, StreamCreated, StreamInfo, WorkerPush, WorkflowInfo, WorkflowRef,
    WorkflowRegistered, WorkflowSource,
};
use tokio::sync::{Semaphore, oneshot};
use types::{Code, Durability, Offset, PartitionId, Payload, Refusal, RunId, StreamName, TenantId};

use crate::catalogue;
use crate::dispatcher::{Attempt, TooManyWorkers};
use crate::fanout::Followed;
use crate::limits;
use crate::partition::{AttemptView, Host, Query, Request, answer};
use crate::polling::Polling;
use crate::reader::Found;
use crate::router;
use crate::translate::{self, cursor};

/// A handle on the node; clones are the same node.
#[derive(Clone, Debug)]
pub struct NodeBackend {
    host: Arc<Host>,
    reads: Arc<Semaphore>,
    listings: Arc<Semaphore>,
    draining: Arc<AtomicBool>,
}

type Outcome<T> = Result<T, Refusal>;

impl NodeBackend {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        let (reads, listings) = (Semaphore::new(limits::READS_AT_ONCE), Semaphore::new(limits::LISTINGS_AT_ONCE));
        Self { host, reads: Arc::new(reads), listings: Arc::new(listings), draining: Arc::default() }
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Taken by each read of the disk.
    pub(crate) fn reads(&self) -> Arc<Semaphore> {
        self.reads.clone()
    }

    /// From now on the node is not ready.
    pub(crate) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Sends a command to its partition at once; the future waits for the answer.
    fn command<T: Send + 'static, F>(
        &self,
        partition: PartitionId,
        command: Command,
        make: F,
    ) -> impl Future<Output = Outcome<T>> + Send + 'static + use<T, F>
    where
        F: FnOnce(&engine::Partition, Answer) -> T + Send + 'static,
    {
        let (reply, waiting) = oneshot::channel();
        let request = Request::Command { command, answer: answer(reply, make) };
        let taken = self.host.mailbox(partition).request(partition, request).map_err(|_| mailbox_full());
        answered(taken, waiting)
    }

    fn query<T: Send + 'static, F>(
        &self,
        partition: PartitionId,
        query: F,
    ) -> impl Future<Output = Outcome<T>> + Send + 'static + use<T, F>
    where
        F: FnOnce(oneshot::Sender<Outcome<T>>) -> Query,
    {
        let (reply, waiting) = oneshot::channel();
        let taken = self.host.mailbox(partition).request(partition, Request::Query(query(reply)));
        answered(taken.map_err(|_| mailbox_full()), waiting)
    }

    fn partition_of(&self, tenant: &TenantId, stream: &StreamName) -> PartitionId {
        stream.routing_hash(tenant).partition(self.host.partitions())
    }

    fn partition_of_run(&self, run: RunId) -> PartitionId {
        run.routing_hash().partition(self.host.partitions())
    }

    fn follow(
        &self,
        tenant: &TenantId,
        stream: StreamName,
    ) -> impl Future<Output = Outcome<Arc<crate::fanout::Followed>>> + Send + 'static + use<> {
        let key = StreamKey { tenant: tenant.clone(), name: stream };
        let found = self.host.fanout.find(&key);
        let asked = match &found {
            Some(_) => None,
            None => Some(self.query(self.partition_of(tenant, &key.name), |reply| Query::Follow { key, reply })),
        };
        async move {
            match (found, asked) {
                (Some(followed), _) => Ok(followed),
                (None, Some(asked)) => asked.await,
                (None, None) => unreachable!("a stream is found or asked for"),
            }
        }
    }

    fn start_command(&self, tenant: &TenantId, request: StartRun) -> Outcome<(PartitionId, Command)> {
        let definition = self.host.catalogue.find(tenant, &request.workflow)?;
        let now = self.host.now();
        let run = router::new_run(tenant, request.key.as_deref(), request.idempotency_key.as_ref(), now);
        let partition = self.partition_of_run(run);
        let start = engine::StartRun {
            tenant: tenant.clone(),
            run,
            definition: definition.name,
            hash: definition.hash,
            key: request.key,
            idempotency_key: request.idempotency_key,
            input: request.input,
            seed: router::random_u64(),
            tags: request.tags,
        };
        Ok((partition, Command::StartRun(Box::new(start))))
    }
}

fn mailbox_full() -> Refusal {
    Refusal::new(Code::QueueFull, "the partition has more requests waiting than it may: slow down and try again")
        .retry_after_ms(limits::MAILBOX_PAUSE_MS)
}

async fn answered<T>(taken: Outcome<()>, waiting: oneshot::Receiver<Outcome<T>>) -> Outcome<T> {
    taken?;
    // The answer is dropped only when the log failed or the node stopped with the request in flight.
    waiting.await.unwrap_or_else(|_| {
        let message = "the node stopped before it could say whether the request is durable: ask again once it is back";
        Err(Refusal::new(Code::OutcomeUnknown, message))
    })
}

/// Carries it out whether or not anyone waits for the answer.
fn answered_anyway<T: Send + 'static>(
    work: impl Future<Output = Outcome<T>> + Send + 'static,
) -> impl Future<Output = Outcome<T>> + Send + 'static {
    let working = tokio::spawn(work);
    async move {
        working.await.unwrap_or_else(|_| Err(Refusal::new(Code::OutcomeUnknown, "the node stopped while it was at it")))
    }
}

/// Attempts that a worker had and does not speak of any more.
fn left_out(before: Vec<Attempt>, held: &[Token]) -> Vec<Attempt> {
    let held: BTreeSet<Attempt> = held.iter().map(|token| (token.run, token.step, token.attempt)).collect();
    before.into_iter().filter(|attempt| !held.contains(attempt)).collect()
}

fn too_many_workers() -> Refusal {
    let message = "the node has no memory for one more worker: let workers serve fewer tasks, or run fewer of them";
    Refusal::new(Code::TooManyRequests, message).retry_after_ms(limits::WORKERS_PAUSE_MS)
}

fn token(text: &str) -> Outcome<Token> {
    text.parse().map_err(|error: engine::TokenError| Refusal::new(Code::ForgedToken, error.to_string()))
}

fn stamp(producer: Producer) -> ProducerStamp {
    ProducerStamp { id: producer.id, epoch: producer.epoch, sequence: producer.seq }
}

impl Backend for NodeBackend {
    fn create_stream(
        &self,
        tenant: &TenantId,
        request: CreateStream,
    ) -> impl Future<Output = Outcome<StreamCreated>> + Send + 'static {
        let partition = self.partition_of(tenant, &request.stream);
        let history = self.host.history(partition);
        let key = StreamKey { tenant: tenant.clone(), name: request.stream.clone() };
        let command = Command::CreateStream {
            tenant: tenant.clone(),
            name: request.stream,
            content_type: request.content_type,
            events: request.events,
            closed: request.closed,
            keep: engine::Keep { age_ms: request.keep.age_ms, events: request.keep.events },
        };
        self.command(partition, command, move |state, answer| {
            let (_, info) = crate::fanout::view(state, &key, history).expect("a stream that was created is there");
            StreamCreated { created: matches!(answer, Answer::Created { created: true }), info }
        })
    }

    fn append(&self, tenant: &TenantId, request: Append) -> impl Future<Output = Outcome<Appended>> + Send + 'static {
        let partition = self.partition_of(tenant, &request.stream);
        let history = self.host.history(partition);
        let key = StreamKey { tenant: tenant.clone(), name: request.stream.clone() };
        let append = AppendEvents {
            tenant: tenant.clone(),
            name: request.stream,
            events: request.events,
            producer: request.producer.map(stamp),
            expected: request.expected,
            sequence: request.sequence,
            create: request.create,
            close: request.close,
        };
        self.command(partition, Command::AppendEvents(Box::new(append)), move |state, answer| {
            let (_, info) = crate::fanout::view(state, &key, history).expect("a stream that was appended to is there");
            let Answer::Appended { offset, end, duplicate, closed, producer_sequence } = answer else {
                unreachable!("an append is not answered with {answer:?}")
            };
            Appended { offset, cursor: cursor(&info, end), duplicate, closed, producer_seq: producer_sequence }
        })
    }

    fn delete_stream(
        &self,
        tenant: &TenantId,
        stream: StreamName,
    ) -> impl Future<Output = Outcome<()>> + Send + 'static {
        let partition = self.partition_of(tenant, &stream);
        let command = Command::DeleteStream { tenant: tenant.clone(), name: stream };
        self.command(partition, command, |_, _| ())
    }

    fn stream(
        &self,
        tenant: &TenantId,
        stream: StreamName,
    ) -> impl Future<Output = Outcome<StreamInfo>> + Send + 'static {
        let followed = self.follow(tenant, stream);
        async move { Ok(followed.await?.info()) }
    }

    fn read(&self, tenant: &TenantId, request: Read) -> impl Future<Output = Outcome<ReadReply>> + Send + 'static {
        let followed = self.follow(tenant, request.stream.clone());
        let (host, reads) = (self.host.clone(), self.reads.clone());
        let (this, tenant) = (self.clone(), tenant.clone());
        async move {
            let followed = followed.await?;
            let partition = followed.partition;
            let found = crate::reader::read(followed.clone(), &request, host.log.clone(), reads).await;
            if matches!(&found, Err(refusal) if refusal.code == Code::Damaged && refusal.details.is_empty()) {
                host.suspect(partition);
            }
            let Found { mut events, info, output_of } = found?;
            if let Some(run) = output_of
                && let Some(end) = events.pop()
            {
                let output = this.run(&tenant, run).await?.output.unwrap_or_else(Payload::null);
                events.push(translate::with_output(end, &output));
            }
            if let Some(run) = request.stream.run() {
                this.name_functions(&followed, run, &mut events).await;
            }
            Ok(ReadReply { events, info })
        }
    }

    fn pin(&self, tenant: &TenantId, request: Pin) -> impl Future<Output = Outcome<()>> + Send + 'static {
        let (this, tenant) = (self.clone(), tenant.clone());
        async move {
            let Pin { stream, reader, at, max_lag } = request;
            let partition = this.partition_of(&tenant, &stream);
            let followed = this.follow(&tenant, stream.clone()).await?;
            crate::reader::check(&at, &followed.info())?;
            let pin = engine::Pin { at: at.next, max_lag };
            this.command(partition, Command::PinReader { tenant, name: stream, reader, pin }, |_, _| ()).await
        }
    }

    fn unpin(
        &self,
        tenant: &TenantId,
        stream: StreamName,
        reader: String,
    ) -> impl Future<Output = Outcome<()>> + Send + 'static {
        let partition = self.partition_of(tenant, &stream);
        self.command(partition, Command::UnpinReader { tenant: tenant.clone(), name: stream, reader }, |_, _| ())
    }

    fn register_workflow(
        &self,
        tenant: &TenantId,
        request: RegisterWorkflow,
    ) -> impl Future<Output = Outcome<WorkflowRegistered>> + Send + 'static {
        let (this, tenant) = (self.clone(), tenant.clone());
        let registered = async move {
            let checked = tokio::task::spawn_blocking(move || crate::registration::check(request.source)).await;
            let checked =
                checked.unwrap_or_else(|_| Err(Refusal::new(Code::Internal, "the definition could not be checked")))?;
            let command = Command::RegisterWorkflow {
                tenant: tenant.clone(),
                name: checked.name.clone(),
                hash: checked.hash,
                source: checked.source.clone(),
            };
            let name = checked.name.clone();
            let registered = this.command(PartitionId::SYSTEM, command, move |state, answer| {
                let known = state.definitions().find(|known| known.tenant == tenant && known.name == name);
                let workflow = catalogue::info(known.expect("a definition that was registered is there"));
                (workflow, matches!(answer, Answer::Registered { created: true }))
            });
            let (workflow, created) = registered.await?;
            Ok(WorkflowRegistered { workflow, created, warnings: checked.warnings })
        };
        answered_anyway(registered)
    }

    fn workflows(&self, tenant: &TenantId) -> impl Future<Output = Outcome<Vec<WorkflowInfo>>> + Send + 'static {
        std::future::ready(Ok(self.host.catalogue.list(tenant)))
    }

    fn workflow(
        &self,
        tenant: &TenantId,
        workflow: WorkflowRef,
    ) -> impl Future<Output = Outcome<WorkflowSource>> + Send + 'static {
        let found = self.host.catalogue.find(tenant, &workflow);
        std::future::ready(found.map(|definition| catalogue::source(&definition)))
    }

    fn start_run(
        &self,
        tenant: &TenantId,
        request: StartRun,
    ) -> impl Future<Output = Outcome<RunAccepted>> + Send + 'static {
        let this = self.clone();
        let started = self.start_command(tenant, request).map(|(partition, command)| {
            let history = this.host.history(partition);
            this.command(partition, command, move |state, answer| {
                let Answer::Started { run, duplicate } = answer else {
                    unreachable!("a start is not answered with {answer:?}")
                };
                let incarnation = state.run(run).map(|run| run.incarnation);
                let cursor = incarnation.map(|incarnation| types::Cursor { history, incarnation, next: Offset::ZERO });
                (run, duplicate, cursor)
            })
        });
        let tenant = tenant.clone();
        async move {
            let (run, duplicate, begin) = started?.await?;
            let begin = match begin {
                Some(begin) => begin,
                // A duplicate of a run that is closed and out of memory: its stream knows.
                None => cursor(&this.follow(&tenant, StreamName::of_run(run)).await?.info(), Offset::ZERO),
            };
            Ok(RunAccepted { run, duplicate, cursor: begin })
        }
    }

    fn signal_run(
        &self,
        tenant: &TenantId,
        request: SignalRun,
    ) -> impl Future<Output = Outcome<SignalAccepted>> + Send + 'static {
        let command = Command::SignalRun {
            tenant: tenant.clone(),
            run: request.run,
            name: request.name,
            id: request.id,
            payload: request.payload,
        };
        self.command(self.partition_of_run(request.run), command, |_, answer| SignalAccepted {
            duplicate: matches!(answer, Answer::Signalled { duplicate: true }),
        })
    }

    fn cancel_run(&self, tenant: &TenantId, request: CancelRun) -> impl Future<Output = Outcome<()>> + Send + 'static {
        let command = Command::CancelRun { tenant: tenant.clone(), run: request.run, reason: request.reason };
        self.command(self.partition_of_run(request.run), command, |_, _| ())
    }

    fn run(&self, tenant: &TenantId, run: RunId) -> impl Future<Output = Outcome<RunInfo>> + Send + 'static {
        let tenant = tenant.clone();
        self.query(self.partition_of_run(run), move |reply| Query::Run { tenant, run, reply })
    }

    fn runs(&self, tenant: &TenantId, filter: ListRuns) -> impl Future<Output = Outcome<RunPage>> + Send + 'static {
        let limit = filter.limit.clamp(1, 1_000);
        // One more shows whether there is another page.
        let filter = ListRuns { limit: limit + 1, ..filter };
        let (this, tenant) = (self.clone(), tenant.clone());
        async move {
            let _turn = this.listings.acquire().await.expect("nobody closes it");
            let ask = |partition| {
                let (tenant, filter) = (tenant.clone(), filter.clone());
                this.query(partition, |reply| Query::Runs { tenant, filter, reply })
            };
            let asked: Vec<_> = this.host.partitions().partitions().map(ask).collect();
            let mut found = Vec::new();
            for part in asked {
                found.push(part.await?);
            }
            Ok(crate::run_list::join(found, limit, limits::LISTED_BYTES))
        }
    }

    fn attach_worker(
        &self,
        tenant: &TenantId,
        request: AttachWorker,
    ) -> impl Future<Output = Outcome<Vec<(String, HeldStatus)>>> + Send + 'static {
        let (host, now) = (self.host.clone(), self.host.now());
        let attached = host.dispatcher.attach(&request.worker, tenant, &request.queues, now);
        // What it says it holds is asked for at once; what a node that stopped leaves open is asked for again.
        let asked: Vec<_> = request
            .holding
            .iter()
            .map(|holding| (holding.token.clone(), holding.token.parse::<Token>().ok()))
            .map(|(text, token)| (text, token.map(|token| (token.clone(), self.attempt(token)))))
            .collect();
        let settled = async move {
            let before = attached.map_err(|TooManyWorkers| too_many_workers())?;
            let (mut held, mut current) = (Vec::with_capacity(asked.len()), Vec::new());
            for (text, asked) in asked {
                let status = match asked {
                    None => HeldStatus::Superseded,
                    Some((token, answer)) => match answer.await? {
                        AttemptView::Superseded => HeldStatus::Superseded,
                        AttemptView::Current { next_sequence } => {
                            current.push(token);
                            HeldStatus::NextSeq(next_sequence)
                        }
                    },
                };
                held.push((text, status));
            }
            let lost = if request.holds_nothing_else { left_out(before, &current) } else { Vec::new() };
            host.send(host.dispatcher.serve(&request.worker, &request.queues, &current, lost, host.now()));
            Ok(held)
        };
        answered_anyway(settled)
    }

    fn poll_worker(
        &self,
        _tenant: &TenantId,
        request: PollWorker,
    ) -> impl Future<Output = Outcome<Vec<WorkerPush>>> + Send + 'static {
        let polling = Polling::open(&self.host, request);
        async move { Ok(polling?.wait().await) }
    }

    fn return_tasks(&self, _tenant: &TenantId, worker: String, tokens: Vec<String>) {
        let tokens: Vec<Token> = tokens.iter().filter_map(|text| text.parse().ok()).collect();
        self.host.send(self.host.dispatcher.give_back(&worker, &tokens, self.host.now()));
    }

    fn detach_worker(&self, _tenant: &TenantId, worker: String) {
        self.host.send(self.host.dispatcher.detach(&worker, self.host.now()));
    }

    fn chunk(&self, tenant: &TenantId, request: Chunk) -> impl Future<Output = Outcome<ChunkTaken>> + Send + 'static {
        let _ = tenant;
        let taken = token(&request.token).map(|token| {
            self.host.dispatcher.beat(&request.worker, &token, self.host.now());
            let partition = self.partition_of_run(token.run);
            let command = Command::AppendChunk { token, sequence: request.seq, data: request.data };
            self.command(partition, command, |_, answer| {
                let Answer::ChunkTaken { next_sequence } = answer else {
                    unreachable!("a chunk is not answered with {answer:?}")
                };
                ChunkTaken { next_seq: next_sequence }
            })
        });
        async move { taken?.await }
    }

    fn result(&self, _tenant: &TenantId, request: StepResult) -> impl Future<Output = Outcome<()>> + Send + 'static {
        let taken = token(&request.token).map(|token| {
            self.host.dispatcher.beat(&request.worker, &token, self.host.now());
            let partition = self.partition_of_run(token.run);
            let command = match request.outcome {
                StepOutcome::Output(output) => Command::CompleteStep { token, output, worker: request.worker },
                StepOutcome::Failed { failure, retry_after_ms } => {
                    Command::FailStep { token, failure: translate::failure(failure), retry_after_ms }
                }
            };
            self.command(partition, command, |_, _| ())
        });
        async move { taken?.await }
    }

    fn beat(
        &self,
        _tenant: &TenantId,
        worker: String,
        text: String,
    ) -> impl Future<Output = Outcome<()>> + Send + 'static {
        let held = token(&text).map(|token| self.host.dispatcher.beat(&worker, &token, self.host.now()));
        std::future::ready(held.and_then(|held| {
            let message = "this worker does not hold that attempt: it was given up, or it is over";
            if held { Ok(()) } else { Err(Refusal::new(Code::StaleAttempt, message)) }
        }))
    }

    fn ready(&self) -> Outcome<()> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Refusal::new(Code::Draining, "the node is stopping: connect to it again shortly"));
        }
        Ok(())
    }

    fn durability(&self) -> Durability {
        self.host.durability
    }

    fn damage(&self) -> Damage {
        let counted = |number: i64| u64::try_from(number).unwrap_or(0);
        let metrics = &self.host.metrics;
        Damage {
            segments: self.host.storage.quarantined_segments(),
            runs: counted(metrics.runs_set_aside.get()),
            definitions: counted(metrics.definitions_lost.get()),
        }
    }
}

impl NodeBackend {
    /// Events of a run name its functions by number; its partition knows what they are called. Where it does not, as of
    /// a run that is no longer kept, the numbers stay.
    async fn name_functions(&self, followed: &Followed, run: RunId, events: &mut [Event]) {
        if followed.functions.lacks(events) {
            let functions = self.query(self.partition_of_run(run), |reply| Query::Functions { run, reply });
            followed.functions.learn(functions.await.unwrap_or_default());
        }
        followed.functions.name(events);
    }

    fn attempt(&self, token: Token) -> impl Future<Output = Outcome<AttemptView>> + Send + 'static + use<> {
        self.query(self.partition_of_run(token.run), |reply| Query::Attempt { token, reply })
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
