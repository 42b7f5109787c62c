//! A client of Headwater over the wire, and nothing but the wire: [`Client`] for questions and commands,
//! [`Subscription`] for events that resume exactly where they stopped, [`Producer`] for appends that are neither lost
//! nor doubled, [`Worker`] for steps whose bodies outlive a restart of the node. Knows nothing of the node's insides.
//!
//! ```no_run
//! # async fn example() -> Result<(), headwater_client::Error> {
//! use headwater_client::{Client, Delivery, StartRun, StreamStart};
//!
//! let client = Client::new("http://127.0.0.1:7400")?;
//! let started = client.start_run(&StartRun::new("support-triage").input(serde_json::json!({"text": "Hi"}))).await?;
//! let mut events = client.subscribe(started.stream(), StreamStart::Begin).await?;
//! while let Some(delivery) = events.next().await {
//!     if let Delivery::Event(event) = delivery? {
//!         println!("{} {}", event.offset, event.kind);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
mod chance;
mod client;
mod connection;
mod dialer;
mod endpoint;
mod error;
mod http;
mod limits;
mod producer;
mod subscription;
mod worker;

pub use client::Client;
pub use error::Error;
pub use http::{
    AppendedAt, Appending, DamagedRun, ListRuns, Page, Problem, RunPage, RunStarted, RunView, Stamp, StartRun,
    StreamState, WorkflowRegistered, WorkflowSource, WorkflowView,
};
pub use producer::{Appended, Pending, Producer, ProducerOptions};
pub use protocol::{ChunkSource, EndStatus, Event, Failure};
pub use subscription::{Delivery, SubscribeOptions, Subscription, SubscriptionStats};
pub use types::{Code, Cursor, IdempotencyKey, Offset, Payload, ProducerId, Refusal, RunId, StreamName, StreamStart};
pub use worker::{Chunks, Failed, Handler, RunningWorker, Step, Unwanted, Worker, WorkerStats};
