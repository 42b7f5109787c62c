//! Workflows, runs, health, and the shape of everything that goes wrong.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use types::{Code, Refusal, RunId};

use crate::common::http::{Reply, get, post, put, request};
use crate::common::{Server, until};

#[tokio::test]
async fn a_workflow_is_registered_listed_and_shown() {
    let server = Server::start().await;
    let at = server.address;
    let register = async |body: &str, media: &str| {
        request(at, "POST", "/v1/workflows", &[("content-type", media)], body.as_bytes()).await
    };
    let made = register("draft", "application/yaml").await;
    assert_eq!((made.status, made.header("location")), (201, Some("/v1/workflows/default/draft/1.0.0")));
    assert_eq!(made.json()["registered"], "2026-11-24T04:07:00.000Z");
    assert_eq!(register("draft", "text/yaml").await.status, 200);
    let broken = register("broken", "application/yaml").await;
    assert_eq!((broken.status, broken.problem()), (422, "invalid_definition".into()));
    assert_eq!(broken.json()["problem"], json!(["1:1 a broken definition"]));
    assert_eq!(register("draft", "image/png").await.problem(), "unsupported_media_type");
    assert_eq!(get(at, "/v1/workflows").await.json()["workflows"][0]["name"], "draft");
    for path in ["/v1/workflows/default/draft", "/v1/workflows/default/draft/1.0.0"] {
        assert_eq!(get(at, path).await.json()["source"], "draft", "{path}");
    }
    assert_eq!(get(at, "/v1/workflows/default/other").await.problem(), "workflow_not_found");
}

