//! What a node no longer keeps: readers are told which events are gone, at every door, and all that is kept still comes.

use std::time::Duration;

use headwater_client::{Appending, Delivery, StreamStart};
use serde_json::json;

use crate::support::{Home, Http, soon, stream};

/// Of one event; four fill a request.
const EVENT_BYTES: usize = 50_000;

fn small() -> Home {
    Home::new()
        .set("node.partitions", "1")
        .set("storage.segment_mib", "1")
        .set("storage.retention.stream_mib", "3")
        .set("storage.retention.check_ms", "50")
}

async fn append(home: &Home, name: &str, from: usize, count: usize) {
    let client = home.client();
    for first in (from..from + count).step_by(4) {
        let events: Vec<_> = (first..first + 4).map(|n| json!({ "n": n, "fill": "x".repeat(EVENT_BYTES) })).collect();
        client.append(&stream(name), Appending::json(json!(events).to_string())).await.expect("appended");
    }
}

/// A stream with 200 events, 10 MB. Gives the cursor of its beginning.
async fn long_stream(home: &Home) -> types::Cursor {
    let client = home.client();
    client.create_stream(&stream("agent-1/tokens"), None).await.expect("created");
    append(home, "agent-1/tokens", 0, 4).await;
    let first = client.read_stream(&stream("agent-1/tokens"), StreamStart::Begin, false).await.expect("read");
    append(home, "agent-1/tokens", 4, 196).await;
    types::Cursor { next: types::Offset::ZERO, ..first.next }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_dropped_events_are_told_which_and_go_on() {
    let home = small();
    let node = home.start().await;
    let (client, http) = (home.client(), Http::to(home.listen));
    let begin = long_stream(&home).await;
    let path = format!("/v1/streams/agent-1/tokens?offset={begin}");
    // 3 MiB are kept in segments of 1 MiB.
    let asked = || async {
        loop {
            let answer = http.get(&path).await;
            if answer.status == 410 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (low, page) = loop {
        let gone = soon("the oldest events to be gone", asked()).await;
        gone.refuses(410, "trimmed");
        let resume = gone.body["resume_at"].as_str().expect("where to go on").to_owned();
        let low: u64 = gone.body["low"].as_u64().expect("a number");
        assert!((1..200).contains(&low), "{low}");
        let page = http.get(&format!("/v1/streams/agent-1/tokens?offset={resume}")).await;
        // Unless more went between the two answers.
        if page.status != 410 {
            break (low, page.ok());
        }
    };
    assert_eq!(page[0]["n"], json!(low));
    let kept = client.read_stream(&stream("agent-1/tokens"), StreamStart::Begin, false).await.expect("read");
    assert!(kept.next.next.value() > low, "the beginning is the oldest event that is kept");
    // The same over a socket, and after a crash.
    node.kill().await;
    let node = home.start().await;
    let mut socket = client.subscribe(stream("agent-1/tokens"), StreamStart::At(begin)).await.expect("subscribed");
    let mut gap = None;
    let mut next = None;
    while next != Some(200) {
        match socket.next().await.expect("not over").expect("no error") {
            Delivery::Gap { from, to, .. } => {
                assert_eq!(from.map(|from| from.next), Some(begin.next));
                (gap, next) = (Some(to.next.value()), Some(to.next.value()));
            }
            Delivery::Event(event) => {
                assert_eq!(Some(event.offset.value()), next, "dense behind the gap");
                next = Some(event.offset.value() + 1);
            }
            Delivery::Opened { .. }
            | Delivery::Lost { .. }
            | Delivery::Resumed { .. }
            | Delivery::Passed { .. }
            | Delivery::End { .. } => {}
        }
    }
    assert!(gap.is_some_and(|gap| gap >= low), "{gap:?}");
    assert!(node.stop().await.success(), "{}", home.log());
    home.program().run(["log", "verify", home.data().to_str().expect("text")]).await.exits(0).says(&["sound"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_keeps_no_more_than_it_may_whatever_the_age() {
    let tenant = types::TenantId::default();
    let home = Home::new()
        .set("node.partitions", "1")
        .set("storage.segment_mib", "1")
        .set("storage.retention.tenants_records", &format!("{tenant}=60"))
        .set("storage.retention.check_ms", "50");
    let node = home.start().await;
    let (client, http) = (home.client(), Http::to(home.listen));
    let begin = long_stream(&home).await;
    let path = format!("/v1/streams/agent-1/tokens?offset={begin}");
    // Segments hold some twenty events: sixty stay in sealed ones, and some in the one that grows.
    let asked = async {
        loop {
            let answer = http.get(&path).await;
            let low = answer.body["low"].as_u64().unwrap_or(0);
            if low > 100 {
                return low;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let low = soon("the oldest events to be gone", asked).await;
    let kept = client.read_stream(&stream("agent-1/tokens"), StreamStart::Begin, false).await.expect("read");
    assert!(kept.next.next.value() > low && low <= 160, "sixty events and more are kept: {low}");
    assert!(node.stop().await.success(), "{}", home.log());
    home.program().run(["log", "verify", home.data().to_str().expect("text")]).await.exits(0).says(&["sound"]);
}
