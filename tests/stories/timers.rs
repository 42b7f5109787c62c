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
            Delivery::Opened { .. } | Delivery::Lost { .. } | Delivery::Resumed { .. } => {}
            Delivery::Gap { reason, .. } => panic!("a gap: {reason}"),
        }
    }
    assert_eq!((due.len(), fired.len()), (3, 3), "each wait begins once and ends once");
    for (due, fired) in due.iter().zip(&fired) {
        assert!(fired >= due, "it ended {} ms early", due - fired);
    }
    assert!(node.stop().await.success(), "{}", home.log());
}
