//! A node in memory: real streams with offsets, closing, trimming, deleting, producers; runs and workers as scripted.

#[path = "operator.rs"]
mod operator;
#[path = "producers.rs"]
mod producers;
#[path = "samples.rs"]
pub(crate) mod samples;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gateway::backend::{
    Answer, Append, Appended, AttachWorker, Backend, CancelRun, Chunk, ChunkTaken, CreateStream, Damage, ListRuns, Pin,
    PollWorker, Producer, Read, ReadReply, RegisterWorkflow, RunAccepted, RunInfo, RunPage, SignalAccepted, SignalRun,
    StartRun, StepResult, StreamCreated, StreamInfo, WorkerPush, WorkflowInfo, WorkflowRef, WorkflowRegistered,
    WorkflowSource,
};
use protocol::{Event, HeldStatus};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use types::{
    Code, Cursor, Durability, History, Incarnation, Offset, Payload, Position, Refusal, RunId, StreamName, TenantId,
    Timestamp,
};

use self::samples::{run_id, stream};

/// The node. Clones share it.
#[derive(Clone)]
pub(crate) struct Fake {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Moves when anything changes.
    changed: watch::Sender<u64>,
    /// Whether answers to appends are let out.
    open: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    history: u32,
    position: u64,
    streams: BTreeMap<StreamName, Stream>,
    runs: BTreeMap<RunId, RunInfo>,
    keys: HashMap<String, RunId>,
    workflows: Vec<WorkflowSource>,
    polled: Vec<usize>,
    workers: HashMap<String, VecDeque<WorkerPush>>,
    calls: Vec<String>,
    not_ready: Option<Refusal>,
    durability: Durability,
    reads: usize,
    failing: usize,
}

#[derive(Clone)]
struct Stream {
    incarnation: u64,
    low: u64,
    events: Vec<Event>,
    closed: bool,
    content_type: Option<String>,
    producers: HashMap<String, (u64, u64)>,
    closed_by: Option<Producer>,
    sequence: Option<String>,
}

impl Default for Fake {
    fn default() -> Self {
        let state = Mutex::new(State { history: 7, position: 40, ..State::default() });
        Self { inner: Arc::new(Inner { state, changed: watch::Sender::new(0), open: watch::Sender::new(true) }) }
    }
}

impl Stream {
    fn info(&self, history: u32) -> StreamInfo {
        StreamInfo {
            history: History::new(history),
            incarnation: Incarnation::at(Position::new(self.incarnation)),
            low: Offset::new(self.low),
            head: Offset::new(self.events.len() as u64),
            closed: self.closed,
            content_type: self.content_type.clone(),
        }
    }

    fn push(&mut self, kind: impl Into<Cow<'static, str>>, payload: Payload) {
        let offset = Offset::new(self.events.len() as u64);
        let event =
            Event { offset, time: Timestamp::from_millis(1_795_493_220_000), kind: kind.into(), source: None, payload };
        self.events.push(event);
    }
}

