//! Streams over HTTP, after the Durable Streams protocol.

use serde_json::json;

use crate::common::http::{Reply, get, post, put, request};
use crate::common::{Server, quick};
use gateway::Limits;

const JSON: &str = "application/json";

async fn head(server: &Server, path: &str) -> Reply {
    request(server.address, "HEAD", path, &[], b"").await
}

fn next(reply: &Reply) -> String {
    reply.header("stream-next-offset").expect("a position").to_owned()
}

#[tokio::test]
async fn a_stream_is_created_once() {
    let server = Server::start().await;
    let at = server.address;
    let made = put(at, "/v1/streams/agent/tokens", JSON, "").await;
    assert_eq!((made.status, made.header("location")), (201, Some(&*format!("http://{at}/v1/streams/agent/tokens"))));
    assert_eq!(made.header("content-type"), Some(JSON));
    assert_eq!(next(&made), server.fake.cursor("agent/tokens", 0).to_string());
    assert_eq!(put(at, "/v1/streams/agent/tokens", "Application/JSON; charset=utf-8", "").await.status, 200);
    let other = put(at, "/v1/streams/agent/tokens", "text/plain", "").await;
    assert_eq!((other.status, other.problem()), (409, "stream_exists".into()));
    let full = put(at, "/v1/streams/full", JSON, "[1,2]").await;
    assert_eq!(next(&full), server.fake.cursor("full", 2).to_string());
    let closed = request(at, "PUT", "/v1/streams/shut", &[("stream-closed", "TRUE")], b"").await;
    assert_eq!((closed.status, closed.header("stream-closed")), (201, Some("true")));
}

