//! Whether the node lives, whether it takes work, and what it counts.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use types::Code;

use super::Shared;
use crate::backend::{Backend, Damage};
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::metrics::{Registry, TextEncoder};

pub(super) fn add<B: Backend>(router: Router<Arc<Gateway<B>>>) -> Router<Arc<Gateway<B>>> {
    router.route("/healthz", get(health::<B>)).route("/readyz", get(ready::<B>))
}

/// It lives, and says so also where somebody should look at it.
async fn health<B: Backend>(State(gateway): Shared<B>) -> String {
    healthy(gateway.damage())
}

fn healthy(damage: Damage) -> String {
    let Damage { segments, runs, definitions } = damage;
    let are = |number: u64, what: &str| match number {
        0 => None,
        1 => Some(format!("1 damaged {what} is")),
        more => Some(format!("{more} damaged {what}s are")),
    };
    let told = [
        are(segments, "segment").map(|they| format!("{they} quarantined and not served: see `headwater log segments`")),
        are(runs, "run").map(|they| format!("{they} set aside: see `headwater run list --status damaged`")),
        are(definitions, "definition").map(|they| format!("{they} to be registered again: the node's log names them")),
    ];
    let told: Vec<_> = told.into_iter().flatten().collect();
    if told.is_empty() { "ok\n".to_owned() } else { format!("ok, but {}\n", told.join("; ")) }
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
    use super::{Damage, healthy};

    #[test]
    fn damage_is_told_by_a_node_that_lives() {
        let check = |segments, runs, definitions, expect: &str| {
            assert_eq!(healthy(Damage { segments, runs, definitions }), expect);
        };
        check(0, 0, 0, "ok\n");
        check(1, 0, 0, "ok, but 1 damaged segment is quarantined and not served: see `headwater log segments`\n");
        check(0, 2, 0, "ok, but 2 damaged runs are set aside: see `headwater run list --status damaged`\n");
        check(
            7,
            1,
            3,
            "ok, but 7 damaged segments are quarantined and not served: see `headwater log segments`; 1 damaged run is \
             set aside: see `headwater run list --status damaged`; 3 damaged definitions are to be registered again: the \
             node's log names them\n",
        );
    }
}