/// What tests do behind the gateway's back.
impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("no test panics while it holds the state")
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.inner.changed.send_modify(|version| *version += 1);
        result
    }

    /// One whose acknowledgements promise this.
    pub(crate) fn with_durability(durability: Durability) -> Self {
        let fake = Self::default();
        fake.state().durability = durability;
        fake
    }

    pub(crate) fn create(&self, name: &str) {
        self.change(|state| {
            state.make(&stream(name), None);
        });
    }

    /// Appends events of a kind, each with its offset as data.
    pub(crate) fn append(&self, name: &str, kind: &'static str, count: usize) {
        self.change(|state| {
            let found = state.streams.get_mut(&stream(name)).expect("exists");
            for _ in 0..count {
                let data = found.events.len().to_string();
                found.push(kind, Payload::json(data));
            }
        });
    }

    pub(crate) fn append_payload(&self, name: &str, payload: Payload) {
        self.change(|state| state.streams.get_mut(&stream(name)).expect("exists").push("event", payload));
    }

    pub(crate) fn close(&self, name: &str) {
        self.change(|state| state.streams.get_mut(&stream(name)).expect("exists").closed = true);
    }

    pub(crate) fn trim(&self, name: &str, low: u64) {
        self.change(|state| state.streams.get_mut(&stream(name)).expect("exists").low = low);
    }

    pub(crate) fn delete(&self, name: &str) {
        self.change(|state| state.streams.remove(&stream(name)));
    }

    /// Deletes a stream and makes it again, before anyone can look.
    pub(crate) fn recreate(&self, name: &str) {
        self.change(|state| {
            state.make(&stream(name), None);
        });
    }

    /// The next looks at streams and reads fail, so many of them.
    pub(crate) fn fail_reads(&self, count: usize) {
        self.change(|state| state.failing = count);
    }

    pub(crate) fn restore_from_backup(&self) {
        self.change(|state| state.history += 1);
    }

    pub(crate) fn cursor(&self, name: &str, next: u64) -> Cursor {
        let state = self.state();
        let info = state.streams[&stream(name)].info(state.history);
        Cursor { history: info.history, incarnation: info.incarnation, next: Offset::new(next) }
    }

    pub(crate) fn events(&self, name: &str) -> Vec<Event> {
        self.state().streams[&stream(name)].events.clone()
    }

    pub(crate) fn head(&self, name: &str) -> u64 {
        self.state().streams.get(&stream(name)).map_or(0, |stream| stream.events.len() as u64)
    }

    /// How many reads were asked for.
    pub(crate) fn reads(&self) -> usize {
        self.state().reads
    }

    /// Keeps answers to appends back, or lets them out.
    pub(crate) fn hold_answers(&self, hold: bool) {
        self.inner.open.send_replace(!hold);
    }

    pub(crate) fn not_ready(&self, refusal: Option<Refusal>) {
        self.state().not_ready = refusal;
    }

    pub(crate) fn give(&self, worker: &str, push: WorkerPush) {
        self.change(|state| state.workers.get_mut(worker).expect("attached").push_back(push));
    }

    /// The same for several at once.
    pub(crate) fn give_all(&self, worker: &str, pushes: impl IntoIterator<Item = WorkerPush>) {
        self.change(|state| state.workers.get_mut(worker).expect("attached").extend(pushes));
    }

    /// How many pushes each poll brought that brought any.
    pub(crate) fn polled(&self) -> Vec<usize> {
        self.state().polled.clone()
    }

    /// The workers that are attached.
    pub(crate) fn workers(&self) -> Vec<String> {
        self.state().workers.keys().cloned().collect()
    }

    pub(crate) fn finish_run(&self, run: RunId, output: &str) {
        self.change(|state| {
            let found = state.streams.get_mut(&StreamName::of_run(run)).expect("exists");
            found.push("run_completed", Payload::json(output.to_owned()));
            found.closed = true;
            let info = state.runs.get_mut(&run).expect("exists");
            info.status = "completed".into();
            info.output = Some(Payload::json(output.to_owned()));
        });
    }
}

fn no_stream(name: &StreamName) -> Refusal {
    Refusal::new(Code::StreamNotFound, format!("stream {name} does not exist"))
}

impl State {
    fn make(&mut self, name: &StreamName, content_type: Option<String>) -> &mut Stream {
        self.position += 1;
        let stream = Stream {
            incarnation: self.position,
            low: 0,
            events: Vec::new(),
            closed: false,
            content_type,
            producers: HashMap::new(),
            closed_by: None,
            sequence: None,
        };
        self.streams.insert(name.clone(), stream);
        self.streams.get_mut(name).expect("just made")
    }

    /// For a while nothing can be read.
    fn may_read(&mut self) -> Result<(), Refusal> {
        let fails = self.failing > 0;
        self.failing = self.failing.saturating_sub(1);
        let unavailable = || Refusal::new(Code::Unavailable, "the partition moves").retry_after_ms(10);
        if fails { Err(unavailable()) } else { Ok(()) }
    }

    fn info(&self, name: &StreamName) -> Result<StreamInfo, Refusal> {
        Ok(self.streams.get(name).ok_or_else(|| no_stream(name))?.info(self.history))
    }

    fn create(&mut self, request: CreateStream) -> Result<StreamCreated, Refusal> {
        let CreateStream { stream, content_type, events, closed, keep: _ } = request;
        if let Some(found) = self.streams.get(&stream) {
            let same = found.content_type == content_type && found.closed == closed;
            let info = found.info(self.history);
            let exists = || Refusal::new(Code::StreamExists, format!("stream {stream} exists with other settings"));
            return if same { Ok(StreamCreated { created: false, info }) } else { Err(exists()) };
        }
        let history = self.history;
        let made = self.make(&stream, content_type);
        for payload in events {
            made.push("event", payload);
        }
        made.closed = closed;
        Ok(StreamCreated { created: true, info: made.info(history) })
    }

