//! Clients: producers, starters of runs, those who signal, cancel, create, close and delete. They send again until
//! they hear, send what they sent before, or vanish.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Answer, AppendEvents, Command, ProducerStamp, Rejection, StartRun, StreamKey};
use serde_json::json;
use types::{
    IdempotencyKey, Offset, PartitionCount, PartitionId, Payload, ProducerId, RoutingHash, RunId, StreamName,
    StreamOrdinal, TenantId,
};

use crate::chance::Chance;
use crate::definitions;
use crate::machine::{Ask, Heard, Request, StreamView};

/// Why a request was sent.
#[derive(Clone, Debug)]
enum Purpose {
    Produce {
        producer: usize,
        epoch: u64,
        sequence: u64,
    },
    Start {
        start: usize,
    },
    Errand {
        errand: usize,
    },
    /// Nobody minds what comes back.
    Idle,
}

/// Sends a fixed number of requests on one stream, the last of which may close it.
#[derive(Debug)]
struct Producer {
    name: StreamName,
    id: ProducerId,
    epoch: u64,
    /// The requests of this epoch.
    requests: Vec<Vec<Payload>>,
    closes: bool,
    settled: BTreeSet<u64>,
}

/// A run that somebody wants.
#[derive(Debug)]
struct Start {
    definition: usize,
    /// With a key it is asked for until it is known to run; without, once.
    key: Option<IdempotencyKey>,
    hash: RoutingHash,
    input: Payload,
    run: Option<RunId>,
    given_up: bool,
}

/// A request that is repeated as it is until it is answered.
#[derive(Debug)]
struct Errand {
    partition: PartitionId,
    command: Command,
    settled: bool,
}

#[derive(Debug)]
pub(crate) struct Clients {
    partitions: PartitionCount,
    producers: Vec<Producer>,
    starts: Vec<Start>,
    errands: Vec<Errand>,
    pending: BTreeMap<u64, Purpose>,
    requests: u64,
    nonce: u64,
    /// What was seen of streams and runs: it never goes back.
    seen_streams: BTreeMap<(PartitionId, StreamOrdinal), StreamView>,
    seen_runs: BTreeMap<RunId, (bool, Offset)>,
}

impl Clients {
    pub(crate) fn new(partitions: PartitionCount, chance: &mut Chance) -> Self {
        let mut clients = Self {
            partitions,
            producers: Vec::new(),
            starts: Vec::new(),
            errands: Vec::new(),
            pending: BTreeMap::new(),
            requests: 0,
            nonce: 0,
            seen_streams: BTreeMap::new(),
            seen_runs: BTreeMap::new(),
        };
        for n in 0..chance.between(1, 4) {
            clients.add_producer(n, chance);
        }
        for known in definitions::all() {
            let (partition, command) = (PartitionId::SYSTEM, definitions::register(known));
            clients.errands.push(Errand { partition, command, settled: false });
        }
        clients
    }

    fn add_producer(&mut self, n: u64, chance: &mut Chance) {
        // Some share a stream; only one that has its stream for itself may close it.
        let alone = chance.one_in(2);
        let stream = if alone { format!("agent-{n}/tokens") } else { "shared/log".to_owned() };
        let mut producer = Producer {
            name: StreamName::new(&stream).expect("valid"),
            id: ProducerId::new(&format!("p{n}")).expect("visible"),
            epoch: 0,
            requests: Vec::new(),
            closes: alone && chance.one_in(3),
            settled: BTreeSet::new(),
        };
        self.fill(&mut producer, chance);
        self.producers.push(producer);
    }

    /// The requests of an epoch: they never change, however often they are sent.
    fn fill(&mut self, producer: &mut Producer, chance: &mut Chance) {
        let count = chance.between(1, 12);
        producer.settled.clear();
        producer.requests = (0..count)
            .map(|sequence| {
                let of = chance.between(1, 3);
                let event = |n| {
                    self.nonce += 1;
                    let (id, epoch) = (producer.id.as_str(), producer.epoch);
                    let stream = producer.name.as_str();
                    let nonce = self.nonce;
                    json!({"stream": stream, "producer": id, "epoch": epoch, "sequence": sequence, "n": n, "of": of, "nonce": nonce})
                };
                (0..of).map(event).map(|event| Payload::json(event.to_string())).collect()
            })
            .collect();
    }

