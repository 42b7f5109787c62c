//! Talks to clients: HTTP, WebSocket, SSE. Knows neither workflows nor RocksDB nor which partition.

mod admission;
mod auth;
pub mod backend;
mod budget;
mod chunk;
mod connection;
mod details;
#[cfg(test)]
mod echo;
mod error;
mod frame_reader;
mod frames;
mod gateway;
mod http;
mod inbound;
mod inbox;
mod limits;
mod metrics;
pub mod operator;
mod origin;
mod partial;
mod patience;
mod recourse;
mod resume;
mod server;
mod socket;
mod stream_tail;
mod subscription;
mod worker_terms;
mod workflow_ref;

pub use limits::Limits;
pub use origin::{HostName, NotAnOrigin, WebAccess, WebOrigin};
pub use server::{Options, ServeError, serve};
pub use workflow_ref::DEFAULT_NAMESPACE;
