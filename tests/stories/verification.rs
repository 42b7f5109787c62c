//! What a stopped node's directory can be held to: every event follows from its cause, and one that was changed, however
//! carefully, is named with its position.

use std::path::Path;

use engine::Event;
use headwater_client::{Appending, StartRun};
use serde_json::json;
use types::WorkflowHash;

use crate::forgery::{copy, forge, with_output};
use crate::support::{Home, Printed, ended, stream};

const DEFINITION: &str = r#"
document: { dsl: '1.0.3', namespace: default, name: review, version: '1.0.0' }
do:
  - look:
      set: '${ . + { looked: true } }'
  - rest:
      wait: { milliseconds: 10 }
  - judge:
      set: '${ { verdict: (if .looked then "approved" else "unknown" end) } }'
"#;

/// A node's directory with closed runs and streams in it; the node is stopped.
async fn used(home: &Home) {
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(DEFINITION).await.expect("registered");
    for _ in 0..3 {
        let started = client.start_run(&StartRun::new("review").input(json!({}))).await.expect("started");
        let view = ended(&client, started.run).await;
        assert_eq!(view.output, Some(json!({ "verdict": "approved" })));
    }
    client.create_stream(&stream("agent-1/notes"), None).await.expect("created");
    client.append(&stream("agent-1/notes"), Appending::json("[1,2,3]")).await.expect("appended");
    assert!(node.stop().await.success(), "{}", home.log());
}

pub(crate) async fn verify(home: &Home, directory: &Path) -> Printed {
    home.program().run(["--json".as_ref(), "log".as_ref(), "verify".as_ref(), directory.as_os_str()]).await
}

async fn replay(home: &Home, directory: &Path) -> Printed {
    home.program().run(["--json".as_ref(), "replay".as_ref(), "--verify".as_ref(), directory.as_os_str()]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_is_replayed_and_verified() {
    let home = Home::new();
    let node = home.start().await;
    replay(&home, home.data()).await.exits(4).says(&["in use", "stop that node"]);
    verify(&home, home.data()).await.exits(4).says(&["in use", "stop that node"]);
    assert!(node.stop().await.success(), "{}", home.log());
    used(&home).await;
    let report = replay(&home, home.data()).await.exits(0).json();
    assert_eq!(report["verified"], true);
    let sum = |name: &str| {
        let partitions = report["partitions"].as_array().expect("a list");
        partitions.iter().map(|partition| partition[name].as_u64().expect("a number")).sum::<u64>()
    };
    // Each run has two causes, its start and its timer, and five events that follow.
    assert_eq!((sum("causes"), sum("compared"), sum("open_runs")), (6, 15, 0), "{report}");
    let again = replay(&home, home.data()).await.exits(0).json();
    assert_eq!(again, report, "looking changes nothing");
    let sound = verify(&home, home.data()).await.exits(0).json();
    assert_eq!((&sound["sound"], &sound["clean"], &sound["damage_count"]), (&json!(true), &json!(true), &json!(0)));
    assert_eq!(sound["records"], sum("events"), "both read the whole log");
    home.program().run(["replay", "/nowhere/at/all"]).await.exits(2);
    home.program().run(["log", "verify", "/nowhere/at/all"]).await.exits(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_that_was_changed_with_a_good_checksum_is_named_with_its_position() {
    let home = Home::new();
    used(&home).await;
    let (honest, forged) = (home.data().with_file_name("honest"), home.data().with_file_name("forged"));

    copy(home.data(), &honest, |_, _| {});
    replay(&home, &honest).await.exits(0);

    let approved = |output: &[u8]| output == br#"{"verdict":"approved"}"#;
    let change = |event| with_output(event, approved, r#"{"verdict":"rejected"}"#);
    let (partition, position) = forge(home.data(), &forged, change);
    let found = replay(&home, &forged).await.exits(74);
    found.says(&[&format!("partition {partition}"), &format!("position {position}"), "rejected", "approved"]);
    // Without deriving anything it cannot be seen: every checksum is right.
    verify(&home, &forged).await.exits(0);
    home.program().run(["replay".as_ref(), forged.as_os_str()]).await.exits(0);
}

/// The definition with another source; `honest`: under that source's own hash.
fn with_source(event: Event, source: &str, honest: bool) -> Option<Event> {
    let Event::WorkflowRegistered(mut definition) = event else { return None };
    definition.source = source.into();
    if honest {
        definition.hash = WorkflowHash::of(source);
    }
    Some(Event::WorkflowRegistered(definition))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_from_which_nothing_can_be_derived_are_told_and_no_proof() {
    const NOT_COMPILED: &str = "document: { dsl: '1.0.3', namespace: default, name: review, version: '1.0.0' }";
    let home = Home::new();
    used(&home).await;
    let (unknown, exchanged) = (home.data().with_file_name("unknown"), home.data().with_file_name("exchanged"));

    forge(home.data(), &unknown, |event| with_source(event, NOT_COMPILED, true));
    let found = replay(&home, &unknown).await.exits(1);
    assert_eq!(found.error()["code"], "not_verified");
    let report = found.json();
    assert_eq!((&report["verified"], &report["unverified"]), (&json!(false), &json!(6)), "{found}");
    assert!(report["definitions_not_compiled"][0].as_str().is_some_and(|why| why.contains("review")), "{found}");
    let shown = home.program().run(["replay".as_ref(), "--verify".as_ref(), unknown.as_os_str()]).await.exits(1);
    shown.says(&["6 causes could not be verified", "review", "the version of headwater that wrote it"]);

    let other = DEFINITION.replace("approved", "rejected");
    let (partition, position) = forge(home.data(), &exchanged, |event| with_source(event, &other, false));
    let found = replay(&home, &exchanged).await.exits(74);
    found.says(&[&format!("partition {partition}, position {position}"), "is not the one that was registered"]);
}
