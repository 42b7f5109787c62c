//! Definitions that are wrong, and definitions that are meant to hurt: each is refused by name and place, or fails its
//! run with a named error, and the node goes on.

use headwater_client::{Client, Code, Error, Problem, RunView, StartRun};
use serde_json::{Value, json};

use crate::support::{Home, ended};

fn definition(name: &str, tasks: &str) -> String {
    format!("document: {{ dsl: '1.0.3', namespace: default, name: {name}, version: '1.0.0' }}\ndo:\n{tasks}")
}

async fn refused(client: &Client, source: &str) -> Problem {
    match client.register_workflow(source).await {
        Err(Error::Problem(problem)) => *problem,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Registers, starts and waits for the end.
async fn run(client: &Client, name: &str, tasks: &str, input: Value) -> RunView {
    client.register_workflow(&definition(name, tasks)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let started = client.start_run(&StartRun::new(name).input(input)).await.expect("started");
    ended(client, started.run).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_of_a_definition_is_told_with_line_and_column() {
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();

    let mistakes = [
        ("do: [", "1:", "syntax"),
        ("just text", "1:1", ""),
        (&definition("a", "  - greet:\n      cal: worker\n"), "4:", "unknown"),
        (
            &definition("a", "  - ask:\n      call: http\n      with: { method: get }\n"),
            "4:13",
            "unsupported_construct",
        ),
        (&definition("a", "  - both:\n      fork: { branches: [] }\n"), "4:", "unsupported_construct"),
        (&definition("a", "  - sum:\n      set: '${ .a + }'\n"), "4:21", "bad_expression"),
        (&definition("a", "  - jump:\n      set: { a: 1 }\n      then: nowhere\n"), "5:13", "then"),
        (&definition("a", "  - rest:\n      wait: { hours: never }\n"), "4:", ""),
        (&definition("a", "  - act:\n      call: nobody\n"), "4:13", "unknown_function"),
    ];
    for (source, place, word) in mistakes {
        let problem = refused(&client, source).await;
        assert_eq!((problem.status, problem.code), (422, Some(Code::InvalidDefinition)), "{source}\n{problem:?}");
        let first = problem.sentences("problem").first().cloned().unwrap_or_default();
        assert!(first.starts_with(place), "{source}\nis told at {first:?}, not at {place}");
        assert!(first.contains(word) || problem.detail.contains(word), "{source}\n{first:?} does not say {word:?}");
    }
    let several = definition("a", "  - one:\n      call: http\n  - two:\n      fork: {}\n");
    assert!(refused(&client, &several).await.sentences("problem").len() >= 2, "one mistake hides no other");

    let registered = client.register_workflow(&definition("kept", "  - a:\n      set: { a: 1 }\n")).await;
    assert!(registered.expect("a good one").created);
    let other = definition("kept", "  - a:\n      set: { a: 2 }\n");
    let problem = refused(&client, &other).await;
    assert_eq!((problem.status, problem.code), (409, Some(Code::WorkflowExists)), "a version never changes");
    let names: Vec<_> = client.workflows().await.expect("a list").into_iter().map(|view| view.name).collect();
    assert_eq!(names, ["kept"], "what was refused is not there");
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_without_end_fails_its_run_by_name_and_nobody_elses() {
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();
    let endless = run(&client, "endless", "  - again:\n      set: { a: 1 }\n      then: again\n", json!({})).await;
    assert_eq!(endless.status, "failed", "{endless:?}");
    let error = endless.error.expect("a failed run has an error");
    let kind = error["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("/errors/runtime"), "{error}");
    assert!(error.to_string().contains("100000"), "it says which bound was met: {error}");

    let neighbour = run(&client, "neighbour", "  - a:\n      set: { done: true }\n", json!({})).await;
    assert_eq!((neighbour.status.as_str(), neighbour.output), ("completed", Some(json!({ "done": true }))));
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_expressions_fail_their_run_and_nothing_else() {
    let home = Home::new();
    let mut node = home.start().await;
    let client = home.client();
    let hostile = [
        ("without-bottom", "def f: 1 + f; f"),
        ("without-end", "def f: f; f"),
        // What needs most of the stack for each call.
        ("walking", "def f: walk(f); f"),
        ("ranging", "def f: range(f; f; f); f"),
        ("pathing", "def f: path(f); f"),
        ("updating", "def f: .a.b.c.d.e.f |= f; f"),
        ("swallowed", "try (def f: 1 + f; f) catch 1"),
        ("too-many", "[range(1000000000)] | length"),
        ("too-long", "\"x\" * 1000000000"),
        ("doubling", "reduce range(64) as $n (\"x\"; . + .) | length"),
        ("too-deep", "reduce range(100000) as $n (null; [.])"),
        (
            "slow-pattern",
            "(\"a\" * 30000) | test(\"(a+)+$\") | not | if . then error(\"no\") else [range(10000000)] end",
        ),
        ("not-a-number", "nan"),
        ("several", "1, 2"),
        ("none", "empty"),
        ("wrong-type", "{} + 1"),
        ("from-data", ".given | error"),
    ];
    for (name, expression) in hostile {
        let tasks = format!("  - hurt:\n      set: {{ a: {} }}\n", json!(format!("${{ {expression} }}")));
        let view = run(&client, name, &tasks, json!({ "given": "${ 1 + 1 }" })).await;
        assert_eq!(view.status, "failed", "{name}: {view:?}");
        let error = view.error.expect("a failed run has an error");
        assert!(error["type"].as_str().unwrap_or_default().ends_with("/errors/expression"), "{name}: {error}");
        assert_eq!(error["instance"], "/do/0/hurt", "{name}: {error}");
        assert!(node.is_up(), "{name} brought the node down: {}", home.log());
    }
    for (name, expression) in
        [("secrets", "env"), ("environment", "$ENV.HOME"), ("stopping", "halt"), ("reading", "input")]
    {
        let tasks = format!("  - pry:\n      set: {{ a: {} }}\n", json!(format!("${{ {expression} }}")));
        let problem = refused(&client, &definition(name, &tasks)).await;
        assert_eq!(problem.code, Some(Code::InvalidDefinition), "{name}: {problem:?}");
    }
    let data = run(&client, "data", "  - a:\n      set: '${ . }'\n", json!({ "text": "${ 1 + 1 }" })).await;
    assert_eq!(data.output, Some(json!({ "text": "${ 1 + 1 }" })), "what stands in data is data");
    assert!(node.stop().await.success(), "{}", home.log());
}

/// Checking is recursive too, on threads with far less stack than those that run workflows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_that_nest_without_end_are_refused_and_the_node_stays_up() {
    let home = Home::new();
    let mut node = home.start().await;
    let client = home.client();
    let nested = |depth: usize| "{ do: [ { t: ".repeat(depth) + "{ set: { a: 1 } }" + &" } ] }".repeat(depth);
    let expression = |text: String| json!(format!("${{ {text} }}")).to_string();
    let around = |open: &str, close: &str, times| expression(open.repeat(times) + "1" + &close.repeat(times));
    let hostile = [
        ("tasks", nested(20_000)),
        ("tasks-at-the-limit", nested(60)),
        ("lists", format!("{{ set: {{ a: {}1{} }} }}", "[".repeat(50_000), "]".repeat(50_000))),
        ("brackets", format!("{{ set: {} }}", around("(", ")", 10_000))),
        ("brackets-at-the-limit", format!("{{ set: {} }}", around("[", "]", 129))),
        ("signs", format!("{{ set: {} }}", around("-", "", 10_000))),
        ("functions", format!("{{ set: {} }}", around("def f: ", "; f", 2_000))),
        ("sums", format!("{{ set: {} }}", around("1 + ", "", 5_000))),
        ("pipes", format!("{{ set: {} }}", around(". | ", "", 5_000))),
        ("variables", format!("{{ set: {} }}", around("1 as $x | ", "", 2_500))),
        ("texts", format!("{{ set: {} }}", expression("\"\\(".repeat(5_000)))),
        ("version", "{ set: { a: 1 } }".to_owned()),
    ];
    for (name, task) in hostile {
        let mut source = definition(name, &format!("  - a: {task}\n"));
        if name == "version" {
            source = source.replace("1.0.0'", &format!("1.0.0-{}'", "a".repeat(2_000)));
        }
        let problem = refused(&client, &source).await;
        assert_eq!(problem.code, Some(Code::InvalidDefinition), "{name}: {problem:?}");
        assert!(node.is_up(), "{name} brought the node down: {}", home.log());
        let file = home.file("hostile.yaml", &source);
        home.program().run(["workflow".as_ref(), "validate".as_ref(), file.as_os_str()]).await.exits(1);
    }
    // The deepest that are taken also run.
    let deep = around("[", "]", 100);
    let tasks = format!("  - a: {{ set: {{ a: {deep} }} }}\n  - b: {}\n", nested(15));
    assert_eq!(run(&client, "deep", &tasks, json!({})).await.status, "completed");
    assert!(node.stop().await.success(), "{}", home.log());
}
