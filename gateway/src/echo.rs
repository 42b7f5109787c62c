//! Says back whatever it hears, for test suites of the WebSocket itself: it shows that our half of the protocol is right
//! whatever is said over it.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;

use crate::admission::{Close, CloseCode};
use crate::budget::Budget;
use crate::frames;
use crate::inbound::Inbound;
use crate::limits::Limits;
use crate::metrics::{Metrics, Registry};
use crate::patience::Patient;
use crate::socket::{self, Broken, Message};

/// Autobahn's cases: `ECHO=127.0.0.1:9001 cargo test -p gateway --lib -- --ignored echo`, and then, from PyPI,
/// `kosoku -m fuzzingclient -x '9.*' -x '12.*' -x '13.*' -o report 127.0.0.1:9001`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "serves until it is stopped"]
async fn echo_until_stopped() {
    let address = std::env::var("ECHO").expect("ECHO says where to listen");
    let listener = TcpListener::bind(address).await.expect("the address is free");
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        tokio::spawn(async move {
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
                let mut request: Request = request.map(Body::new);
                Ok::<_, Infallible>(match socket::handshake(&mut request) {
                    Ok((response, upgrade)) => {
                        tokio::spawn(echo(upgrade));
                        response
                    }
                    Err(error) => format!("{error:?}").into_response(),
                })
            });
            let stream = Patient::new(stream, &Limits::default());
            let builder = Builder::new(TokioExecutor::new());
            // How a client of a test suite ends is its own affair.
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

async fn echo(upgrade: OnUpgrade) {
    let limits = Limits::default();
    let metrics = Metrics::new(&Registry::new()).expect("a registry of its own");
    let outbound = Budget::new(limits.outbound_bytes, metrics.held("outbound"));
    let inbound = Inbound::of(&limits, metrics.held("inbound")).connection();
    let (mut incoming, mut outgoing) = socket::open(upgrade, &limits, &inbound, &outbound).await.expect("upgrades");
    loop {
        let mut out = Vec::new();
        let close = match incoming.next().await {
            Ok(message) => said_back(message, &mut out),
            Err(Broken::Refused(close)) => Some(close),
            Err(Broken::Gone) => return,
        };
        if let Some(close) = &close {
            frames::push_close(&mut out, close);
        }
        if outgoing.write(&out, 0).await.is_err() || close.is_some() {
            break;
        }
    }
    outgoing.finish().await;
    incoming.exhaust(&limits).await;
}

fn said_back(message: Message, out: &mut Vec<u8>) -> Option<Close> {
    match message {
        Message::Text(text) => frames::push_text(out, |out| out.extend_from_slice(&text)),
        Message::Binary(bytes) => {
            frames::push_text(out, |out| out.extend_from_slice(&bytes));
            // The heads of text and binary frames differ in this.
            out[0] = 0x82;
        }
        Message::Ping(payload) => frames::push_pong(out, &payload),
        Message::Pong => {}
        Message::Close(code) => return Some(Close::new(CloseCode::Echo(code), "")),
    }
    None
}
