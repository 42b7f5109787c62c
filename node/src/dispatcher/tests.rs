//! The dispatcher's state, moved by hand: who gets a step, who keeps it, and when it goes to another.

use std::sync::Arc;

use engine::{Command, Effect, Offer, SCHEDULE_TO_START, START_TO_CLOSE, Token, WORKER_LOST};
use gateway::backend::{QueueSlots, WorkerPush};
use tokio::sync::Notify;
use types::{PartitionId, Payload, RoutingHash, RunId, TenantId, Timestamp};

use super::state::{Settings, State, TooManyWorkers};
use super::worker::Room;

const PARTITION: PartitionId = PartitionId::new(3);
const SILENCE_MS: u64 = 60_000;
const START_TO_CLOSE_MS: u64 = 300_000;
const ROOM: Room = Room { tasks: 16, bytes: 1 << 20 };

struct World {
    state: State,
    now: Timestamp,
}

fn run() -> RunId {
    RunId::new(RoutingHash::from_bits(7), 1)
}

fn token(step: u32) -> Token {
    format!("{}.{step}.1.{}", run(), "0".repeat(32)).parse().unwrap_or_else(|_| panic!("a token's form has changed"))
}

fn offer(step: u32) -> Box<Offer> {
    Box::new(Offer {
        tenant: TenantId::default(),
        run: run(),
        step,
        attempt: 1,
        path: format!("/do/{step}/draft"),
        queue: "default".into(),
        task: "draft".into(),
        input: Payload::json(format!("{step:04}")),
        stream: false,
        token: token(step),
        idempotency_key: "key".into(),
        heartbeat_ms: None,
        start_to_close_ms: START_TO_CLOSE_MS,
        schedule_to_start_ms: None,
        next_sequence: 0,
    })
}

fn queues(slots: u32) -> Vec<QueueSlots> {
    vec![QueueSlots { name: "default".into(), tasks: vec!["draft".into()], slots }]
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            reclaim_ms: 10_000,
            silence_ms: SILENCE_MS,
            workers_bytes: 1 << 20,
            pause_at: 1000,
            resume_at: 500,
        };
        Self { state: State::new(settings), now: Timestamp::from_millis(1_000_000) }
    }

    fn attach(&mut self, worker: &str, slots: u32) {
        self.state.attach(worker, &TenantId::default(), &queues(slots), self.now).expect("there is memory");
        self.state.serve(worker, &queues(slots));
    }

    fn owe(&mut self, step: u32) {
        self.state.take(PARTITION, Effect::Dispatch(offer(step)), self.now);
    }

    fn withdraw(&mut self, step: u32) {
        self.state.take(PARTITION, Effect::Withdraw { run: run(), step, attempt: 1 }, self.now);
    }

    fn open(&mut self, worker: &str) -> u64 {
        self.open_with(worker, ROOM)
    }

    fn open_with(&mut self, worker: &str, room: Room) -> u64 {
        self.state.open_poll(worker, room, Arc::new(Notify::new()), self.now).expect("it is attached")
    }

    /// The steps that a poll brings, by number.
    fn fetch(&mut self, worker: &str, poll: u64) -> Vec<u32> {
        let (pushes, _) = self.state.fetch(worker, poll, self.now);
        let step = |push: WorkerPush| match push {
            WorkerPush::Task(task) => Some(task.step),
            WorkerPush::Cancel { .. } => None,
        };
        pushes.into_iter().filter_map(step).collect()
    }

    fn close(&mut self, worker: &str, poll: u64) {
        self.state.close_poll(worker, poll, self.now);
    }

    /// One poll that does not wait.
    fn poll(&mut self, worker: &str) -> Vec<u32> {
        let poll = self.open(worker);
        let steps = self.fetch(worker, poll);
        self.close(worker, poll);
        steps
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_millis(ms);
        self.state.tick(self.now);
    }

    /// Why attempts were lost since the last look, and of which steps.
    fn lost(&mut self) -> Vec<(u32, String)> {
        let lost = |(_, command): (PartitionId, Command)| {
            let Command::LoseAttempt { step, failure, .. } = command else { panic!("owed {command:?}") };
            (step, failure.kind)
        };
        self.state.drain_owed().into_iter().map(lost).collect()
    }
}

