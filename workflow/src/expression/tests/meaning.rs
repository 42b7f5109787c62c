//! Expressions and their results. The cases without a comment were compared with jq itself.

use super::*;

fn check(input: &Json, cases: &[(&str, Json)]) {
    for (source, expect) in cases {
        // Written as an array, so that any number of results can be compared.
        match evaluate(&format!("[{source}]"), input) {
            Ok(found) => assert_eq!(found, *expect, "{source} on {input}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn paths_read_what_is_there_and_null_for_what_is_missing() {
    let input = json!({"a": {"b": [1, 2, {"c": "d"}]}, "x y": 3, "n": null});
    check(
        &input,
        &[
            (".a.b[0]", json!([1])),
            (".a.b[-1].c", json!(["d"])),
            (".a.missing.too", json!([null])),
            (".\"x y\"", json!([3])),
            (".a[\"b\"][1:]", json!([[2, {"c": "d"}]])),
            (".a.b[:-1]", json!([[1, 2]])),
            (".a.b[]", json!([1, 2, {"c": "d"}])),
            (".a.b[1].x?", json!([])),
            (".n[]?", json!([])),
            (".a.b[0, 1]", json!([1, 2])),
            ("[[1, 2], [3, 4]] | .[0, 1][0, 1]", json!([1, 3, 2, 4])),
            (".. | numbers", json!([1, 2, 3])),
            ("[paths | join(\"/\")] | length", json!([8])),
            ("path(.a.b[1:])", json!([["a", "b", {"start": 1, "end": null}]])),
            ("path(first(.a, .n))", json!([["a"]])),
            ("getpath([\"a\", \"b\", 1])", json!([2])),
        ],
    );
}

#[test]
fn assignments_build_what_is_missing_on_the_way() {
    check(
        &json!({"a": 1, "list": [1, 2, 3]}),
        &[
            ("{} | .a.b.c = 1", json!([{"a": {"b": {"c": 1}}}])),
            ("null | .[2] = 1", json!([[null, null, 1]])),
            (".a += 2 | .a", json!([3])),
            (".new //= 4 | .new", json!([4])),
            (".list |= map(. * 2) | .list", json!([[2, 4, 6]])),
            ("(.list[] | select(. > 1)) |= . * 10 | .list", json!([[1, 20, 30]])),
            ("(.list[] | select(. > 1)) |= empty | .list", json!([[1]])),
            (".list[1:] = [9] | .list", json!([[1, 9]])),
            ("del(.list[0, 2]) | .list", json!([[2]])),
            (".x.y |= empty", json!([{"a": 1, "list": [1, 2, 3]}])),
            ("(.a, .b) = (1, 2) | [.a, .b]", json!([[1, 1], [2, 2]])),
            ("setpath([\"a\", \"b\"]; 1)?", json!([])),
            ("to_entries[0]", json!([{"key": "a", "value": 1}])),
            ("with_entries(.value |= tostring) | .a", json!(["1"])),
            ("walk(if type == \"number\" then . + 1 else . end)", json!([{"a": 2, "list": [2, 3, 4]}])),
        ],
    );
}

#[test]
fn values_are_built_and_combined() {
    check(
        &json!(null),
        &[
            ("(1, 2) + (10, 20)", json!([11, 12, 21, 22])),
            ("{a: (1, 2), b: (3, 4)} | [.a, .b]", json!([[1, 3], [1, 4], [2, 3], [2, 4]])),
            ("\"\\(1, 2)-\\(3)\"", json!(["1-3", "2-3"])),
            ("10 / 4, 10 / 5", json!([2.5, 2])),
            ("5 % 3, -5 % 3, 5 % -3", json!([2, -2, 2])),
            ("\"x\" * 3, \"x\" * 0, \"x\" * -1", json!(["xxx", "", null])),
            ("\"a,b\" / \",\"", json!([["a", "b"]])),
            ("[1, 2, 3, 2] - [2]", json!([[1, 3]])),
            ("{a: {b: 1}} * {a: {c: 2}}", json!([{"a": {"b": 1, "c": 2}}])),
            ("null + 1, \"a\" + null", json!([1, "a"])),
            ("[{}, [], \"a\", 1, true, false, null] | sort", json!([[null, false, true, 1, "a", [], {}]])),
            ("false // null // 3", json!([3])),
            ("(null, 1, false, 2) // 3", json!([1, 2])),
            ("empty // 4", json!([4])),
            ("if null then 1 elif 0 then 2 else 3 end", json!([2])),
            ("(true, false) and (true, false)", json!([true, false, false])),
            ("[1, [2, [3]]] | flatten, flatten(1)", json!([[1, 2, 3], [1, 2, [3]]])),
            ("[{k: 1, v: 2}, {k: 1, v: 3}] | group_by(.k) | map(map(.v))", json!([[[2, 3]]])),
            ("[3, 1, 2] | min, max, add, (sort | reverse)", json!([1, 3, 6, [3, 2, 1]])),
            ("\"\\ud83d\\ude00é\" | length, utf8bytelength", json!([2, 6])),
        ],
    );
}

#[test]
fn evaluation_is_steered() {
    check(
        &json!([1, 2, 3]),
        &[
            ("reduce .[] as $x (0; . + $x)", json!([6])),
            ("foreach .[] as $x (0; . + $x; [$x, .])", json!([[1, 1], [2, 3], [3, 6]])),
            ("limit(2; .[])", json!([1, 2])),
            ("first(range(5; 10)), last(range(5; 10)), nth(2; range(5; 10))", json!([5, 9, 7])),
            ("label $out | .[] | if . == 2 then ., break $out else . end", json!([1, 2])),
            ("try error(\"x\") catch (\"caught \" + .)", json!(["caught x"])),
            ("[.[] | try (if . == 2 then error else . end) catch -.]", json!([[1, -2, 3]])),
            ("1 | [while(. < 20; . * 3)], until(. > 20; . * 3)", json!([[1, 3, 9], 27])),
            ("[range(0; 10; 4)], [range(3; 0; -1)]", json!([[0, 4, 8], [3, 2, 1]])),
            ("any(. > 2), all(. > 2), (. as [$a, $b] | $a + $b)", json!([true, false, 3])),
            ("def f(g): [g, g]; f(.[0])", json!([[1, 1]])),
            ("def f($a; b): $a + a + b; f(1; 2)", json!([4])),
            ("def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; 10 | fac", json!([3_628_800])),
        ],
    );
}

#[test]
fn texts_are_taken_apart() {
    check(
        &json!("Hello, wörld"),
        &[
            ("test(\"WÖR\"; \"i\")", json!([true])),
            ("[match(\"l+\"; \"g\") | [.offset, .length, .string]]", json!([[[2, 2, "ll"], [10, 1, "l"]]])),
            ("capture(\"(?<first>\\\\w+), (?<rest>.*)\")", json!([{"first": "Hello", "rest": "wörld"}])),
            ("gsub(\"(?<v>[aeiouö])\"; \"<\\(.v)>\")", json!(["H<e>ll<o>, w<ö>rld"])),
            ("[splits(\", *\")], split(\"o\")", json!([["Hello", "wörld"], ["Hell", ", wörld"]])),
            (".[7:9], (explode | .[8])", json!(["wö", 246])),
            ("ascii_upcase, ltrimstr(\"Hello\")", json!(["HELLO, WöRLD", ", wörld"])),
            ("indices(\"l\"), index(\",\")", json!([[2, 3, 10], 5])),
            ("@base64, (@base64 | @base64d)", json!(["SGVsbG8sIHfDtnJsZA==", "Hello, wörld"])),
            ("@uri \"?q=\\(.)\", @sh \"echo \\(.)\"", json!(["?q=Hello%2C%20w%C3%B6rld", "echo 'Hello, wörld'"])),
            ("[1, \"a\\\"b\", null] | @csv, @json", json!(["1,\"a\"\"b\",", "[1,\"a\\\"b\",null]"])),
            ("\"[1, {\\\"a\\\": null}]\" | fromjson", json!([[1, {"a": null}]])),
        ],
    );
}

#[test]
fn time_is_the_records_time_and_ids_are_drawn_from_its_seed() {
    check(
        &json!(null),
        &[
            ("now | floor, todate", json!([1_795_493_220, "2026-11-24T04:07:00Z"])),
            ("\"2026-11-24T04:07:00+02:00\" | fromdate", json!([1_795_486_020])),
            ("0 | strftime(\"%A, %B %d, %Y\"), (gmtime | mktime)", json!(["Thursday, January 01, 1970", 0])),
            ("\"2015 March 5\" | strptime(\"%Y %B %d\")", json!([[2015, 2, 5, 0, 0, 0, 4, 63]])),
        ],
    );
    let ids = evaluate("[uuid, uuid]", &json!(null)).expect("two ids");
    assert_eq!(ids, evaluate("[uuid, uuid]", &json!(null)).expect("the same two ids"));
    assert_ne!(ids[0], ids[1]);
    let id = ids[0].as_str().expect("a text");
    assert!(id.len() == 36 && id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
}

#[test]
fn variables_and_conditions() {
    check(&json!({"a": 1}), &[("$context.user.name, $item[1], ($item | length)", json!(["Ada", 2, 2]))]);
    let holds = |source: &str| parse(source).holds(&json!({"n": 0, "no": false}), &variables(), &moment(), &plenty());
    // As in jq, and unlike most languages, 0 and "" hold.
    for (source, expect) in [(".n", true), (".no", false), (".missing", false), ("\"\"", true), (".n == 0", true)] {
        assert_eq!(holds(source), Ok(expect), "{source}");
    }
    let expression = parse("$context.user + {n: .n}");
    assert!(expression.uses("context") && !expression.uses("item"));
    assert!(parse("$item").uses("item"));
}

#[test]
fn templates_evaluate_texts_that_are_expressions_and_keep_all_else() {
    let data = json!({"a": "${ .x + 1 }", "b": ["plain", " ${.y} ", {"c": ".x", "d": "a ${ .x }"}], "e": 1.50});
    let template = Template::parse(&data, &scope()).expect("valid");
    let input = json!({"x": 1, "y": [true]});
    assert_eq!(
        template.evaluate(&input, &variables(), &moment(), &plenty()),
        Ok(json!({"a": 2, "b": ["plain", [true], {"c": ".x", "d": "a ${ .x }"}], "e": 1.5})),
    );
    assert!(template.constant().is_none() && !template.uses("context"));
    let constant = Template::parse(&json!({"a": ["b", 1]}), &scope()).expect("valid");
    assert_eq!(constant.constant(), Some(&json!({"a": ["b", 1]})));
    // What the data holds is never an expression.
    let injected = json!({"x": "${ $context }"});
    let copied = Template::parse(&json!({"copy": "${ .x }"}), &scope()).expect("valid");
    assert_eq!(copied.evaluate(&injected, &variables(), &moment(), &plenty()), Ok(json!({"copy": "${ $context }"})));
}

#[test]
fn two_ids_in_one_template_differ() {
    let template = Template::parse(&json!(["${ uuid }", "${ uuid }"]), &scope()).expect("valid");
    let ids = template.evaluate(&json!(null), &variables(), &moment(), &plenty()).expect("two ids");
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn numbers_beyond_floats_pass_through_unchanged() {
    let data = json!({"id": 18_446_744_073_709_551_615_u64, "big": 9_007_199_254_740_993_i64});
    assert_eq!(evaluate(".", &data), Ok(data.clone()));
    assert_eq!(evaluate("{id, big}", &data), Ok(data.clone()));
    check(
        &json!(null),
        &[(
            "9007199254740993 + 0, 9223372036854775807 + 1",
            json!([9_007_199_254_740_993_i64, 9.223_372_036_854_776e18]),
        )],
    );
}
