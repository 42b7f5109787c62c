//! `raise`, `try`, `catch` and its `retry`.

use engine::{Failure, RunEvent, RunStatus};
use serde_json::{Value, json};

use crate::harness::{Harness, addresses, failing};

fn check(body: &str, input: &Value, expect: &Value) {
    assert_eq!(Harness::of(body).output_of(input), *expect, "{body}");
}

const RAISE: &str =
    "raise: { error: { type: 'https://x.example/errors/odd', status: 418, title: Odd, detail: '${ .why }' } }";

#[test]
fn a_raised_error_that_nobody_catches_fails_the_run() {
    let mut harness = Harness::of(&format!("do:\n  - a: {{ {RAISE} }}"));
    let run = harness.start(&json!({"why": "no reason"}));
    let run = harness.run(run);
    assert_eq!(run.status, RunStatus::Failed);
    let error = run.error.clone().expect("it says why");
    assert_eq!((error.type_.as_str(), error.status), ("https://x.example/errors/odd", 418));
    assert_eq!((error.title.as_deref(), error.detail.as_deref()), (Some("Odd"), Some("no reason")));
    assert_eq!(error.instance.as_deref(), Some("/do/0/a"));
}

#[test]
fn a_catch_goes_on_with_the_input_of_its_try_and_the_error_in_sight() {
    let body = format!(
        "do:
  - t:
      try:
        - a: {{ set: {{ why: changed, n: 1 }} }}
        - b: {{ {RAISE} }}
      catch:
        as: odd
        do: [ {{ c: {{ set: {{ status: '${{ $odd.status }}', detail: '${{ $odd.detail }}', data: '${{ . }}' }} }} }} ]"
    );
    let expect = json!({"status": 418, "detail": "changed", "data": {"n": 0}});
    check(&body, &json!({"n": 0}), &expect);
}

#[test]
fn a_try_without_an_error_is_a_list() {
    let body = "do:\n  - t: { try: [ { a: { set: { n: 1 } } } ], catch: { do: [ { c: { set: { n: 2 } } } ] } }";
    check(body, &json!({}), &json!({"n": 1}));
}

#[test]
fn a_catch_without_tasks_swallows_the_error() {
    let body = format!("do:\n  - t: {{ try: [ {{ a: {{ {RAISE} }} }} ], catch: {{}} }}");
    check(&body, &json!({"why": "x"}), &json!({"why": "x"}));
}

#[test]
fn the_nearest_try_that_wants_the_error_gets_it() {
    let body = |inner: &str| {
        format!(
            "do:
  - outer:
      try:
        - inner:
            try: [ {{ a: {{ {RAISE} }} }} ]
            catch: {{ {inner}, do: [ {{ i: {{ set: {{ by: inner }} }} }} ] }}
      catch: {{ do: [ {{ o: {{ set: {{ by: outer }} }} }} ] }}"
        )
    };
    let (inner, outer) = (json!({"by": "inner"}), json!({"by": "outer"}));
    check(&body("errors: { with: { status: 418 } }"), &json!({"why": "x"}), &inner);
    check(&body("errors: { with: { status: 500 } }"), &json!({"why": "x"}), &outer);
    check(&body("when: '${ .status == 418 }'"), &json!({"why": "x"}), &inner);
    check(&body("when: '${ .status == 1 }'"), &json!({"why": "x"}), &outer);
    check(&body("exceptWhen: '${ .status == 418 }'"), &json!({"why": "x"}), &outer);
}

#[test]
fn an_error_inside_a_catch_goes_outwards() {
    let body = format!(
        "do:
  - outer:
      try:
        - inner: {{ try: [ {{ a: {{ {RAISE} }} }} ], catch: {{ do: [ {{ b: {{ {RAISE} }} }} ] }} }}
      catch: {{ as: e, do: [ {{ o: {{ set: {{ at: '${{ $e.instance }}' }} }} }} ] }}"
    );
    check(&body, &json!({"why": "x"}), &json!({"at": "/do/0/outer/try/0/inner/catch/do/0/b"}));
}

