//! What flows between tasks: `input.from`, `output.as`, `export.as`, `$context`, and the definition's own ends.

use engine::{RunEvent, RunStatus};
use serde_json::{Value, json};

use crate::harness::{Harness, value};

fn check(body: &str, input: &Value, expect: &Value) {
    assert_eq!(Harness::of(body).output_of(input), *expect, "{body}");
}

#[test]
fn the_definitions_ends_shape_what_goes_in_and_comes_out() {
    let body = "input: { from: '${ { n: .raw } }' }
output: { as: '${ { result: .n, was: $workflow.input.raw } }' }
do:
  - a: { set: { n: '${ .n + 1 }' } }";
    check(body, &json!({"raw": 1}), &json!({"result": 2, "was": 1}));
}

#[test]
fn a_tasks_ends_see_its_input_and_its_output() {
    let body = "do:
  - a:
      input: { from: '${ { n: .n, was: . } }' }
      set: { twice: '${ .n * 2 }' }
      output: { as: '${ { twice: .twice, n: $input.n, was: $input.was } }' }";
    check(body, &json!({"n": 4}), &json!({"twice": 8, "n": 4, "was": {"n": 4}}));
}

#[test]
fn an_export_is_the_context_of_what_follows() {
    let body = "do:
  - a: { set: { n: 1 }, export: { as: '${ { kept: .n, before: $context } }' } }
  - b: { set: { n: 2 } }
  - c: { set: { kept: '${ $context.kept }', before: '${ $context.before }' } }";
    check(body, &json!({}), &json!({"kept": 1, "before": null}));
}

#[test]
fn a_skipped_task_exports_nothing() {
    let body = "do:
  - a: { set: { n: 1 }, export: { as: '${ \"first\" }' } }
  - b: { if: '${ false }', set: { n: 2 }, export: { as: '${ \"second\" }' } }
  - c: { set: { kept: '${ $context }' } }";
    check(body, &json!({}), &json!({"kept": "first"}));
}

#[test]
fn a_steps_arguments_are_not_its_input() {
    let mut harness = Harness::of(
        "do:
  - a:
      input: { from: '${ { q: .question } }' }
      call: worker
      with: { task: t, input: { ask: '${ .q }' } }
      output: { as: '${ { answer: ., asked: $input.q } }' }",
    );
    let run = harness.start(&json!({"question": "why"}));
    assert_eq!(value(&harness.offer().input), json!({"ask": "why"}));
    harness.complete(&json!("because"));
    assert_eq!(harness.output(run), json!({"answer": "because", "asked": "why"}));
}

#[test]
fn a_wait_and_a_list_keep_a_changed_input() {
    let mut harness = Harness::of(
        "do:
  - pause: { input: { from: '${ { n: (.n + 1) } }' }, wait: { seconds: 1 } }
  - inner: { input: { from: '${ { n: (.n * 10) } }' }, do: [ { a: { set: { n: '${ .n + 1 }' } } } ] }",
    );
    let run = harness.start(&json!({"n": 1}));
    harness.fire_next();
    assert_eq!(harness.output(run), json!({"n": 21}));
}

#[test]
fn expressions_know_the_workflow_the_task_and_the_runtime() {
    let body = "do:
  - here:
      set:
        name: '${ $workflow.definition.document.name }'
        started: '${ $workflow.startedAt }'
        input: '${ $workflow.input }'
        task: '${ $task.name }'
        at: '${ $task.reference }'
        runtime: '${ $runtime.name }'";
    let expect = json!({
        "name": "flow", "input": {"n": 1}, "task": "here", "at": "/do/0/here", "runtime": "headwater",
        "started": {
            "iso8601": "2026-11-24T04:07:00.000Z",
            "epoch": {"seconds": 1_795_493_220, "milliseconds": 1_795_493_220_000_u64},
        },
    });
    check(body, &json!({"n": 1}), &expect);
}

/// When it was entered, at each end of it and in each attempt, as a replay derives it again.
#[test]
fn a_task_knows_when_it_began() {
    let mut harness = Harness::of(
        "do:
  - pause: { wait: { seconds: 5 }, output: { as: '${ { pause: $task.startedAt.epoch.milliseconds } }' } }
  - ask:
      input: { from: '${ . + { before: $task.startedAt.epoch.milliseconds } }' }
      call: worker
      with: { task: t, input: '${ $task.startedAt.iso8601 }' }
      output: { as: '${ $input + { after: $task.startedAt.epoch.milliseconds } }' }
  - each:
      for: { in: '${ [1, 2] }' }
      do: [ { inner: { set: { inner: '${ $task.startedAt.epoch.milliseconds }' } } } ]
      output: { as: '${ $input + . + { each: $task.startedAt.epoch.milliseconds } }' }",
    );
    let begun = harness.now;
    let run = harness.start(&json!({}));
    harness.fire_next();
    let asked = harness.now;
    assert_eq!(value(&harness.offer().input), json!(asked.to_string()));
    harness.later_ms(700);
    let answered = harness.now;
    harness.complete(&json!(null));
    let [begun, asked, answered] = [begun, asked, answered].map(types::Timestamp::as_millis);
    assert_eq!(
        harness.output(run),
        json!({ "pause": begun, "before": asked, "after": asked, "inner": answered, "each": answered })
    );
}

