//! Random commands over a few definitions: whatever comes in whatever order, the promises hold (the bench checks them
//! after every event and at the end).

use std::sync::{Arc, OnceLock};

use engine::{
    AppendEvents, Command, Failure, HEARTBEAT, Offer, ProducerStamp, START_TO_CLOSE, StartRun, UNCLAIMED, WORKER_LOST,
};
use proptest::prelude::*;
use serde_json::json;
use types::{IdempotencyKey, ProducerId, RunId, StreamName, TenantId};
use workflow::Program;

use crate::harness::{Harness, chunk, completion, failing, json, source};

const DEFINITIONS: [(&str, &str); 4] = [
    (
        "agent",
        "do:
  - think: { call: worker, with: { task: think, stream: true, retry: { delay: { seconds: 1 }, jitter: { from: { seconds: 0 }, to: { seconds: 1 } }, limit: { attempt: { count: 2 } } } } }
  - more: { switch: [ { again: { when: '.again == true', then: think } } ] }",
    ),
    (
        "research",
        "do:
  - t:
      try:
        - each: { for: { in: '${ .items // [1, 2] }' }, do: [ { look: { call: worker, with: { task: look, retry: { limit: { attempt: { count: 0 } } } } } } ] }
        - check: { if: '${ .odd == true }', raise: { error: { type: 'https://x.example/odd', status: 400 } } }
      catch: { retry: { delay: { seconds: 3 }, limit: { attempt: { count: 1 } } }, do: [ { give: { set: { gave: up } } } ] }",
    ),
    ("patient", "do:\n  - pause: { wait: { seconds: 7 } }\n  - ask: { call: worker, with: { task: ask } }\n  - rest: { wait: { seconds: 2 } }"),
    (
        "busy",
        "do:
  - count: { set: { n: '${ (.n // 0) + 1 }' }, export: { as: '${ .n }' } }
  - again: { switch: [ { more: { when: '.n < 300', then: count } } ] }
  - ask: { call: worker, with: { task: ask } }",
    ),
];

fn programs() -> &'static [(String, Arc<Program>)] {
    static PROGRAMS: OnceLock<Vec<(String, Arc<Program>)>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let compiled = |(name, body): &(&str, &str)| {
            let source = source(name, body);
            let program = workflow::compile(&source).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
            (source, Arc::new(program))
        };
        DEFINITIONS.iter().map(compiled).collect()
    })
}

/// One move: what is done, and two numbers that say to whom and how.
type Move = (u8, u8, u8);

struct Player {
    harness: Harness,
    runs: Vec<RunId>,
    /// All that was ever offered, so that old ones come back late.
    offers: Vec<Offer>,
}

impl Player {
    fn new() -> Self {
        let mut harness = Harness::new();
        for ((name, _), (source, program)) in DEFINITIONS.iter().zip(programs()) {
            harness.define_compiled(name, source, program.clone());
        }
        Self { harness, runs: Vec::new(), offers: Vec::new() }
    }

    fn play(&mut self, (what, whom, how): Move) {
        match self.command(what, whom, how) {
            Some(command) => drop(self.harness.send(&command)),
            None => self.pass_time(how),
        }
        for offer in self.harness.offers() {
            if !self.offers.iter().any(|known| known.token == offer.token) {
                self.offers.push(offer);
            }
        }
    }

