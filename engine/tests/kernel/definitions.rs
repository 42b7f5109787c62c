//! Definitions: kept for ever, the same under the same name.

use std::sync::Arc;

use engine::{Answer, Command, Rejection, limits};
use types::{TenantId, WorkflowHash};

use crate::harness::{Harness, definition};

fn register(name: &str, text: &str) -> Command {
    let source: Arc<str> = text.into();
    Command::RegisterWorkflow {
        tenant: TenantId::default(),
        name: definition(name),
        hash: WorkflowHash::of(&source),
        source,
    }
}

#[test]
fn a_definition_never_changes() {
    let mut harness = Harness::new();
    let answer = |harness: &mut Harness, command: &Command| harness.send(command).map(|(_, answer)| answer);
    assert_eq!(answer(&mut harness, &register("a", "one")), Ok(Answer::Registered { created: true }));
    assert_eq!(answer(&mut harness, &register("a", "one")), Ok(Answer::Registered { created: false }));
    assert_eq!(harness.refuse(&register("a", "two")), Rejection::WorkflowExists(definition("a")));
    assert_eq!(answer(&mut harness, &register("b", "two")), Ok(Answer::Registered { created: true }));
    let names: Vec<_> = harness.partition.definitions().map(|definition| definition.name.name.clone()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_definitions_source_has_a_largest_size() {
    let mut harness = Harness::new();
    let text = "x".repeat(limits::DEFINITION_BYTES + 1);
    let rejection = harness.refuse(&register("a", &text));
    assert!(matches!(rejection, Rejection::TooLarge { what: "the definition", .. }), "{rejection}");
}

#[test]
fn all_definitions_together_have_a_largest_size() {
    let mut harness = Harness::new();
    let text = "x".repeat(limits::DEFINITION_BYTES);
    let fit = limits::DEFINITIONS_BYTES / limits::DEFINITION_BYTES;
    for number in 0..fit {
        harness.expect(&register(&format!("a{number}"), &text));
    }
    let rejection = harness.refuse(&register("more", "y"));
    assert!(matches!(rejection, Rejection::TooLarge { what: "all definitions together", .. }), "{rejection}");
    // What is known already takes no more room.
    harness.expect(&register("a0", &text));
}
