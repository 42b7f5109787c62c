//! A node that acknowledges before the sync: it says so everywhere, and after a kill it begins a new history, so that
//! no cursor from before is served something else.

use headwater_client::{Appending, Delivery, StreamStart, Subscription};
use types::Code;

use crate::support::{Home, Http, soon, stream};

async fn appended(home: &Home, body: &'static str) {
    home.client().append(&stream("agent-1/notes"), Appending::json(body)).await.expect("appended");
}

/// The next delivery of that kind.
async fn next(events: &mut Subscription, wanted: impl Fn(&Delivery) -> bool) -> Delivery {
    loop {
        let delivery = soon("a delivery", events.next()).await.expect("it goes on").expect("the subscription lives");
        if wanted(&delivery) {
            return delivery;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_old_cursors_are_refused_and_readers_told() {
    for level in ["os", "interval=20"] {
        let home = Home::new().set("storage.durability", level);
        let node = home.start().await;
        let (client, notes) = (home.client(), stream("agent-1/notes"));
        client.create_stream(&notes, None).await.expect("a new stream");
        appended(&home, "[1,2,3]").await;
        let metrics = Http::to(home.admin).text("/metrics").await;
        let named = format!("headwater_log_durability{{level=\"{level}\"}} 1");
        assert!(metrics.contains(&named), "{named} is not in {metrics}");
        let before = client.stream(&notes).await.expect("it is there").end;
        let mut events = client.subscribe(notes.clone(), StreamStart::Begin).await.expect("subscribed");
        for _ in 0..3 {
            next(&mut events, |delivery| matches!(delivery, Delivery::Event(_))).await;
        }
        node.kill().await;

        let plan = home.program().run(["repair".as_ref(), home.data().as_os_str()]).await.exits(0);
        plan.says(&["nothing that is known to have been durable is missing", "nobody knows how many"]);
        let node = home.start().await;
        assert!(home.log().contains("a new history begins"), "{}", home.log());
        let after = client.stream(&notes).await.expect("the system lives on, and with it what was written").end;
        assert_eq!(after.next, before.next);
        assert_ne!(after.history, before.history);
        let path = format!("/v1/streams/agent-1/notes?offset={before}");
        Http::to(home.listen).get(&path).await.refuses(410, "other_history");
        let gap =
            next(&mut events, |delivery| !matches!(delivery, Delivery::Lost { .. } | Delivery::Resumed { .. })).await;
        assert!(matches!(gap, Delivery::Gap { reason: Code::OtherHistory, .. }), "{gap:?}");
        assert!(node.stop().await.success(), "{}", home.log());

        let node = home.start().await;
        let last = client.stream(&notes).await.expect("it is there").end;
        assert_eq!(last, after, "a stop in order keeps the history");
        assert!(node.stop().await.success(), "{}", home.log());
    }
}
