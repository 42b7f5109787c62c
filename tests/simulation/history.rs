//! One history from one seed: what happens next is drawn, and after everything that happens the model looks. In the
//! end all faults stop, and everything that was begun must come to its end.

use engine::{Partition, PartitionConfig, Placed, Verifier};
use node::partition::Leaving;
use storage::{Log, StreamRead, Survives};
use types::{Offset, PartitionId, Position, StreamOrdinal};

use crate::chance::Chance;
use crate::claims;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::definitions;
use crate::machine::{Ask, Heard, Machine, Plant, Reply};
use crate::tally::{Digest, Tally};
use crate::truth::Truth;
use crate::workers::{Sent, Workers};

pub(crate) struct History {
    chance: Chance,
    clock: Clock,
    machine: Machine,
    truth: Truth,
    /// The truth's records folded from the first one on, without any row: what recovery must come to as well.
    followers: Vec<Partition>,
    clients: Clients,
    workers: Workers,
    tally: Tally,
    digest: Digest,
}

/// Plays the whole history of a seed. Panics where a promise is broken.
pub(crate) fn play(seed: u64, plant: Option<Plant>) -> (Digest, Tally) {
    let mut history = History::new(seed, plant);
    for _ in 0..history.chance.between(60, 600) {
        history.step();
    }
    history.heal();
    history.end();
    (history.digest, history.tally)
}

