//! A flipped bit in the last thing that a stopped node wrote: what the start itself has to read. The node starts all the
//! same, says what is lost, and goes on behind it.

use headwater_client::Code;
use serde_json::json;

use crate::damage::{fill, flip, follow, metric, places, write};
use crate::support::{Chance, Home, Http, stream};
use crate::verification::verify;

const EVENTS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_though_the_last_event_is_damaged() {
    let home = Home::new().set("node.partitions", "1");
    let mut chance = Chance::from_environment().named("end");
    let node = home.start().await;
    let client = home.client();
    let name = "agent/tokens";
    client.create_stream(&stream(name), None).await.expect("created");
    let mut mark = String::new();
    for n in 0..EVENTS {
        mark = fill(&mut chance, 20_000);
        write(&client, name, &[json!({ "n": n, "fill": mark })]).await;
    }
    assert!(node.stop().await.success(), "{}", home.log());
    let found = places(home.data(), &mark.as_bytes()[..64]);
    assert!(!found.is_empty(), "the event is in a table of RocksDB");
    for (path, at) in found {
        flip(&path, at + 20);
    }

    // Who only looks is told, and the directory is as it was.
    let data = home.data().to_str().expect("a path that is text");
    for command in ["cat", "export"] {
        let shown = home.program().run(["log", command, "--data", data]).await;
        shown.exits(74).says(&["not shown", "headwater log verify"]);
    }
    verify(&home, home.data()).await.exits(74);

    let node = home.start().await;
    assert_eq!(metric(&home, "headwater_log_quarantined_segments").await, 1);
    assert!(home.log().contains("quarantined"), "{}", home.log());
    Http::to(home.listen).get(&format!("/v1/streams/{name}?offset=-1")).await.refuses(410, "damaged");
    write(&client, name, &[json!({ "n": EVENTS })]).await;
    let lost = (vec![EVENTS], vec![(0, EVENTS, Code::Damaged)]);
    assert_eq!(follow(&client, name, EVENTS).await, lost);
    node.kill().await;

    let node = home.start().await;
    assert_eq!(follow(&client, name, EVENTS).await, lost, "and so it stays");
    write(&client, name, &[json!({ "n": EVENTS + 1 })]).await;
    assert_eq!(follow(&client, name, EVENTS + 1).await.0, [EVENTS, EVENTS + 1]);
    assert!(node.stop().await.success(), "{}", home.log());
}
