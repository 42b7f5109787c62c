//! What definitions become, and what people read when one is refused.

use std::fmt::Write as _;

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::program::{Flow, Growth, Jitter, RetryPolicy, TaskKind, WorkerCall};

const HEAD: &str = "document: { dsl: '1.0.3', namespace: default, name: test, version: '1.0.0' }\n";

fn compiled(body: &str) -> Program {
    let source = format!("{HEAD}{body}");
    compile(&source).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{source}\n{}", lines.join("\n"))
    })
}

/// Every problem with its code and pointer.
fn shown(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        writeln!(text, "{problem}\n    {} {}", problem.code, problem.pointer).expect("a String takes everything");
    }
    text
}

fn refused(body: &str) -> String {
    shown(&compile(&format!("{HEAD}{body}")).expect_err("it is wrong"))
}

fn call_of(program: &Program) -> &WorkerCall {
    let found = program.tasks.iter().find(|task| matches!(task.kind, TaskKind::Call(_))).expect("there is a call");
    let TaskKind::Call(call) = &found.kind else { panic!("it was found by being one") };
    call
}

#[test]
fn tasks_stand_in_blocks_with_their_pointers() {
    let program = compiled(
        "do:
  - first: { set: { a: 1 } }
  - loop:
      for: { each: pet, in: .pets, at: n }
      while: $pet.vet != null
      do:
        - inner: { set: '${ {pet: $pet, n: $n} }' }
  - guarded:
      try: [ { risky: { do: [ { deep: { wait: PT1S } } ] } } ]
      catch: { as: problem, do: [ { note: { set: { was: '${ $problem.title }' } } } ], then: end }
  - a/b~c: { wait: { seconds: 1, milliseconds: 5 } }
",
    );
    let pointers: Vec<&str> = program.tasks.iter().map(|task| task.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/do/0/first",
            "/do/1/loop",
            "/do/1/loop/do/0/inner",
            "/do/2/guarded",
            "/do/2/guarded/try/0/risky",
            "/do/2/guarded/try/0/risky/do/0/deep",
            "/do/2/guarded/catch/do/0/note",
            "/do/3/a~1b~0c",
        ]
    );
    for (id, block) in program.blocks.iter().enumerate() {
        for (index, task) in block.tasks.iter().enumerate() {
            let task = program.task(*task);
            assert_eq!((task.block.0 as usize, task.index as usize), (id, index), "{}", task.pointer);
        }
    }
    for task in &program.tasks {
        assert!(
            program.definition.pointer(&task.pointer).is_some_and(serde_json::Value::is_object),
            "{}",
            task.pointer
        );
    }
    let TaskKind::Wait(millis) = program.tasks[7].kind else { panic!("a wait") };
    assert_eq!((program.root, millis), (BlockId(0), 1005));
    assert_eq!(
        program.document,
        DocumentId { namespace: "default".into(), name: "test".into(), version: "1.0.0".into() }
    );
}

