//! Expressions that would crash, stall or bloat a node that did not count. All of them run on three quarters of the
//! smallest stack that any thread has by default, so that no thread anywhere has to be made for them. None may take
//! longer than the limit of work lets it.

use super::*;

/// Three quarters of 2 MiB, which is what threads have by default, tokio's included. Frames that were not optimised
/// are several times as large.
const STACK_KIB: usize = if cfg!(debug_assertions) { 8 * 1024 } else { 1536 };

fn check(expect: ExpressionErrorKind, sources: &[&str]) {
    on_stack(STACK_KIB, || {
        for source in sources {
            let found = evaluate(source, &json!(null)).map_err(|error| error.kind);
            assert_eq!(found, Err(expect), "{source}");
        }
    });
}

#[test]
fn recursion_ends() {
    check(
        ExpressionErrorKind::TooDeep,
        &[
            "def f: 1 + f; f",
            "def f: f; f",
            "def f: f | f; f",
            "def f: [f]; f",
            "def f: {a: f, b: f}; f",
            "def f: \"\\(f)\\(f)\"; f",
            "def f: . as [$a, {b: $c}] | f; f",
            "def f: . as {(f): $a} | f; f",
            "def f($a; $b; g): f($a + 1; $b; g | g); f(1; 2; .)",
            "def f(a; b; c; d; e; g; h): f(a | b; c; d; e; g; h; a); f(.; .; .; .; .; .; .)",
            "def f(g): g | f(g | g); f(. + 1)",
            "def f(g): def h: g | h; h; f(.)",
            "def f: .a |= f; f",
            "def f: .a.b.c.d.e.f |= f; f",
            "def f: .[f]; f",
            "def f: .[f:f]; f",
            "def f: path(f); f",
            "def f: walk(f); f",
            "def f: [[[[1]]]] | walk(f); f",
            "def f: \"\" | sub(\"\"; f); f",
            "def f: limit(f; f); f",
            "def f: first(f), last(f), skip(f; f); f",
            "def f: range(f; f; f); f",
            "def f: pow(f; f); f",
            "def f: reduce f as $x (f; f); f",
            "def f: foreach f as $x (f; f; f); f",
            "def f: until(f; f), while(f; f), repeat(f); f",
            "def f: if f then f elif f then f else f end; f",
            "def f: f // f; f",
            "def f: f and f or f; f",
            "def f: -f; f",
            "def f: label $x | (f, break $x); f",
            "def f: f = f; f",
            "def f: f += f; f",
            "def f: [1] | map(f), sort_by(f), any(f; f), del(f), with_entries(f); f",
            "def a: def b: a; b; a",
        ],
    );
}

#[test]
fn no_handler_catches_a_limit() {
    check(
        ExpressionErrorKind::TooDeep,
        &[
            "def f: try f catch f; f",
            "def f: try (1 + f) catch 1; f",
            "def f: f?; f",
            "def f: (f // 1); f",
            "def f: first(f, 1); f",
            "try (def f: 1 + f; f) catch 1",
            "[.[]?, (def f: [f]; f)?]",
        ],
    );
    check(
        ExpressionErrorKind::TooMuchWork,
        &[
            "try last(range(1e12)) catch 1",
            "last(range(1e12)?)",
            "repeat(try error(\"x\") catch empty)",
            "isempty(last(range(1e12)))",
            "label $x | last(range(1e12)) | break $x",
            "(last(range(1e12)) // 1), 2",
        ],
    );
}

#[test]
fn endless_work_is_stopped() {
    check(
        ExpressionErrorKind::TooMuchWork,
        &[
            "last(range(1e12))",
            "reduce range(1e9) as $i (0; . + $i)",
            "foreach range(1e9) as $i (0; . + 1; empty)",
            "until(false; .)",
            "until(false; . + 1)",
            "[while(true; . + 1)]",
            "[recurse(. + 1)]",
            "last(repeat(1))",
            "repeat(empty)",
            "last(limit(1e9; repeat(1)))",
            "[skip(1e9; range(1e12))]",
            "[range(1000)] as $a | [$a[] as $x | $a[] as $y | $x * $y]",
            "[range(20)] | [combinations(10)]",
            "[range(300000)] | sort",
            "reduce range(1e6) as $i ({}; .[\"k\\($i)\"] = $i)",
            "reduce range(1e6) as $i (\"\"; . + \"x\")",
            "\"a\" * 100000 | [match(\"a\"; \"g\")]",
            "\"a\" * 100000 | gsub(\"a\"; \"bb\")",
            "(\"a\" * 50000) as $p | (\"a\" * 1000000) | indices($p)",
            "[range(5000)] | contains([range(5000)])",
        ],
    );
}