    fn append(&mut self, request: Append) -> Result<Appended, Refusal> {
        let Append { stream: name, events, producer, create, close, sequence, .. } = request;
        if create && !self.streams.contains_key(&name) {
            self.make(&name, None);
        }
        let history = self.history;
        let stream = self.streams.get_mut(&name).ok_or_else(|| no_stream(&name))?;
        let end = |stream: &Stream| {
            let info = stream.info(history);
            Cursor { history: info.history, incarnation: info.incarnation, next: info.head }
        };
        if let Some(producer) = &producer
            && !stream.admits(producer)?
        {
            let producer_seq = stream.producers.get(producer.id.as_str()).map(|(_, seq)| *seq);
            let (cursor, closed) = (end(stream), stream.closed);
            return Ok(Appended { offset: None, cursor, duplicate: true, closed, producer_seq });
        }
        if stream.closed {
            return Err(Refusal::new(Code::StreamClosed, format!("stream {name} is closed")));
        }
        if sequence.is_some() && sequence <= stream.sequence {
            return Err(Refusal::new(Code::SequenceConflict, "it was passed"));
        }
        stream.sequence = sequence.or(stream.sequence.take());
        let offset = Offset::new(stream.events.len() as u64);
        for payload in events {
            stream.push("event", payload);
        }
        if let Some(producer) = &producer {
            stream.producers.insert(producer.id.as_str().to_owned(), (producer.epoch, producer.seq));
        }
        let producer_seq = producer.as_ref().map(|producer| producer.seq);
        if close {
            stream.closed = true;
            stream.closed_by = producer;
        }
        let (cursor, closed) = (end(stream), stream.closed);
        Ok(Appended { offset: Some(offset), cursor, duplicate: false, closed, producer_seq })
    }

    fn read(&mut self, request: &Read) -> Result<ReadReply, Refusal> {
        let info = self.info(&request.stream)?;
        let code = match &request.from {
            from if from.history != info.history => Some(Code::OtherHistory),
            from if from.incarnation != info.incarnation => Some(Code::OtherStream),
            from if from.next < info.low => Some(Code::Trimmed),
            from if from.next > info.head => Some(Code::LogTruncated),
            _ => None,
        };
        if let Some(code) = code {
            return Err(Refusal::new(code, "not here"));
        }
        let start = usize::try_from(request.from.next.value()).expect("fits");
        let mut bytes = 0;
        let fits = |event: &&Event| {
            let first = bytes == 0;
            bytes += event.payload.len().max(1);
            first || bytes <= request.max_bytes
        };
        let events = &self.streams[&request.stream].events[start..];
        let events = events.iter().take(request.max_events).take_while(fits).cloned().collect();
        Ok(ReadReply { events, info })
    }
}

impl Backend for Fake {
    fn create_stream(&self, _: &TenantId, request: CreateStream) -> impl Answer<StreamCreated> {
        std::future::ready(self.change(|state| state.create(request)))
    }

    fn append(&self, _: &TenantId, request: Append) -> impl Answer<Appended> {
        let result = self.change(|state| state.append(request));
        let mut open = self.inner.open.subscribe();
        async move {
            let _ = open.wait_for(|open| *open).await;
            result
        }
    }

    fn delete_stream(&self, _: &TenantId, stream: StreamName) -> impl Answer<()> {
        let removed = self.change(|state| state.streams.remove(&stream));
        std::future::ready(removed.map(|_| ()).ok_or_else(|| no_stream(&stream)))
    }

    fn stream(&self, _: &TenantId, stream: StreamName) -> impl Answer<StreamInfo> {
        let mut state = self.state();
        std::future::ready(state.may_read().and_then(|()| state.info(&stream)))
    }

    fn read(&self, _: &TenantId, request: Read) -> impl Answer<ReadReply> {
        self.state().reads += 1;
        let fake = self.clone();
        async move {
            let until = Instant::now() + Duration::from_millis(request.wait_ms);
            let mut changed = fake.inner.changed.subscribe();
            loop {
                let reply = {
                    let mut state = fake.state();
                    state.may_read()?;
                    state.read(&request)?
                };
                let waits = reply.events.is_empty() && !reply.info.closed;
                if !waits || timeout_at(until, changed.changed()).await.is_err() {
                    return Ok(reply);
                }
            }
        }
    }

