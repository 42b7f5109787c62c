//! Conformance to the workflow language: the specification's own scenarios that need only what is built, and the
//! project's, in the same phrases. Each runs through the public API, and each is killed after every one of its events.

mod expectation;
mod features;
mod killed;
mod outcome;
mod public;
mod scenario;
mod script;

use std::path::Path;

use scenario::Scenario;

/// The specification's scenarios that need only `do`, the implicit flow, `set`, `raise`, `switch` and `input.from`.
const SPECIFIED: [&str; 7] = [
    "Task With Sequential Sub Tasks",
    "Implicit Sequence Flow",
    "Set Task",
    "Raise task with inline error",
    "Switch task with matching case",
    "Switch task with implicit default case",
    "Input Filtering",
];
/// Fewer than this would no longer cover every construct.
const OWN_AT_LEAST: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_passes_through_the_public_api() {
    let scenarios = all();
    let node = public::PublicNode::start().await;
    let mut failures = Vec::new();
    for scenario in &scenarios {
        if let Err(what) = node.check(scenario).await {
            failures.push(format!("{scenario}: {what}"));
        }
    }
    node.stop().await;
    report(&failures);
    println!("{} scenarios passed through the public API", scenarios.len());
}

#[test]
fn every_scenario_ends_the_same_when_it_is_killed_after_each_of_its_events() {
    // Expressions are evaluated on the caller's thread, as in a driver, which has such a stack.
    let killing = std::thread::Builder::new().stack_size(node::limits::DRIVER_STACK_BYTES).spawn(kill_all);
    killing.expect("a thread starts").join().expect("the thread reports what it finds");
}

fn kill_all() {
    let (scenarios, mut failures, mut sum) = (all(), Vec::new(), killed::Counts::default());
    for scenario in &scenarios {
        match killed::check(scenario) {
            Ok(counts) => sum.add(counts),
            Err(what) => failures.push(format!("{scenario}: {what}")),
        }
    }
    report(&failures);
    println!("{} scenarios: {sum}", scenarios.len());
}

/// The specification's scenarios, where they are at hand, and the project's.
fn all() -> Vec<Scenario> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scenarios = specified(&root.join("../shared/openworkflow/ctk"));
    let own = features::read(&root.join("fixtures/scenarios"));
    assert!(own.len() >= OWN_AT_LEAST, "only {} scenarios of the project's own", own.len());
    scenarios.extend(own.iter().map(Scenario::read));
    scenarios
}

fn specified(folder: &Path) -> Vec<Scenario> {
    if !folder.is_dir() {
        println!("skipped: the specification's scenarios are not at ../shared/openworkflow/ctk");
        return Vec::new();
    }
    let all = features::read(folder);
    let (chosen, left): (Vec<_>, Vec<_>) = all.iter().partition(|found| SPECIFIED.contains(&found.name.as_str()));
    assert_eq!(chosen.len(), SPECIFIED.len(), "{SPECIFIED:?} are not all there");
    for found in left {
        println!("not run, it needs what is refused at registration: {} of {}", found.name, found.file);
    }
    chosen.into_iter().map(Scenario::read).collect()
}

fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} scenarios failed:\n\n{}", failures.len(), failures.join("\n\n"));
}