    pub(crate) fn request(&mut self, ask: Ask) -> Request {
        self.requests += 1;
        Request { id: self.requests, ask }
    }

    fn send(&mut self, partition: PartitionId, command: Command, purpose: Purpose) -> (PartitionId, Request) {
        let request = self.request(Ask::Command(command));
        self.pending.insert(request.id, purpose);
        (partition, request)
    }

    pub(crate) fn partition_of(&self, name: &StreamName) -> PartitionId {
        name.routing_hash(&TenantId::default()).partition(self.partitions)
    }

    /// Some client does something. `open` says which definitions can be started.
    pub(crate) fn act(&mut self, chance: &mut Chance, open: impl Fn(usize) -> bool) -> Option<(PartitionId, Request)> {
        match chance.below(12) {
            0..=3 => {
                let producer = chance.index(self.producers.len());
                let ahead = chance.below(3);
                self.produce(producer, ahead)
            }
            4 => self.next_epoch(chance),
            5..=6 => {
                self.want_run(chance);
                None
            }
            7..=8 => {
                let start = chance.index(self.starts.len().max(1));
                self.start(start, chance, open)
            }
            9 => self.conflicting_start(chance, open),
            10 => {
                self.want_errand(chance);
                let errand = chance.index(self.errands.len().max(1));
                self.errand(errand)
            }
            _ => Some(self.dabble(chance)),
        }
    }

    /// Sends the first request that is not known to be taken, or one a little ahead of it.
    fn produce(&mut self, producer: usize, ahead: u64) -> Option<(PartitionId, Request)> {
        let Producer { name, id, epoch, requests, closes, settled } = &self.producers[producer];
        let count = requests.len() as u64;
        let first = (0..count).find(|sequence| !settled.contains(sequence))?;
        let sequence = (first + ahead).min(count - 1);
        let events = requests[usize::try_from(sequence).expect("few")].clone();
        let (epoch, stamp) = (*epoch, ProducerStamp { id: id.clone(), epoch: *epoch, sequence });
        let append = AppendEvents {
            tenant: TenantId::default(),
            name: name.clone(),
            events,
            producer: Some(stamp),
            expected: None,
            sequence: None,
            create: true,
            close: *closes && sequence + 1 == count,
        };
        let partition = self.partition_of(&append.name);
        let command = Command::AppendEvents(Box::new(append));
        Some(self.send(partition, command, Purpose::Produce { producer, epoch, sequence }))
    }

    /// A producer starts anew: what it had not heard of stays as it is.
    fn next_epoch(&mut self, chance: &mut Chance) -> Option<(PartitionId, Request)> {
        let index = chance.index(self.producers.len());
        if self.producers[index].closes || !chance.one_in(3) {
            return None;
        }
        let mut producer = self.producers.remove(index);
        producer.epoch += 1;
        self.fill(&mut producer, chance);
        self.producers.insert(index, producer);
        self.produce(index, 0)
    }

    fn want_run(&mut self, chance: &mut Chance) {
        if self.starts.len() >= 12 {
            return;
        }
        let n = self.starts.len();
        let key = (!chance.one_in(4)).then(|| IdempotencyKey::new(&format!("k{n}")).expect("visible"));
        self.starts.push(Start {
            definition: chance.index(definitions::all().len()),
            key,
            hash: RoutingHash::of(&TenantId::default(), &format!("run-{n}")),
            input: Payload::json(json!({"start": n, "turns": 0, "wanted": chance.between(1, 3)}).to_string()),
            run: None,
            given_up: false,
        });
    }

    fn start(
        &mut self,
        start: usize,
        chance: &mut Chance,
        open: impl Fn(usize) -> bool,
    ) -> Option<(PartitionId, Request)> {
        let wanted = self.starts.get(start)?;
        let known = wanted.run.is_some() && !chance.one_in(5);
        if wanted.given_up || known || !open(wanted.definition) {
            return None;
        }
        let command = start_command(wanted, chance);
        let partition = wanted.hash.partition(self.partitions);
        self.starts[start].given_up = self.starts[start].key.is_none();
        Some(self.send(partition, command, Purpose::Start { start }))
    }