    fn command(&mut self, what: u8, whom: u8, how: u8) -> Option<Command> {
        let run = pick(&self.runs, whom).copied();
        let held = pick(&self.harness.offers(), whom).cloned();
        let ever = pick(&self.offers, whom).cloned();
        match what {
            0..=2 => Some(self.start(whom, how)),
            3..=8 => held.map(|offer| completion(&offer.token, &output(how))),
            9 => ever.map(|offer| completion(&offer.token, &output(how))),
            10..=12 => held.map(|offer| failing(&offer.token, failure(how))),
            13..=15 => held.map(|offer| chunk(&offer.token, u64::from(how % 3) + offer.next_sequence, "some text")),
            16 => ever.map(|offer| chunk(&offer.token, u64::from(how % 3), "some text")),
            17 => held.map(|offer| lose(&offer, how)),
            18 => ever.map(|offer| Command::DropStep { run: offer.run, step: offer.step, attempt: offer.attempt }),
            19 => run.map(|run| Command::CancelRun { tenant: TenantId::default(), run, reason: "why not".to_owned() }),
            20..=21 => run.map(|run| signal(run, how)),
            22..=24 => run.map(|run| Command::ContinueRun { run }),
            25..=28 => self.harness.partition.due(self.harness.now, 1).pop(),
            29 => run.map(|run| Command::FireTimer { run, timer: u32::from(how % 4) }),
            30..=32 => Some(append(whom, how)),
            33 => Some(Command::DeleteStream { tenant: TenantId::default(), name: stream(whom) }),
            _ => None,
        }
    }

    fn start(&mut self, whom: u8, how: u8) -> Command {
        let name = DEFINITIONS[usize::from(whom) % DEFINITIONS.len()].0;
        let input = json!({"n": how, "items": [how, how], "again": how.is_multiple_of(2)});
        let start = self.harness.start_command(name, &input);
        let key = (how.is_multiple_of(3)).then(|| IdempotencyKey::new(&format!("k{}", how % 5)).expect("visible"));
        self.runs.push(start.run);
        Command::StartRun(Box::new(StartRun { idempotency_key: key, ..start }))
    }

    /// Mostly forward, sometimes back.
    fn pass_time(&mut self, how: u8) {
        let now = self.harness.now.as_millis();
        let millis = u64::from(how) * 40;
        let now = if how.is_multiple_of(7) { now - millis } else { now + millis };
        self.harness.now = types::Timestamp::from_millis(now);
    }
}

fn pick<T>(from: &[T], whom: u8) -> Option<&T> {
    if from.is_empty() { None } else { from.get(usize::from(whom) % from.len()) }
}

fn output(how: u8) -> serde_json::Value {
    json!({"again": how.is_multiple_of(3), "odd": how.is_multiple_of(5), "n": how})
}

fn failure(how: u8) -> Failure {
    Failure { non_retryable: how.is_multiple_of(4), ..Failure::new("flaky", "no") }
}

fn lose(offer: &Offer, how: u8) -> Command {
    let kind = [WORKER_LOST, UNCLAIMED, HEARTBEAT, START_TO_CLOSE][usize::from(how % 4)];
    let failure = Failure::new(kind, "gone");
    Command::LoseAttempt { run: offer.run, step: offer.step, attempt: offer.attempt, failure }
}

fn signal(run: RunId, how: u8) -> Command {
    let id = (how.is_multiple_of(2)).then(|| format!("m{}", how % 8));
    Command::SignalRun { tenant: TenantId::default(), run, name: "hey".to_owned(), id, payload: json(&json!(how)) }
}

fn stream(whom: u8) -> StreamName {
    StreamName::new(&format!("agent-{}/tokens", whom % 2)).expect("valid")
}

fn append(whom: u8, how: u8) -> Command {
    let id = ProducerId::new(&format!("p{}", whom % 3)).expect("visible");
    Command::AppendEvents(Box::new(AppendEvents {
        tenant: TenantId::default(),
        name: stream(whom),
        events: (0..how % 4).map(|n| json(&json!(n))).collect(),
        producer: (how % 4 != 3).then(|| ProducerStamp {
            id,
            epoch: u64::from(how / 128),
            sequence: u64::from(how % 8),
        }),
        expected: None,
        sequence: how.is_multiple_of(3).then(|| how.to_string()),
        create: !how.is_multiple_of(16),
        close: how % 32 == 31,
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_the_promises_hold(moves in prop::collection::vec((0_u8..40, any::<u8>(), any::<u8>()), 1..120)) {
        let mut player = Player::new();
        for one in moves {
            player.play(one);
        }
    }
}
