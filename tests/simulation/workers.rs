//! Workers that are slow, lost, doubled, late and lying, and the dispatcher that hands them what the kernel owes.

use std::collections::BTreeMap;

use engine::{
    Answer, Command, Effect, Failure, HEARTBEAT, Offer, Rejection, SCHEDULE_TO_START, START_TO_CLOSE, Token, UNCLAIMED,
    WORKER_LOST,
};
use serde_json::json;
use types::{PartitionId, Payload, RunId};

use crate::chance::Chance;

/// After a restart, how long attempts wait for the workers that may hold them.
const RECLAIM_MS: u64 = 10_000;

/// What a worker calls itself, and its failures, when its tokens are made up.
pub(crate) const LIAR: &str = "liar";

/// An attempt that is owed.
#[derive(Debug)]
struct Owed {
    partition: PartitionId,
    offer: Offer,
    since_ms: u64,
    /// Until then it waits for a worker that says it holds it.
    maybe_held_until_ms: Option<u64>,
    taken: bool,
    /// Given up, which the kernel was told at this time: again when nothing came of it.
    given_up_ms: Option<u64>,
}

/// An attempt in a worker's hands, or in its memory.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) partition: PartitionId,
    pub(crate) offer: Offer,
    /// When the dispatcher gives it up.
    deadline_ms: u64,
    /// Chunks known to be taken.
    streamed: u64,
    chunks: u64,
    told_to_stop: bool,
    lost: bool,
    /// The answer, once it was made: sent again until it is known to be taken.
    answer: Option<Command>,
}

#[derive(Debug, Default)]
pub(crate) struct Workers {
    owed: BTreeMap<(RunId, u32), Owed>,
    held: Vec<Job>,
    /// Jobs that are over, whose results come again, late.
    past: Vec<Job>,
    /// Everything works, and at once.
    pub(crate) honest: bool,
    nonce: u64,
}

/// A command of a worker or of the dispatcher, for a partition.
pub(crate) type Sent = (PartitionId, Command);

impl Workers {
    /// Takes an effect that left the node.
    pub(crate) fn owe(&mut self, partition: PartitionId, effect: Effect, now_ms: u64) -> Option<Sent> {
        match effect {
            Effect::Dispatch(offer) => {
                let key = (offer.run, offer.step);
                let owed = Owed {
                    partition,
                    offer: *offer,
                    since_ms: now_ms,
                    maybe_held_until_ms: None,
                    taken: false,
                    given_up_ms: None,
                };
                let before = self.owed.insert(key, owed);
                assert!(before.is_none(), "an attempt is offered while another is owed: {before:?}");
                None
            }
            Effect::Withdraw { run, step, attempt } => {
                let owed = self.owed.get(&(run, step));
                if owed.is_some_and(|owed| owed.offer.attempt == attempt) {
                    self.owed.remove(&(run, step));
                }
                None
            }
            Effect::CancelStep { run, step, attempt } => self.cancel(partition, run, step, attempt),
            Effect::Continue { run } => Some((partition, Command::ContinueRun { run })),
        }
    }

    fn cancel(&mut self, partition: PartitionId, run: RunId, step: u32, attempt: u32) -> Option<Sent> {
        self.owed.remove(&(run, step));
        let of_step = |job: &&mut Job| (job.offer.run, job.offer.step, job.offer.attempt) == (run, step, attempt);
        match self.held.iter_mut().find(of_step) {
            Some(job) => {
                job.told_to_stop = true;
                None
            }
            None => Some((partition, Command::DropStep { run, step, attempt })),
        }
    }

    /// The node is back: what it owes is maybe held.
    pub(crate) fn recover(&mut self, effects: Vec<(PartitionId, Effect)>, now_ms: u64) -> Vec<Sent> {
        self.owed.clear();
        let mut sent = Vec::new();
        for (partition, effect) in effects {
            sent.extend(self.owe(partition, effect, now_ms));
        }
        for owed in self.owed.values_mut() {
            owed.maybe_held_until_ms = Some(now_ms + RECLAIM_MS);
        }
        sent
    }