    fn pin(&self, _: &TenantId, request: Pin) -> impl Answer<()> {
        let Pin { stream, reader, at, max_lag } = request;
        let stands = self.change(|state| {
            let info = state.info(&stream)?;
            if at.next > info.head {
                return Err(Refusal::new(Code::LogTruncated, "not here"));
            }
            state.calls.push(format!("pin {stream} {reader} {} {max_lag}", at.next));
            Ok(())
        });
        std::future::ready(stands)
    }

    fn unpin(&self, _: &TenantId, stream: StreamName, reader: String) -> impl Answer<()> {
        self.change(|state| state.calls.push(format!("unpin {stream} {reader}")));
        std::future::ready(Ok(()))
    }

    fn register_workflow(&self, _: &TenantId, request: RegisterWorkflow) -> impl Answer<WorkflowRegistered> {
        let result = self.change(|state| {
            if request.source.contains("broken") {
                let refusal = Refusal::new(Code::InvalidDefinition, "1 problem");
                return Err(refusal.detail("problem", "1:1 a broken definition"));
            }
            let workflow = WorkflowInfo {
                namespace: "default".into(),
                name: request.source.trim().into(),
                version: "1.0.0".into(),
                hash: "00".into(),
                registered: Timestamp::from_millis(1_795_493_220_000),
            };
            let known = state.workflows.iter().any(|known| known.workflow == workflow);
            if !known {
                state.workflows.push(WorkflowSource { workflow: workflow.clone(), source: request.source });
            }
            Ok(WorkflowRegistered { workflow, created: !known, warnings: vec![] })
        });
        std::future::ready(result)
    }

    fn workflows(&self, _: &TenantId) -> impl Answer<Vec<WorkflowInfo>> {
        std::future::ready(Ok(self.state().workflows.iter().map(|known| known.workflow.clone()).collect()))
    }

    fn workflow(&self, _: &TenantId, workflow: WorkflowRef) -> impl Answer<WorkflowSource> {
        let state = self.state();
        let found = state.workflows.iter().find(|known| known.workflow.name == workflow.name).cloned();
        std::future::ready(found.ok_or_else(|| Refusal::new(Code::WorkflowNotFound, "no such workflow")))
    }

    fn start_run(&self, _: &TenantId, request: StartRun) -> impl Answer<RunAccepted> {
        let accepted = self.change(|state| {
            let key = request.idempotency_key.as_ref().map(|key| key.as_str().to_owned());
            let known = key.as_ref().and_then(|key| state.keys.get(key)).copied();
            let run = known.unwrap_or_else(|| run_id(state.runs.len() as u128 + 1));
            if known.is_none() {
                let history = state.history;
                let name = StreamName::of_run(run);
                let made = state.make(&name, None);
                made.push("run_started", request.input.clone());
                let head = made.info(history).head;
                let workflow = WorkflowInfo {
                    namespace: request.workflow.namespace,
                    name: request.workflow.name,
                    version: request.workflow.version.unwrap_or_else(|| "1.0.0".into()),
                    hash: "00".into(),
                    registered: Timestamp::ZERO,
                };
                let info = RunInfo {
                    run,
                    key: request.key,
                    workflow,
                    status: "running".into(),
                    input: request.input,
                    output: None,
                    error: None,
                    current: vec!["/do/0/draft".into()],
                    started: Timestamp::from_millis(1_795_493_220_000),
                    closed: None,
                    head,
                    tags: request.tags,
                };
                state.runs.insert(run, info);
                key.map(|key| state.keys.insert(key, run));
            }
            let info = state.info(&StreamName::of_run(run)).expect("exists");
            let cursor = Cursor { history: info.history, incarnation: info.incarnation, next: info.low };
            RunAccepted { run, duplicate: known.is_some(), cursor }
        });
        std::future::ready(Ok(accepted))
    }

    fn signal_run(&self, _: &TenantId, request: SignalRun) -> impl Answer<SignalAccepted> {
        let result = self.change(|state| {
            let name = StreamName::of_run(request.run);
            let stream = state.streams.get_mut(&name).ok_or_else(|| no_run(request.run))?;
            stream.push(format!("signal_{}", request.name), request.payload);
            Ok(SignalAccepted { duplicate: false })
        });
        std::future::ready(result)
    }

    fn cancel_run(&self, _: &TenantId, request: CancelRun) -> impl Answer<()> {
        let known = self.state().runs.contains_key(&request.run);
        std::future::ready(if known { Ok(()) } else { Err(no_run(request.run)) })
    }