#[tokio::test]
async fn json_is_appended_by_element_and_read_as_one_array() {
    let server = Server::start().await;
    let at = server.address;
    put(at, "/v1/streams/a", JSON, "").await;
    let one = post(at, "/v1/streams/a", r#"{"x": 1}"#).await;
    assert_eq!((one.status, next(&one)), (204, server.fake.cursor("a", 1).to_string()));
    let two = post(at, "/v1/streams/a", r#"[[1, 2], "b"]"#).await;
    assert_eq!(next(&two), server.fake.cursor("a", 3).to_string());
    let read = get(at, "/v1/streams/a").await;
    assert_eq!((read.status, read.text().as_str()), (200, r#"[{"x": 1},[1, 2],"b"]"#));
    assert_eq!((read.header("stream-up-to-date"), read.header("stream-closed")), (Some("true"), None));
    let rest = get(at, &format!("/v1/streams/a?offset={}", next(&one))).await;
    assert_eq!(rest.json(), json!([[1, 2], "b"]));
    let end = get(at, &format!("/v1/streams/a?offset={}", next(&two))).await;
    assert_eq!((end.json(), next(&end)), (json!([]), next(&two)));
    assert_eq!(get(at, "/v1/streams/a?offset=now").await.json(), json!([]));
}

#[tokio::test]
async fn bytes_are_read_as_they_were_appended() {
    let server = Server::start().await;
    let at = server.address;
    put(at, "/v1/streams/a", "application/octet-stream", "").await;
    for part in [&b"\x00\xff"[..], b"\r\n"] {
        let reply = request(at, "POST", "/v1/streams/a", &[("content-type", "application/octet-stream")], part).await;
        assert_eq!(reply.status, 204);
    }
    let read = get(at, "/v1/streams/a?offset=-1").await;
    assert_eq!(
        (read.body.as_slice(), read.header("content-type")),
        (&b"\x00\xff\r\n"[..], Some("application/octet-stream"))
    );
}

#[tokio::test]
async fn a_long_stream_is_read_in_parts() {
    let server = Server::with(Limits { response_events: 100, ..quick() }).await;
    server.fake.create("a");
    server.fake.append("a", "event", 250);
    let (mut all, mut path) = (Vec::new(), "/v1/streams/a".to_owned());
    loop {
        let reply = get(server.address, &path).await;
        all.extend(reply.json().as_array().expect("an array").clone());
        path = format!("/v1/streams/a?offset={}", next(&reply));
        if reply.header("stream-up-to-date").is_some() {
            break;
        }
        assert!(reply.header("cache-control").expect("there").contains("max-age"));
    }
    assert_eq!(all, (0..250).map(|n| json!(n)).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_unchanged_answer_is_not_sent_twice() {
    let server = Server::start().await;
    server.fake.create("a");
    server.fake.append("a", "event", 1);
    let tag = get(server.address, "/v1/streams/a").await.header("etag").expect("a tag").to_owned();
    let again = async || request(server.address, "GET", "/v1/streams/a", &[("if-none-match", &tag)], b"").await;
    assert_eq!((again().await.status, again().await.body), (304, vec![]));
    server.fake.close("a");
    assert_eq!(again().await.status, 200, "closing is news");
}

#[tokio::test]
async fn closing_is_final_and_said_everywhere() {
    let server = Server::start().await;
    let at = server.address;
    put(at, "/v1/streams/a", JSON, "[1]").await;
    let close = async || request(at, "POST", "/v1/streams/a", &[("stream-closed", "true")], b"").await;
    for _ in 0..2 {
        let closed = close().await;
        assert_eq!((closed.status, closed.header("stream-closed")), (204, Some("true")));
        assert_eq!(next(&closed), server.fake.cursor("a", 1).to_string());
    }
    let refused = post(at, "/v1/streams/a", "2").await;
    assert_eq!(
        (refused.status, refused.header("stream-closed"), refused.problem()),
        (409, Some("true"), "stream_closed".into())
    );
    assert_eq!(next(&refused), server.fake.cursor("a", 1).to_string());
    assert_eq!(head(&server, "/v1/streams/a").await.header("stream-closed"), Some("true"));
    assert_eq!(get(at, "/v1/streams/a").await.header("stream-closed"), Some("true"));
    let poll = get(at, &format!("/v1/streams/a?offset={}&live=long-poll", server.fake.cursor("a", 1))).await;
    assert_eq!((poll.status, poll.header("stream-closed")), (204, Some("true")));
}

#[tokio::test]
async fn the_last_events_close_the_stream_with_them() {
    let server = Server::start().await;
    let at = server.address;
    put(at, "/v1/streams/a", JSON, "").await;
    let headers = [("content-type", JSON), ("stream-closed", "true")];
    let reply = request(at, "POST", "/v1/streams/a", &headers, b"[1,2]").await;
    assert_eq!((reply.status, reply.header("stream-closed")), (204, Some("true")));
    assert_eq!(get(at, "/v1/streams/a").await.json(), json!([1, 2]));
}

#[tokio::test]
async fn a_writer_s_own_sequence_only_grows() {
    let server = Server::start().await;
    let at = server.address;
    put(at, "/v1/streams/a", JSON, "").await;
    let append = async |sequence: &str| {
        let headers = [("content-type", JSON), ("stream-seq", sequence)];
        request(at, "POST", "/v1/streams/a", &headers, b"1").await
    };
    for (sequence, expect) in [("09", 204), ("10", 204), ("10", 409), ("1", 409), ("a", 204), ("B", 409), ("", 400)] {
        assert_eq!(append(sequence).await.status, expect, "{sequence}");
    }
    assert_eq!(append("a").await.problem(), "sequence_conflict");
    assert_eq!(get(at, "/v1/streams/a").await.text(), "[1,1,1]");
}

#[tokio::test]
async fn what_is_not_there_yet_is_refused_by_name() {
    let server = Server::start().await;
    for header in ["stream-ttl", "stream-expires-at", "stream-forked-from", "stream-fork-offset"] {
        let reply = request(server.address, "PUT", "/v1/streams/a", &[(header, "1")], b"").await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, "bad_request"), "{header}");
        assert!(reply.text().contains(header), "{}", reply.text());
    }
    assert_eq!(get(server.address, "/v1/streams/a").await.status, 404);
}

#[tokio::test]
async fn a_producer_is_deduplicated() {
    let server = Server::start().await;
    let at = server.address;
    put(at, "/v1/streams/a", JSON, "").await;
    let append = async |epoch: &str, seq: &str| {
        let headers = [("content-type", JSON), ("producer-id", "p"), ("producer-epoch", epoch), ("producer-seq", seq)];
        request(at, "POST", "/v1/streams/a", &headers, b"1").await
    };
    assert_eq!(append("1", "0").await.status, 200);
    let duplicate = append("1", "0").await;
    assert_eq!((duplicate.status, duplicate.header("producer-epoch")), (204, Some("1")));
    assert_eq!(duplicate.header("producer-seq"), Some("0"), "the highest that was taken");
    let gap = append("1", "5").await;
    assert_eq!((gap.status, gap.problem()), (409, "producer_gap".into()));
    assert_eq!((gap.header("producer-expected-seq"), gap.header("producer-received-seq")), (Some("1"), Some("5")));
    let fenced = append("0", "1").await;
    assert_eq!(
        (fenced.status, fenced.header("producer-epoch"), fenced.problem()),
        (403, Some("1"), "producer_fenced".into())
    );
    assert_eq!(append("2", "1").await.status, 400, "a new epoch starts at 0");
    for (epoch, seq) in [("-1", "0"), ("1", "1.5"), ("", "0"), ("1", "9007199254740992")] {
        assert_eq!(append(epoch, seq).await.status, 400, "{epoch} {seq}");
    }
    let half = request(at, "POST", "/v1/streams/a", &[("content-type", JSON), ("producer-id", "p")], b"1").await;
    assert_eq!(half.status, 400);
    assert_eq!(server.fake.head("a"), 1);
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused() {
    let server = Server::start().await;
    let at = server.address;
    put(at, "/v1/streams/a", JSON, "").await;
    let check = async |content_type: Option<&str>, body: &[u8], status: u16, code: &str| {
        let headers: Vec<_> = content_type.map(|media| ("content-type", media)).into_iter().collect();
        let reply = request(at, "POST", "/v1/streams/a", &headers, body).await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, code));
    };
    check(Some(JSON), b"", 400, "bad_request").await;
    check(Some(JSON), b"[]", 400, "bad_request").await;
    check(Some(JSON), b"{", 400, "bad_request").await;
    check(None, b"1", 400, "bad_request").await;
    check(Some("text/plain"), b"1", 409, "unsupported_media_type").await;
    check(Some(JSON), format!("\"{}\"", "x".repeat(256 * 1024)).as_bytes(), 413, "too_large").await;
    check(Some(JSON), &[b"["[..].to_vec(), b"1,".repeat(1024), b"1]".to_vec()].concat(), 413, "too_large").await;
    check(Some(JSON), &vec![b' '; 4 * 1024 * 1024 + 1], 413, "too_large").await;
    // Who is still sending gets the answer as well, instead of a broken connection.
    check(Some(JSON), &vec![b' '; 12 * 1024 * 1024], 413, "too_large").await;
    assert_eq!(post(at, "/v1/streams/nowhere", "1").await.problem(), "stream_not_found");
    let ttl = request(at, "PUT", "/v1/streams/b", &[("stream-ttl", "60")], b"").await;
    assert_eq!((ttl.status, ttl.problem()), (400, "bad_request".into()));
    assert_eq!(server.fake.head("a"), 0);
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_where_to_go_on() {
    let server = Server::start().await;
    let at = server.address;
    server.fake.create("a");
    server.fake.append("a", "event", 10);
    let old = server.fake.cursor("a", 2);
    let beyond = server.fake.cursor("a", 11);
    server.fake.trim("a", 6);
    let gone = get(at, &format!("/v1/streams/a?offset={old}")).await;
    assert_eq!((gone.status, gone.problem()), (410, "trimmed".into()));
    let problem = gone.json();
    assert_eq!((&problem["low"], &problem["head"]), (&json!(6), &json!(10)));
    assert_eq!(problem["resume_at"], server.fake.cursor("a", 6).to_string());
    assert_eq!(get(at, &format!("/v1/streams/a?offset={beyond}")).await.problem(), "log_truncated");
    assert_eq!(get(at, "/v1/streams/a").await.json(), json!([6, 7, 8, 9]));
    server.fake.restore_from_backup();
    assert_eq!(get(at, &format!("/v1/streams/a?offset={old}")).await.problem(), "other_history");
    for path in ["/v1/streams/a?offset=17", "/v1/streams/a?offset=", "/v1/streams/a?offset=a,b"] {
        assert_eq!(get(at, path).await.problem(), "invalid_cursor", "{path}");
    }
    for path in ["/v1/streams/a?offset=-1&offset=-1", "/v1/streams/a?live=sse", "/v1/streams/a?offset=-1&live=fax"] {
        assert_eq!(get(at, path).await.problem(), "bad_request", "{path}");
    }
    assert_eq!(get(at, "/v1/streams/nowhere").await.problem(), "stream_not_found");
    assert_eq!(get(at, "/v1/streams/a%20b").await.problem(), "invalid_name");
}

#[tokio::test]
async fn a_long_poll_waits_for_what_comes() {
    let server = Server::start().await;
    let at = server.address;
    server.fake.create("a");
    let poll = tokio::spawn(async move { get(at, "/v1/streams/a?offset=now&live=long-poll").await });
    crate::common::until("it waits", async || server.fake.reads() == 1).await;
    server.fake.append("a", "event", 2);
    let reply = poll.await.expect("no panic");
    assert_eq!((reply.status, reply.header("stream-up-to-date")), (200, Some("true")));
    assert!(!reply.json().as_array().expect("an array").is_empty());
    let cursor: u64 = reply.header("stream-cursor").expect("a cursor").parse().expect("a number");
    let path = format!("/v1/streams/a?offset=now&live=long-poll&cursor={cursor}");
    let quiet = get(at, &path).await;
    assert_eq!((quiet.status, quiet.header("stream-up-to-date")), (204, Some("true")));
    assert_eq!(next(&quiet), server.fake.cursor("a", 2).to_string());
    assert!(quiet.header("stream-cursor").expect("a cursor").parse::<u64>().expect("a number") > cursor);
}

#[tokio::test]
async fn a_stream_is_looked_at_and_deleted() {
    let server = Server::start().await;
    let at = server.address;
    put(at, "/v1/streams/a", "text/plain", "hello").await;
    let seen = head(&server, "/v1/streams/a").await;
    assert_eq!(
        (seen.status, seen.header("content-type"), seen.header("cache-control")),
        (200, Some("text/plain"), Some("no-store"))
    );
    assert_eq!(next(&seen), server.fake.cursor("a", 1).to_string());
    let delete = async || request(at, "DELETE", "/v1/streams/a", &[], b"").await;
    assert_eq!(delete().await.status, 204);
    assert_eq!(delete().await.problem(), "stream_not_found");
    assert_eq!(head(&server, "/v1/streams/a").await.status, 404);
}

#[tokio::test]
async fn a_run_is_a_stream_to_read_only() {
    let server = Server::start().await;
    let at = server.address;
    let started = post(at, "/v1/runs", r#"{"workflow":"draft","input":{"a":1}}"#).await.json();
    let path = started["stream"].as_str().expect("a path").to_owned();
    let events = get(at, &path).await.json();
    assert_eq!(events[0], json!({"offset": 0, "time": 1_795_493_220_000_u64, "type": "run_started", "data": {"a": 1}}));
    for method in ["PUT", "POST", "DELETE"] {
        let reply = request(at, method, &path, &[("content-type", JSON)], b"1").await;
        assert_eq!(
            (reply.status, reply.header("allow"), reply.problem()),
            (405, Some("GET, HEAD"), "reserved_name".into())
        );
    }
}
