//! Requests for what is not there, and cursors that are not meant for this: each has its stable code.

use headwater_client::{Client, Code, Cursor, Error, StartRun, StreamStart};
use serde_json::json;

use crate::support::{Home, Http, ended, soon, stream};

const NO_RUN: &str = "00000000-01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said_to_be_not_there() {
    let home = Home::new();
    let node = home.start().await;
    let http = Http::to(home.listen);

    http.post("/v1/runs", &json!({ "workflow": "nobody" })).await.refuses(404, "workflow_not_found");
    http.post("/v1/runs", &json!({ "workflow": "a/b/c@" })).await.refuses(400, "invalid_name");
    http.post("/v1/runs", &json!({ "wrkflow": "nobody" })).await.refuses(400, "bad_request");
    http.get("/v1/workflows/default/nobody").await.refuses(404, "workflow_not_found");
    http.get(&format!("/v1/runs/{NO_RUN}")).await.refuses(404, "run_not_found");
    http.get("/v1/runs/not-an-id").await.refuses(400, "invalid_name");
    http.post(&format!("/v1/runs/{NO_RUN}/cancel"), &json!({})).await.refuses(404, "run_not_found");
    http.post(&format!("/v1/runs/{NO_RUN}/signals/go"), &json!({})).await.refuses(404, "run_not_found");
    http.get("/v1/streams/nobody/notes").await.refuses(404, "stream_not_found");
    http.get(&format!("/v1/streams/runs/{NO_RUN}")).await.refuses(404, "run_not_found");
    http.post("/v1/streams/nobody/notes", &json!({})).await.refuses(404, "stream_not_found");
    http.post("/v1/streams/system/audit", &json!({})).await.refuses(405, "reserved_name");
    http.get("/v1/nothing").await.refuses(404, "not_found");
    assert!(node.stop().await.success(), "{}", home.log());
}

/// Two streams of one partition with three events each.
async fn two_streams(client: &Client) -> [Cursor; 2] {
    let mut ends = Vec::new();
    for name in ["agent-1/notes", "agent-1/drafts"] {
        client.create_stream(&stream(name), None).await.expect("created");
        let appended = client.append(&stream(name), headwater_client::Appending::json("[1,2,3]")).await;
        ends.push(appended.expect("appended"));
    }
    ends.try_into().expect("there are two")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_not_of_this_stream_is_never_served() {
    let home = Home::new();
    let node = home.start().await;
    let (client, http) = (home.client(), Http::to(home.listen));
    let [here, there] = two_streams(&client).await;
    let text = here.to_string();
    let flipped = if text.starts_with('0') { "1" } else { "0" };
    let other_history = format!("{flipped}{}", &text[1..]);
    let beyond = here.at(headwater_client::Offset::new(4)).to_string();
    let cursors = [
        ("rubbish".to_owned(), 400, "invalid_cursor"),
        (format!("{text}0"), 400, "invalid_cursor"),
        (there.to_string(), 410, "other_stream"),
        (other_history, 410, "other_history"),
        (beyond, 410, "log_truncated"),
    ];
    for (cursor, status, code) in &cursors {
        http.get(&format!("/v1/streams/agent-1/notes?offset={cursor}")).await.refuses(*status, code);
    }
    assert_eq!(http.get("/v1/streams/agent-1/notes?offset=-1").await.ok(), json!([1, 2, 3]));

    // Over the socket the subscriber is told and goes on from what there is.
    for (cursor, _, code) in &cursors[2..] {
        let from: StreamStart = cursor.parse().expect("its form is right");
        let mut events = client.subscribe(stream("agent-1/notes"), from).await.expect("subscribed");
        let reason = loop {
            let delivery = soon("the gap", events.next()).await.expect("the stream goes on").expect("the node is up");
            if let headwater_client::Delivery::Gap { reason, .. } = delivery {
                break reason;
            }
        };
        assert_eq!(reason.as_str(), *code);
    }
    assert!(node.stop().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_do_not_fit_are_refused_and_leave_nothing_behind() {
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();
    let [end, _] = two_streams(&client).await;
    let notes = stream("agent-1/notes");
    let append = |body: String| client.append(&notes, headwater_client::Appending::json(body));
    let code = |error: Error| error.code();
    assert_eq!(append("{\"a\":".into()).await.map_err(code), Err(Some(Code::BadRequest)));
    let large = json!("x".repeat(300 * 1024)).to_string();
    assert_eq!(append(large).await.map_err(code), Err(Some(Code::TooLarge)));
    let huge = format!("[{}]", vec!["\"0123456789abcdef\""; 200_000].join(","));
    assert_eq!(append(huge).await.map_err(code), Err(Some(Code::TooLarge)));
    assert_eq!(client.stream(&notes).await.expect("it is there").end, end, "nothing was appended");

    let closing = headwater_client::Appending { close: true, ..headwater_client::Appending::json("4") };
    client.append(&notes, closing).await.expect("the last one");
    assert_eq!(append("5".into()).await.map_err(code), Err(Some(Code::StreamClosed)));
    assert!(node.stop().await.success(), "{}", home.log());
}

/// The log keeps a value once; who reads a run's events need not know where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_run_shows_its_output_also_where_it_is_the_value_before() {
    const DEFINITION: &str = "document: { dsl: '1.0.3', namespace: default, name: sum, version: '1.0.0' }\n\
        do: [ { add: { set: { n: '${ .n + 1 }' } } } ]\n";
    let home = Home::new();
    let node = home.start().await;
    let client = home.client();
    client.register_workflow(DEFINITION).await.expect("registered");
    let started = client.start_run(&StartRun::new("sum").input(json!({ "n": 1 }))).await.expect("started");
    ended(&client, started.run).await;
    let last = async |home: &Home| {
        let events = Http::to(home.listen).get(&format!("/v1/streams/runs/{}", started.run)).await.ok();
        events.as_array().and_then(|events| events.last()).cloned().expect("a run has events")
    };
    let end = last(&home).await;
    assert_eq!((&end["type"], &end["data"]), (&json!("run_completed"), &json!({ "output": { "n": 2 } })));
    node.kill().await;
    let node = home.start().await;
    assert_eq!(last(&home).await, end, "the same from the disk");
    assert!(node.stop().await.success(), "{}", home.log());
}