#[test]
fn values_do_not_grow_without_bound() {
    check(
        ExpressionErrorKind::TooLarge,
        &[
            "\"x\" * 1e12",
            "\"xxxxxxxx\" * 1e6 | [., .] | tojson",
            "[range(1e12)]",
            "[repeat(1)]",
            "reduce range(1e9) as $i (\"x\"; . + .)",
            "reduce range(1e9) as $i ([1]; . + .)",
            // Shared parts count as often as they occur, else this would be 2^64 values in no memory at all.
            "reduce range(64) as $i ([1]; [., .])",
            "reduce range(64) as $i ({}; {a: ., b: .})",
            ".[1e9] = 1",
            ".[400000] = 1",
            "\"\\u0000\" * 5000000 | tojson",
            "\"<\" * 3000000 | @html",
            "\"a\" * 8000000 | explode",
            "[limit(1000; repeat(\"x\" * 100000))] | join(\"\")",
            "\"x\" * 3000000 | \"\\(.)\\(.)\\(.)\"",
            "now | strftime(\"%Y\" * 1000000)",
        ],
    );
}

#[test]
fn values_do_not_nest_without_bound() {
    check(
        ExpressionErrorKind::TooDeep,
        &[
            "reduce range(1e9) as $i (0; [.])",
            "reduce range(1e9) as $i (null; {a: .})",
            "reduce range(1e9) as $i (null; .a.b.c |= {x: .})",
            "[recurse([.])]",
            "[path(recurse(.a))]",
            "getpath([range(1000) | \"a\"]) | path(getpath([range(1000) | \"a\"]))",
            "setpath([range(1000) | \"a\"]; 1)",
            "(\"[\" * 125) + (\"]\" * 125) | fromjson",
        ],
    );
    let deep = (0..200).fold(json!(0), |inner, _| json!([inner]));
    assert_eq!(evaluate("[.]", &deep).map_err(|error| error.kind), Err(ExpressionErrorKind::TooDeep));
    assert_eq!(evaluate("\"[\" * 100000 | try fromjson catch \"refused\"", &json!(null)), Ok(json!("refused")));
}

/// The limit of calls must not keep people from what the limit of values allows.
#[test]
fn the_deepest_values_can_be_walked() {
    let deepest = (1..crate::limits::MAX_VALUE_DEPTH).fold(json!(0), |inner, _| json!([inner]));
    let named = (1..crate::limits::MAX_VALUE_DEPTH).fold(json!(0), |inner, _| json!({ "a": inner }));
    on_stack(STACK_KIB, || {
        for value in [&deepest, &named] {
            for source in
                ["walk(.)", "walk(if type == \"number\" then . else . end)", "[..] | last", "tojson | fromjson"]
            {
                assert!(evaluate(source, value).is_ok(), "{source}: {:?}", evaluate(source, value));
            }
        }
    });
}

#[test]
fn patterns_cost_what_they_search() {
    on_stack(STACK_KIB, || {
        assert_eq!(evaluate("\"a\" * 200000 | test(\"(a*)*b\")", &json!(null)), Ok(json!(false)));
        assert_eq!(evaluate("\"a\" * 100000 | test(\"^(a|aa)+$\")", &json!(null)), Ok(json!(true)));
    });
    check(
        ExpressionErrorKind::Failed,
        &[
            "\"x\" | test(\"(a{1000}){1000}\")",
            "\"x\" | test(\"((((((((((a{9}){9}){9}){9}){9}){9}){9}){9}){9}){9}){9})\")",
            "\"x\" | test(\"(\" * 1000 + \")\" * 1000)",
            "\"x\" | test(\"[\")",
        ],
    );
    check(
        ExpressionErrorKind::TooMuchWork,
        &["\"x\" | [range(1e6) | \"a{\\(. % 100)}\\(.)\" as $p | \"x\" | test($p)]"],
    );
}

