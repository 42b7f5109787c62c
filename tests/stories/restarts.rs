//! A hundred restarts in a row, half of them kills: a subscriber and a producer see none of it.

use headwater_client::{Client, Delivery, ProducerOptions, StreamStart, Subscription};
use serde_json::json;

use crate::support::{Home, soon, stream};

const RESTARTS: u64 = 100;
const EVENTS_EACH: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_restarts_leave_no_gap_and_change_no_cursor() {
    // A drain is for other stories.
    let home = Home::new().set("node.drain_ms", "0");
    let mut node = home.start().await;
    let client = home.client();
    let notes = stream("agent-1/notes");
    client.create_stream(&notes, None).await.expect("a new stream");
    let begin = client.stream(&notes).await.expect("it is there").end;
    let mut events = client.subscribe(notes.clone(), StreamStart::Begin).await.expect("subscribed");
    let producer = client.producer(ProducerOptions::default()).await.expect("a producer");

    let mut next = 0;
    for restart in 0..RESTARTS {
        let mut waiting = Vec::new();
        for n in 0..EVENTS_EACH {
            let data = json!({ "restart": restart, "n": n });
            waiting.push(producer.append(&notes, &data).await.expect("taken"));
        }
        // Of every second round only one answer is waited for: the others are under way when the node goes.
        let answered = if restart % 4 < 2 { waiting.len() } else { 1 };
        for pending in waiting.drain(..answered) {
            soon("an answer", pending).await.expect("appended");
        }
        if restart % 2 == 0 {
            node.kill().await;
        } else {
            assert!(node.stop().await.success(), "restart {restart}: {}", home.log());
        }
        node = home.start().await;
        for pending in waiting {
            soon("an answer after the restart", pending).await.expect("appended");
        }
        next = receive(&mut events, next, (restart + 1) * EVENTS_EACH).await;
    }

    let stats = events.stats();
    assert_eq!((stats.gaps, stats.broken_chains), (0, 0), "{stats:?}");
    let end = client.stream(&notes).await.expect("it is there").end;
    assert_eq!((end.history, end.incarnation), (begin.history, begin.incarnation), "a restart is no new history");
    assert_eq!(end.next.value(), RESTARTS * EVENTS_EACH);
    from_the_first_cursor(&client, begin, end).await;
    println!("{RESTARTS} restarts, {} reconnects of one subscriber, 0 gaps", stats.reconnects);
}

/// Takes in what there must be, each event once and in order.
async fn receive(events: &mut Subscription, mut next: u64, until: u64) -> u64 {
    while next < until {
        let delivery = soon("the next event", events.next()).await.expect("the stream goes on");
        match delivery.expect("the subscription lives") {
            Delivery::Event(event) => {
                assert_eq!(event.offset.value(), next);
                let data: serde_json::Value = serde_json::from_slice(&event.payload.data).expect("JSON");
                assert_eq!(data, json!({ "restart": next / EVENTS_EACH, "n": next % EVENTS_EACH }));
                next += 1;
            }
            Delivery::Gap { reason, .. } => panic!("a gap at {next}: {reason}"),
            Delivery::End { status } => panic!("the stream ended at {next}: {status:?}"),
            Delivery::Opened { .. } | Delivery::Lost { .. } | Delivery::Resumed { .. } | Delivery::Passed { .. } => {}
        }
    }
    next
}

/// A cursor from before the first restart is as good as new.
async fn from_the_first_cursor(client: &Client, begin: headwater_client::Cursor, end: headwater_client::Cursor) {
    let notes = stream("agent-1/notes");
    let mut events = client.subscribe(notes, StreamStart::At(begin)).await.expect("subscribed");
    receive(&mut events, 0, end.next.value()).await;
    assert_eq!(events.cursor(), Some(end));
}