#[test]
fn json_is_read_like_yaml() {
    let source = json!({
        "document": {"dsl": "1.0.3", "namespace": "default", "name": "test", "version": "1.0.0"},
        "do": [{"greet": {"set": {"text": "😀", "n": 1.5}}}],
    });
    let escaped = source.to_string().replace('😀', "\\ud83d\\ude00");
    for text in [source.to_string(), serde_json::to_string_pretty(&source).expect("JSON"), escaped] {
        let program = compile(&text).expect(&text);
        let TaskKind::Set(data) = &program.tasks[0].kind else { panic!("a set") };
        assert_eq!(data.constant(), Some(&json!({"text": "😀", "n": 1.5})));
    }
    assert_snapshot!(shown(&compile("{\n  \"document\": {},\n  oops\n").expect_err("it is wrong")), @r"
    3:3: the definition is not valid JSON: key must be a string at line 3 column 3
        bad_syntax
    ");
}

#[test]
fn flow_goes_to_tasks_of_the_same_list() {
    let program = compiled(
        "do:
  - choose:
      switch:
        - other: { then: last }
        - big: { when: .n > 10, then: exit }
        - small: { when: '${ .n < 3 }', then: continue }
      then: end
  - middle: { set: { x: 1 }, then: choose }
  - last: { set: { y: 2 } }
",
    );
    let TaskKind::Switch(cases) = &program.tasks[0].kind else { panic!("a switch") };
    let flows: Vec<(&str, Flow)> = cases.iter().map(|case| (case.name.as_str(), case.then)).collect();
    // The case without a condition decides last, wherever it is written.
    assert_eq!(flows, [("big", Flow::Exit), ("small", Flow::Continue), ("other", Flow::Goto(2))]);
    let thens: Vec<Flow> = program.tasks.iter().map(|task| task.then).collect();
    assert_eq!(thens, [Flow::End, Flow::Goto(0), Flow::Continue]);
}

#[test]
fn a_function_is_a_worker_call_with_a_name() {
    let body = "use:
  functions:
    draftAnswer:
      call: worker
      with: { task: draft-answer, queue: llm, stream: true, heartbeat: { seconds: 10 }, startToClose: slow, retry: often }
  timeouts: { slow: { after: PT5M } }
  retries:
    often:
      delay: { seconds: 3 }
      backoff: { exponential: {} }
      limit: { attempt: { count: 5 }, duration: { minutes: 1 } }
      jitter: { from: PT0S, to: PT0.5S }
do:
  - draft: { call: draftAnswer, with: { ticket: '${ .ticket }', fixed: 1 } }
";
    let program = compiled(body);
    let call = call_of(&program);
    assert_eq!(
        (call.function.as_str(), call.task.as_str(), call.queue.as_str()),
        ("draftAnswer", "draft-answer", "llm")
    );
    assert!(call.stream && call.arguments.is_some());
    let bounds = (call.heartbeat_ms, call.start_to_close_ms, call.schedule_to_start_ms);
    assert_eq!(bounds, (Some(10_000), Some(300_000), None));
    assert_eq!(
        call.retry,
        Some(RetryPolicy {
            max_attempts: 6,
            initial_ms: 3_000,
            growth: Growth::Exponential(2.0),
            cap_ms: 3_600_000,
            jitter: Jitter::Between { from_ms: 0, to_ms: 500 },
            max_duration_ms: Some(60_000),
            non_retryable: vec![],
        })
    );
}

#[test]
fn a_worker_call_has_defaults() {
    let program = compiled("do: [ { ask: { call: worker, with: { task: ask } } } ]");
    let call = call_of(&program);
    assert_eq!((call.function.as_str(), call.queue.as_str(), call.stream), ("ask", "default", false));
    assert!(call.arguments.is_none() && call.retry.is_none() && call.start_to_close_ms.is_none());
    let program = compiled(
        "do: [ { ask: { call: worker, with: { task: ask, input: .question, retry: { nonRetryable: [BadInput], backoff: { linear: { maxDelay: PT9S } } } } } } ]",
    );
    let call = call_of(&program);
    let retry = call.retry.as_ref().expect("a policy");
    assert_eq!((retry.max_attempts, retry.growth, retry.cap_ms), (0, Growth::Linear, 9_000));
    assert_eq!((retry.initial_ms, retry.non_retryable.as_slice()), (1_000, ["BadInput".to_owned()].as_slice()));
}

#[test]
fn aliases_are_written_out_and_bombs_refused() {
    let program = compiled("do:\n  - a: &step { set: { x: 1 } }\n  - b: *step\n");
    assert_eq!(program.tasks.len(), 2);
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for level in b'b'..=b'j' {
        let (name, before) = (char::from(level), char::from(level - 1));
        writeln!(bomb, "{name}: &{name} [{}]", vec![format!("*{before}"); 10].join(", "))
            .expect("a String takes everything");
    }
    let problems = compile(&bomb).expect_err("a bomb");
    assert_eq!((problems.len(), problems[0].code), (1, "too_large"), "{problems:?}");
    assert_eq!(compile("a: &a [ *a ]").expect_err("endless")[0].code, "bad_alias");
    let deep = format!("{HEAD}do: {}", "[".repeat(5_000));
    assert!(["too_deep", "bad_syntax"].contains(&compile(&deep).expect_err("deep")[0].code));
    let nested = format!("{HEAD}metadata: {}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(compile(&nested).expect_err("nested")[0].code, "too_deep");
    let long = " ".repeat(limits::MAX_SOURCE_BYTES + 1);
    assert_eq!(compile(&long).expect_err("long")[0].code, "too_large");
}

#[test]
fn a_definition_may_be_large_but_not_endless() {
    let tasks = |count: usize| {
        (0..count).fold(format!("{HEAD}do:\n"), |text, n| text + &format!("  - t{n}: {{ set: {{ n: '${{ . }}' }} }}\n"))
    };
    assert_eq!(compile(&tasks(10_000)).expect("at the limit").tasks.len(), 10_000);
    assert_eq!(compile(&tasks(10_001)).expect_err("beyond it")[0].code, "too_many_tasks");
    let wrong = (0..200).fold(format!("{HEAD}do:\n"), |text, n| text + &format!("  - t{n}: {{ sett: 1 }}\n"));
    assert_eq!(compile(&wrong).expect_err("all wrong").len(), limits::MAX_PROBLEMS);
}

#[test]
fn what_is_misspelt_is_guessed() {
    assert_snapshot!(refused(
        "use:
  functions: { draft: { call: worker, with: { task: d, que: llm } } }
  retrys: {}
do:
  - a: { cal: worker, with: { task: x } }
  - b: { call: drat }
  - c: { set: { x: 1 }, them: end }
  - d: { set: { x: 1 }, then: e1 }
  - e:
      switch: [ { one: { wen: .x, then: exit } } ]
  - f: { wait: { second: 3 } }
  - g: { set: { x: '${ lenght }', y: '${ $contxt.a }' } }
  - h:
      try: [ { i: { raise: { error: { type: t, statsu: 1 } } } } ]
      catch: { error: {}, retry: sometimes }
"
    ), @r"
    3:56: `with` of `call: worker` has no field `que`
        unknown_field /use/functions/draft/with/que
    4:3: `use` has no field `retrys` (did you mean `retries`?)
        unknown_field /use/retrys
    6:10: the task does nothing: it needs one of call, do, fork, emit, for, listen, raise, run, set, switch, try, wait (did you mean `call`?)
        unknown_task_kind /do/0/a/cal
    7:16: there is no function `drat`: declare it in `use.functions`, or use `call: worker` (did you mean `draft`?)
        unknown_function /do/1/b/call
    8:25: a `set` task has no field `them` (did you mean `then`?)
        unknown_field /do/2/c/them
    9:31: there is no task `e1` in the same list: `then` takes a task beside this one, `continue`, `exit` or `end` (did you mean `e`?)
        unknown_task_name /do/3/d/then
    11:26: a case has no field `wen` (did you mean `when`?)
        unknown_field /do/4/e/switch/0/one/wen
    12:18: a duration has no field `second` (did you mean `seconds`?)
        unknown_field /do/5/f/wait/second
    13:24: in the expression: there is no function `lenght` (did you mean `length`?)
        unknown_function /do/6/g/set/x
    13:42: in the expression: there is no variable `$contxt` in a task (did you mean `$context`?)
        unknown_variable /do/6/g/set/y
    15:30: an error needs the field `status`
        missing_field /do/7/h/try/0/i/raise/error
    15:48: an error has no field `statsu` (did you mean `status`?)
        unknown_field /do/7/h/try/0/i/raise/error/statsu
    16:16: `catch` has no field `error` (did you mean `errors`?)
        unknown_field /do/7/h/catch/error
    16:34: `use.retries` has no retry policy `sometimes`
        unknown_reference /do/7/h/catch/retry
    ");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    assert_snapshot!(refused(
        "input: { schema: { document: {} } }
use: { secrets: [key], catalogs: { x: {} }, authentications: { basic: {} }, extensions: [ {} ] }
schedule: { cron: 0 0 * * * }
timeout: { after: PT1H }
evaluate: { language: js, mode: loose }
do:
  - a: { fork: { branches: [] } }
  - b: { listen: { to: {} } }
  - c: { emit: { event: {} } }
  - d: { run: { shell: {} } }
  - e: { call: http, with: {} }
  - f: { call: mcp, with: {} }
  - g: { call: 'https://example.com/f.yaml' }
  - h: { call: worker, with: { task: x }, timeout: { after: PT1S }, output: { schema: {} }, export: { schema: {} } }
  - i: { wait: '${ .pause }' }
  - j:
      try: [ { k: { set: { x: 1 } } } ]
      catch:
        errors: { with: { type: '${ .t }' } }
        retry: { limit: { attempt: { duration: PT1S } } }
  - l: { set: { key: '${ $secrets.key }' } }
"
    ), @r"
    2:10: `input.schema` is not supported: check the data in a worker, or with a `switch` that leads to a `raise`
        unsupported_construct /input/schema
    3:8: `use.secrets` is not supported: let the worker that needs a secret read it itself
        unsupported_construct /use/secrets
    3:24: `use.catalogs` is not supported: declare the function in `use.functions` with `call: worker`
        unsupported_construct /use/catalogs
    3:45: `use.authentications` is not supported: the worker that makes a call authenticates it
        unsupported_construct /use/authentications
    3:77: `use.extensions` is not supported: put what comes before or after a task into tasks of its own
        unsupported_construct /use/extensions
    4:1: `schedule` of a workflow is not supported: start its runs over the API, or from a scheduler of your own
        unsupported_construct /schedule
    5:1: `timeout` of a workflow is not supported: bound a step's attempts with `startToClose` in the `with` of its `call: worker`
        unsupported_construct /timeout
    6:23: `language: js` is not supported: write the expressions in jq; only `jq` is supported
        unsupported_construct /evaluate/language
    6:33: `mode: loose` is not supported: put every expression inside `${ … }`; only `strict` is supported
        unsupported_construct /evaluate/mode
    8:10: `fork` is not supported: run the branches one after the other with `do`, or let one worker run them at once
        unsupported_construct /do/0/a/fork
    9:10: `listen` is not supported: let a worker wait for the event and complete its step with it
        unsupported_construct /do/1/b/listen
    10:10: `emit` is not supported: let a worker publish the event, or append it to a stream over the API
        unsupported_construct /do/2/c/emit
    11:10: `run` is not supported: put the command or script into a worker and call it with `call: worker`
        unsupported_construct /do/3/d/run
    12:16: `call: http` is not supported: make the request in a worker and use `call: worker`
        unsupported_construct /do/4/e/call
    13:16: `call: mcp` is not supported: call the tool in a worker and use `call: worker`
        unsupported_construct /do/5/f/call
    14:16: a function from a catalog is not supported: declare the function in `use.functions` with `call: worker`
        unsupported_construct /do/6/g/call
    15:43: `timeout` of a task is not supported: bound each attempt with `startToClose` and the time in the queue with `scheduleToStart`, both in the `with` of `call: worker`
        unsupported_construct /do/7/h/timeout
    15:79: `output.schema` is not supported: check the data in a worker, or with a `switch` that leads to a `raise`
        unsupported_construct /do/7/h/output/schema
    15:103: `export.schema` is not supported: check the data in a worker, or with a `switch` that leads to a `raise`
        unsupported_construct /do/7/h/export/schema
    16:16: a computed duration (`wait`) is not supported: write a constant such as `{seconds: 30}`
        unsupported_construct /do/8/i/wait
    20:33: an expression in the filter of a `catch` is not supported: compare with `when`, which is an expression
        unsupported_construct /do/9/j/catch/errors/with/type
    21:48: `limit.attempt.duration` is not supported: bound a worker's attempts with `startToClose`, or all retries together with `limit.duration`
        unsupported_construct /do/9/j/catch/retry/limit/attempt/duration
    22:26: in the expression: `$secrets` is not supported: let the worker that needs a secret read it itself
        unknown_variable /do/10/l/set/key
    ");
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    assert_snapshot!(refused(
        "document2: {}
do:
  - a: {}
  - b: { set: { x: 1 }, wait: PT1S }
  - b: { set: { x: 1 } }
  - end: { set: { x: 1 } }
  - c: { set: x }
  - d: { set: {} }
  - e: { if: true, set: { x: 1 } }
  - f: { do: [] }
  - g: { for: { each: $x, in: 3, at: input }, do: [ { h: { set: { x: '${ $item }' } } } ] }
  - i: { wait: P1Y }
  - j: { wait: P999999D }
  - k: { raise: { error: { title: only } } }
  - l: { raise: { error: nothing } }
  - m: { set: { x: '${ .a + }', y: 'sum ${ .a }', z: '${ $item }' } }
  - n: { if: '${ .a } == 1', set: { x: 1 } }
  - o: { export: { as: '$output + $nothing' }, output: { as: $output }, set: { x: 1 } }
  - p
  - { q: { set: { x: 1 } }, r: {} }
  - s: { call: worker, with: { task: 'two words', stream: yes, startToClose: PT0S } }
  - t: { switch: [ { u: { then: exit } }, { v: { then: exit } } ] }
"
    ), @r"
    2:1: a definition has no field `document2` (did you mean `document`?)
        unknown_field /document2
    4:5: the task does nothing: it needs one of call, do, fork, emit, for, listen, raise, run, set, switch, try, wait
        unknown_task_kind /do/0/a
    5:5: a task does one thing, this one has `set` and `wait`: part it
        ambiguous_task /do/1/b
    6:5: there are two tasks named `b` in this list, the first on line 5
        duplicate_task /do/2/b
    7:5: a task cannot be named `end`: `then: end` means something else
        bad_name /do/3/end
    8:15: `set` takes a map with at least one field, or one expression `${ … }`
        wrong_type /do/4/c/set
    9:10: `set` takes a map with at least one field, or one expression `${ … }`
        wrong_type /do/5/d/set
    10:14: `if` must be a text (put it in quotes), not a boolean
        wrong_type /do/6/e/if
    11:10: a list of tasks needs at least one task
        missing_field /do/7/f/do
    12:23: `each` is a variable's name without `$`: letters, digits and `_` (did you mean `x`?)
        bad_name /do/8/g/for/each
    12:31: `in` must be an expression or a list, not a number
        wrong_type /do/8/g/for/in
    12:38: `at` cannot be `input`: `$input` already has a meaning
        bad_name /do/8/g/for/at
    12:74: in the expression: there is no variable `$item` in a task
        unknown_variable /do/8/g/do/0/h/set/x
    13:16: `P1Y` counts years or months, which have no fixed length: write days
        bad_duration /do/9/i/wait
    14:16: the duration is longer than ten years
        bad_duration /do/10/j/wait
    15:19: an error needs the field `type`
        missing_field /do/11/k/raise/error
    15:19: an error needs the field `status`
        missing_field /do/11/k/raise/error
    16:26: `use.errors` has no error `nothing`
        unknown_reference /do/12/l/raise/error
    17:29: in the expression: the expression ends where a value or a path is expected
        bad_expression /do/13/m/set/x
    17:58: in the expression: there is no variable `$item` in a task
        unknown_variable /do/13/m/set/z
    18:16: an expression stands wholly inside `${ … }` or wholly without it
        bad_expression /do/14/n/if
    19:35: in the expression: there is no variable `$nothing` in a task's `export.as`
        unknown_variable /do/15/o/export/as
    19:62: in the expression: `$output` is not available in a task's `output.as`: it exists only in `export.as`
        unknown_variable /do/15/o/output/as
    20:5: a task is a map with one field, its name: `- name: { … }`
        wrong_type /do/16
    21:5: a task is a map with one field, its name: `- name: { … }`
        wrong_type /do/17
    22:38: `task` is a constant name of 1 to 128 visible ASCII characters without blanks
        bad_name /do/18/s/with/task
    22:59: `stream` must be `true` or `false`, not a text
        wrong_type /do/18/s/with/stream
    22:78: `startToClose` must be longer than nothing
        bad_duration /do/18/s/with/startToClose
    23:45: only one case may have no `when`, `u` already has none
        duplicate_default /do/19/t/switch/1/v
    ");
}

/// It is a part of keys, which are bounded.
#[test]
fn a_version_is_bounded() {
    let of = |version: &str| {
        compile(&format!(
            "document: {{ dsl: '1.0.3', namespace: a, name: b, version: '{version}' }}\ndo: [ {{ a: {{ set: {{ a: 1 }} }} }} ]\n"
        ))
    };
    assert!(of(&format!("1.0.0-{}", "a".repeat(122))).is_ok());
    assert_snapshot!(shown(&of(&format!("1.0.0-{}", "a".repeat(123))).expect_err("too long")), @r"
    1:59: `version` has 129 bytes, at most 128 are allowed
        bad_version /document/version
    ");
}

#[test]
fn the_document_says_what_it_is() {
    assert_snapshot!(shown(&compile("do: [ { a: { set: { x: 1 } } } ]").expect_err("no document")), @r"
    1:1: a definition needs the field `document`
        missing_field
    ");
    assert_snapshot!(shown(
        &compile("document: { dsl: 1.1.0, namespace: a b, name: '-x', version: '1', title: 3, tags: [] }\ndo: 1").expect_err("all wrong")
    ), @r"
    1:18: version 1.1.0 of the language is not supported, only 1.0.x (1.0.3 is the latest)
        unsupported_version /document/dsl
    1:36: `namespace` has 1 to 63 letters, digits and hyphens, and no hyphen at its ends
        bad_name /document/namespace
    1:47: `name` has 1 to 63 letters, digits and hyphens, and no hyphen at its ends
        bad_name /document/name
    1:62: `version` is a semantic version such as '1.0.0'
        bad_version /document/version
    1:74: `title` must be a text (put it in quotes), not a number
        wrong_type /document/title
    1:77: `tags` must be a map, not a list
        wrong_type /document/tags
    2:5: the tasks must be a list, not a number
        wrong_type /do
    ");
    assert_snapshot!(shown(&compile("").expect_err("empty")), @r"
    1:1: the definition is empty
        bad_document
    ");
    assert_snapshot!(shown(&compile("a: 1\na: 2").expect_err("twice")), @r"
    2:1: the field `a` is written twice, first on line 1
        duplicate_field
    ");
    assert_snapshot!(shown(&compile("a: [1, 2").expect_err("open")), @r"
    1:4: the definition is not valid YAML: unclosed bracket '['
        bad_syntax
    ");
    assert_snapshot!(shown(&compile("- 1\n---\n- 2").expect_err("two")), @r"
    2:1: a definition is one document, this is a second one
        bad_document
    ");
    assert_snapshot!(shown(&compile("a: !custom 1").expect_err("tag")), @r"
    1:12: the tag `!custom` has no meaning in a definition: remove it
        bad_syntax
    ");
}

#[test]
fn what_is_probably_not_meant_is_told() {
    let source = format!(
        "{HEAD}do:
  - start: {{ set: {{ name: Ada, plan: free }} }}
  - greet: {{ set: {{ text: '${{ \"Hello \\(.nmae), \" + (.title // \"friend\") }}', plan: '${{ .plan }}', raw: .plan }} }}
  - ask: {{ call: worker, with: {{ task: ask, input: {{ prompt: '${{ .prompt }}', note: 'for ${{ .text }}' }} }} }}
  - use: {{ set: {{ answer: '${{ .answer }}' }} }}
  - choose: {{ switch: [ {{ yes: {{ when: .reply == \"yes\", then: end }} }}, {{ no: {{ then: exit }} }} ] }}
  - never: {{ set: {{ x: 1 }} }}
"
    );
    assert_snapshot!(shown(&warnings(&source)), @r#"
    4:27: `.nmae` is always null here: the task `start` produces only name, plan (did you mean `.name`?)
        missing_data /do/1/greet/set/text
    4:102: `.plan` is a plain text here, not an expression (did you mean `${ .plan }`?)
        literal_expression /do/1/greet/set/raw
    5:62: `.prompt` is always null here: the task `greet` produces only plan, raw, text
        missing_data /do/2/ask/with/input/prompt
    5:84: this text is not evaluated: `${ … }` must be the whole text; write `${ "… \(.field) …" }`
        literal_expression /do/2/ask/with/input/note
    7:40: `.reply` is always null here: the task `use` produces only answer
        missing_data /do/4/choose/switch/0/yes/when
    8:12: the task `never` never runs: nothing leads to it
        unreachable_task /do/5/never
    "#);
}

#[test]
fn nothing_is_warned_of_where_nothing_is_known() {
    let source = format!(
        "{HEAD}do:
  - start: {{ set: {{ a: 1 }}, if: .go }}
  - next: {{ set: {{ b: '${{ .b }}' }}, output: {{ as: '. + $context' }} }}
  - again: {{ set: {{ c: '${{ .c }}' }} }}
  - back: {{ set: {{ d: '${{ .c }}' }}, then: again }}
"
    );
    assert_eq!(shown(&warnings(&source)), "");
}

proptest! {
    #[test]
    fn no_text_brings_the_compiler_down(text in "\\PC{0,200}") {
        drop(compile(&text));
    }

    #[test]
    fn no_damaged_definition_brings_the_compiler_down(
        cut in 0_usize..4_000, insert in "[-:{}\\[\\]&*!|>'\"$,# \n\t\u{0}a-z0-9.]{0,12}", remove in 0_usize..40,
    ) {
        let source = include_str!("../../../fixtures/workflows/support-triage.yaml");
        let characters: Vec<char> = source.chars().collect();
        let cut = cut.min(characters.len());
        let rest = (cut + remove).min(characters.len());
        let damaged: String = characters[..cut].iter().copied().chain(insert.chars()).chain(characters[rest..].iter().copied()).collect();
        match compile_with_warnings(&damaged) {
            Ok((program, _)) => prop_assert!(!program.tasks.is_empty()),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                let lines = damaged.lines().count();
                prop_assert!(problems.iter().all(|problem| problem.line as usize <= lines + 1 && problem.column >= 1));
            }
        }
    }
}

/// A few nodes may hold much text, and aliases repeat it.
#[test]
fn aliases_do_not_multiply_a_text_beyond_the_limit() {
    let policy = |count: usize| {
        let calls: Vec<String> = (0..count)
            .map(|n| format!("  - c{n}: {{ call: worker, with: {{ task: t, metadata: *long }} }}\n"))
            .collect();
        format!(
            "document: {{ dsl: '1.0.3', namespace: n, name: w, version: '1.0.0', metadata: &long {{ x: {} }} }}\ndo:\n{}",
            "x".repeat(100_000),
            calls.concat()
        )
    };
    let codes =
        |source: &str| compile(source).err().into_iter().flatten().map(|problem| problem.code).collect::<Vec<_>>();
    assert!(!codes(&policy(10)).contains(&"too_large"));
    assert_eq!(codes(&policy(100)), ["too_large"]);
}

#[test]
fn final_failure_types_are_few_and_short() {
    let codes = |types: &str| {
        let source = format!(
            "document: {{ dsl: '1.0.3', namespace: n, name: w, version: '1.0.0' }}\ndo:\n  - c: {{ call: worker, with: {{ \
             task: t, retry: {{ nonRetryable: [{types}] }} }} }}\n"
        );
        compile(&source).err().into_iter().flatten().map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&["a"; 64].join(", ")), [""; 0]);
    assert_eq!(codes(&["a"; 65].join(", ")), ["too_large"]);
    assert_eq!(codes(&"x".repeat(257)), ["bad_name"]);
}