#[test]
fn the_then_of_a_catch_overrides_the_one_of_its_try() {
    let body = format!(
        "do:
  - t: {{ try: [ {{ a: {{ if: '${{ .fail }}', {RAISE} }} }} ], catch: {{ then: last }} }}
  - between: {{ set: {{ by: between }}, then: end }}
  - last: {{ set: {{ by: last }} }}"
    );
    check(&body, &json!({"fail": true, "why": "x"}), &json!({"by": "last"}));
    check(&body, &json!({"fail": false}), &json!({"by": "between"}));
}

#[test]
fn a_retried_try_begins_again_later_and_gives_up_in_the_end() {
    let body = format!(
        "do:
  - t:
      try:
        - a: {{ set: {{ n: '${{ .n + 1 }}', why: x }} }}
        - b: {{ {RAISE} }}
      catch:
        retry: {{ delay: {{ seconds: 2 }}, backoff: {{ linear: {{}} }}, limit: {{ attempt: {{ count: 2 }} }} }}
        do: [ {{ c: {{ set: {{ gave: up, n: '${{ .n }}' }} }} }} ]"
    );
    let mut harness = Harness::of(&body);
    let run = harness.start(&json!({"n": 0}));
    let mut due = Vec::new();
    while let Some(at) = harness.partition.next_wake() {
        due.push(at.millis_since(harness.now));
        harness.fire_next();
    }
    assert_eq!(due, [2_000, 4_000], "two retries, growing apart");
    assert_eq!(harness.output(run), json!({"gave": "up", "n": 0}));
    let history = harness.history(run);
    let visits: Vec<_> = addresses(&history).into_iter().filter(|path| path.contains("/a")).collect();
    assert_eq!(visits, ["/do/0/t/try/0/a", "/do/0/t/try/0/a@2", "/do/0/t/try/0/a@3"]);
}

/// Each of them is another visit, so that no two facts of a run have the same place.
#[test]
fn a_task_that_fails_as_it_is_entered_was_visited() {
    for failing in [RAISE, "set: { x: '${ .why.deep.er }' }"] {
        let mut harness = Harness::of(&format!(
            "do:
  - t:
      try: [ {{ b: {{ {failing} }} }} ]
      catch: {{ retry: {{ delay: {{ seconds: 1 }}, limit: {{ attempt: {{ count: 2 }} }} }} }}"
        ));
        let run = harness.start(&json!({"why": "x"}));
        while harness.partition.next_wake().is_some() {
            harness.fire_next();
        }
        assert_eq!(harness.status(run), RunStatus::Completed);
        let raised = |event| if let RunEvent::ErrorRaised { path, .. } = event { Some(path) } else { None };
        let places: Vec<String> = harness.history(run).into_iter().filter_map(raised).collect();
        assert_eq!(places, ["/do/0/t/try/0/b", "/do/0/t/try/0/b@2", "/do/0/t/try/0/b@3"], "{failing}");
    }
}

#[test]
fn a_retry_may_have_conditions_of_its_own() {
    let body = |condition: &str| {
        format!(
            "do:
  - t:
      try: [ {{ b: {{ {RAISE} }} }} ]
      catch: {{ as: e, retry: {{ {condition}, delay: {{ seconds: 1 }} }}, do: [ {{ c: {{ set: {{ gave: up }} }} }} ] }}"
        )
    };
    check(&body("when: '${ $e.status == 1 }'"), &json!({"why": "x"}), &json!({"gave": "up"}));
    check(&body("exceptWhen: '${ $e.status == 418 }'"), &json!({"why": "x"}), &json!({"gave": "up"}));
    let mut harness = Harness::of(&body("when: '${ $e.status == 418 }'"));
    let run = harness.start(&json!({"why": "x"}));
    harness.fire_next();
    assert_eq!(harness.status(run), RunStatus::Running, "it waits for the next retry");
}

#[test]
fn an_expression_error_can_be_caught() {
    let body = "do:
  - t:
      try: [ { a: { set: { x: '${ .n.deep.er }' } } } ]
      catch: { errors: { with: { type: 'https://serverlessworkflow.io/spec/1.0.0/errors/expression' } }, do: [ { c: { set: { by: catch } } } ] }";
    check(body, &json!({"n": 1}), &json!({"by": "catch"}));
}

