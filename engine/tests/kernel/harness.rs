//! A partition on a bench: compiles definitions, carries commands through *needs*, *decide* and *apply*, keeps the
//! bytes of the log, and holds every event against the kernel's promises.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{
    Answer, Command, Decision, DefinitionName, Effect, Event, Failure, Need, Offer, Partition, PartitionConfig, Placed,
    Rejection, Run, RunEvent, RunStatus, StartRun, Token, Verifier, stored,
};
use serde_json::Value;
use types::{IdempotencyKey, Payload, RoutingHash, RunId, TenantId, Timestamp, WorkflowHash};
use workflow::Program;

use crate::model::Owed;

pub(crate) const TOKEN_KEY: [u8; 32] = [7; 32];
pub(crate) const BEGINNING: Timestamp = Timestamp::from_millis(1_795_493_220_000);

/// One event as it went into the log.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) event: Event,
    pub(crate) bytes: stored::Encoded,
    pub(crate) cause: bool,
    pub(crate) placed: Placed,
}

#[derive(Debug)]
pub(crate) struct Harness {
    pub(crate) partition: Partition,
    pub(crate) now: Timestamp,
    pub(crate) log: Vec<Logged>,
    pub(crate) programs: BTreeMap<WorkflowHash, Arc<Program>>,
    pub(crate) config: PartitionConfig,
    names: BTreeMap<String, (DefinitionName, WorkflowHash)>,
    owed: Owed,
    runs: u128,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with_config(PartitionConfig::new(TOKEN_KEY))
    }

    pub(crate) fn with_config(config: PartitionConfig) -> Self {
        Self {
            partition: Partition::new(config.clone()),
            now: BEGINNING,
            log: Vec::new(),
            programs: BTreeMap::new(),
            config,
            names: BTreeMap::new(),
            owed: Owed::default(),
            runs: 0,
        }
    }

    /// With one definition, called `flow`.
    pub(crate) fn of(body: &str) -> Self {
        let mut harness = Self::new();
        harness.define("flow", body);
        harness
    }

    /// Compiles a definition from its body, without the document's head.
    pub(crate) fn define(&mut self, name: &str, body: &str) {
        let source = source(name, body);
        let program = workflow::compile(&source).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        self.define_compiled(name, &source, Arc::new(program));
    }

    pub(crate) fn define_compiled(&mut self, name: &str, source: &str, program: Arc<Program>) {
        let hash = WorkflowHash::of(source);
        self.programs.insert(hash, program);
        self.names.insert(name.to_owned(), (definition(name), hash));
    }

    /// Carries one command through; what it came to, or why not.
    pub(crate) fn send(&mut self, command: &Command) -> Result<(Vec<Event>, Answer), Rejection> {
        self.fetch(command);
        let before = self.partition.next_position();
        let Decision { events, answer } = self.partition.decide(command, self.now)?;
        assert_eq!(self.partition.next_position(), before, "deciding changes nothing");
        let again = self.partition.decide(command, self.now).expect("deciding again is the same");
        assert_eq!(again.events, events, "deciding twice gives the same");
        let time = self.partition.log_time(self.now);
        for (index, event) in events.iter().enumerate() {
            let cause = index == 0 || !matches!(event, Event::Run { .. });
            self.apply(event, cause, time);
        }
        Ok((events, answer))
    }

    /// Carries out a command that must be taken; gives its run events.
    pub(crate) fn expect(&mut self, command: &Command) -> Vec<RunEvent> {
        let (events, _) = self.send(command).unwrap_or_else(|rejection| panic!("{command:?}: {rejection}"));
        run_events(events)
    }

    /// Sends a command that must be refused, which changes nothing.
    pub(crate) fn refuse(&mut self, command: &Command) -> Rejection {
        let before = self.partition.next_position();
        let rejection = self.send(command).expect_err("it is refused");
        assert_eq!(self.partition.next_position(), before);
        assert!(!rejection.to_string().is_empty());
        rejection
    }

    fn fetch(&mut self, command: &Command) {
        for _ in 0..2 {
            for need in self.partition.needs(command) {
                if let Need::Program(hash) = need {
                    let program = self.programs.get(&hash).unwrap_or_else(|| panic!("{hash} was not defined"));
                    self.partition.admit_program(hash, program.clone());
                }
            }
        }
    }

    fn apply(&mut self, event: &Event, cause: bool, time: Timestamp) {
        assert_eq!(self.partition.contradiction(event), None, "what the kernel decides can happen");
        let bytes = stored::encode(event, self.partition.place(event));
        let placed = Placed { position: self.partition.next_position(), time };
        let mut fresh = Vec::new();
        self.partition.apply(event, placed, &mut fresh);
        self.owed.observe(event, fresh);
        assert_eq!(Owed::of(self.partition.effects()), self.owed, "owed after {event:?}");
        self.log.push(Logged { event: event.clone(), bytes, cause, placed });
    }

    pub(crate) fn start_command(&mut self, name: &str, input: &Value) -> StartRun {
        self.runs += 1;
        let (definition, hash) = self.names[name].clone();
        StartRun {
            tenant: TenantId::default(),
            run: RunId::new(RoutingHash::from_bits(3), self.runs),
            definition,
            hash,
            key: None,
            idempotency_key: None,
            input: json(input),
            seed: u64::try_from(self.runs).expect("few runs") * 7919,
            tags: Vec::new(),
        }
    }

    /// Starts the run of `name`; what it did at once is in the log.
    pub(crate) fn start_named(&mut self, name: &str, input: &Value) -> RunId {
        let start = self.start_command(name, input);
        let run = start.run;
        let (_, answer) = self.send(&Command::StartRun(Box::new(start))).expect("it starts");
        assert_eq!(answer, Answer::Started { run, duplicate: false });
        run
    }

    pub(crate) fn start(&mut self, input: &Value) -> RunId {
        self.start_named("flow", input)
    }

    pub(crate) fn keyed(&mut self, key: &str, input: &Value) -> StartRun {
        let start = self.start_command("flow", input);
        StartRun { idempotency_key: Some(IdempotencyKey::new(key).expect("visible")), ..start }
    }

    pub(crate) fn run(&self, run: RunId) -> &Run {
        self.partition.run(run).expect("the run is in memory")
    }

    pub(crate) fn status(&self, run: RunId) -> RunStatus {
        self.run(run).status
    }

    /// The output of a run that must have completed.
    pub(crate) fn output(&self, run: RunId) -> Value {
        let run = self.run(run);
        assert_eq!(run.status, RunStatus::Completed, "{:?}", run.error);
        value(run.output.as_ref().expect("a completed run has an output"))
    }

    /// Starts a run that needs nobody, and gives its output.
    pub(crate) fn output_of(&mut self, input: &Value) -> Value {
        let run = self.start(input);
        self.carry_on();
        self.output(run)
    }

    /// Every attempt that is offered.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let offer = |effect| if let Effect::Dispatch(offer) = effect { Some(*offer) } else { None };
        self.partition.effects().into_iter().filter_map(offer).collect()
    }

    /// The one attempt that is offered.
    pub(crate) fn offer(&self) -> Offer {
        let mut offers = self.offers();
        assert_eq!(offers.len(), 1, "{offers:?}");
        offers.remove(0)
    }

    /// A worker answers the one offer.
    pub(crate) fn complete(&mut self, output: &Value) -> Vec<RunEvent> {
        let token = self.offer().token;
        self.expect(&completion(&token, output))
    }

    pub(crate) fn fail(&mut self, kind: &str) -> Vec<RunEvent> {
        let token = self.offer().token;
        self.expect(&failing(&token, Failure::new(kind, "it did not work")))
    }

    /// Sends every continuation that is owed until none is.
    pub(crate) fn carry_on(&mut self) -> usize {
        let mut sent = 0;
        loop {
            let owed = |effect: &Effect| if let Effect::Continue { run } = effect { Some(*run) } else { None };
            let Some(run) = self.partition.effects().iter().find_map(owed) else { return sent };
            self.expect(&Command::ContinueRun { run });
            sent += 1;
            assert!(sent < 1_000, "it goes on for ever");
        }
    }

    /// Lets time pass to the next timer and fires it.
    pub(crate) fn fire_next(&mut self) -> Vec<RunEvent> {
        self.now = self.partition.next_wake().expect("a timer is set");
        let due = self.partition.due(self.now, 1);
        self.expect(&due[0])
    }

    pub(crate) fn later_ms(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// All events of one run, in order.
    pub(crate) fn history(&self, run: RunId) -> Vec<RunEvent> {
        let of_run = |logged: &Logged| {
            if let Event::Run { run: id, event } = &logged.event
                && *id == run
            {
                Some(event.clone())
            } else {
                None
            }
        };
        self.log.iter().filter_map(of_run).collect()
    }

    /// Folds the log anew from its bytes. Knows no definition: recovery needs none.
    pub(crate) fn replayed(&self) -> Partition {
        let mut partition = Partition::new(self.config.clone());
        for logged in &self.log {
            let event = stored::decode(&logged.bytes, |ordinal| partition.run_of(ordinal)).expect("it reads back");
            assert_eq!(event, logged.event, "an event comes back as it went in");
            partition.apply(&event, logged.placed, &mut Vec::new());
        }
        partition
    }

    /// Derives the consequences of every cause again.
    pub(crate) fn verify(&self, log: &[Logged]) -> Result<engine::Verified, engine::Divergence> {
        let mut partition = Partition::new(self.config.clone());
        let mut verifier = Verifier::default();
        for Logged { event, cause, placed, .. } in log {
            let program = |hash| self.programs.get(&hash).cloned();
            verifier.observe(&partition, event, *cause, placed.position, placed.time, program)?;
            partition.apply(event, *placed, &mut Vec::new());
        }
        verifier.finish(partition.next_position())
    }

    /// What must hold for every log there is.
    fn check(&self) {
        let again = self.replayed();
        assert!(again.runs().eq(self.partition.runs()), "replaying gives the same runs");
        assert_eq!(again.digest(), self.partition.digest());
        assert_eq!(again.effects(), self.partition.effects());
        assert_eq!(again.next_wake(), self.partition.next_wake());
        assert_eq!(again.next_position(), self.partition.next_position());
        assert_eq!(again.open_steps(), self.partition.open_steps());
        let verified = self.verify(&self.log);
        assert!(verified.is_ok(), "the kernel derives what is logged: {verified:?}");
        let times: Vec<_> = self.log.iter().map(|logged| logged.placed.time).collect();
        assert!(times.is_sorted(), "log time never goes back");
    }
}

