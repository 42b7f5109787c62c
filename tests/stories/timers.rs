//! Waits outlive the node: each ends once, and never before it is due, however often the node is killed meanwhile.

use headwater_client::{Delivery, StartRun, StreamStart};
use serde_json::{Value, json};

use crate::support::{Home, ended, soon};

const DEFINITION: &str = r"
document: { dsl: '1.0.3', namespace: default, name: naps, version: '1.0.0' }
do:
  - one: { wait: { milliseconds: 900 } }
  - two: { wait: { milliseconds: 1 } }
  - three: { wait: { milliseconds: 1500 } }
  - done: { set: { rested: true } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_outlive_kills_and_are_never_early() {
    let home = Home::new();
    let mut node = home.start().await;
    let client = home.client();
    client.register_workflow(DEFINITION).await.expect("registered");
    let started = client.start_run(&StartRun::new("naps").input(json!({}))).await.expect("started");
    for _ in 0..5 {
        node.kill().await;
        node = home.start().await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let view = ended(&client, started.run).await;
    assert_eq!((view.status.as_str(), view.output), ("completed", Some(json!({ "rested": true }))));

    let mut events = client.subscribe(started.stream(), StreamStart::Begin).await.expect("subscribed");
    let (mut due, mut fired) = (Vec::new(), Vec::new());
    loop {
        match soon("the next event", events.next()).await.expect("not over").expect("no error") {
            Delivery::Event(event) => {
                let data: Value = serde_json::from_slice(&event.payload.data).expect("JSON");
                match &*event.kind {
                    "timer_started" => due.push(data["due"].as_u64().expect("a time")),
                    "timer_fired" => fired.push(event.time.as_millis()),
                    _ => {}
                }
            }
            Delivery::End { .. } => break,
            Delivery::Opened { .. } | Delivery::Lost { .. } | Delivery::Resumed { .. } | Delivery::Passed { .. } => {}
            Delivery::Gap { reason, .. } => panic!("a gap: {reason}"),
        }
    }
    assert_eq!((due.len(), fired.len()), (3, 3), "each wait begins once and ends once");
    for (due, fired) in due.iter().zip(&fired) {
        assert!(fired >= due, "it ended {} ms early", due - fired);
    }
    assert!(node.stop().await.success(), "{}", home.log());
}

const SPIN: &str = r"
document: { dsl: '1.0.3', namespace: default, name: spin, version: '1.0.0' }
do:
  - nap: { wait: { milliseconds: 1 }, then: nap }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_never_rest_do_not_hold_up_a_stop() {
    let home = Home::new().set("node.partitions", "2");
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(SPIN).await.expect("registered");
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(client.start_run(&StartRun::new("spin").input(json!({}))).await.expect("started").run);
    }
    let at_it = |run| {
        let client = client.clone();
        async move {
            let before = client.run(run).await.expect("it is there").head.value();
            while client.run(run).await.expect("it is there").head.value() <= before + 20 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    };
    for &run in &runs {
        soon("a run to go round", at_it(run)).await;
    }
    assert!(node.stop().await.success(), "{}", home.log());
    // They were not lost by it.
    let node = home.start().await;
    for &run in &runs {
        soon("a run to go round again", at_it(run)).await;
        client.cancel_run(run, "enough").await.expect("asked");
        assert_eq!(ended(&client, run).await.status, "cancelled");
    }
    assert!(node.stop().await.success(), "{}", home.log());
}
