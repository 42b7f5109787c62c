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
    router.route("/healthz", get(health::<B>)).route("/readyz", get(ready::<B>))
}

/// It lives, and says so also where somebody should look at it.
async fn health<B: Backend>(State(gateway): Shared<B>) -> String {
    healthy(gateway.quarantined())
}

fn healthy(quarantined: u64) -> String {
    let segments = match quarantined {
        0 => return "ok\n".to_owned(),
        1 => "1 damaged segment is".to_owned(),
        more => format!("{more} damaged segments are"),
    };
    format!("ok, but {segments} quarantined and not served: see `headwater log segments`\n")
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

#[cfg(test)]
mod tests {
    use super::healthy;

    #[test]
    fn damage_is_told_by_a_node_that_lives() {
        assert_eq!(healthy(0), "ok\n");
        assert_eq!(
            healthy(1),
            "ok, but 1 damaged segment is quarantined and not served: see `headwater log segments`\n"
        );
        assert!(healthy(7).starts_with("ok, but 7 damaged segments are quarantined"));
    }
}