#[test]
fn a_worker_that_does_not_poll_is_given_nothing() {
    let mut world = World::new();
    world.attach("silent", 4);
    world.attach("asking", 4);
    world.owe(1);
    assert_eq!(world.poll("asking"), [1], "the other one is not waited for");
}

#[test]
fn a_step_goes_to_a_poll_that_waits_and_back_when_nobody_fetches_it() {
    let mut world = World::new();
    world.attach("gone", 4);
    world.attach("there", 4);
    let waiting = world.open("gone");
    (1..=3).for_each(|step| world.owe(step));
    assert_eq!(world.poll("there"), [] as [u32; 0], "they were given to the one who waited");
    let also = world.open("there");
    world.close("gone", waiting);
    assert_eq!(world.fetch("there", also), [1, 2, 3], "in their order");
}

#[test]
fn the_newest_poll_of_a_name_is_given_the_steps() {
    let mut world = World::new();
    world.attach("w", 4);
    let old = world.open("w");
    let new = world.open("w");
    world.owe(1);
    assert_eq!(world.fetch("w", old), [] as [u32; 0]);
    assert_eq!(world.fetch("w", new), [1]);
}

#[test]
fn slots_and_the_room_of_a_poll_are_kept() {
    let mut world = World::new();
    world.attach("w", 2);
    (1..=3).for_each(|step| world.owe(step));
    assert_eq!(world.poll("w"), [1, 2]);
    assert_eq!(world.poll("w"), [] as [u32; 0], "its slots are taken");
    let waiting = world.open("w");
    world.withdraw(1);
    assert_eq!(world.fetch("w", waiting), [3], "a slot came free while it waited");

    world.attach("narrow", 8);
    (4..=6).for_each(|step| world.owe(step));
    let narrow = world.open_with("narrow", Room { tasks: 8, bytes: 1 });
    assert_eq!(world.fetch("narrow", narrow), [4], "the task that fills a poll is its last");
    assert_eq!(world.fetch("narrow", narrow), [] as [u32; 0]);
}

#[test]
fn workers_that_wait_take_turns() {
    let mut world = World::new();
    world.attach("a", 8);
    world.attach("b", 8);
    let (a, b) = (world.open("a"), world.open("b"));
    (1..=4).for_each(|step| world.owe(step));
    assert_eq!((world.fetch("a", a), world.fetch("b", b)), (vec![1, 3], vec![2, 4]));
}

#[test]
fn silence_does_not_end_an_attempt_before_its_own_time() {
    let mut world = World::new();
    world.attach("w", 4);
    world.owe(1);
    assert_eq!(world.poll("w"), [1]);
    world.pass(SILENCE_MS * 4);
    assert_eq!(world.lost(), []);
    assert!(world.state.beat("w", &token(1), world.now), "it holds it still");
    world.pass(START_TO_CLOSE_MS);
    assert_eq!(world.lost(), [(1, START_TO_CLOSE.to_owned())]);
}

#[test]
fn a_silent_worker_that_holds_nothing_is_forgotten() {
    let mut world = World::new();
    world.attach("w", 4);
    world.owe(1);
    assert_eq!(world.poll("w"), [1]);
    world.pass(SILENCE_MS * 2);
    world.withdraw(1);
    world.pass(SILENCE_MS);
    assert_eq!(world.state.open_poll("w", ROOM, Arc::default(), world.now), None);
}

#[test]
fn who_comes_back_without_an_attempt_loses_it() {
    let mut world = World::new();
    world.attach("w", 4);
    (1..=2).for_each(|step| world.owe(step));
    assert_eq!(world.poll("w"), [1, 2]);
    let before = world.state.attach("w", &TenantId::default(), &queues(4), world.now).expect("there is memory");
    assert_eq!(before, [(run(), 1, 1), (run(), 2, 1)]);
    world.state.claim("w", &token(2), world.now);
    world.state.disclaim("w", (run(), 1, 1));
    assert_eq!(world.lost(), [(1, WORKER_LOST.to_owned())]);
}