    /// Attempts that workers say they hold.
    pub(crate) fn claims(&self) -> Vec<(PartitionId, Token)> {
        self.held.iter().filter(|job| !job.lost).map(|job| (job.partition, job.offer.token.clone())).collect()
    }

    /// The node's answer to a claim: whether the attempt still holds, and how many chunks are taken.
    pub(crate) fn claimed(&mut self, token: &Token, next_sequence: Option<u64>, chance: &mut Chance) {
        let Some(index) = self.held.iter().position(|job| job.offer.token == *token) else { return };
        match next_sequence {
            Some(next) => {
                self.held[index].streamed = next;
                if let Some(owed) = self.owed.get_mut(&(token.run, token.step)) {
                    (owed.taken, owed.maybe_held_until_ms) = (true, None);
                }
            }
            // Some go on all the same: their results come late.
            None if chance.one_in(3) => {}
            None => self.past.push(self.held.remove(index)),
        }
    }

    /// A worker that is free takes what is offered.
    pub(crate) fn poll(&mut self, now_ms: u64, chance: &mut Chance) {
        let free = |owed: &&mut Owed| !owed.taken && owed.maybe_held_until_ms.is_none();
        let mut free: Vec<_> = self.owed.values_mut().filter(free).collect();
        if free.is_empty() {
            return;
        }
        let owed = free.swap_remove(chance.index(free.len()));
        owed.taken = true;
        let offer = owed.offer.clone();
        self.held.push(Job {
            partition: owed.partition,
            deadline_ms: now_ms + offer.start_to_close_ms.min(60_000),
            streamed: offer.next_sequence,
            chunks: if offer.stream { chance.below(5) } else { 0 },
            offer,
            told_to_stop: false,
            lost: false,
            answer: None,
        });
    }

    /// A worker does something about one of its jobs.
    pub(crate) fn work(&mut self, chance: &mut Chance) -> Option<Sent> {
        if !self.honest && chance.one_in(6) {
            return self.misbehave(chance);
        }
        if self.held.is_empty() {
            return None;
        }
        self.nonce += 1;
        let (nonce, honest) = (self.nonce, self.honest);
        let index = chance.index(self.held.len());
        let job = &mut self.held[index];
        if job.lost {
            return None;
        }
        if !honest && chance.one_in(25) {
            job.lost = true;
            return None;
        }
        if let Some(answer) = &job.answer {
            return Some((job.partition, answer.clone()));
        }
        if job.streamed < job.chunks && (honest || !chance.one_in(6)) {
            return Some((job.partition, chunk(&job.offer.token, job.streamed)));
        }
        let answer = answer(job, nonce, honest, chance);
        job.answer = Some(answer.clone());
        Some((job.partition, answer))
    }

    /// Old results again, chunks out of turn, and tokens that nobody made.
    fn misbehave(&mut self, chance: &mut Chance) -> Option<Sent> {
        if chance.one_in(2) {
            let job = chance.pick(&self.past)?.clone();
            let late = job.answer.clone().unwrap_or_else(|| chunk(&job.offer.token, job.streamed));
            return Some((job.partition, late));
        }
        let job = chance.pick(&self.held)?;
        let token = forge(&job.offer.token, chance);
        let output = Payload::json(json!({"forged": true}).to_string());
        let command = match chance.below(3) {
            0 => Command::CompleteStep { token, output, worker: LIAR.to_owned() },
            1 => Command::FailStep { token, failure: Failure::new(LIAR, "a lie"), retry_after_ms: None },
            _ => Command::AppendChunk { token, sequence: job.streamed, data: Payload::json("\"forged\"") },
        };
        Some((job.partition, command))
    }

    /// What a worker hears of a command that it sent.
    pub(crate) fn heard(&mut self, command: &Command, outcome: &Result<Answer, Rejection>) {
        let (Command::CompleteStep { token, .. }
        | Command::FailStep { token, .. }
        | Command::AppendChunk { token, .. }) = command
        else {
            return;
        };
        let Some(index) = self.held.iter().position(|job| job.offer.token == *token) else { return };
        match outcome {
            Ok(Answer::ChunkTaken { next_sequence: next }) | Err(Rejection::ChunkGap { expected: next, .. }) => {
                self.held[index].streamed = *next;
            }
            Ok(Answer::Done) | Err(Rejection::StaleAttempt) => self.past.push(self.held.remove(index)),
            other => panic!("{command:?} heard {other:?}"),
        }
        if self.past.len() > 20 {
            self.past.remove(0);
        }
    }