/// The condition is asked while an error is on its way; its own failure takes the error's place, once.
#[test]
fn a_catch_whose_condition_fails_raises_that_error_outside() {
    let body = format!(
        "do:
  - outer:
      try:
        - t:
            try: [ {{ inner: {{ do: [ {{ a: {{ {RAISE} }} }} ] }} }} ]
            catch: {{ when: '${{ .status.deep.er }}' }}
      catch: {{ as: e, do: [ {{ c: {{ set: {{ at: '${{ $e.instance }}', status: '${{ $e.status }}' }} }} }} ] }}"
    );
    check(&body, &json!({"why": "x"}), &json!({"at": "/do/0/outer/try/0/t", "status": 400}));
}

#[test]
fn a_while_that_fails_in_a_later_turn_raises_once() {
    let body = "do:
  - t:
      try:
        - each:
            for: { in: '${ [1, 2, 3] }' }
            while: '${ if $index == 1 then error(\"odd\") else true end }'
            do: [ { a: { set: { n: '${ $item }' } } } ]
      catch: { as: e, do: [ { c: { set: { at: '${ $e.instance }' } } } ] }";
    check(body, &json!({}), &json!({"at": "/do/0/t/try/0/each"}));
}

#[test]
fn a_failed_step_can_be_caught_with_its_kind() {
    let mut harness = Harness::of(
        "do:
  - t:
      try:
        - a: { call: worker, with: { task: t, retry: { limit: { attempt: { count: 0 } } } } }
      catch: { as: e, do: [ { c: { set: { title: '${ $e.title }', detail: '${ $e.detail }', at: '${ $e.instance }' } } } ] }",
    );
    let run = harness.start(&json!({}));
    harness.fail("out_of_ink");
    let expect = json!({"title": "out_of_ink", "detail": "it did not work", "at": "/do/0/t/try/0/a"});
    assert_eq!(harness.output(run), expect);
}

/// The place of an error is the same for a step as for an expression, so that a filter can name it.
#[test]
fn an_error_inside_a_loop_names_its_place_in_the_document() {
    let body =
        |inner: &str| format!("do:\n  - each: {{ for: {{ in: '${{ [1] }}' }}, do: [ {{ a: {{ {inner} }} }} ] }}");
    let instance = |harness: &Harness, run| harness.run(run).error.clone().expect("it failed").instance;
    let mut harness = Harness::of(&body("set: { n: '${ .n.deep.er }' }"));
    let run = harness.start(&json!({"n": 1}));
    assert_eq!(instance(&harness, run).as_deref(), Some("/do/0/each/do/0/a"));
    let mut harness =
        Harness::of(&body("call: worker, with: { task: t, retry: { limit: { attempt: { count: 0 } } } }"));
    let run = harness.start(&json!({}));
    harness.fail("no");
    assert_eq!(instance(&harness, run).as_deref(), Some("/do/0/each/do/0/a"));
}

#[test]
fn a_retried_try_gives_its_step_another_address() {
    let mut harness = Harness::of(
        "do:
  - t:
      try:
        - a: { call: worker, with: { task: t, retry: { limit: { attempt: { count: 0 } } } } }
      catch: { retry: { delay: { seconds: 1 } } }",
    );
    let run = harness.start(&json!({}));
    let first = harness.offer();
    harness.fail("no");
    harness.fire_next();
    let second = harness.offer();
    assert_eq!((first.path.as_str(), second.path.as_str()), ("/do/0/t/try/0/a", "/do/0/t/try/0/a@2"));
    assert_ne!(first.idempotency_key, second.idempotency_key);
    assert_ne!(first.token, second.token);
    harness.complete(&json!(1));
    assert_eq!(harness.output(run), json!(1));
    let caught = |event: &RunEvent| matches!(event, RunEvent::ErrorCaught { retry: Some(_), .. });
    assert_eq!(harness.history(run).iter().filter(|event| caught(event)).count(), 1);
}

#[test]
fn a_steps_error_names_its_place_whatever_its_task_is_called() {
    let mut harness = Harness::of("do:\n  - a/b~c@2: { call: worker, with: { task: t } }\n");
    let run = harness.start(&json!({}));
    let offer = harness.offer();
    assert_eq!(offer.path, "/do/0/a~1b~0c@2");
    let failure = Failure { non_retryable: true, ..Failure::new("refused", "no") };
    harness.expect(&failing(&offer.token, failure));
    let error = harness.run(run).error.clone().expect("it says why");
    assert_eq!(error.instance.as_deref(), Some("/do/0/a~1b~0c@2"));
}
