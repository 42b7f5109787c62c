//! The bounds of values: what is too large is refused from outside, and an error that can be caught from inside.

use engine::{AppendEvents, Command, Failure, Rejection, RunStatus, limits};
use serde_json::json;
use types::{Payload, StreamName, TenantId};

use crate::harness::{Harness, completion, failing, json};

const STEP: &str =
    "do:\n  - ask: { call: worker, with: { task: t, stream: true, retry: { limit: { attempt: { count: 0 } } } } }";

/// A JSON text of exactly so many bytes.
fn text_of(bytes: usize) -> Payload {
    Payload::json(format!("\"{}\"", "x".repeat(bytes - 2)))
}

#[test]
fn a_result_and_a_chunk_have_a_largest_size() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let token = harness.offer().token;
    let complete = |output| Command::CompleteStep { token: token.clone(), output, worker: String::new() };
    let chunk = |data| Command::AppendChunk { token: token.clone(), sequence: 0, data };
    let too_large = |what| Rejection::TooLarge { what, bytes: limits::VALUE_BYTES + 1, limit: limits::VALUE_BYTES };
    assert_eq!(harness.refuse(&complete(text_of(limits::VALUE_BYTES + 1))), too_large("the output"));
    assert_eq!(harness.refuse(&chunk(text_of(limits::VALUE_BYTES + 1))), too_large("the chunk"));
    harness.expect(&chunk(text_of(limits::VALUE_BYTES)));
    harness.expect(&complete(text_of(limits::VALUE_BYTES)));
    harness.carry_on();
    assert_eq!(harness.status(run), RunStatus::Completed);
}

#[test]
fn a_failure_has_a_largest_size_too() {
    let mut harness = Harness::of(STEP);
    harness.start(&json!({}));
    let token = harness.offer().token;
    let stack = Some("x".repeat(limits::VALUE_BYTES));
    let wordy = Failure { stack, ..Failure::new("flaky", "no") };
    assert!(matches!(harness.refuse(&failing(&token, wordy)), Rejection::TooLarge { what: "the failure", .. }));
    let cause = Failure::new("io", "x".repeat(limits::VALUE_BYTES));
    let nested = Failure { cause: Some(Box::new(cause)), ..Failure::new("flaky", "no") };
    assert!(matches!(harness.refuse(&failing(&token, nested)), Rejection::TooLarge { what: "the failure", .. }));
    let broken = Failure { details: Some(Payload::json("{")), ..Failure::new("flaky", "no") };
    assert!(matches!(harness.refuse(&failing(&token, broken)), Rejection::NotJson { .. }));
    harness.expect(&failing(&token, Failure::new("flaky", "no")));
}

#[test]
fn a_failure_has_a_largest_depth() {
    let mut harness = Harness::of(STEP);
    harness.start(&json!({}));
    let token = harness.offer().token;
    let chain = |causes: usize| {
        (0..causes)
            .fold(Failure::new("io", "no"), |cause, _| Failure { cause: Some(Box::new(cause)), ..Failure::default() })
    };
    assert!(matches!(harness.refuse(&failing(&token, chain(1_000))), Rejection::Invalid(_)));
    harness.expect(&failing(&token, chain(100)));
}

#[test]
fn an_append_has_a_largest_event_and_a_largest_count() {
    let mut harness = Harness::new();
    let append = |events: Vec<Payload>| {
        Command::AppendEvents(Box::new(AppendEvents {
            tenant: TenantId::default(),
            name: StreamName::new("a").expect("valid"),
            events,
            producer: None,
            expected: None,
            sequence: None,
            create: true,
            close: false,
        }))
    };
    let many = vec![json(&json!(1)); limits::EVENTS_PER_APPEND + 1];
    assert!(matches!(harness.refuse(&append(many)), Rejection::Invalid(_)));
    let large = vec![json(&json!(1)), text_of(limits::VALUE_BYTES + 1)];
    assert!(matches!(harness.refuse(&append(large)), Rejection::TooLarge { what: "the event", .. }));
    harness.expect(&append(vec![json(&json!(1)); limits::EVENTS_PER_APPEND]));
}

