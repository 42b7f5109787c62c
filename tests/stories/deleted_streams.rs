//! A stream that is deleted while others follow it: they are told that, and not that it is complete.

use headwater_client::{Delivery, EndStatus, StreamStart};
use serde_json::json;

use crate::damage::write;
use crate::support::{Home, Http, soon, stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_a_stream_is_told_that_it_was_deleted() {
    let home = Home::new();
    let node = home.start().await;
    let (client, http) = (home.client(), Http::to(home.listen));
    let name = stream("agent/notes");
    client.create_stream(&name, None).await.expect("created");
    write(&client, "agent/notes", &[json!(1), json!(2)]).await;

    let mut socket = client.subscribe(name.clone(), StreamStart::Begin).await.expect("subscribed");
    let mut read = 0;
    while read < 2 {
        let delivery = soon("an event", socket.next()).await.expect("more comes").expect("nothing fails");
        read += u32::from(matches!(delivery, Delivery::Event(_)));
    }
    let live = |query: &str| format!("/v1/streams/agent/notes?{query}");
    let (sse, poll) = (live("offset=-1&live=sse"), live("offset=now&live=long-poll"));
    let events = tokio::spawn({
        let http = Http::to(home.listen);
        async move { http.text(&sse).await }
    });
    let polled = tokio::spawn(async move { http.get(&poll).await });
    // Both are at the end and wait; whenever the deletion comes, the answer is the same.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    client.delete_stream(&name).await.expect("deleted");

    let ended = async {
        loop {
            if let Delivery::End { status } = socket.next().await.expect("more comes").expect("nothing fails") {
                return status;
            }
        }
    };
    assert_eq!(soon("the end", ended).await, EndStatus::Deleted);
    let events = soon("the end of the events", events).await.expect("it ran");
    assert!(events.contains(r#""status":"deleted""#) && !events.contains("closed"), "{events}");
    soon("the poll's answer", polled).await.expect("it ran").refuses(404, "stream_not_found");
    assert!(node.stop().await.success(), "{}", home.log());
}