#[test]
fn a_definition_is_its_own_data() {
    let body = "do:
  - first: { set: { n: 1 } }
  - here:
      metadata: { note: kept }
      set: { tasks: '${ [$workflow.definition.do[] | keys[0]] }', note: '${ $task.definition.metadata.note }' }";
    check(body, &json!({}), &json!({"tasks": ["first", "here"], "note": "kept"}));
}

/// What the task was given and what it made, before `input.from` and `output.as` change either.
#[test]
fn a_task_knows_its_raw_input_and_output() {
    let body = "do:
  - here:
      if: '${ $task.input.n == 1 }'
      input: { from: '${ { n: ($task.input.n + 10) } }' }
      set: { made: '${ .n }', raw: '${ $task.input.n }' }
      output: { as: '${ { input: $task.input, output: $task.output, again: .made } }' }
      export: { as: '${ { raw: $task.output, shaped: . } }' }
  - then: { set: '${ { data: ., context: $context } }' }";
    let (input, output) = (json!({"n": 1}), json!({"made": 11, "raw": 1}));
    let shaped = json!({"input": input, "output": output, "again": 11});
    check(body, &input, &json!({"data": shaped, "context": {"raw": output, "shaped": shaped}}));
}

/// What the data already holds, and what `input.from` made of it, is not written again as the step's arguments.
#[test]
fn a_step_s_input_is_logged_once() {
    let check = |call: &str| {
        let mut harness = Harness::of(&format!(
            "do:\n  - here: {{ call: worker, {call}, output: {{ as: '${{ [$task.input, .]  }}' }} }}"
        ));
        let run = harness.start(&json!({ "big": "b".repeat(100), "rest": 1 }));
        let offered: Value = serde_json::from_slice(&harness.offer().input.data).expect("JSON");
        assert_eq!(offered, json!({ "big": "b".repeat(100) }), "{call}");
        let marks = |event: &RunEvent| format!("{event:?}").matches(&"b".repeat(100)).count();
        let scheduled =
            harness.history(run).iter().find(|event| matches!(event, RunEvent::StepScheduled { .. })).map(marks);
        assert_eq!(scheduled, Some(1), "{call}");
        harness.complete(&json!(1));
    };
    check("with: { task: t }, input: { from: '${ { big } }' }");
    check("with: { task: t, input: '${ . }' }, input: { from: '${ { big } }' }");
    check("with: { task: t, input: '${ { big } }' }");
}

#[test]
fn a_step_s_output_is_its_task_s() {
    let mut harness = Harness::of(
        "do:\n  - here: { call: worker, with: { task: t }, output: { as: '${ { all: $task, got: .x } }' } }",
    );
    let run = harness.start(&json!({"n": 1}));
    harness.complete(&json!({"x": 2}));
    let output = harness.output(run);
    assert_eq!(
        (&output["got"], &output["all"]["output"], &output["all"]["input"]),
        (&json!(2), &json!({"x": 2}), &json!({"n": 1}))
    );
    assert_eq!(output["all"]["definition"]["call"], json!("worker"));
}

#[test]
fn the_workflow_is_known_before_its_first_task() {
    let body =
        "input: { from: '${ { name: $workflow.definition.document.name, raw: $workflow.input, by: $runtime.name } }' }
do:
  - a: { set: '${ . }' }";
    check(body, &json!({"n": 1}), &json!({"name": "flow", "raw": {"n": 1}, "by": "headwater"}));
}

#[test]
fn an_expression_that_fails_fails_the_run_by_name_and_place() {
    let check = |body: &str, instance: &str| {
        let mut harness = Harness::of(body);
        let run = harness.start(&json!({"n": 1}));
        let run = harness.run(run);
        assert_eq!(run.status, RunStatus::Failed, "{body}");
        let error = run.error.clone().expect("it says why");
        assert_eq!((error.type_.as_str(), error.status), (workflow::error::EXPRESSION, 400), "{body}");
        assert_eq!(error.instance.as_deref(), Some(instance), "{body}");
    };
    check("do:\n  - a: { set: { x: '${ .n.deep.er }' } }", "/do/0/a");
    check("do:\n  - a: { if: '${ .n.deep.er }', set: { n: 1 } }", "/do/0/a");
    check("do:\n  - a: { input: { from: '${ .n.deep.er }' }, set: { n: 1 } }", "/do/0/a");
    check("do:\n  - a: { set: { n: 1 }, output: { as: '${ .n.deep.er }' } }", "/do/0/a");
    check("do:\n  - a: { set: { n: 1 }, export: { as: '${ .n.deep.er }' } }", "/do/0/a");
    check("do:\n  - a: { do: [ { b: { set: { x: '${ .n.deep.er }' } } } ] }", "/do/0/a/do/0/b");
}

#[test]
fn an_output_of_the_definition_that_fails_fails_the_run() {
    let mut harness = Harness::of("output: { as: '${ .n.deep.er }' }\ndo:\n  - a: { set: { n: 1 } }");
    let run = harness.start(&json!({}));
    assert_eq!(harness.status(run), RunStatus::Failed);
}

#[test]
fn chance_is_drawn_from_the_runs_seed() {
    let body = "do:\n  - a: { set: { id: '${ uuid }', at: '${ now }' } }";
    let mut harness = Harness::of(body);
    let (first, second) = (harness.output_of(&json!({})), harness.output_of(&json!({})));
    assert_ne!(first["id"], second["id"], "another run, another draw");
    assert_eq!(first["at"], second["at"], "the same time");
    assert_eq!(Harness::of(body).output_of(&json!({})), first, "the same seed and time, the same draw");
}
