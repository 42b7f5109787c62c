//! A flipped bit in the last thing that a stopped node wrote: what the start itself has to read. The node starts all the
//! same, says what is lost, and goes on behind it.

use std::time::Duration;

use headwater_client::{Code, StreamStart};
use serde_json::json;

use crate::damage::{fill, flip, follow, metric, places, write};
use crate::support::{Chance, Home, Http, soon, stream};
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

/// The start does not read it; the first reader does. Until the segment is set aside it is told `damaged` at worst.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_a_reader_meets_where_records_are_added_costs_that_segment_only() {
    // In blocks of the table that a start does not read, neither for the last fact nor for the last output.
    const SOME: u64 = 16;
    const DAMAGED: usize = 6;
    let home = Home::new().set("node.partitions", "1");
    let mut chance = Chance::from_environment().named("middle");
    let node = home.start().await;
    let client = home.client();
    let name = "agent/tokens";
    client.create_stream(&stream(name), None).await.expect("created");
    let mut marks = Vec::new();
    for n in 0..SOME {
        marks.push(fill(&mut chance, 20_000));
        write(&client, name, &[json!({ "n": n, "fill": marks.last() })]).await;
    }
    assert!(node.stop().await.success(), "{}", home.log());
    let found = places(home.data(), &marks[DAMAGED].as_bytes()[..64]);
    assert!(!found.is_empty(), "the event is in a table of RocksDB");
    for (path, at) in found {
        flip(&path, at + 20);
    }

    let node = home.start().await;
    assert_eq!(metric(&home, "headwater_log_quarantined_segments").await, 0, "nobody has met it yet: {}", home.log());
    let mut from = StreamStart::Begin;
    soon("the segment is sealed and quarantined", async {
        while metric(&home, "headwater_log_quarantined_segments").await == 0 {
            // What is before the damage is given, then it is met.
            if let Ok(read) = client.read_stream(&stream(name), from, false).await {
                from = StreamStart::At(read.next);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(metric(&home, "headwater_log_quarantined_segments").await, 1);
    assert!(home.log().contains("takes records is damaged and is sealed"), "{}", home.log());
    write(&client, name, &[json!({ "n": SOME })]).await;
    let served = (vec![SOME], vec![(0, SOME, Code::Damaged)]);
    assert_eq!(follow(&client, name, SOME).await, served);
    assert!(node.stop().await.success(), "{}", home.log());
}
