//! What people read when an expression is refused or fails.

use std::fmt::Write as _;

use insta::assert_snapshot;

use super::*;

fn refusals(sources: &[&str]) -> String {
    let mut text = String::new();
    for source in sources {
        for error in Expression::parse(source, &scope()).expect_err(source) {
            let SyntaxError { code, message, offset, suggestion } = error;
            let hint = suggestion.map_or(String::new(), |name| format!(" -> {name}"));
            writeln!(text, "{source}\n  {offset} {code}: {message}{hint}").expect("a String takes everything");
        }
    }
    text
}

fn failures(sources: &[&str]) -> String {
    let mut text = String::new();
    for source in sources {
        let error = evaluate(source, &json!({"a": "text", "n": 1})).expect_err(source);
        writeln!(text, "{error}").expect("a String takes everything");
    }
    text
}

#[test]
fn refusals_say_what_and_where() {
    assert_snapshot!(refusals(&[
        "",
        ".a +",
        ".a[",
        "if . then 1",
        "{a: 1",
        "\"abc",
        ".a & .b",
        ".a = .b // 1",
        "2 * .a % 3",
        "$contxt.user",
        "$output",
        "$secrets.key",
        "$ENV.HOME",
        "env.HOME",
        "input",
        "lenght",
        "map(.a; .b)",
        "split",
        "@base46 \"x\"",
        "break $x",
        "reduce .[] as $x (0)",
        "1e999",
        "localtime",
    ]));
}

#[test]
fn failures_say_what_happened() {
    assert_snapshot!(failures(&[
        ".a.b",
        ".a + 1",
        ".n[0]",
        ".[]",
        ".a | error",
        "error({code: 7})",
        ".a | tonumber",
        ".a | fromjson",
        ".a | fromdate",
        ".a | test(\"(\")",
        "nan",
        "last(range(1e12))",
        "\"x\" * 1e9",
        "def f: [f]; f",
    ]));
}