#[test]
fn what_could_not_be_told_goes_to_another() {
    let mut world = World::new();
    world.attach("gone", 4);
    world.attach("there", 4);
    (1..=2).for_each(|step| world.owe(step));
    assert_eq!(world.poll("gone"), [1, 2]);
    world.now = world.now.plus_millis(5);
    assert!(world.state.beat("gone", &token(2), world.now));
    world.state.give_back("gone", &[token(1), token(2)], world.now);
    assert_eq!(world.poll("there"), [1], "of the second something was heard");
}

#[test]
fn a_step_that_is_cancelled_on_its_way_back_is_dropped() {
    let mut world = World::new();
    world.attach("w", 4);
    world.owe(1);
    assert_eq!(world.poll("w"), [1]);
    world.state.take(PARTITION, Effect::CancelStep { run: run(), step: 1, attempt: 1 }, world.now);
    assert_eq!(world.state.drain_owed().len(), 0, "its worker is asked to stop");
    world.state.give_back("w", &[token(1)], world.now);
    assert!(matches!(world.state.drain_owed()[..], [(PARTITION, Command::DropStep { step: 1, .. })]));
}

#[test]
fn a_connection_that_is_lost_keeps_what_it_fetched_for_a_while() {
    let mut world = World::new();
    world.attach("s", 4);
    world.owe(1);
    assert_eq!(world.poll("s"), [1]);
    world.state.detach("s", world.now);
    world.pass(9_999);
    assert_eq!(world.lost(), []);
    world.pass(1);
    assert_eq!(world.lost(), [(1, WORKER_LOST.to_owned())]);
}

#[test]
fn a_cancelled_step_is_given_to_nobody() {
    let mut world = World::new();
    world.attach("w", 4);
    world.owe(1);
    world.state.take(PARTITION, Effect::CancelStep { run: run(), step: 1, attempt: 1 }, world.now);
    assert_eq!(world.poll("w"), [] as [u32; 0]);
    assert!(matches!(world.state.drain_owed()[..], [(PARTITION, Command::DropStep { step: 1, .. })]));
}

#[test]
fn a_step_that_nobody_takes_in_time_is_lost() {
    let mut world = World::new();
    let hurried = Offer { schedule_to_start_ms: Some(50), ..*offer(1) };
    world.state.take(PARTITION, Effect::Dispatch(Box::new(hurried)), world.now);
    world.pass(50);
    assert_eq!(world.lost(), [(1, SCHEDULE_TO_START.to_owned())]);
}

#[test]
fn what_workers_say_about_themselves_has_a_bound_and_is_forgotten_with_them() {
    let mut world = World::new();
    let mut attached = 0;
    let full = (0..10_000).find_map(|n| {
        let name = format!("w-{n}");
        let taken = world.state.attach(&name, &TenantId::default(), &queues(1), world.now);
        attached += usize::from(taken.is_ok());
        taken.err()
    });
    assert_eq!(full, Some(TooManyWorkers));
    assert!(attached > 100, "{attached} workers in a MiB");
    world.pass(SILENCE_MS + 1);
    world.attach("new", 1);
    world.owe(1);
    assert_eq!(world.poll("new"), [1]);
}

#[test]
fn the_one_that_is_left_of_many_gets_the_step() {
    let mut world = World::new();
    let polls: Vec<_> = (0..200)
        .map(|n| {
            world.attach(&format!("w-{n}"), 1);
            world.open(&format!("w-{n}"))
        })
        .collect();
    for n in 0..199 {
        world.state.detach(&format!("w-{n}"), world.now);
    }
    world.owe(1);
    assert_eq!(world.fetch("w-199", polls[199]), [1]);
}
