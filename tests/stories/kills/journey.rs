//! The workflow of the kills: a step, a loop of streaming steps, a wait, a step that fails at first, an error that is
//! caught, a step at the end; and what must stand in a run's stream afterwards.

use std::collections::BTreeMap;

use headwater_client::{Client, Event, RunStarted};
use serde_json::{Value, json};

use super::readers;

pub(super) const LEGS: u64 = 3;
pub(super) const CHUNKS: u64 = 5;
/// plan, one for each leg, stumble, fall, arrive.
pub(super) const STEPS: u64 = LEGS + 4;

pub(super) const DEFINITION: &str = r"
document: { dsl: '1.0.3', namespace: default, name: journey, version: '1.0.0' }
use:
  retries:
    soon: { delay: { milliseconds: 50 }, limit: { attempt: { count: 5 } } }
  functions:
    plan: { call: worker, with: { task: plan, queue: journey } }
    speak: { call: worker, with: { task: speak, queue: journey, stream: true } }
    stumble: { call: worker, with: { task: stumble, queue: journey, retry: soon } }
    fall: { call: worker, with: { task: fall, queue: journey, retry: soon } }
    arrive: { call: worker, with: { task: arrive, queue: journey } }
do:
  - plan:
      call: plan
      with: { number: '${ .number }' }
      output: { as: '$input + { legs: .legs, said: [] }' }
  - legs:
      for: { each: leg, in: .legs }
      do:
        - speak:
            call: speak
            with: { number: '${ .number }', leg: '${ $leg }' }
            output: { as: '$input + { said: ($input.said + [.text]) }' }
  - rest:
      wait: { milliseconds: 50 }
  - stumble:
      call: stumble
      with: { number: '${ .number }' }
      output: { as: '$input + { stumbled: .attempts }' }
  - risk:
      try:
        - fall:
            call: fall
            with: { number: '${ .number }' }
      catch:
        do:
          - getUp:
              set: '${ . + { fell: true } }'
  - arrive:
      call: arrive
      with: { number: '${ .number }' }
      output: { as: '$input + { arrived: .number }' }
output:
  as: '{ said, stumbled, fell, arrived }'
";

/// What a leg streams, piece by piece.
pub(super) fn piece(number: u64, leg: u64, n: u64) -> String {
    format!("{number}.{leg}.{n} ")
}

pub(super) fn text(number: u64, leg: u64) -> String {
    (0..CHUNKS).map(|n| piece(number, leg, n)).collect()
}

pub(super) fn output(number: u64) -> Value {
    let said: Vec<_> = (0..LEGS).map(|leg| text(number, leg)).collect();
    json!({ "said": said, "stumbled": 2, "fell": true, "arrived": number })
}

/// Reads the run's stream from its beginning: dense, ended once, every step accepted once, every chunk once and in order.
pub(super) async fn verify(client: &Client, number: u64, run: &RunStarted) {
    let events = readers::from_the_beginning(client, run.stream()).await;
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count() as u64;
    assert_eq!(events.last().map(|event| &*event.kind), Some("run_completed"), "run {number}");
    assert_eq!((count("run_started"), count("run_completed")), (1, 1), "run {number}");
    assert_eq!(count("step_scheduled"), STEPS, "run {number}");
    let mut closed: BTreeMap<u64, u64> = BTreeMap::new();
    for event in events.iter().filter(|event| ["step_completed", "step_failed"].contains(&&*event.kind)) {
        *closed.entry(data(event)["step"].as_u64().expect("a step has a number")).or_default() += 1;
    }
    assert!(closed.values().all(|count| *count == 1), "run {number}: a step was accepted twice: {closed:?}");
    assert_eq!((count("step_completed"), count("step_failed")), (STEPS - 1, 1), "run {number}");
    verify_chunks(number, &events);
}

fn verify_chunks(number: u64, events: &[Event]) {
    let mut streamed: BTreeMap<(u32, u32), Vec<String>> = BTreeMap::new();
    for event in events {
        let Some(source) = event.source else { continue };
        let pieces = streamed.entry((source.step, source.attempt)).or_default();
        assert_eq!(source.seq, pieces.len() as u64, "run {number}, step {}: its chunks have a hole", source.step);
        pieces.push(data(event).as_str().expect("a chunk is a text").to_owned());
    }
    let texts: Vec<String> = streamed.values().map(|pieces| pieces.concat()).collect();
    let expected: Vec<String> = (0..LEGS).map(|leg| text(number, leg)).collect();
    assert_eq!(texts, expected, "run {number}: the streamed texts");
}

fn data(event: &Event) -> Value {
    serde_json::from_slice(&event.payload.data).expect("a run's events are JSON")
}
