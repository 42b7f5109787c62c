//! Serves a node: takes connections in, speaks HTTP/1.1 and h2c on them, and in the end sends everyone away in order.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::backend::Backend;
use crate::gateway::Gateway;
use crate::http;
use crate::limits::Limits;
use crate::metrics::{self, Metrics, Registry};
use crate::operator::Operator;
use crate::origin::WebAccess;
use crate::patience::Patient;

/// What a node decides about its gateway.
#[derive(Debug)]
pub struct Options {
    /// The node's name, told in `welcome`.
    pub node: String,
    /// Where `/metrics`, `/healthz`, `/readyz` and `/v1/admin` are served, apart from the clients' port.
    pub admin: Option<TcpListener>,
    /// What `/metrics` shows; the gateway adds its own.
    pub registry: Registry,
    pub limits: Limits,
    /// Which web pages, and by which names.
    pub web: WebAccess,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: "headwater".to_owned(),
            admin: None,
            registry: Registry::new(),
            limits: Limits::default(),
            web: WebAccess::default(),
        }
    }
}

/// Why a gateway does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("failed to register the gateway's metrics, is there another gateway on this registry: {0}")]
    Metrics(#[from] metrics::Error),
}

/// Serves until `shutdown` resolves, then drains: the node is not ready, accepts nobody, tells every socket when to
/// reconnect, closes them over the drain window, and returns when all are gone or the deadline is reached.
pub async fn serve<B: Backend + Operator>(
    listener: TcpListener,
    backend: B,
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let metrics = Metrics::new(&options.registry)?;
    let gateway = Gateway::new(backend, options.node, options.limits, options.web, metrics);
    let admin = options.admin.map(|listener| {
        let port = Port { router: http::admin_router(&gateway, options.registry), kind: Kind::Operators };
        tokio::spawn(accept(Arc::clone(&gateway), listener, port))
    });
    let port = Port { router: http::router(&gateway), kind: Kind::Clients };
    let mut connections = JoinSet::new();
    tokio::select! {
        never = accept_into(&mut connections, &gateway, &listener, &port) => match never {},
        () = shutdown => {}
    }
    gateway.drain();
    drop(listener);
    tokio::select! {
        () = gone(&gateway, &mut connections) => {}
        () = sleep(gateway.limits.drain_deadline) => {}
    }
    gateway.end();
    if let Some(admin) = admin {
        admin.abort();
    }
    Ok(())
}

async fn gone<B: Backend>(gateway: &Gateway<B>, connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
    while gateway.socket_count() > 0 {
        sleep(Duration::from_millis(10)).await;
    }
}

/// What is served on a port.
#[derive(Clone)]
struct Port {
    router: Router,
    kind: Kind,
}

/// Who connects there. A drain ends clients' connections; the operators' go on, so that whoever watches it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Clients,
    Operators,
}

impl Kind {
    /// Whether one more connection fits, beside `open` that are no sockets.
    fn has_room<B: Backend>(self, open: usize, gateway: &Gateway<B>) -> bool {
        match self {
            Self::Clients => open + gateway.socket_count() < gateway.limits.connections,
            Self::Operators => open < gateway.limits.admin_connections,
        }
    }
}

async fn accept<B: Backend>(gateway: Arc<Gateway<B>>, listener: TcpListener, port: Port) -> Infallible {
    let mut connections = JoinSet::new();
    accept_into(&mut connections, &gateway, &listener, &port).await
}

async fn accept_into<B: Backend>(
    connections: &mut JoinSet<()>,
    gateway: &Arc<Gateway<B>>,
    listener: &TcpListener,
    port: &Port,
) -> Infallible {
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            // More than this is an attack or a mistake; whoever is in keeps working.
            Ok((stream, _)) if !port.kind.has_room(connections.len(), gateway) => drop(stream),
            Ok((stream, _)) => {
                connections.spawn(connection(Arc::clone(gateway), stream, port.clone()));
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

/// An aborted connection is its own affair. Other failures, such as too many open files, last a moment.
async fn pause_after(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "failed to accept a connection; trying again in 100 ms");
        sleep(Duration::from_millis(100)).await;
    }
}

/// One connection, until it ends or has become a socket.
async fn connection<B: Backend>(gateway: Arc<Gateway<B>>, stream: TcpStream, port: Port) {
    // Frames are written in batches already; waiting for more only adds latency. Where it fails it is slower.
    let _ = stream.set_nodelay(true);
    let spoke = Arc::new(AtomicBool::new(false));
    let service = {
        let (router, spoke) = (TowerToHyperService::new(port.router), Arc::clone(&spoke));
        let (inbound, outbound) = (gateway.inbound.connection(), gateway.answers_of_connection());
        service_fn(move |mut request: Request<Incoming>| {
            spoke.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(inbound.clone());
            request.extensions_mut().insert(Arc::clone(&outbound));
            router.call(request)
        })
    };
    let stream = Patient::new(stream, &gateway.limits);
    let builder = builder(&gateway.limits);
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let silence = Instant::now() + gateway.limits.header_time;
    let (mut drained, mut over) = (pin!(gateway.drained()), pin!(gateway.over()));
    let mut drains = port.kind == Kind::Clients;
    loop {
        tokio::select! {
            // How a client's connection ends is its own affair.
            _ = serving.as_mut() => return,
            // The server tells the protocol by the first bytes, and waits for them without a limit of its own.
            () = sleep_until(silence), if !spoke.load(Ordering::Relaxed) => {
                if !spoke.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = drained.as_mut(), if drains => {
                drains = false;
                serving.as_mut().graceful_shutdown();
            }
            () = over.as_mut() => return,
        }
    }
}

/// Requests of one HTTP/2 connection at a time: what the standard recommends at least.
const H2_STREAMS: u32 = 100;
/// What one of them may send before it is read, and what of its answer is kept until it is taken.
const H2_STREAM_BYTES: u32 = 64 * 1024;
/// What all of them together may send before it is read.
const H2_CONNECTION_BYTES: u32 = 256 * 1024;

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(H2_STREAMS)
        .initial_stream_window_size(H2_STREAM_BYTES)
        .initial_connection_window_size(H2_CONNECTION_BYTES)
        .max_send_buf_size(H2_STREAM_BYTES as usize)
        .keep_alive_interval(limits.heartbeat_time)
        .keep_alive_timeout(limits.pong_time);
    builder
}