#[test]
fn the_reader_has_limits_of_its_own() {
    on_stack(STACK_KIB, || {
        for source in [
            "(".repeat(10_000),
            "[".repeat(100) + &"]".repeat(100) + &"[".repeat(10_000),
            "-".repeat(10_000) + "1",
            "try ".repeat(5_000) + ".",
            "def f: ".repeat(5_000) + ".",
            "if . then ".repeat(5_000),
            "1 as $x | ".repeat(3_000) + ".",
            "label $x | ".repeat(3_000) + ".",
            "reduce ".repeat(5_000),
            "\"\\(".repeat(5_000),
            "1 + ".repeat(4_000) + "1",
            ". | ".repeat(20_000) + ".",
            ".a".repeat(20_000),
            "[]".repeat(10_000),
            "x".repeat(1_000_000),
            "\"\\u".to_owned(),
            "\\".repeat(1_000),
            "@".to_owned(),
            "$".to_owned(),
            "\u{0}".to_owned(),
        ] {
            let shown: String = source.chars().take(20).collect();
            assert!(Expression::parse(&source, &scope()).is_err(), "{shown}…");
        }
        // What people write is far from the limits.
        let list = format!("[{}]", (0..2_000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        assert_eq!(evaluate(&format!("{list} | length"), &json!(null)), Ok(json!(2_000)));
        assert_eq!(evaluate(&(".a | ".repeat(200) + "1"), &json!(null)), Ok(json!(1)));
    });
}

#[test]
fn only_json_and_only_one_value_leaves() {
    check(
        ExpressionErrorKind::NotJson,
        &["nan", "infinite", "-infinite", "[nan]", "1e300 * 1e300", "{a: (-1 | sqrt)}"],
    );
    check(ExpressionErrorKind::NotOneValue, &["empty", "1, 2", ".[]?", "range(1e12)", "error(\"x\")?"]);
    check(ExpressionErrorKind::Failed, &["1 / 0", "1 % 0", "error(null)", "error({a: 1})", "{(1): 2}", "{} - 1"]);
}

#[test]
fn the_same_data_gives_the_same_result_and_the_same_limit() {
    for source in ["[range(1e12)]", "[uuid, now]", "[range(300000)] | sort", "def f: 1 + f; f"] {
        let first = evaluate(source, &json!(null));
        assert!((0..3).all(|_| evaluate(source, &json!(null)) == first), "{source}");
    }
}

#[test]
fn the_expressions_of_a_task_share_its_fuel() {
    let heavy = "${ [range(40000)] | length }";
    let template = |count: usize| Template::parse(&json!(vec![heavy; count]), &scope()).expect("valid");
    let evaluated = |count, fuel: &Fuel| template(count).evaluate(&json!(null), &variables(), &moment(), fuel);
    let fuel = Fuel::new(2_000_000);
    assert_eq!(evaluated(2, &fuel), Ok(json!([40_000, 40_000])));
    assert!(fuel.left() < 2_000_000 && fuel.left() > 0, "{}", fuel.left());
    let error = evaluated(700, &Fuel::new(2_000_000)).expect_err("too much for one task");
    assert_eq!(error.kind, ExpressionErrorKind::TooMuchWork);
    assert!(error.message.contains("of its task"), "{error}");
}

/// A plain path costs no evaluation, but its copy is paid for.
#[test]
fn copies_of_large_values_take_fuel() {
    let template = Template::parse(&json!(vec!["${ . }"; 10_000]), &scope()).expect("valid");
    let large = json!("x".repeat(200_000));
    let error = template.evaluate(&large, &variables(), &moment(), &Fuel::new(2_000_000)).expect_err("2 GB of copies");
    assert_eq!(error.kind, ExpressionErrorKind::TooMuchWork);
}
