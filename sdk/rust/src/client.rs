//! A client of one node: where everything else begins.

use std::time::Duration;

use types::{StreamName, StreamStart};

use crate::dialer::Dialer;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::limits::CONNECT_MS;
use crate::producer::{Producer, ProducerOptions};
use crate::subscription::{SubscribeOptions, Subscription};
use crate::worker::Worker;

/// Talks to one node. Cheap to clone; nothing is connected before it is needed.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) http: reqwest::Client,
    name: String,
}

impl Client {
    /// A node's base address, such as `http://127.0.0.1:7400`.
    pub fn new(server: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::parse(server)?;
        // A node is asked where it is, whatever proxies the environment names.
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_MS)
            .pool_idle_timeout(Duration::from_secs(20))
            .build()
            .map_err(|error| Error::Unusable(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { endpoint, http, name: concat!("headwater-client/", env!("CARGO_PKG_VERSION")).to_owned() })
    }

    /// The name under which the node's logs show this client, such as `my-app/1.2`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Where the node is.
    pub fn server(&self) -> &str {
        self.endpoint.as_str()
    }

    /// Follows a stream. The first connection must succeed; after that it is made again as often as needed.
    pub async fn subscribe(&self, stream: StreamName, from: StreamStart) -> Result<Subscription, Error> {
        self.subscribe_with(stream, SubscribeOptions { from, ..SubscribeOptions::default() }).await
    }

    /// The same with a filter.
    pub async fn subscribe_with(&self, stream: StreamName, options: SubscribeOptions) -> Result<Subscription, Error> {
        Subscription::open(self.dialer(), stream, options).await
    }

    /// Appends to streams. The first connection must succeed; after that it is made again as often as needed.
    pub async fn producer(&self, options: ProducerOptions) -> Result<Producer, Error> {
        Producer::open(self.dialer(), options).await
    }

    /// Runs steps for the node.
    pub fn worker(&self) -> Worker {
        Worker::new(self.dialer())
    }

    fn dialer(&self) -> Dialer {
        Dialer::new(self.endpoint.clone(), self.name.clone())
    }
}
