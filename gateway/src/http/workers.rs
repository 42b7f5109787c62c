//! `/v1/workers`: what a worker does that has no socket. It names itself, and asks again and again.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use protocol::{Failure, HeldStatus, Holding, QueueSlots, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use types::TenantId;

use super::Shared;
use super::body::{answer, json, payload};
use super::delivery::{Delivery, delivered};
use crate::auth;
use crate::backend::{AttachWorker, Backend, Chunk, PollWorker, StepOutcome, StepResult, WorkerPush};
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::limits::millis;
use crate::worker_terms;

/// Tasks in one answer, when nobody says how many, and at most.
const TASKS: usize = 16;
const MOST_TASKS: usize = 1024;

/// With `queues` the worker makes itself known, as it does first, and again when the node has forgotten it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PollBody {
    worker: String,
    queues: Option<Vec<QueueSlots>>,
    /// All that it holds; `None`: it says nothing about that.
    holding: Option<Vec<Holding>>,
    max: Option<usize>,
    wait_ms: Option<u64>,
}

#[derive(Default, Serialize)]
struct PollAnswer {
    tasks: Vec<Task>,
    cancel: Vec<String>,
    held: Vec<HeldJson>,
}

#[derive(Serialize)]
struct HeldJson {
    token: String,
    status: HeldStatus,
}

pub(super) async fn poll<B: Backend>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let body: PollBody = json(request, gateway.limits.event_bytes, &gateway.limits).await?;
    let tenant = auth::principal().tenant;
    worker_terms::check_name(&body.worker)?;
    let mut found = PollAnswer::default();
    if let Some(queues) = body.queues {
        let holds_nothing_else = body.holding.is_some();
        let holding = body.holding.unwrap_or_default();
        worker_terms::check(&queues, &holding)?;
        let request = AttachWorker { worker: body.worker.clone(), queues, holding, holds_nothing_else };
        let held = gateway.backend.attach_worker(&tenant, request).await?;
        found.held = held.into_iter().map(|(token, status)| HeldJson { token, status }).collect();
    }
    let longest = millis(gateway.limits.poll_time);
    // What became of held tasks is not kept waiting for new ones.
    let wait_ms = if found.held.is_empty() { body.wait_ms.unwrap_or(longest).min(longest) } else { 0 };
    let max = body.max.unwrap_or(TASKS).clamp(1, MOST_TASKS);
    let (node, owner, worker) = (Arc::clone(&gateway), tenant.clone(), body.worker.clone());
    let mut delivery = Delivery::new(move |tokens| node.backend.return_tasks(&owner, worker, tokens));
    let request = PollWorker { worker: body.worker, max, max_bytes: gateway.limits.response_bytes, wait_ms };
    for push in pushes(&gateway, &tenant, request).await? {
        match push {
            WorkerPush::Task(task) => {
                delivery.tokens.push(task.token.clone());
                found.tasks.push(task);
            }
            WorkerPush::Cancel { token } => found.cancel.push(token),
        }
    }
    Ok(delivered(answer(StatusCode::OK, &found), delivery))
}

async fn pushes<B: Backend>(
    gateway: &Gateway<B>,
    tenant: &TenantId,
    request: PollWorker,
) -> Result<Vec<WorkerPush>, Problem> {
    tokio::select! {
        biased;
        pushes = gateway.backend.poll_worker(tenant, request) => Ok(pushes?),
        // A draining node does not keep anyone waiting for work.
        () = gateway.drained() => Ok(Vec::new()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeartbeatBody {
    worker: String,
    token: String,
}

pub(super) async fn heartbeat<B: Backend>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let HeartbeatBody { worker, token } = json(request, gateway.limits.event_bytes, &gateway.limits).await?;
    worker_terms::check_name(&worker)?;
    gateway.backend.beat(&auth::principal().tenant, worker, token).await?;
    Ok(answer(StatusCode::OK, &json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunkBody {
    worker: String,
    token: String,
    seq: u64,
    data: Box<RawValue>,
}

pub(super) async fn chunk<B: Backend>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let body: ChunkBody = json(request, gateway.limits.message_bytes, &gateway.limits).await?;
    worker_terms::check_name(&body.worker)?;
    let data = payload(body.data, "the chunk", &gateway.limits)?;
    let request = Chunk { worker: body.worker, token: body.token, seq: body.seq, data };
    let taken = gateway.backend.chunk(&auth::principal().tenant, request).await?;
    Ok(answer(StatusCode::OK, &taken))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteBody {
    worker: String,
    token: String,
    output: Box<RawValue>,
}

pub(super) async fn complete<B: Backend>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let body: CompleteBody = json(request, gateway.limits.message_bytes, &gateway.limits).await?;
    let outcome = StepOutcome::Output(payload(body.output, "the output", &gateway.limits)?);
    result(&gateway, StepResult { worker: body.worker, token: body.token, outcome }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailBody {
    worker: String,
    token: String,
    failure: Failure,
    retry_after_ms: Option<u64>,
}

pub(super) async fn fail<B: Backend>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let body: FailBody = json(request, gateway.limits.message_bytes, &gateway.limits).await?;
    let outcome = StepOutcome::Failed { failure: body.failure, retry_after_ms: body.retry_after_ms };
    result(&gateway, StepResult { worker: body.worker, token: body.token, outcome }).await
}

async fn result<B: Backend>(gateway: &Gateway<B>, result: StepResult) -> Result<Response, Problem> {
    worker_terms::check_name(&result.worker)?;
    gateway.backend.result(&auth::principal().tenant, result).await?;
    Ok(answer(StatusCode::OK, &json!({})))
}
