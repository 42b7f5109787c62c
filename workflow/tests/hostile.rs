//! Definitions that would crash whoever only checks them. All run on half of the smallest stack that any thread has by
//! default: a node checks definitions on such threads, the command line on its main one.

use std::fmt::Write;

use workflow::limits;

/// Half of 2 MiB; frames that were not optimised are several times as large.
const STACK_KIB: usize = if cfg!(debug_assertions) { 8 * 1024 } else { 1024 };

fn on_small_stack(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_KIB * 1024).spawn_scoped(scope, test);
        thread.expect("a thread").join().expect("the test passes");
    });
}

fn definition(tasks: &str) -> String {
    format!("document: {{ dsl: '1.0.3', namespace: default, name: hostile, version: '1.0.0' }}\n{tasks}")
}

/// Its problem's code, or nothing for one that is allowed.
fn code(source: &str) -> Option<&'static str> {
    match workflow::compile_with_warnings(source) {
        Ok(_) => None,
        Err(problems) => Some(problems[0].code),
    }
}

/// Tasks inside tasks, `depth` of them.
fn nested(depth: usize) -> String {
    let inner =
        (0..depth).fold("{ set: { a: 1 } }".to_owned(), |inner, at| format!("{{ do: [ {{ t{at}: {inner} }} ] }}"));
    definition(&format!("do: [ {{ outer: {inner} }} ]\n"))
}

fn expression(text: &str) -> String {
    let json = serde_json::to_string(&format!("${{ {text} }}")).expect("a text");
    definition(&format!("do: [ {{ a: {{ set: {json} }} }} ]\n"))
}

#[test]
fn tasks_nest_as_deep_as_documents_may() {
    on_small_stack(|| {
        let deepest = (1..limits::MAX_DOCUMENT_DEPTH).rev().find(|depth| code(&nested(*depth)).is_none());
        assert!(deepest.is_some_and(|depth| depth > 10), "{deepest:?}");
        assert_eq!(code(&nested(limits::MAX_DOCUMENT_DEPTH)), Some("too_deep"));
        assert_eq!(code(&nested(20_000)), Some("too_deep"));
    });
}

#[test]
fn data_nests_as_deep_as_documents_may() {
    on_small_stack(|| {
        for (open, close) in [("[", "]"), ("{a: ", "}")] {
            for depth in [limits::MAX_DOCUMENT_DEPTH - 8, limits::MAX_DOCUMENT_DEPTH, 100_000] {
                let data = open.repeat(depth) + "1" + &close.repeat(depth);
                let found = code(&definition(&format!("do: [ {{ a: {{ set: {{ a: {data} }} }} }} ]\n")));
                // Far beyond, the reader of YAML gives up by itself.
                let expect: &[_] =
                    if depth < limits::MAX_DOCUMENT_DEPTH { &[None] } else { &[Some("too_deep"), Some("bad_syntax")] };
                assert!(expect.contains(&found), "{open} {depth}: {found:?}");
            }
        }
        let indented: String = (0..5_000).fold(String::new(), |mut text, depth| {
            writeln!(text, "{}a:", " ".repeat(depth % 1_000)).expect("a text");
            text
        });
        assert!(code(&indented).is_some());
    });
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..12 {
        let before = format!("*a{}", at - 1);
        writeln!(bomb, "a{at}: &a{at} [{}]", [before.as_str(); 9].join(", ")).expect("a text");
    }
    on_small_stack(|| assert!(code(&bomb).is_some()));
}

#[test]
fn expressions_are_as_deep_as_they_may_be() {
    let deep = |open: &str, close: &str| {
        let most = limits::MAX_EXPRESSION_NESTING;
        (1..=most).rev().map(|depth| open.repeat(depth) + "1" + &close.repeat(depth)).collect::<Vec<_>>()
    };
    on_small_stack(|| {
        for (open, close) in [("(", ")"), ("[", "]"), ("{a: ", "}"), ("-", ""), ("try ", ""), ("if . then ", " end")] {
            // The deepest that is taken is one that was parsed and resolved to its end.
            let taken = deep(open, close).iter().position(|text| code(&expression(text)).is_none());
            assert!(taken.is_some(), "{open}");
            assert_eq!(code(&expression(&(open.repeat(5_000) + "1" + &close.repeat(5_000)))), Some("bad_expression"));
        }
        for text in ["1 + ", ". | ", "1 as $x | ", "def f: 1; ", "label $x | ", ".a as [$x] | ", "1, ", ". // "] {
            for times in [10, 50, 100, 200, 255, 1_000, 5_000] {
                let found = code(&expression(&(text.repeat(times) + "1")));
                assert!(matches!(found, None | Some("bad_expression")), "{text} {times}: {found:?}");
            }
        }
        for text in [".a".repeat(5_000), "[]".repeat(5_000), "\"\\(".repeat(5_000), "?".repeat(5_000)] {
            assert!(matches!(code(&expression(&text)), None | Some("bad_expression")));
        }
    });
}

#[test]
fn a_definition_may_be_wide() {
    let tasks: String = (0..limits::MAX_TASKS).fold(String::new(), |mut text, at| {
        writeln!(text, "  - t{at}: {{ set: {{ a: '${{ .a + {at} }}' }} }}").expect("a text");
        text
    });
    on_small_stack(|| {
        assert_eq!(code(&definition(&format!("do:\n{tasks}"))), None);
        let more = definition(&format!("do:\n{tasks}  - more: {{ set: {{ a: 1 }} }}\n"));
        assert_eq!(code(&more), Some("too_many_tasks"));
    });
}