    /// What the dispatcher gives up.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Sent> {
        let mut sent = Vec::new();
        for owed in self.owed.values_mut() {
            if owed.given_up_ms.is_some_and(|told| told + RECLAIM_MS > now_ms) {
                continue;
            }
            let kind = if owed.maybe_held_until_ms.is_some_and(|until| until <= now_ms) {
                UNCLAIMED
            } else if !owed.taken && owed.offer.schedule_to_start_ms.is_some_and(|most| now_ms - owed.since_ms > most) {
                SCHEDULE_TO_START
            } else {
                continue;
            };
            owed.given_up_ms = Some(now_ms);
            sent.push((owed.partition, lose(&owed.offer, kind)));
        }
        let over = |job: &Job| job.lost || job.deadline_ms <= now_ms;
        let (over, held) = std::mem::take(&mut self.held).into_iter().partition(over);
        self.held = held;
        for job in over {
            let kind = if !job.lost {
                START_TO_CLOSE
            } else if job.offer.heartbeat_ms.is_some() {
                HEARTBEAT
            } else {
                WORKER_LOST
            };
            let Offer { run, step, attempt, .. } = job.offer;
            let command =
                if job.told_to_stop { Command::DropStep { run, step, attempt } } else { lose(&job.offer, kind) };
            sent.push((job.partition, command));
            self.past.push(job);
        }
        sent
    }

    /// Nobody is lost any more.
    pub(crate) fn heal(&mut self) {
        self.honest = true;
        self.past.clear();
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.owed.is_empty()
    }

    /// When the dispatcher has something to give up next.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let held = self.held.iter().map(|job| job.deadline_ms);
        let maybe = self.owed.values().filter_map(|owed| {
            let told = owed.given_up_ms.map(|told| told + RECLAIM_MS);
            owed.maybe_held_until_ms.map(|until| told.unwrap_or(until))
        });
        held.chain(maybe).min()
    }
}

fn chunk(token: &Token, sequence: u64) -> Command {
    let text = format!("{}.{}.{}/{sequence}", token.run, token.step, token.attempt);
    let data = Payload { content_type: Some("text/plain".to_owned()), ..Payload::json(text) };
    Command::AppendChunk { token: token.clone(), sequence, data }
}

fn answer(job: &Job, nonce: u64, honest: bool, chance: &mut Chance) -> Command {
    let token = job.offer.token.clone();
    if !honest && chance.one_in(5) {
        let non_retryable = chance.one_in(8);
        let failure = Failure { non_retryable, ..Failure::new("flaky", "it did not work") };
        let retry_after_ms = chance.one_in(4).then(|| chance.below(5_000));
        return Command::FailStep { token, failure, retry_after_ms };
    }
    let attempt = format!("{}.{}.{}", token.run, token.step, token.attempt);
    let output = json!({"attempt": attempt, "path": job.offer.path, "nonce": nonce});
    Command::CompleteStep { token, output: Payload::json(output.to_string()), worker: "worker".to_owned() }
}

/// The token of another attempt or step, or one with a made-up hash. Never the one it was made from.
fn forge(genuine: &Token, chance: &mut Chance) -> Token {
    let text = genuine.to_string();
    let mac = text.rsplit('.').next().expect("a token has parts").to_owned();
    let (mut step, mut attempt, mut forged_mac) = (genuine.step, genuine.attempt, mac);
    match chance.below(4) {
        0 => step += 1,
        1 => attempt += 1,
        _ => forged_mac = format!("{:016x}{:016x}", chance.next(), chance.next()),
    }
    format!("{}.{step}.{attempt}.{forged_mac}", genuine.run).parse().expect("it has the form of a token")
}

fn lose(offer: &Offer, kind: &str) -> Command {
    let failure = Failure::new(kind, "the dispatcher gave it up");
    Command::LoseAttempt { run: offer.run, step: offer.step, attempt: offer.attempt, failure }
}
