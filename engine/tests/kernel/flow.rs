//! What a definition's tasks do one after the other: `do`, `set`, `switch`, `if`, `for`, `then`.

use engine::{RunEvent, RunStatus};
use serde_json::{Value, json};

use crate::harness::{Harness, addresses, kinds};

fn check(body: &str, input: &Value, expect: &Value) {
    assert_eq!(Harness::of(body).output_of(input), *expect, "{body}");
}

#[test]
fn a_set_replaces_what_was_there() {
    check("do:\n  - a: { set: { x: 1 } }\n  - b: { set: { y: '${ .x + 1 }' } }", &json!({"z": 0}), &json!({"y": 2}));
}

#[test]
fn nested_lists_hand_their_data_on() {
    let body = "do:
  - outer:
      do:
        - a: { set: { n: '${ .n + 1 }' } }
        - inner: { do: [ { b: { set: { n: '${ .n * 10 }' } } } ] }
  - c: { set: { n: '${ .n + 5 }' } }";
    check(body, &json!({"n": 1}), &json!({"n": 25}));
}

#[test]
fn an_if_that_does_not_hold_skips_its_task_and_keeps_the_data() {
    let body = "do:
  - a: { if: '${ .go }', set: { ran: true } }";
    check(body, &json!({"go": false}), &json!({"go": false}));
    check(body, &json!({"go": true}), &json!({"ran": true}));
    let mut harness = Harness::of(body);
    let run = harness.start(&json!({"go": false}));
    let skips = |event: &RunEvent| matches!(event, RunEvent::TaskExited { skipped: true, .. });
    assert_eq!(harness.history(run).iter().filter(|event| skips(event)).count(), 1);
}

#[test]
fn a_skipped_task_ignores_its_then() {
    let body = "do:
  - a: { if: '${ false }', set: { ran: a }, then: end }
  - b: { set: { ran: b } }";
    check(body, &json!({}), &json!({"ran": "b"}));
}

#[test]
fn a_switch_takes_the_first_case_that_holds() {
    let body = "do:
  - pick:
      switch:
        - small: { when: '.n < 10', then: low }
        - even: { when: '.n % 2 == 0', then: high }
        - other: { then: end }
  - low: { set: { is: low }, then: end }
  - high: { set: { is: high } }";
    check(body, &json!({"n": 2}), &json!({"is": "low"}));
    check(body, &json!({"n": 20}), &json!({"is": "high"}));
    check(body, &json!({"n": 21}), &json!({"n": 21}));
}

#[test]
fn a_switch_without_a_match_goes_its_own_way() {
    let body = "do:
  - pick: { switch: [ { never: { when: 'false', then: end } } ], then: last }
  - between: { set: { is: wrong } }
  - last: { set: { is: last } }";
    check(body, &json!({}), &json!({"is": "last"}));
}

#[test]
fn then_jumps_forward_and_back_and_every_visit_has_its_own_address() {
    let body = "do:
  - count: { set: { n: '${ .n + 1 }' } }
  - again: { switch: [ { more: { when: '.n < 3', then: count } }, { done: { then: last } } ] }
  - never: { set: { n: -1 } }
  - last: { set: { total: '${ .n }' } }";
    let mut harness = Harness::of(body);
    let run = harness.start(&json!({"n": 0}));
    assert_eq!(harness.output(run), json!({"total": 3}));
    let history = harness.history(run);
    let expect = [
        "/do/0/count",
        "/do/1/again",
        "/do/0/count@2",
        "/do/1/again@2",
        "/do/0/count@3",
        "/do/1/again@3",
        "/do/3/last",
    ];
    assert_eq!(addresses(&history), expect);
}

#[test]
fn end_ends_the_run_and_exit_only_its_own_list() {
    let nested = |then: &str| {
        format!(
            "do:\n  - outer: {{ do: [ {{ a: {{ set: {{ n: 1 }}, then: {then} }} }}, {{ b: {{ set: {{ n: 2 }} }} }} ] }}\n  - c: {{ set: {{ n: '${{ .n + 10 }}' }} }}"
        )
    };
    check(&nested("end"), &json!({}), &json!({"n": 1}));
    check(&nested("exit"), &json!({}), &json!({"n": 11}));
    check(&nested("continue"), &json!({}), &json!({"n": 12}));
}

#[test]
fn a_for_feeds_each_turn_with_the_result_of_the_one_before() {
    let body = "do:
  - sum:
      for: { each: item, in: '${ .items }', at: at }
      do: [ { add: { set: { items: '${ .items }', n: '${ (.n // 0) + $item * ($at + 1) }' } } } ]";
    check(body, &json!({"items": [1, 2, 3]}), &json!({"items": [1, 2, 3], "n": 14}));
    check(body, &json!({"items": []}), &json!({"items": []}));
    check(body, &json!({}), &json!({}));
}

#[test]
fn a_for_stops_where_its_while_does_not_hold() {
    let body = "do:
  - sum:
      for: { in: '${ [1, 2, 3, 4] }' }
      while: '${ (.n // 0) < 3 }'
      do: [ { add: { set: { n: '${ (.n // 0) + $item }' } } } ]";
    check(body, &json!({}), &json!({"n": 3}));
    check(body, &json!({"n": 9}), &json!({"n": 9}));
}

#[test]
fn a_turn_has_its_number_in_its_address() {
    let mut harness = Harness::of(
        "do:
  - each: { for: { in: '${ [7, 8] }' }, do: [ { one: { call: worker, with: { task: t } } } ] }",
    );
    let run = harness.start(&json!({}));
    assert_eq!(harness.offer().path, "/do/0/each/for/0/do/0/one");
    harness.complete(&json!("first"));
    assert_eq!(harness.offer().path, "/do/0/each/for/1/do/0/one");
    assert_eq!(crate::harness::value(&harness.offer().input), json!("first"));
    harness.complete(&json!("second"));
    assert_eq!(harness.output(run), json!("second"));
}

#[test]
fn loops_inside_loops_see_both_items() {
    let body = "do:
  - outer:
      for: { each: a, in: '${ [1, 2] }' }
      do:
        - inner:
            for: { each: b, in: '${ [10, 20] }' }
            do: [ { add: { set: '${ . + [$a + $b] }' } } ]";
    check(body, &json!([]), &json!([11, 21, 12, 22]));
}

#[test]
fn exit_leaves_a_loop() {
    let body = "do:
  - each:
      for: { in: '${ [1, 2, 3] }' }
      do:
        - add: { set: { n: '${ (.n // 0) + $item }' } }
        - stop: { if: '${ .n >= 3 }', set: '${ . }', then: exit }";
    check(body, &json!({}), &json!({"n": 3}));
}

#[test]
fn what_is_not_a_list_cannot_be_looped_over() {
    let mut harness = Harness::of("do:\n  - each: { for: { in: '${ .n }' }, do: [ { a: { set: { n: 1 } } } ] }");
    let run = harness.start(&json!({"n": 5}));
    assert_eq!(harness.status(run), RunStatus::Failed);
    let error = harness.run(run).error.clone().expect("it says why");
    assert_eq!(error.detail.as_deref(), Some("for.in yields a number, not an array"));
    assert_eq!(error.instance.as_deref(), Some("/do/0/each"));
}

#[test]
fn a_task_that_does_not_wait_is_one_event() {
    let mut harness = Harness::of("do:\n  - a: { set: { x: 1 } }\n  - b: { set: { x: 2 } }");
    let run = harness.start(&json!({}));
    assert_eq!(kinds(&harness.history(run)), ["Started", "TaskExited", "TaskExited", "Completed"]);
}
