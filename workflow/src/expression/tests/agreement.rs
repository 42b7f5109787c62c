//! Two other opinions: jaq, an independent implementation of the language, and this one's own long way for paths.

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::{Val, read};
use proptest::prelude::*;

use super::*;

/// All results of a program according to jaq; `None` for an error.
fn by_jaq(program: &str, input: &Json) -> Option<Vec<Json>> {
    let arena = Arena::default();
    let loader = Loader::new(jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()));
    let modules = loader.load(&arena, File { code: program, path: () }).expect("a valid program");
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let filter = Compiler::default().with_funs(functions).compile(modules).expect("a valid program");
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let input = read::parse_single(input.to_string().as_bytes()).expect("JSON");
    let results: Result<Vec<Val>, _> = filter.id.run((context, input)).map(unwrap_valr).collect();
    let json = |value: &Val| serde_json::from_str(&value.to_string()).expect("JSON");
    Some(results.ok()?.iter().map(json).collect())
}

/// Numbers that are equal, whether written whole or not.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn inputs() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Json::from),
        (-20_i64..20).prop_map(Json::from),
        "[ab ,]{0,4}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// Programs of the part of the language in which both implementations follow jq.
fn programs() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        ".",
        ".a",
        ".b?",
        ".c?",
        ".[]?",
        "..",
        "1",
        "-2",
        "\"ab\"",
        "null",
        "true",
        "[]",
        "{}",
        "{a: 1}",
        "[1, 2, 3]",
        "length?",
        "keys?",
        "type",
        "tojson",
        "not",
        "empty",
        "sort?",
        "tostring",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 20, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} | {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}, {b})")),
            inner.clone().prop_map(|a| format!("[{a}]")),
            inner.clone().prop_map(|a| format!("{{a: [{a}], b: 2}}")),
            (inner.clone(), prop::sample::select(vec!["+", "-", "==", "<", "!="]), inner.clone())
                .prop_map(|(a, op, b)| format!("([{a}] {op} [{b}])")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[limit(3; {a})] + [first({b})]")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c} end)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[.[]? | select({a}) | {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(try ({a}) catch ({b} | type))")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("([{a}] as [$x, $y] | [$y, $x, {b}])")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("(reduce ({a}) as $x ([]; . + [$x, first({b}, 0)]))")),
            inner.clone().prop_map(|a| format!("[foreach ({a}) as $x (0; . + 1; [$x, .])]")),
            inner.clone().prop_map(|a| format!("(def f: {a}; [f, f])")),
            inner.clone().prop_map(|a| format!("\"<\\([{a}])>\"")),
            inner.clone().prop_map(|a| format!("([{a}] | map(type) | join(\"-\"))")),
            inner.prop_map(|a| format!("([{a}] | to_entries | map(.key))")),
        ]
    })
}

proptest! {
    #[test]
    fn jaq_agrees(program in programs(), input in inputs()) {
        let program = format!("[{program}]");
        let ours = evaluate(&program, &input);
        let limited = ours.as_ref().is_err_and(|error| error.kind != ExpressionErrorKind::Failed);
        prop_assume!(!limited);
        match (ours, by_jaq(&program, &input)) {
            (Ok(ours), Some(theirs)) => prop_assert!(
                theirs.len() == 1 && same(&ours, &theirs[0]),
                "{program} on {input}: {ours} here, {theirs:?} there"
            ),
            (Err(_), None) => {}
            (ours, theirs) => prop_assert!(false, "{program} on {input}: {ours:?} here, {theirs:?} there"),
        }
    }

    #[test]
    fn the_short_way_is_the_long_way(input in inputs(), fields in prop::collection::vec("[abc]", 0..4)) {
        let path = fields.iter().fold(String::new(), |path, field| format!("{path}.{field}"));
        for (short, long) in [
            (if path.is_empty() { ".".to_owned() } else { path.clone() }, format!(". | .{path}").replace("..", ".")),
            (format!("$item{path}"), format!("$item | .{path}").replace("..", ".")),
        ] {
            let variables = Variables::from([("item".to_owned(), input.clone())]);
            let run = |source: &str| parse(source).evaluate(&input, &variables, &moment(), &plenty());
            let (short, long) = (run(&short), run(&long));
            prop_assert_eq!(short.as_ref().ok(), long.as_ref().ok());
            prop_assert_eq!(short.map_err(|error| error.message), long.map_err(|error| error.message));
        }
    }

    #[test]
    fn no_text_brings_the_reader_down(source in "[-.a-c0-2\\[\\](){}|,;:$@\"\\\\?+*/%=<> \n]{0,60}") {
        if let Ok(expression) = Expression::parse(&source, &scope()) {
            drop(expression.evaluate(&json!({"a": [1, "b"]}), &variables(), &moment(), &plenty()));
        }
    }
}
