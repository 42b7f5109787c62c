//! Scenarios through the public API alone: a node on a free port, the Rust client over HTTP and WebSocket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_client::{
    Client, Delivery, EndStatus, Event, Failed, IdempotencyKey, RunStarted, RunningWorker, StartRun, Step, StreamStart,
};
use node::{Config, Node, RunningNode};
use serde_json::Value;
use tempfile::TempDir;

use crate::outcome::{End, Outcome, task_at};
use crate::scenario::Scenario;
use crate::script::{MESSAGE, Script, TurnEnd};

/// A run that is not over by then will not be: no scenario waits a second.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct PublicNode {
    node: RunningNode,
    client: Client,
    _data: TempDir,
}

impl PublicNode {
    pub(crate) async fn start() -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let config = Config::for_dev(data.path().join("data"), listen).expect("the defaults are allowed");
        let node = Node::start(config).await.expect("the node starts");
        let client = Client::new(&format!("http://{}", node.address())).expect("an address");
        Self { node, client, _data: data }
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        self.node.stop().await.expect("the node drains");
    }

    /// What is not as the scenario says, as a sentence.
    pub(crate) async fn check(&self, scenario: &Scenario) -> Result<(), String> {
        let script = Arc::new(Mutex::new(scenario.script.clone()));
        let worker = self.worker(&script).await;
        let outcome = tokio::time::timeout(PATIENCE, self.run(scenario)).await;
        let outcome = outcome.map_err(|_| format!("not over after {PATIENCE:?}"))??;
        if let Some(worker) = worker {
            worker.stop().await.map_err(|error| format!("the worker: {error}"))?;
        }
        scenario.expectations.iter().try_for_each(|expectation| expectation.check(&outcome))?;
        match script.lock().expect("no body panicked").left_over() {
            0 => Ok(()),
            left => Err(format!("{left} turns of its workers were never taken")),
        }
    }

    async fn worker(&self, script: &Arc<Mutex<Script>>) -> Option<RunningWorker> {
        let tasks: Vec<String> = script.lock().expect("no body panicked").tasks().map(str::to_owned).collect();
        let mut worker = self.client.worker();
        for task in &tasks {
            let script = script.clone();
            worker = worker.task(task, move |step: Step| body(script.clone(), step));
        }
        if tasks.is_empty() { None } else { Some(worker.start().await.expect("the worker connects")) }
    }

    async fn run(&self, scenario: &Scenario) -> Result<Outcome, String> {
        let registered =
            self.client.register_workflow(&scenario.definition).await.map_err(|error| error.to_string())?;
        let workflow = registered.workflow;
        let name = format!("{}/{}@{}", workflow.namespace, workflow.name, workflow.version);
        let key = IdempotencyKey::new(&format!("conformance-{}", workflow.name)).expect("a name is visible text");
        let start = StartRun::new(&name).idempotency_key(key);
        let start = scenario.input.iter().fold(start, |start, input| start.input(input.clone()));
        let started = self.client.start_run(&start).await.map_err(|error| error.to_string())?;
        let again = self.client.start_run(&start).await.map_err(|error| error.to_string())?;
        if started.duplicate || !again.duplicate || again.run != started.run {
            return Err(format!("started twice with one key, it gave {started:?} and {again:?}"));
        }
        let events = self.follow(&started).await?;
        let view = self.client.run(started.run).await.map_err(|error| error.to_string())?;
        let end = match (view.status.as_str(), view.output, view.error) {
            // An output of `null` and no output are one to a JSON reader.
            ("completed", output, None) => End::Completed(output.unwrap_or_default()),
            ("failed", None, Some(error)) => End::Faulted(error),
            (status, output, error) => return Err(format!("it ended {status} with {output:?} and {error:?}")),
        };
        Ok(Outcome { end, entered: entered(&events), streamed: streamed(&events) })
    }

    /// The run's stream from its beginning to its end.
    async fn follow(&self, started: &RunStarted) -> Result<Vec<Event>, String> {
        let subscription = self.client.subscribe(started.stream(), StreamStart::Begin).await;
        let mut subscription = subscription.map_err(|error| error.to_string())?;
        let mut events: Vec<Event> = Vec::new();
        while let Some(delivery) = subscription.next().await {
            match delivery.map_err(|error| error.to_string())? {
                Delivery::Event(event) if event.offset.value() == events.len() as u64 => events.push(event),
                Delivery::Opened { .. } => {}
                Delivery::End { status: EndStatus::Closed } => return Ok(events),
                other @ (Delivery::Event(_)
                | Delivery::Gap { .. }
                | Delivery::End { .. }
                | Delivery::Lost { .. }
                | Delivery::Passed { .. }
                | Delivery::Resumed { .. }) => {
                    return Err(format!("its stream says {other:?} after {} events", events.len()));
                }
            }
        }
        Err("its stream broke off".to_owned())
    }
}

/// A step as the script plays it.
async fn body(script: Arc<Mutex<Script>>, step: Step) -> Result<Value, Failed> {
    let turn = script.lock().expect("no body panicked").next(&step.task);
    for chunk in &turn.chunks {
        step.chunks.send(chunk).await?;
    }
    match turn.end {
        TurnEnd::Answer(answer) => Ok(answer),
        TurnEnd::Echo => step.input(),
        TurnEnd::Fail { kind, for_good } => {
            let failed = Failed::new(MESSAGE).kind(&kind);
            Err(if for_good { failed.for_good() } else { failed })
        }
    }
}

fn data(event: &Event) -> Value {
    serde_json::from_slice(&event.payload.data).expect("facts and scripted chunks are JSON")
}

/// The names of the tasks that ran, in the order in which they were entered. One whose `if` was false did not run.
fn entered(events: &[Event]) -> Vec<String> {
    let (mut names, mut open) = (Vec::new(), Vec::new());
    for event in events {
        let data = data(event);
        let Some(path) = data["path"].as_str().map(str::to_owned) else { continue };
        let enters = match &*event.kind {
            "scope_opened" | "step_scheduled" | "timer_started" => {
                open.push(path.clone());
                true
            }
            "task_exited" => data["skipped"] == Value::Bool(false),
            // It enters a `raise`, or a task that failed before it did anything; others were entered before.
            "error_raised" => !open.contains(&path),
            _ => false,
        };
        names.extend(enters.then(|| task_at(&path)));
    }
    names
}

/// The chunks that a reader keeps who cuts where it is told to.
fn streamed(events: &[Event]) -> Vec<Value> {
    let cut: Vec<(u64, u64)> = events
        .iter()
        .filter(|event| event.kind == "attempt_superseded")
        .map(data)
        .filter_map(|data| Some((data["step"].as_u64()?, data["attempt"].as_u64()?)))
        .collect();
    let kept = |event: &&Event| {
        event.source.is_some_and(|source| !cut.contains(&(u64::from(source.step), u64::from(source.attempt))))
    };
    events.iter().filter(kept).map(data).collect()
}
