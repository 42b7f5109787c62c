//! Whether the node lives, whether it takes work, and what it counts.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use types::Code;

use super::Shared;
use crate::backend::Backend;
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::metrics::{Registry, TextEncoder};

pub(super) fn add<B: Backend>(router: Router<Arc<Gateway<B>>>) -> Router<Arc<Gateway<B>>> {
    router.route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready::<B>))
}

async fn ready<B: Backend>(State(gateway): Shared<B>) -> Result<&'static str, Problem> {
    gateway.ready()?;
    Ok("ready\n")
}

pub(super) fn metrics(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => Problem::new(Code::Internal, format!("failed to encode the metrics: {error}")).into_response(),
    }
}
