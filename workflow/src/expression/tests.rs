//! What expressions mean, and what they may never do.

use serde_json::{Value as Json, json};

use super::*;

fn evaluate(source: &str, input: Json) -> Result<Json, ExpressionError> {
    let scope = Scope::new("a test", &["context", "item"]);
    let expression = Expression::parse(source, &scope).unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
    let variables =
        Variables::from([("context".to_owned(), json!({"user": {"name": "Ada"}})), ("item".to_owned(), json!([1, 2]))]);
    expression.evaluate(&input, &variables, &Moment { now: Timestamp::from_millis(1_795_493_220_123), seed: 7 })
}

fn check(source: &str, input: Json, expect: Json) {
    match evaluate(source, input) {
        Ok(value) => assert_eq!(value, expect, "{source}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn paths_read_and_build() {
    check(".a.b", json!({"a": {"b": 1}}), json!(1));
    check(".a.b.c = 1", json!({}), json!({"a": {"b": {"c": 1}}}));
    check(". + [4]", json!([1]), json!([1, 4]));
    check("[.[] | select(. > 1)]", json!([1, 2, 3]), json!([2, 3]));
    check("map({id, n: .v})", json!([{"id": 1, "v": 2}]), json!([{"id": 1, "n": 2}]));
    check("$context.user.name + \"!\"", json!(null), json!("Ada!"));
    check("reduce .[] as $x (0; . + $x)", json!([1, 2, 3]), json!(6));
    check("[limit(3; repeat(1))]", json!(null), json!([1, 1, 1]));
    check("[paths]", json!({"a": [1]}), json!([["a"], ["a", 0]]));
    check("del(.[1, 2])", json!([0, 1, 2, 3]), json!([0, 3]));
    check("\"a\\(1 + 1)b\"", json!(null), json!("a2b"));
    check("def f(g; $n): [g, $n, n]; f(.a; 2)", json!({"a": 1}), json!([1, 2, 2]));
    check("gsub(\"(?<d>\\\\d)\"; \"<\\(.d)>\")", json!("a1b2"), json!("a<1>b<2>"));
    check("now | todate", json!(null), json!("2026-11-24T04:07:00Z"));
}