impl History {
    fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut chance = Chance::new(seed);
        let partitions = u32::try_from(chance.between(1, 3)).expect("small");
        let config = PartitionConfig {
            idempotency_window_ms: if chance.one_in(4) { 60_000 } else { engine::limits::IDEMPOTENCY_WINDOW_MS },
            planted_fault: plant.and_then(Plant::of_kernel),
            ..PartitionConfig::new([9; 32])
        };
        let machine = Machine::new(partitions, config.clone(), &mut chance, plant);
        let mut clock = Clock::new(chance.one_in(5));
        clock.open(machine.last_time());
        Self {
            clients: Clients::new(machine.partitions(), &mut chance),
            truth: Truth::new(partitions, config.idempotency_window_ms),
            followers: (0..partitions).map(|_| Partition::new(config.clone())).collect(),
            workers: Workers::default(),
            tally: Tally::default(),
            digest: Digest::default(),
            chance,
            clock,
            machine,
        }
    }

    /// One thing happens.
    fn step(&mut self) {
        match self.chance.below(100) {
            0..=20 => self.client(),
            21..=29 => self.workers.poll(self.clock.monotonic_ms(), &mut self.chance),
            30..=45 => self.work(),
            46..=65 => self.turn(),
            66..=77 => self.machine.sync(),
            78..=83 => self.pass_time(),
            84..=87 => self.machine.fire_timers(self.clock.now(), 3),
            88..=91 => self.look(),
            92..=93 => {
                let partition = self.some_partition_id();
                self.machine.checkpoint(partition);
            }
            94..=96 => self.tick(),
            _ => self.fault(),
        }
        self.settle();
    }

    fn some_partition_id(&mut self) -> PartitionId {
        let count = u64::from(self.machine.partitions().get());
        PartitionId::new(u32::try_from(self.chance.below(count)).expect("small"))
    }

    fn client(&mut self) {
        let machine = &self.machine;
        let open = |index: usize| machine.is_published(definitions::all()[index].hash);
        let Some((partition, request)) = self.clients.act(&mut self.chance, open) else { return };
        // A network may lose a request, or deliver it twice.
        match self.chance.below(16) {
            0 => {}
            1 if self.clients.may_repeat(&request) => {
                self.machine.ask(partition, request.clone());
                self.machine.ask(partition, request);
            }
            _ => self.machine.ask(partition, request),
        }
    }

    fn work(&mut self) {
        if let Some(sent) = self.workers.work(&mut self.chance) {
            self.send(sent);
        }
    }

    fn send(&mut self, (partition, command): Sent) {
        let request = self.clients.request(Ask::Command(command));
        self.machine.ask(partition, request);
    }

    fn turn(&mut self) {
        let partition = self.some_partition_id();
        let limit = 1 + self.chance.index(8);
        self.machine.turn(partition, limit, self.clock.now());
        if !self.chance.one_in(4) {
            self.machine.flush(partition);
        }
    }

    fn pass_time(&mut self) {
        let millis = if self.chance.one_in(5) { self.chance.below(60_000) } else { self.chance.below(2_000) };
        self.clock.pass(millis);
        self.tick();
    }

    fn tick(&mut self) {
        for sent in self.workers.tick(self.clock.monotonic_ms()) {
            self.send(sent);
        }
    }

    /// Somebody reads.
    fn look(&mut self) {
        if self.chance.one_in(2) {
            let (partition, request) = self.clients.curiosity(&mut self.chance);
            self.machine.ask(partition, request);
        } else {
            let partition = self.some_partition_id();
            self.read_stream(partition);
        }
    }

    /// A reader with some cursor, old, current or in the future, gets what is durable there, in order, and no more.
    fn read_stream(&mut self, partition: PartitionId) {
        let truth = self.truth.of(partition);
        let stream = StreamOrdinal::new(self.chance.between(1, 12));
        let from = Offset::new(self.chance.below(truth.head(stream).value() + 3));
        let until = from.after(self.chance.between(0, 40));
        let max_events = 1 + self.chance.index(30);
        let max_bytes = 1 + self.chance.index(4_000);
        let request = StreamRead { partition, stream, from, until, max_events, max_bytes };
        let found = self.machine.log.read_stream(request).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        let wanted = truth.records.iter().filter(|stored| {
            let record = &stored.record;
            record.stream == stream && record.offset >= from && record.offset < until
        });
        let wanted: Vec<_> = wanted.take(found.len().max(1)).collect();
        assert!(found.len() <= max_events, "{request:?} gave {} events", found.len());
        assert!(found.iter().eq(wanted.iter().copied()), "{request:?} gave {found:?}, durable is {wanted:?}");
        self.tally.reads += 1;
    }

    fn fault(&mut self) {
        match self.chance.below(16) {
            0..=8 => self.crash(),
            9 => self.restart_cleanly(),
            10 => self.fail_a_sync(),
            11 => self.fill_the_disk(),
            12 => self.clock.set_back(self.chance.below(86_400_000)),
            13 => {
                let years_ms = 10 * 365 * 86_400_000;
                let most = if self.chance.one_in(4) { years_ms } else { 3_600_000 };
                self.clock.set_forward(self.chance.below(most));
            }
            // All connections break; what was on its way to the node arrives.
            _ => self.clients.unknown(),
        }
    }

    fn survivors(&mut self) -> Survives {
        Survives { batches: self.chance.index(5), torn_bytes: self.chance.index(3_000) }
    }

    fn crash(&mut self) {
        self.tally.crashes += 1;
        self.tally.lost_batches += self.machine.log.unsynced() as u64;
        let survives = self.survivors();
        self.machine.crash(survives);
        self.come_back();
    }

    fn restart_cleanly(&mut self) {
        self.tally.clean_restarts += 1;
        let closed = self.machine.close();
        self.settle_news();
        match closed {
            Ok(()) => self.machine.stop(),
            // A sync had failed, and nothing had been written since.
            Err(_) => self.stop_failed(),
        }
        self.come_back();
    }

    fn fail_a_sync(&mut self) {
        self.tally.failed_syncs += 1;
        self.machine.log.fail_next_sync();
        for partition in self.machine.partitions().partitions() {
            self.machine.flush(partition);
        }
        self.machine.sync();
    }

    /// A write that finds no room ends the node; it does not open while there is none.
    fn fill_the_disk(&mut self) {
        self.tally.full_disks += 1;
        self.machine.log.set_full(true);
        let partition = self.some_partition_id();
        self.machine.checkpoint(partition);
        self.settle_news();
        assert!(self.machine.failed, "a write found room on a full disk");
        self.stop_failed();
        let refused = self.machine.open();
        assert!(refused.is_err(), "it opened on a full disk");
        self.machine.log.set_full(false);
        self.come_back();
    }

    /// The log has failed, so the node stops; what had not been synced may or may not be there.
    fn stop_failed(&mut self) {
        let survives = self.survivors();
        self.machine.crash(survives);
    }

    fn come_back(&mut self) {
        self.clients.unknown();
        self.clock.pass(self.chance.below(30_000));
        self.machine.open().unwrap_or_else(|error| panic!("the node does not open: {error}"));
        self.clock.open(self.machine.last_time());
        self.truth.hold_against(&self.machine.log);
        self.follow();
        self.check_recovered();
        let mut effects = Vec::new();
        for lane in &self.machine.lanes {
            effects.extend(lane.partition().effects().into_iter().map(|effect| (lane.id(), effect)));
        }
        for sent in self.workers.recover(effects, self.clock.monotonic_ms()) {
            self.send(sent);
        }
        for (partition, token) in self.workers.claims() {
            let request = self.clients.request(Ask::Attempt(token));
            self.machine.ask(partition, request);
        }
    }

    /// Rows and the events behind them gave what all events give.
    fn check_recovered(&self) {
        for (lane, follower) in self.machine.lanes.iter().zip(&self.followers) {
            let (state, id) = (lane.partition(), lane.id());
            let open = |partition: &Partition| -> Vec<engine::Run> {
                let held = partition.runs().filter(|run| !run.status.is_closed() && !state.is_idle(run.id));
                held.cloned().collect()
            };
            assert_eq!(open(state), open(follower), "partition {id}: recovered runs");
            let lost = state.idle_runs().find(|run| follower.run(*run).is_none_or(|run| run.status.is_closed()));
            assert_eq!(lost, None, "partition {id}: a run is idle");
            assert_eq!(state.effects(), follower.effects(), "partition {id}: what is owed");
            assert_eq!(state.next_wake(), follower.next_wake(), "partition {id}: timers");
            assert_eq!(state.digest(), follower.digest(), "partition {id}");
            assert_eq!(state.next_position(), follower.next_position(), "partition {id}");
            let zero = types::Timestamp::ZERO;
            assert_eq!(state.log_time(zero), follower.log_time(zero), "partition {id}: log time");
        }
    }

    /// Takes in what has become durable, in the model and in the follower.
    fn follow(&mut self) {
        self.truth.follow(&self.machine.log);
        for (truth, follower) in self.truth.partitions.iter().zip(&mut self.followers) {
            let known = usize::try_from(follower.next_position().value()).expect("small");
            for stored in &truth.records[known..] {
                let event = crate::truth::decode(stored, |ordinal| follower.run_of(ordinal));
                let placed = Placed { position: stored.position, time: stored.record.time };
                follower.apply(&event, placed, &mut Vec::new());
                self.digest.record(stored);
                self.tally.events += 1;
            }
        }
    }

    /// Lets out what may leave, and looks at it.
    fn settle(&mut self) {
        self.settle_news();
        if self.machine.failed {
            self.stop_failed();
            self.come_back();
        }
    }

    fn settle_news(&mut self) {
        let out = self.machine.release();
        let idle = self.machine.lanes.iter().any(|lane| lane.partition().idle_runs().next().is_some());
        self.tally.idle += u64::from(idle);
        self.follow();
        for (partition, leaving) in out {
            self.deliver(partition, leaving);
        }
    }

    fn deliver(&mut self, partition: PartitionId, leaving: Leaving<Reply>) {
        let durable = self.machine.log.bounds(partition).end;
        claims::check(&self.truth, partition, durable, &leaving);
        if let Some(reply) = leaving.answer {
            self.digest.text(&format!("{reply:?}"));
            self.tally.answer(&reply.heard);
            // The network may lose it.
            if self.workers.honest || !self.chance.one_in(10) {
                self.hear(partition, &reply);
            }
        }
        for effect in leaving.effects {
            self.tally.effects += 1;
            if let Some(sent) = self.workers.owe(partition, effect, self.clock.monotonic_ms()) {
                self.send(sent);
            }
        }
    }

    fn hear(&mut self, partition: PartitionId, reply: &Reply) {
        self.clients.heard(partition, &reply.request, &reply.heard);
        match (&reply.request.ask, &reply.heard) {
            (Ask::Attempt(token), Heard::Attempt(next)) => self.workers.claimed(token, *next, &mut self.chance),
            (Ask::Command(command), Heard::Outcome(outcome)) => self.workers.heard(command, outcome),
            (_, _) => {}
        }
    }

    /// Faults stop: whatever was begun comes to its end, in so many rounds.
    fn heal(&mut self) {
        self.workers.heal();
        for _ in 0..3_000 {
            if self.is_over() {
                return;
            }
            self.round();
        }
        let open: Vec<_> = self.machine.lanes.iter().flat_map(|lane| lane.partition().runs()).collect();
        panic!("it does not end: {:?}, {:?}, open: {open:#?}", self.clients, self.workers);
    }

    fn is_over(&self) -> bool {
        let ended = self.truth.partitions.iter().flat_map(|partition| partition.runs.values()).all(|run| run.closed);
        ended && self.clients.is_content() && self.workers.is_idle() && self.machine.is_settled()
    }

    fn round(&mut self) {
        let machine = &self.machine;
        let open = |index: usize| machine.is_published(definitions::all()[index].hash);
        for (partition, request) in self.clients.insist(&mut self.chance, open) {
            self.machine.ask(partition, request);
        }
        for _ in 0..20 {
            self.workers.poll(self.clock.monotonic_ms(), &mut self.chance);
            self.work();
        }
        self.tick();
        self.machine.fire_timers(self.clock.now(), 100);
        let before = self.machine.waiting();
        for partition in self.machine.partitions().partitions() {
            self.machine.turn(partition, usize::MAX, self.clock.now());
            self.machine.flush(partition);
        }
        self.machine.sync();
        self.settle();
        if before == 0 {
            self.skip_to_what_is_due();
        }
    }

    fn skip_to_what_is_due(&mut self) {
        let now = self.clock.now();
        let timer = self.machine.next_wake().map(|due| due.millis_since(now));
        let given_up = self.workers.next_deadline_ms().map(|due| due.saturating_sub(self.clock.monotonic_ms()));
        if let Some(wait_ms) = timer.into_iter().chain(given_up).min() {
            self.clock.pass(wait_ms);
        }
    }

    /// The whole log once more: its consequences derived again, its bytes after a clean stop, its damage.
    fn end(&mut self) {
        for index in 0..self.followers.len() {
            self.verify(index);
        }
        self.restart_cleanly();
        self.tally.runs += self.truth.partitions.iter().map(|partition| partition.runs.len() as u64).sum::<u64>();
        self.damage();
    }

    fn verify(&mut self, index: usize) {
        let (mut partition, mut verifier) = (Partition::new(self.machine.config.clone()), Verifier::default());
        let truth = &self.truth.partitions[index];
        let program =
            |hash| definitions::all().iter().find(|known| known.hash == hash).map(|known| known.program.clone());
        for stored in &truth.records {
            let event = truth.decode(stored);
            let (position, time) = (stored.position, stored.record.time);
            let observed = verifier.observe(&partition, &event, stored.record.cause, position, time, program);
            observed.unwrap_or_else(|divergence| panic!("partition {index} diverges: {divergence:#?}"));
            partition.apply(&event, Placed { position, time }, &mut Vec::new());
        }
        let finished = verifier.finish(partition.next_position());
        let found = finished.unwrap_or_else(|divergence| panic!("partition {index} diverges: {divergence:#?}"));
        assert_eq!(found.unverified, 0, "partition {index}: every definition is known");
        self.tally.causes += found.causes;
    }

    /// One flipped bit: it is found and named, or it changes nothing; it is never served.
    fn damage(&mut self) {
        let partition = self.some_partition_id();
        let count = self.truth.of(partition).records.len() as u64;
        let position = Position::new(self.chance.below(count));
        let bit = self.chance.index(100_000);
        if !self.machine.log.flip_bit(partition, position, bit) {
            return;
        }
        self.tally.flips += 1;
        let Ok(log) = self.machine.log.reopen() else { return };
        let mut next = Position::ZERO;
        while next.value() < count {
            match log.read(partition, next, 64, 16 * 1024) {
                Ok(page) if page.is_empty() => panic!("partition {partition} ends silently at {next} of {count}"),
                Ok(page) => {
                    for record in page {
                        let index = usize::try_from(record.position.value()).expect("small");
                        assert_eq!(record, self.truth.of(partition).records[index], "a damaged record is served");
                        next = record.position.next();
                    }
                }
                Err(_) => return,
            }
        }
        panic!("bit {bit} at {position} of partition {partition} was flipped, and nobody noticed");
    }
}

impl Plant {
    const fn of_kernel(self) -> Option<engine::PlantedFault> {
        match self {
            Self::AnswerBeforeSync | Self::EarlyRejection => None,
            Self::ForgottenProducer => Some(engine::PlantedFault::ForgottenProducer),
            Self::ForgottenStart => Some(engine::PlantedFault::ForgottenStart),
        }
    }
}