    /// The same key for something else.
    fn conflicting_start(
        &mut self,
        chance: &mut Chance,
        open: impl Fn(usize) -> bool,
    ) -> Option<(PartitionId, Request)> {
        let wanted = chance.pick(&self.starts)?;
        // Only once it is known to run: else this one might be the first.
        if wanted.run.is_none() || wanted.key.is_none() || !open(wanted.definition) {
            return None;
        }
        let Command::StartRun(mut start) = start_command(wanted, chance) else { return None };
        start.input = Payload::json("\"something else\"");
        let partition = wanted.hash.partition(self.partitions);
        Some(self.send(partition, Command::StartRun(start), Purpose::Idle))
    }

    /// A signal or a cancellation for a run that somebody started.
    fn want_errand(&mut self, chance: &mut Chance) {
        let runs: Vec<RunId> = self.starts.iter().filter_map(|start| start.run).collect();
        let Some(&run) = chance.pick(&runs) else { return };
        self.nonce += 1;
        let (tenant, partition) = (TenantId::default(), run.routing_hash().partition(self.partitions));
        let command = if chance.one_in(3) {
            Command::CancelRun { tenant, run, reason: "changed my mind".to_owned() }
        } else {
            let (name, id) = ("hey".to_owned(), Some(format!("m{}", self.nonce)));
            Command::SignalRun { tenant, run, name, id, payload: Payload::json("1") }
        };
        self.errands.push(Errand { partition, command, settled: false });
    }

    fn errand(&mut self, errand: usize) -> Option<(PartitionId, Request)> {
        let Errand { partition, command, settled } = self.errands.get(errand)?;
        if *settled {
            return None;
        }
        let (partition, command) = (*partition, command.clone());
        Some(self.send(partition, command, Purpose::Errand { errand }))
    }

    /// Creates, appends to, closes or deletes one of a few streams, once, without minding the answer.
    fn dabble(&mut self, chance: &mut Chance) -> (PartitionId, Request) {
        let name = StreamName::new(&format!("scratch-{}/x", chance.below(3))).expect("valid");
        let partition = self.partition_of(&name);
        let tenant = TenantId::default();
        let event = |clients: &mut Self| {
            clients.nonce += 1;
            Payload::json(json!({"stream": name.as_str(), "nonce": clients.nonce}).to_string())
        };
        let command = match chance.below(8) {
            0 => Command::DeleteStream { tenant, name },
            1 => {
                let events = (0..chance.below(3)).map(|_| event(self)).collect();
                let keep = engine::Keep::default();
                Command::CreateStream { tenant, name, content_type: None, events, closed: chance.one_in(8), keep }
            }
            _ => {
                let events = (0..chance.between(1, 4)).map(|_| event(self)).collect();
                let expected = chance.one_in(3).then(|| Offset::new(chance.below(6)));
                let (create, close) = (chance.one_in(2), chance.one_in(10));
                let sequence = chance.one_in(3).then(|| format!("{:03}", chance.below(40)));
                let append = AppendEvents { tenant, name, events, producer: None, expected, sequence, create, close };
                Command::AppendEvents(Box::new(append))
            }
        };
        self.send(partition, command, Purpose::Idle)
    }

    /// What somebody might look at: a stream or a run.
    pub(crate) fn curiosity(&mut self, chance: &mut Chance) -> (PartitionId, Request) {
        let run = self.starts.iter().filter_map(|start| start.run).nth(chance.index(4));
        let (partition, ask) = match run {
            Some(run) if chance.one_in(2) => (run.routing_hash().partition(self.partitions), Ask::Run(run)),
            Some(_) | None => {
                let scratch = StreamName::new(&format!("scratch-{}/x", chance.below(3))).expect("valid");
                let produced = chance.pick(&self.producers).map(|producer| producer.name.clone());
                let name = if chance.one_in(2) { scratch } else { produced.unwrap_or(scratch) };
                (self.partition_of(&name), Ask::Stream(StreamKey { tenant: TenantId::default(), name }))
            }
        };
        (partition, self.request(ask))
    }