/// Every test's log is held against the promises at its end.
impl Drop for Harness {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

pub(crate) fn source(name: &str, body: &str) -> String {
    let head = "document:\n  dsl: '1.0.3'\n  namespace: test\n";
    format!("{head}  name: {name}\n  version: '1.0.0'\n{body}")
}

pub(crate) fn definition(name: &str) -> DefinitionName {
    DefinitionName { namespace: "test".to_owned(), name: name.to_owned(), version: "1.0.0".to_owned() }
}

pub(crate) fn json(value: &Value) -> Payload {
    Payload::json(value.to_string())
}

pub(crate) fn value(payload: &Payload) -> Value {
    serde_json::from_slice(&payload.data).expect("the kernel keeps JSON")
}

pub(crate) fn run_events(events: Vec<Event>) -> Vec<RunEvent> {
    let run_event = |event| if let Event::Run { event, .. } = event { Some(event) } else { None };
    events.into_iter().filter_map(run_event).collect()
}

pub(crate) fn completion(token: &Token, output: &Value) -> Command {
    Command::CompleteStep { token: token.clone(), output: json(output), worker: "worker-1".to_owned() }
}

pub(crate) fn failing(token: &Token, failure: Failure) -> Command {
    Command::FailStep { token: token.clone(), failure, retry_after_ms: None }
}

pub(crate) fn chunk(token: &Token, sequence: u64, text: &str) -> Command {
    let data = Payload { content_type: Some("text/plain".to_owned()), ..Payload::json(text.to_owned()) };
    Command::AppendChunk { token: token.clone(), sequence, data }
}

/// The addresses of all tasks that were entered, in order.
pub(crate) fn addresses(events: &[RunEvent]) -> Vec<&str> {
    events.iter().filter_map(address).collect()
}

fn address(event: &RunEvent) -> Option<&str> {
    if let RunEvent::ScopeOpened { path, .. }
    | RunEvent::StepScheduled { path, .. }
    | RunEvent::TimerStarted { path, .. }
    | RunEvent::ErrorRaised { path, .. }
    | RunEvent::TaskExited { path: Some(path), .. } = event
    {
        Some(path.as_str())
    } else {
        None
    }
}

/// What kinds of events there are, in order, by the name that their `Debug` begins with.
pub(crate) fn kinds(events: &[RunEvent]) -> Vec<String> {
    let name = |event| format!("{event:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
    events.iter().map(name).collect()
}