#[tokio::test]
async fn a_run_is_started_once_per_idempotency_key() {
    let server = Server::start().await;
    let at = server.address;
    let start = async || {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k"), ("x-agent-id", "agent-42")];
        request(at, "POST", "/v1/runs", &headers, br#"{"workflow":"draft","tags":{"team":"x"}}"#).await
    };
    let first = start().await;
    let run = first.json()["run"].as_str().expect("an id").to_owned();
    assert_eq!((first.status, first.header("location")), (201, Some(&*format!("/v1/runs/{run}"))));
    let second = start().await;
    assert_eq!((second.status, &second.json()["run"]), (200, &json!(run)));
    let shown = get(at, &format!("/v1/runs/{run}")).await.json();
    assert_eq!(
        (&shown["key"], &shown["status"], &shown["tags"]),
        (&json!("agent-42"), &json!("running"), &json!({"team": "x"}))
    );
    assert_eq!(shown["input"], json!(null));
}

async fn start_and_wait(at: SocketAddr, prefer: &str) -> Reply {
    let headers = [("content-type", "application/json"), ("prefer", prefer)];
    request(at, "POST", "/v1/runs", &headers, br#"{"workflow":"draft"}"#).await
}

#[tokio::test]
async fn who_prefers_to_wait_gets_the_result() {
    let server = Server::start().await;
    let (at, fake) = (server.address, server.fake.clone());
    let waiting = tokio::spawn(start_and_wait(at, "respond-async, wait=30"));
    until("it waits", async || fake.reads() >= 2).await;
    fake.finish_run(crate::common::fake::samples::run_id(1), r#"{"text": "done"}"#);
    let reply = waiting.await.expect("no panic");
    assert_eq!((reply.status, reply.header("preference-applied")), (200, Some("wait=30")));
    assert_eq!((&reply.json()["status"], &reply.json()["output"]), (&json!("completed"), &json!({"text": "done"})));
    let late = start_and_wait(at, "wait=0").await;
    assert_eq!((late.status, &late.json()["status"]), (202, &json!("running")));
}

#[tokio::test]
async fn runs_are_listed_page_by_page() {
    let server = Server::start().await;
    let at = server.address;
    for _ in 0..5 {
        post(at, "/v1/runs", r#"{"workflow":"draft"}"#).await;
    }
    server.fake.finish_run(crate::common::fake::samples::run_id(2), "1");
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(at, &format!("/v1/runs?limit=2{after}")).await.json();
        let runs = page["runs"].as_array().expect("an array").clone();
        seen.extend(runs.iter().map(|run| run["run"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let expect: Vec<_> = (1..=5).rev().map(|n| crate::common::fake::samples::run_id(n).to_string()).collect();
    assert_eq!(seen, expect);
    let done = get(at, "/v1/runs?status=completed").await.json();
    assert_eq!(done["runs"].as_array().expect("an array").len(), 1);
    for path in ["limit=0", "limit=1001", "limit=x", "status=bogus", "statuss=failed"] {
        assert_eq!(get(at, &format!("/v1/runs?{path}")).await.problem(), "bad_request", "{path}");
    }
    let bogus = get(at, "/v1/runs?status=bogus").await.text();
    assert!(bogus.contains("running, waiting, cancelling"), "{bogus}");
    assert_eq!(get(at, "/v1/runs?after=x").await.problem(), "invalid_name");
    for path in
        [format!("/v1/runs/{}?status=failed", crate::common::fake::samples::run_id(1)), "/v1/workflows?x".into()]
    {
        let refused = get(at, &path).await;
        assert_eq!((refused.status, refused.problem()), (400, "bad_request".to_owned()), "{path}");
        assert!(refused.text().contains("takes no parameters"), "{}", refused.text());
    }
}

#[tokio::test]
async fn a_run_is_signalled_and_cancelled() {
    let server = Server::start().await;
    let at = server.address;
    let run: RunId = post(at, "/v1/runs", r#"{"workflow":"draft"}"#).await.json()["run"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let signal = post(at, &format!("/v1/runs/{run}/signals/go"), "[1]").await;
    assert_eq!((signal.status, signal.json()), (202, json!({"run": run, "duplicate": false})));
    let events = server.fake.events(&format!("runs/{run}"));
    assert_eq!((events[1].kind.as_ref(), events[1].payload.data.as_ref()), ("signal_go", &b"[1]"[..]));
    assert_eq!(post(at, &format!("/v1/runs/{run}/signals/go"), "").await.status, 202);
    assert_eq!(post(at, &format!("/v1/runs/{run}/signals/go"), "{").await.problem(), "bad_request");
    assert_eq!(post(at, &format!("/v1/runs/{run}/cancel"), r#"{"reason":"enough"}"#).await.status, 202);
    assert_eq!(post(at, &format!("/v1/runs/{run}/cancel"), "").await.status, 202);
    let other = crate::common::fake::samples::run_id(99);
    for path in [format!("/v1/runs/{other}/cancel"), format!("/v1/runs/{other}/signals/go")] {
        assert_eq!(post(at, &path, "").await.problem(), "run_not_found", "{path}");
    }
    assert_eq!(get(at, &format!("/v1/runs/{other}")).await.status, 404);
    assert_eq!(get(at, "/v1/runs/x").await.problem(), "invalid_name");
    for path in ["/v1/runs/%ff", "/v1/streams/%ff", "/v1/workflows/%ff/x"] {
        assert_eq!(get(at, path).await.problem(), "invalid_name", "{path}");
    }
}

#[tokio::test]
async fn everything_that_goes_wrong_is_a_problem() {
    let server = Server::start().await;
    let at = server.address;
    assert_eq!(get(at, "/v2/nowhere").await.problem(), "not_found");
    let method = request(at, "PATCH", "/v1/runs", &[], b"").await;
    assert_eq!((method.status, method.problem()), (405, "bad_request".into()));
    assert!(method.header("allow").is_some_and(|allow| allow.contains("POST")));
    for body in ["", "{", "[]", r#"{"workflow":1}"#, r#"{"workflow":"a","extra":1}"#] {
        let reply = post(at, "/v1/runs", body).await;
        assert_eq!((reply.status, reply.problem()), (400, "bad_request".into()), "{body}");
    }
    let media = request(at, "POST", "/v1/runs", &[("content-type", "text/plain")], b"{}").await;
    assert_eq!((media.status, media.problem()), (415, "unsupported_media_type".into()));
    let large = post(at, "/v1/workers/poll", &format!("\"{}\"", "x".repeat(300_000))).await;
    assert_eq!((large.status, large.problem()), (413, "too_large".into()));
    for (name, value) in [("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")] {
        assert_eq!(large.header(name), Some(value));
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = gateway::Limits { body_time: Duration::from_millis(50), ..crate::common::quick() };
    let server = Server::with(limits).await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.expect("connects");
    let head = "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer);
    crate::common::soon("an answer", read).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 408");
}

/// Memory for one body at a time.
fn tight() -> gateway::Limits {
    let (bytes, never) = (256 * 1024, Duration::from_hours(1));
    let limits = gateway::Limits { inbound_bytes: bytes, request_bytes: bytes, ..crate::common::quick() };
    gateway::Limits { message_bytes: bytes, body_time: never, progress_time: never, ..limits }
}

/// Half of a body, whose sender takes a break.
async fn half_sent(at: std::net::SocketAddr) -> tokio::net::TcpStream {
    let mut stream = tokio::net::TcpStream::connect(at).await.expect("connects");
    let head = "PUT /v1/streams/half HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 200000\r\n\r\n";
    let part = [head.as_bytes(), "x".repeat(100_000).as_bytes()].concat();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &part).await.expect("sent");
    stream
}

/// Who comes when bodies take all the memory that there is for them waits, and then is told to come again.
#[tokio::test]
async fn a_body_for_which_no_memory_comes_free_in_time_is_refused() {
    let server = Server::with(gateway::Limits { room_time: Duration::from_millis(50), ..tight() }).await;
    let at = server.address;
    let half = half_sent(at).await;
    let large = "x".repeat(200_000);
    let refused = async || loop {
        let reply = put(at, "/v1/streams/a", "text/plain", &large).await;
        // The half one may not have been read yet.
        if reply.status != 201 {
            return reply;
        }
    };
    let reply = crate::common::soon("a refusal", refused()).await;
    assert_eq!((reply.status, reply.problem().as_str(), reply.header("retry-after")), (503, "unavailable", Some("1")));
    assert!(put(at, "/v1/streams/b", "text/plain", "small").await.status == 201, "what is small needs none");
    drop(half);
    let taken = async || while put(at, "/v1/streams/c", "text/plain", &large).await.status == 503 {};
    crate::common::soon("it to be given back", taken()).await;
}

/// It is not read from meanwhile, and nothing is lost by that.
#[tokio::test]
async fn a_body_waits_for_memory_until_another_is_done() {
    let server = Server::with(gateway::Limits { room_time: Duration::from_hours(1), ..tight() }).await;
    let at = server.address;
    let large = "x".repeat(200_000);
    let mut half = half_sent(at).await;
    let waiting = tokio::spawn({
        let large = large.clone();
        async move {
            let puts = (0..8).map(|n| {
                let (path, large) = (format!("/v1/streams/waiting-{n}"), large.clone());
                async move { put(at, &path, "text/plain", &large).await.status }
            });
            futures_util::future::join_all(puts).await
        }
    });
    tokio::io::AsyncWriteExt::write_all(&mut half, "x".repeat(100_000).as_bytes())
        .await
        .expect("read again in its turn");
    let mut answer = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut half, &mut answer);
    crate::common::soon("an answer", read).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 201");
    assert_eq!(crate::common::soon("all of them", waiting).await.expect("no panic"), [201; 8]);
}

/// A phone in a tunnel has time, not for ever.
#[tokio::test]
async fn a_body_that_comes_no_further_is_not_waited_for() {
    let server = Server::with(gateway::Limits { progress_time: Duration::from_millis(50), ..tight() }).await;
    let mut half = half_sent(server.address).await;
    let mut answer = [0; 12];
    let read = tokio::io::AsyncReadExt::read_exact(&mut half, &mut answer);
    crate::common::soon("an answer", read).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 408");
}

/// A start that waits for its run's end has nothing on its way in any more.
#[tokio::test]
async fn a_start_that_waits_holds_nothing_of_its_body() {
    let server = Server::with(gateway::Limits { room_time: Duration::from_hours(1), ..tight() }).await;
    let at = server.address;
    let input = "x".repeat(200_000);
    let start = format!(r#"{{"workflow":"w","input":"{input}"}}"#);
    let headers = [("content-type", "application/json"), ("prefer", "wait=50")];
    let waiting = request(at, "POST", "/v1/runs", &headers, start.as_bytes());
    let others = async {
        crate::common::until("the run to be there", async || get(at, "/v1/runs").await.json()["runs"][0].is_object())
            .await;
        put(at, "/v1/streams/a", "text/plain", &input).await.status
    };
    tokio::select! {
        reply = waiting => panic!("nothing ends the run: {}", reply.status),
        status = crate::common::soon("room for another", others) => assert_eq!(status, 201),
    }
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_why_and_when() {
    let server = Server::start().await;
    assert_eq!(get(server.address, "/readyz").await.status, 200);
    server.fake.not_ready(Some(Refusal::new(Code::Unavailable, "recovering").retry_after_ms(1500)));
    let reply = get(server.address, "/readyz").await;
    assert_eq!((reply.status, reply.header("retry-after"), reply.problem()), (503, Some("2"), "unavailable".into()));
    assert_eq!(reply.json()["retry_after_ms"], 1500);
    assert_eq!(get(server.address, "/healthz").await.status, 200);
}

#[tokio::test]
async fn metrics_are_for_the_admin_only() {
    let server = Server::start().await;
    get(server.address, "/healthz").await;
    assert_eq!(get(server.address, "/metrics").await.problem(), "not_found");
    let text = get(server.admin, "/metrics").await.text();
    assert!(text.contains("headwater_gateway_connections 0"), "{text}");
    assert!(text.contains(r#"headwater_gateway_http_requests_total{status="200"}"#), "{text}");
}

#[tokio::test]
async fn a_reader_pins_what_it_has_still_to_read_and_lets_go() {
    let server = Server::start().await;
    let at = server.address;
    let json = [("content-type", "application/json")];
    assert_eq!(request(at, "PUT", "/v1/streams/agent-1/tokens", &json, b"[1,2,3]").await.status, 201);
    let pin = async |path: &str, body: String| request(at, "PUT", path, &json, body.as_bytes()).await;
    let body = |next| format!(r#"{{"cursor":"{}","max_lag":100}}"#, server.fake.cursor("agent-1/tokens", next));
    assert_eq!(pin("/v1/pins/indexer/agent-1/tokens", body(2)).await.status, 204);
    assert_eq!(pin("/v1/pins/indexer/agent-1/tokens", body(9)).await.problem(), "log_truncated");
    assert_eq!(pin("/v1/pins/indexer/agent-9/none", body(0)).await.problem(), "stream_not_found");
    for wrong in ["", "{}", r#"{"cursor":"17","max_lag":1}"#, r#"{"max_lag":1}"#] {
        assert_eq!(pin("/v1/pins/indexer/agent-1/tokens", wrong.to_owned()).await.problem(), "bad_request", "{wrong}");
    }
    let endless = body(1).replace("100", "0");
    assert_eq!(pin("/v1/pins/indexer/agent-1/tokens", endless).await.problem(), "bad_request");
    assert_eq!(request(at, "DELETE", "/v1/pins/indexer/agent-1/tokens", &[], b"").await.status, 204);
    assert_eq!(server.fake.calls(), ["pin agent-1/tokens indexer 2 100", "unpin agent-1/tokens indexer"]);
}

#[tokio::test]
async fn a_stream_may_say_how_much_of_it_is_kept() {
    let server = Server::start().await;
    let create = async |name: &str, value: &str| {
        let headers = [("content-type", "application/json"), (name, value)];
        request(server.address, "PUT", "/v1/streams/kept", &headers, b"").await
    };
    assert_eq!(create("headwater-keep-seconds", "3600").await.status, 201);
    for (name, value) in
        [("headwater-keep-seconds", "0"), ("headwater-keep-events", "-1"), ("headwater-keep-events", "all")]
    {
        assert_eq!(create(name, value).await.problem(), "bad_request", "{name}: {value}");
    }
}