    pub(crate) fn heard(&mut self, partition: PartitionId, request: &Request, heard: &Heard) {
        match heard {
            Heard::Stream(Some(view)) => {
                if let Some(seen) = self.seen_streams.insert((partition, view.ordinal), view.clone()) {
                    let grew = view.head >= seen.head && (view.closed || !seen.closed);
                    assert!(grew && view.incarnation == seen.incarnation, "{view:?} was seen as {seen:?}");
                }
            }
            Heard::Run(Some((closed, end))) => {
                let Ask::Run(run) = request.ask else { unreachable!("a run was asked for") };
                let seen = self.seen_runs.entry(run).or_default();
                assert!(*end >= seen.1 && (*closed || !seen.0), "{run} at {end} was seen at {seen:?}");
                *seen = (*closed, *end);
            }
            Heard::Outcome(outcome) => self.heard_outcome(request.id, outcome),
            Heard::Stream(None) | Heard::Run(None) | Heard::Attempt(_) => {}
        }
    }

    fn heard_outcome(&mut self, request: u64, outcome: &Result<Answer, Rejection>) {
        let Some(purpose) = self.pending.remove(&request) else { return };
        match (purpose, outcome) {
            (Purpose::Produce { producer, epoch, sequence }, Ok(_)) => {
                let producer = &mut self.producers[producer];
                if producer.epoch == epoch {
                    producer.settled.insert(sequence);
                }
            }
            (Purpose::Produce { producer, epoch, .. }, Err(rejection)) => {
                let may = matches!(rejection, Rejection::ProducerGap { .. } | Rejection::ProducerFenced { .. });
                assert!(may, "{:?} in epoch {epoch} heard: {rejection}", self.producers[producer].id);
            }
            (Purpose::Start { start }, Ok(Answer::Started { run, .. })) => {
                let start = &mut self.starts[start];
                let same = start.run.is_none_or(|known| known == *run);
                // Only time, which a clock may have jumped over, makes a key mean another run.
                start.run = Some(*run);
                assert!(same || start.key.is_some(), "{start:?} is now {run}");
            }
            (Purpose::Errand { errand }, _) => self.errands[errand].settled = true,
            // Only asked for once the first is known to run, and the first again after a jump over its window.
            (Purpose::Start { start }, Err(Rejection::IdempotencyConflict { .. }))
                if self.starts[start].run.is_some() => {}
            // The same request again: a start without a key is not repeated under another id.
            (Purpose::Start { start }, Err(Rejection::RunExists(run))) => self.starts[start].run = Some(*run),
            (Purpose::Start { start }, other) => panic!("{:?} heard {other:?}", self.starts[start]),
            (Purpose::Idle, _) => {}
        }
    }

    /// Whether the same request twice must be worth as much as once.
    pub(crate) fn may_repeat(&self, request: &Request) -> bool {
        !matches!(self.pending.get(&request.id), Some(Purpose::Idle) | None)
    }

    /// Connections are gone: nobody knows what became of what was sent.
    pub(crate) fn unknown(&mut self) {
        self.pending.clear();
    }

    /// Everything that is still wanted, once.
    pub(crate) fn insist(&mut self, chance: &mut Chance, open: impl Fn(usize) -> bool) -> Vec<(PartitionId, Request)> {
        let mut out = Vec::new();
        for producer in 0..self.producers.len() {
            out.extend(self.produce(producer, 0));
        }
        for start in 0..self.starts.len() {
            if self.starts[start].run.is_none() {
                out.extend(self.start(start, chance, &open));
            }
        }
        for errand in 0..self.errands.len() {
            out.extend(self.errand(errand));
        }
        out
    }

    /// Everybody got what they wanted.
    pub(crate) fn is_content(&self) -> bool {
        let produced = |producer: &Producer| producer.settled.len() == producer.requests.len();
        let started = |start: &Start| start.run.is_some() || start.given_up;
        self.producers.iter().all(produced)
            && self.starts.iter().all(started)
            && self.errands.iter().all(|errand| errand.settled)
    }
}

/// Each time with a fresh id, as whoever sends it again would.
fn start_command(wanted: &Start, chance: &mut Chance) -> Command {
    let definition = &definitions::all()[wanted.definition];
    let ulid = (u128::from(chance.next()) << 32) | u128::from(chance.next() >> 40);
    Command::StartRun(Box::new(StartRun {
        tenant: TenantId::default(),
        run: RunId::new(wanted.hash, ulid),
        definition: definition.name.clone(),
        hash: definition.hash,
        key: None,
        idempotency_key: wanted.key.clone(),
        input: wanted.input.clone(),
        seed: chance.next(),
        tags: Vec::new(),
    }))
}
