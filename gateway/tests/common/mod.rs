//! A gateway over a backend in memory, and clients to try it with.

pub(crate) mod client;
pub(crate) mod fake;
pub(crate) mod http;

use std::net::SocketAddr;
use std::time::Duration;

use gateway::{Limits, Options, WebAccess};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use self::fake::Fake;

/// A running gateway.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) fake: Fake,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(quick()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::over(Fake::default(), WebAccess::default(), limits).await
    }

    pub(crate) async fn open_to(web: WebAccess, limits: Limits) -> Self {
        Self::over(Fake::default(), web, limits).await
    }

    pub(crate) async fn over(fake: Fake, web: WebAccess, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let admin = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let admin_address = admin.local_addr().expect("bound");
        let (shutdown, stop) = oneshot::channel::<()>();
        let options = Options { node: "test".into(), admin: Some(admin), registry: Registry::new(), limits, web };
        let backend = fake.clone();
        let serving = tokio::spawn(async move {
            let stopped = async { drop(stop.await) };
            gateway::serve(listener, backend, options, stopped).await.expect("serves");
        });
        Self { address, admin: admin_address, fake, shutdown: Some(shutdown), serving }
    }

    /// Starts the drain.
    pub(crate) fn drain(&mut self) {
        drop(self.shutdown.take());
    }

    /// Resolves when everyone is gone.
    pub(crate) async fn stopped(self) {
        self.serving.await.expect("no panic");
    }

    /// The value of a metric, labels included in the name.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = http::get(self.admin, "/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a number"))
    }
}

/// The usual limits, with the usual sizes, and waits that are short enough for tests.
pub(crate) fn quick() -> Limits {
    Limits {
        mark_time: Duration::from_millis(20),
        linger_time: Duration::from_millis(200),
        poll_time: Duration::from_millis(300),
        comment_time: Duration::from_millis(100),
        drain_window: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// Waits for what must come; a test that would hang fails instead.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
