//! `engine` and `workflow` decide: no clock, no chance, no I/O, no tasks, no order that a hash decides.

use crate::edges::Package;
use crate::source;

const PURE: &[&str] = &["engine", "workflow"];

/// Words that a pure crate does not use, and what it loses by them.
const FORBIDDEN: &[(&str, &str)] = &[
    ("HashMap", "its order differs between runs; use BTreeMap"),
    ("HashSet", "its order differs between runs; use BTreeSet"),
    ("SystemTime", "time comes in as an argument"),
    ("Instant", "time comes in as an argument"),
    ("async", "deciding never waits"),
    ("await", "deciding never waits"),
    ("rand", "chance comes in as a seed"),
    ("getrandom", "chance comes in as a seed"),
];

/// Modules of `std` that reach the world.
const WORLD: &[&str] = &["fs", "net", "process", "thread", "env"];

/// Crates that a pure crate does not depend on, tests aside.
const IMPURE_CRATES: &[&str] = &["tokio", "futures-util", "rand", "getrandom", "reqwest", "rustix", "fs4", "tracing"];

/// Where a file of a pure crate reaches for the world, as sentences.
pub(crate) fn violations(path: &str, text: &str) -> Vec<String> {
    let pure = PURE.iter().any(|name| path.strip_prefix(name).is_some_and(|rest| rest.starts_with("/src/")));
    if !pure || source::is_test_file(path) {
        return Vec::new();
    }
    let code = source::without_tests(&source::code(text));
    source::words(&code).iter().filter_map(|word| violation(path, word)).collect()
}

fn violation(path: &str, word: &source::Word<'_>) -> Option<String> {
    if let Some((name, why)) = FORBIDDEN.iter().find(|(name, _)| *name == word.text) {
        return Some(format!("{path}:{} uses {name}: {why}", word.line));
    }
    let reaches_out = word.before.ends_with("std::") && WORLD.contains(&word.text);
    reaches_out.then(|| format!("{path}:{} uses std::{}: a pure crate does no I/O", word.line, word.text))
}

/// What a pure crate depends on and should not, as sentences.
pub(crate) fn impure_dependencies(package: &Package) -> Vec<String> {
    let pure = PURE.contains(&package.name.as_str());
    let impure = package
        .dependencies
        .iter()
        .filter(|dependency| pure && !dependency.dev && IMPURE_CRATES.contains(&dependency.name.as_str()));
    impure.map(|dependency| format!("{} depends on {}", package.name, dependency.name)).collect()
}

#[test]
fn a_pure_crate_that_reaches_for_the_world_is_found() {
    let check = |path: &str, text: &str, expect: usize| {
        let found = violations(path, text);
        assert_eq!(found.len(), expect, "{path}: {text}: {found:?}");
    };
    check("engine/src/run.rs", "use std::collections::BTreeMap;", 0);
    check("engine/src/run.rs", "use std::collections::HashMap;", 1);
    check("node/src/router.rs", "use std::collections::HashMap;", 0);
    check("workflow/src/parse.rs", "let now = std::time::Instant::now();", 1);
    check("workflow/src/parse.rs", "std::fs::read(path)", 1);
    check("workflow/src/parse.rs", "#[cfg(test)]\nmod tests { fn f() { std::fs::read(path) } }", 0);
    check("engine/src/run.rs", "async fn f() {}", 1);
    check("engine/src/run.rs", "/// async, Instant, rand\nfn f() { g('a', \"HashMap\") }", 0);
}

#[test]
fn a_pure_crate_with_an_impure_dependency_is_found() {
    let package = |name: &str, dev| Package {
        name: name.to_owned(),
        dependencies: vec![crate::edges::Dependency { name: "tokio".to_owned(), ours: false, dev }],
    };
    assert_eq!(impure_dependencies(&package("engine", false)).len(), 1);
    assert_eq!(impure_dependencies(&package("engine", true)).len(), 0);
    assert_eq!(impure_dependencies(&package("node", false)).len(), 0);
}