#[test]
fn a_value_that_grows_too_large_is_an_error_of_its_task() {
    let mut harness = Harness::of(
        "do:
  - t:
      try: [ { grow: { set: '${ . + . }', then: grow } } ]
      catch: { as: e, do: [ { c: { set: { at: '${ $e.instance }', type: '${ $e.type }' } } } ] }",
    );
    let run = harness.start(&json!("x".repeat(50_000)));
    harness.carry_on();
    let expect = json!({"at": "/do/0/t/try/0/grow", "type": workflow::error::EXPRESSION});
    assert_eq!(harness.output(run), expect);
}

#[test]
fn the_items_of_a_loop_are_one_value() {
    let mut harness =
        Harness::of("do:\n  - each: { for: { in: '${ [.text, .text, .text] }' }, do: [ { a: { set: { n: 1 } } } ] }");
    let run = harness.start(&json!({"text": "x".repeat(100_000)}));
    harness.carry_on();
    let run = harness.run(run);
    assert_eq!(run.status, RunStatus::Failed);
    let detail = run.error.as_ref().and_then(|error| error.detail.clone()).unwrap_or_default();
    assert!(detail.contains("for.in"), "{detail}");
}

/// As deep as a document may nest, the run nests too.
#[test]
fn tasks_nest_as_deep_as_a_document_may() {
    let mut inner = "set: { n: 1 }".to_owned();
    for _ in 0..15 {
        inner = format!("do: [ {{ a: {{ {inner} }} }} ]");
    }
    let mut harness = Harness::of(&format!("do:\n  - a: {{ {inner} }}"));
    assert_eq!(harness.output_of(&json!({})), json!({"n": 1}));
}

/// Loops inside loops keep the items of all of them.
#[test]
fn the_items_of_all_open_loops_are_bounded_together() {
    let mut harness = Harness::of(
        "do:
  - outer: { for: { in: '${ [range(40000)] | map(1) }' }, do: [ { middle: { for: { in: '${ [range(40000)] | map(1) }' }, do: [ { inner: { for: { in: '${ [range(40000)] | map(1) }' }, do: [ { a: { set: { n: 1 } } } ] } } ] } } ] }",
    );
    let run = harness.start(&json!({}));
    let run = harness.run(run);
    assert_eq!(run.status, RunStatus::Failed);
    let error = run.error.clone().expect("it says why");
    assert_eq!(error.instance.as_deref(), Some("/do/0/outer/do/0/middle/do/0/inner"));
    assert!(error.detail.is_some_and(|detail| detail.contains("120000 in all open loops")));
}

#[test]
fn an_error_that_is_raised_has_a_largest_size() {
    let mut harness = Harness::of(
        "do:
  - a: { raise: { error: { type: 'https://x.example/odd', status: 400, detail: '${ .text * 30 }' } } }",
    );
    let run = harness.start(&json!({"text": "x".repeat(10_000)}));
    let error = harness.run(run).error.clone().expect("it says why");
    assert!(error.detail.is_some_and(|detail| detail.starts_with("the error has 300")));
}

#[test]
fn what_an_expression_says_of_its_failure_is_cut() {
    let mut harness = Harness::of("do:\n  - a: { set: '${ error(.text) }' }");
    let run = harness.start(&json!({"text": "x".repeat(200_000)}));
    let detail = harness.run(run).error.as_ref().and_then(|error| error.detail.clone()).expect("it says why");
    assert_eq!(detail.chars().count(), limits::DETAIL_CHARS);
}

#[test]
fn a_result_after_its_run_was_over_does_not_count() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let token = harness.offer().token;
    harness.expect(&failing(&token, Failure::new("final", "no")));
    assert_eq!(harness.status(run), RunStatus::Failed);
    assert_eq!(harness.refuse(&completion(&token, &json!(1))), Rejection::StaleAttempt);
}
