//! `/v1/admin`: what operators ask of the node, on the admin port.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use types::{Code, PartitionId};

use super::Shared;
use super::body::{JSON, answer, media_type};
use crate::backend::Backend;
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::operator::{BackUp, Operator, ReadRecords};

/// A request of an operator names a few things.
const REQUEST_BYTES: usize = 16 * 1024;

pub(super) fn add<B: Backend + Operator>(router: Router<Arc<Gateway<B>>>) -> Router<Arc<Gateway<B>>> {
    router
        .route("/v1/admin/backups", post(back_up::<B>))
        .route("/v1/admin/log/partitions", get(load::<B>))
        .route("/v1/admin/log/records", post(records::<B>))
        .route("/v1/admin/log/segments", get(segments::<B>))
        .route("/v1/admin/log/stats", get(stats::<B>))
}

async fn back_up<B: Backend + Operator>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let request: BackUp = question(&gateway, request).await?;
    let made = gateway.backend.back_up(request).await?;
    Ok(answer(StatusCode::CREATED, &made))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadQuery {
    #[serde(default = "hour")]
    over_ms: u64,
}

const fn hour() -> u64 {
    3_600_000
}

async fn load<B: Backend + Operator>(
    State(gateway): Shared<B>,
    query: Result<Query<LoadQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok(answer(StatusCode::OK, &gateway.backend.load(query.over_ms).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentsQuery {
    partition: Option<PartitionId>,
}

async fn segments<B: Backend + Operator>(
    State(gateway): Shared<B>,
    query: Result<Query<SegmentsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let segments = gateway.backend.segments(query.partition).await?;
    Ok(answer(StatusCode::OK, &json!({ "segments": segments })))
}

async fn stats<B: Backend + Operator>(State(gateway): Shared<B>) -> Result<Response, Problem> {
    Ok(answer(StatusCode::OK, &gateway.backend.stats().await?))
}

/// A question, sent as a POST because it has parts.
async fn records<B: Backend + Operator>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let request: ReadRecords = question(&gateway, request).await?;
    Ok(answer(StatusCode::OK, &gateway.backend.read_records(request).await?))
}

/// A web page can send other types, or none, without asking the node first.
async fn question<B: Backend, T: DeserializeOwned>(gateway: &Gateway<B>, request: Request) -> Result<T, Problem> {
    if media_type(request.headers())?.as_deref() != Some(JSON) {
        return Err(Problem::new(Code::UnsupportedMediaType, format!("send {JSON}")));
    }
    super::body::json(request, REQUEST_BYTES, &gateway.limits).await
}
