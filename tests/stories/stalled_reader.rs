//! A reader that does not read pauses nobody, and has everything when it reads on.

use headwater_client::{Client, Delivery, ProducerOptions, StreamName, StreamStart, Subscription};
use serde_json::json;

use crate::support::{Home, soon, stream};

const EVENTS: u64 = 5_000;

async fn read(events: &mut Subscription, until: u64) {
    let mut next = 0;
    while next < until {
        match soon("the next event", events.next()).await.expect("not over").expect("no error") {
            Delivery::Event(event) => {
                assert_eq!(event.offset.value(), next);
                next += 1;
            }
            Delivery::Gap { reason, .. } => panic!("a gap at {next}: {reason}"),
            Delivery::End { .. } => panic!("the stream ended at {next}"),
            Delivery::Opened { .. } | Delivery::Lost { .. } | Delivery::Resumed { .. } | Delivery::Passed { .. } => {}
        }
    }
}

async fn append(client: &Client, to: &StreamName) {
    let producer = client.producer(ProducerOptions::default()).await.expect("a producer");
    let padding = "x".repeat(400);
    let mut waiting = Vec::new();
    for n in 0..EVENTS {
        waiting.push(producer.append(to, &json!({ "n": n, "padding": padding })).await.expect("taken"));
    }
    for pending in waiting {
        soon("an answer", pending).await.expect("appended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_pauses_nobody_and_has_everything_later() {
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();
    let notes = stream("agent-1/notes");
    client.create_stream(&notes, None).await.expect("created");
    let mut stalled = client.subscribe(notes.clone(), StreamStart::Begin).await.expect("subscribed");
    let mut awake = client.subscribe(notes.clone(), StreamStart::Begin).await.expect("subscribed");
    // Far more than the credit and the sockets' own buffers hold.
    tokio::join!(append(&client, &notes), read(&mut awake, EVENTS));
    read(&mut stalled, EVENTS).await;
    assert_eq!(stalled.stats().gaps, 0);
    assert!(node.stop().await.success(), "{}", home.log());
}