    fn run(&self, _: &TenantId, run: RunId) -> impl Answer<RunInfo> {
        std::future::ready(self.state().runs.get(&run).cloned().ok_or_else(|| no_run(run)))
    }

    fn runs(&self, _: &TenantId, filter: ListRuns) -> impl Answer<RunPage> {
        let state = self.state();
        let after = filter.after.map_or(u128::MAX, |run| run.ulid());
        let matching = state.runs.values().rev().filter(|run| run.run.ulid() < after);
        let matching = matching.filter(|run| filter.status.as_ref().is_none_or(|status| *status == run.status));
        let mut runs: Vec<_> = matching.take(filter.limit + 1).cloned().collect();
        let more = runs.len() > filter.limit;
        runs.truncate(filter.limit);
        let next = if more { runs.last().map(|run| run.run) } else { None };
        std::future::ready(Ok(RunPage { runs, damaged: Vec::new(), next }))
    }

    fn attach_worker(&self, _: &TenantId, request: AttachWorker) -> impl Answer<Vec<(String, HeldStatus)>> {
        let held = self.change(|state| {
            state.workers.entry(request.worker).or_default();
            let status = |token: &str, next_seq: u64| match token {
                "gone" => HeldStatus::Superseded,
                _ => HeldStatus::NextSeq(next_seq),
            };
            request.holding.into_iter().map(|held| (held.token.clone(), status(&held.token, held.next_seq))).collect()
        });
        std::future::ready(Ok(held))
    }

    fn poll_worker(&self, _: &TenantId, request: PollWorker) -> impl Answer<Vec<WorkerPush>> {
        let fake = self.clone();
        async move {
            let until = Instant::now() + Duration::from_millis(request.wait_ms);
            let mut changed = fake.inner.changed.subscribe();
            loop {
                let pushes = {
                    let mut state = fake.state();
                    let unknown = || Refusal::new(Code::NotFound, "no such worker");
                    let queue = state.workers.get_mut(&request.worker).ok_or_else(unknown)?;
                    let mut bytes = 0;
                    let room = |push: &WorkerPush| {
                        let fits = bytes < request.max_bytes;
                        if let WorkerPush::Task(task) = push {
                            bytes += task.input.get().len();
                        }
                        fits
                    };
                    let most = queue.iter().take(request.max).map(room).take_while(|fits| *fits).count();
                    let pushes: Vec<_> = queue.drain(..most).collect();
                    if !pushes.is_empty() {
                        state.polled.push(pushes.len());
                    }
                    pushes
                };
                if !pushes.is_empty() || timeout_at(until, changed.changed()).await.is_err() {
                    return Ok(pushes);
                }
            }
        }
    }

    fn return_tasks(&self, _: &TenantId, worker: String, tokens: Vec<String>) {
        self.state().calls.push(format!("return {worker} {}", tokens.join(" ")));
    }

    fn detach_worker(&self, _: &TenantId, worker: String) {
        self.change(|state| state.workers.remove(&worker));
    }

    fn chunk(&self, _: &TenantId, request: Chunk) -> impl Answer<ChunkTaken> {
        self.state().calls.push(format!("chunk {} {}", request.token, request.seq));
        let gap = || Refusal::new(Code::ChunkGap, "a chunk is missing").detail("expected", 3);
        let result = if request.seq > 100 { Err(gap()) } else { Ok(ChunkTaken { next_seq: request.seq + 1 }) };
        std::future::ready(result)
    }

    fn result(&self, _: &TenantId, request: StepResult) -> impl Answer<()> {
        self.state().calls.push(format!("result {}", request.token));
        let stale = || Refusal::new(Code::StaleAttempt, "another attempt took over");
        std::future::ready(if request.token == "stale" { Err(stale()) } else { Ok(()) })
    }

    fn beat(&self, _: &TenantId, _: String, token: String) -> impl Answer<()> {
        self.state().calls.push(format!("beat {token}"));
        std::future::ready(Ok(()))
    }

    fn ready(&self) -> Result<(), Refusal> {
        self.state().not_ready.clone().map_or(Ok(()), Err)
    }

    fn durability(&self) -> Durability {
        self.state().durability
    }

    fn damage(&self) -> Damage {
        Damage::default()
    }
}

fn no_run(run: RunId) -> Refusal {
    Refusal::new(Code::RunNotFound, format!("run {run} does not exist"))
}
