//! The bounds of values: what is too large is refused from outside, and an error that can be caught from inside.

use engine::{
    AppendEvents, Command, Failure, Partition, Rejection, RowImage, RowName, RunEvent, RunStatus, StartRun, limits,
};
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
    assert!(matches!(harness.refuse(&failing(&token, chain(1_000))), Rejection::TooMany { count: 1_000, .. }));
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
    harness.carry_on();
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

#[test]
fn a_start_has_a_longest_key_and_a_largest_number_of_tags() {
    let mut harness = Harness::of(STEP);
    let mut start = |change: &dyn Fn(&mut StartRun)| {
        let mut start = harness.start_command("flow", &json!({}));
        change(&mut start);
        harness.send(&Command::StartRun(Box::new(start))).map(drop)
    };
    let tags = |count: usize, bytes: usize| vec![("t".to_owned(), "x".repeat(bytes)); count];
    let limit = limits::TAGS;
    let many = start(&|start| start.tags = tags(390_000, 0));
    assert_eq!(many, Err(Rejection::TooMany { what: "tags", count: 390_000, limit }));
    let wordy = start(&|start| start.tags = tags(limit, limits::TAG_BYTES / limit));
    assert!(matches!(wordy, Err(Rejection::TooLarge { what: "all tags together", .. })));
    let long = start(&|start| start.key = Some("k".repeat(limits::KEY_BYTES + 1)));
    assert!(matches!(long, Err(Rejection::TooLarge { what: "the key", .. })));
    let most = start(&|start| {
        start.tags = tags(limit, limits::TAG_BYTES / limit - 1);
        start.key = Some("k".repeat(limits::KEY_BYTES));
    });
    assert_eq!(most, Ok(()));
}

#[test]
fn what_a_value_says_of_itself_is_bounded() {
    let mut harness = Harness::of(STEP);
    harness.start(&json!({}));
    let token = harness.offer().token;
    let mut chunk = |content_type: Option<String>, meta: Vec<(String, String)>| {
        let data = Payload { content_type, meta, ..Payload::json("1") };
        harness.send(&Command::AppendChunk { token: token.clone(), sequence: 0, data }).map(drop)
    };
    let kind = Some("x".repeat(limits::CONTENT_TYPE_BYTES + 1));
    assert!(matches!(chunk(kind, Vec::new()), Err(Rejection::TooLarge { what: "the content type", .. })));
    let attributes = vec![(String::new(), String::new()); limits::ATTRIBUTES + 1];
    assert!(matches!(chunk(None, attributes), Err(Rejection::TooMany { .. })));
    assert_eq!(chunk(None, vec![(String::new(), String::new()); limits::ATTRIBUTES]), Ok(()));
}

/// As JSON a control character takes six bytes: what readers get must fit their window.
#[test]
fn a_failure_is_measured_as_its_readers_see_it() {
    let mut harness = Harness::of(STEP);
    harness.start(&json!({}));
    let token = harness.offer().token;
    let failure = Failure::new("flaky", "\u{1}".repeat(limits::FAILURE_BYTES / 6 + 1));
    assert!(matches!(harness.refuse(&failing(&token, failure)), Rejection::TooLarge { what: "the failure", .. }));
}

#[test]
fn what_some_reader_could_not_read_is_refused_at_every_door() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let token = harness.offer().token;
    let deep = format!("{}{}", "[".repeat(limits::VALUE_DEPTH + 1), "]".repeat(limits::VALUE_DEPTH + 1));
    for text in ["1e999", r#""\ud800""#, &deep, "{"] {
        let odd = || Payload::json(text.to_owned());
        let mut start = harness.start_command("flow", &json!({}));
        start.input = odd();
        let append = AppendEvents {
            tenant: TenantId::default(),
            name: StreamName::new("a").expect("valid"),
            events: vec![odd()],
            producer: None,
            expected: None,
            sequence: None,
            create: true,
            close: false,
        };
        let (tenant, name) = (TenantId::default(), "s".to_owned());
        let commands = [
            Command::StartRun(Box::new(start)),
            Command::AppendEvents(Box::new(append)),
            Command::SignalRun { tenant, run, name, id: None, payload: odd() },
            Command::CompleteStep { token: token.clone(), output: odd(), worker: String::new() },
            Command::AppendChunk { token: token.clone(), sequence: 0, data: odd() },
            failing(&token, Failure { details: Some(odd()), ..Failure::new("flaky", "no") }),
        ];
        for command in commands {
            assert!(matches!(harness.refuse(&command), Rejection::NotJson { .. }), "{text}: {command:?}");
        }
    }
}

#[test]
fn a_value_that_nests_too_deep_is_an_error_of_its_task() {
    let nested =
        |depth: usize| format!("{}${{ . }}{}", "{ a: ".repeat(depth), " }".repeat(depth)).replace("${ . }", "'${ . }'");
    let mut harness = Harness::of(&format!("do:\n  - a: {{ set: {} }}", nested(50)));
    let mut input = json!(1);
    for _ in 0..limits::VALUE_DEPTH - 2 {
        input = json!([input]);
    }
    let run = harness.start(&input);
    let run = harness.run(run);
    assert_eq!(run.status, RunStatus::Failed);
    let detail = run.error.as_ref().and_then(|error| error.detail.clone()).expect("it says why");
    assert!(detail.contains(&format!("nested {} deep", limits::VALUE_DEPTH + 48)), "{detail}");
}

#[test]
fn a_run_that_holds_too_much_is_ended_by_name() {
    let mut harness = Harness::of(STEP);
    let run = harness.start(&json!({}));
    let offer = harness.offer();
    let mut large = harness.run(run).clone();
    let mut function = large.functions[0].clone();
    function.retry.non_retryable = vec!["x".repeat(256); 64];
    large.functions.resize(limits::RUN_BYTES / (64 * 256) + 1, function);
    let mut partition = Partition::new(harness.config.clone());
    partition.admit_program(large.hash, harness.programs[&large.hash].clone());
    partition.admit(RowName::OpenRun(run), RowImage::Run(Box::new(large)));
    let decision = partition.decide(&completion(&offer.token, &json!(1)), harness.now).expect("it is taken");
    let last = crate::harness::run_events(decision.events).pop();
    let Some(RunEvent::Failed { error }) = last else { panic!("it ends: {last:?}") };
    assert_eq!(error.title.as_deref(), Some("Run Too Large"));
}
