//! Web pages that try to use the node of whoever looks at them, and those that may.

use gateway::WebAccess;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::http::{Reply, request};
use crate::common::{Server, quick, soon};

const PAGE: &str = "https://app.example.com";
const EVIL: &str = "https://evil.example";

async fn server() -> Server {
    let web = WebAccess {
        origins: vec![PAGE.parse().expect("a site")],
        hosts: vec!["node.example.com".parse().expect("a host")],
    };
    Server::open_to(web, quick()).await
}

/// A request as a browser sends it for a page.
async fn of(server: &Server, page: &str, method: &str, path: &str, body: &str) -> Reply {
    let headers = [("origin", page), ("content-type", "text/plain")];
    request(server.address, method, path, &headers, body.as_bytes()).await
}

/// The status line of an answer to these lines.
async fn status(server: &Server, lines: &[&str]) -> String {
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    stream.write_all((lines.join("\r\n") + "\r\n\r\n").as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    soon("an answer", stream.read_exact(&mut head)).await.expect("answered");
    String::from_utf8(head.to_vec()).expect("ASCII")
}

#[tokio::test]
async fn a_page_of_another_site_can_neither_write_nor_read() {
    let server = server().await;
    server.fake.create("a");
    for method in ["PUT", "POST", "GET", "DELETE", "OPTIONS"] {
        let reply = of(&server, EVIL, method, "/v1/streams/a", "x").await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "origin_not_allowed"), "{method}");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{method}");
    }
    let reply = request(server.address, "GET", "/v1/streams/a", &[], b"").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "[]"), "nothing was changed");
    assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"));
    let refused = r#"headwater_gateway_refused_total{code="origin_not_allowed"}"#;
    assert_eq!(server.metric(refused).await, 5);
}

#[tokio::test]
async fn a_page_of_another_site_opens_no_socket() {
    let server = server().await;
    let upgrade = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for (host, origin, expect) in [
        ("host: localhost", "origin: https://evil.example", "HTTP/1.1 403"),
        ("host: localhost", "origin: null", "HTTP/1.1 403"),
        ("host: evil.example", "origin: http://evil.example", "HTTP/1.1 421"),
        ("host: localhost", "origin: https://app.example.com", "HTTP/1.1 101"),
        ("host: node.example.com", "origin: https://node.example.com", "HTTP/1.1 101"),
    ] {
        let lines = [&["GET /v1/ws HTTP/1.1", host, origin], &upgrade[..]].concat();
        assert_eq!(status(&server, &lines).await, expect, "{host} {origin}");
    }
}

#[tokio::test]
async fn a_name_that_was_bound_to_this_machine_by_somebody_else_is_refused_on_both_ports() {
    let server = server().await;
    for address in [server.address, server.admin] {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = String::new();
        soon("the end", stream.read_to_string(&mut answer)).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
        assert!(answer.contains(r#""code":"host_not_allowed""#), "{answer}");
    }
}

#[tokio::test]
async fn a_listed_page_is_told_what_it_may_do() {
    let server = server().await;
    let ask = [
        ("origin", PAGE),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "producer-id,stream-seq,if-none-match"),
    ];
    let reply = request(server.address, "OPTIONS", "/v1/streams/a", &ask, b"").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some(PAGE)));
    assert!(reply.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let headers = reply.header("access-control-allow-headers").expect("they are listed").to_ascii_lowercase();
    for name in ["producer-id", "stream-seq", "if-none-match", "content-type"] {
        assert!(headers.contains(name), "{name} in {headers}");
    }
    let reply = of(&server, PAGE, "PUT", "/v1/streams/a", "x").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (201, Some(PAGE)));
    assert_eq!(reply.header("vary"), Some("Origin"));
    assert!(reply.header("access-control-expose-headers").is_some_and(|names| names.contains("Stream-Next-Offset")));
    assert_eq!(reply.header("cross-origin-resource-policy"), Some("cross-origin"));
}
