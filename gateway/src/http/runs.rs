//! `/v1/runs`: start a workflow, look at runs, send them signals, cancel them.

use std::str::FromStr;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::{Duration, Instant};
use types::{Code, Cursor, IdempotencyKey, Payload, RunId, StreamName, TenantId};

use super::Shared;
use super::body::{answer, created, json, payload, payload_json, read};
use super::path::Path;
use super::workflows::info_json;
use crate::auth;
use crate::backend::{
    Backend, CancelRun, DamagedRun, ListRuns, RUN_STATUSES, Read, RunAccepted, RunInfo, SignalRun, StartRun,
    WorkflowRef,
};
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::limits::millis;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const AGENT_ID: HeaderName = HeaderName::from_static("x-agent-id");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Runs on one page, when nobody says how many.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartBody {
    workflow: String,
    input: Option<Box<RawValue>>,
    key: Option<String>,
    #[serde(default)]
    tags: Map<String, Value>,
}

pub(super) async fn start<B: Backend>(State(gateway): Shared<B>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let body: StartBody = json(request, gateway.limits.request_bytes, &gateway.limits).await?;
    let input = body.input.map_or_else(|| Ok(Payload::null()), |input| payload(input, "the input", &gateway.limits))?;
    let request = StartRun {
        workflow: WorkflowRef::parse(&body.workflow)?,
        input,
        key: body.key.or(text(&headers, &AGENT_ID)?),
        idempotency_key: idempotency_key(&headers)?,
        tags: tags(body.tags)?,
    };
    let wait = preferred_wait(&headers, gateway.limits.prefer_wait_time);
    let tenant = auth::principal().tenant;
    let accepted = gateway.backend.start_run(&tenant, request).await?;
    match wait {
        None => Ok(started(&accepted)),
        Some(wait) => {
            // The start is durable: nothing of its body is needed any more.
            crate::inbound::body_dropped();
            finished(&gateway, &tenant, &accepted, wait).await
        }
    }
}

fn started(accepted: &RunAccepted) -> Response {
    let status = if accepted.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    created(status, &path(accepted.run), &accepted_json(accepted))
}

fn path(run: RunId) -> String {
    format!("/v1/runs/{run}")
}

fn accepted_json(accepted: &RunAccepted) -> Value {
    let RunAccepted { run, duplicate, cursor } = accepted;
    json!({ "run": run, "duplicate": duplicate, "cursor": cursor, "stream": format!("/v1/streams/runs/{run}") })
}

/// Waits for the run to close and answers with it as it stands then; 202 when it took longer.
async fn finished<B: Backend>(
    gateway: &Gateway<B>,
    tenant: &TenantId,
    accepted: &RunAccepted,
    wait: Duration,
) -> Result<Response, Problem> {
    let closed = tokio::select! {
        closed = closes(gateway, tenant, accepted, Instant::now() + wait) => closed?,
        // A drain does not wait for runs; the client asks again, the run goes on.
        () = gateway.drained() => false,
    };
    let status = if closed { StatusCode::OK } else { StatusCode::ACCEPTED };
    let run = gateway.backend.run(tenant, accepted.run).await?;
    let mut response = created(status, &path(accepted.run), &RunJson::from(&run));
    let applied = HeaderValue::from_str(&format!("wait={}", wait.as_secs())).expect("a number is ASCII");
    response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    Ok(response)
}

/// Reads the run's stream to its end, which is when the run is closed.
async fn closes<B: Backend>(
    gateway: &Gateway<B>,
    tenant: &TenantId,
    accepted: &RunAccepted,
    until: Instant,
) -> Result<bool, Problem> {
    let mut from: Cursor = accepted.cursor;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let read = Read {
            stream: StreamName::of_run(accepted.run),
            from,
            max_events: gateway.limits.read_events,
            max_bytes: gateway.limits.batch_bytes,
            wait_ms: millis(left),
        };
        let reply = gateway.backend.read(tenant, read).await?;
        from = from.at(from.next.after(reply.events.len() as u64));
        if reply.info.closed && from.next == reply.info.head {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    workflow: Option<String>,
    status: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list<B: Backend>(
    State(gateway): Shared<B>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!("a page has 1 to {LARGEST_PAGE} runs, not {limit}")));
    }
    if let Some(status) = query.status.as_ref().filter(|status| !RUN_STATUSES.contains(&status.as_str())) {
        let known = RUN_STATUSES.join(", ");
        return Err(Problem::bad_request(format!("no run stands as {status:?}: a status is one of {known}")));
    }
    let after = query.after.as_deref().map(run_id).transpose()?;
    let filter = ListRuns { workflow: query.workflow, status: query.status, after, limit };
    let page = gateway.backend.runs(&auth::principal().tenant, filter).await?;
    let runs: Vec<_> = page.runs.iter().map(RunJson::from).collect();
    let damaged: Vec<_> = page.damaged.iter().map(DamagedJson::from).collect();
    Ok(answer(StatusCode::OK, &PageJson { runs, damaged, next: page.next }))
}

/// A run that can only be named.
#[derive(Serialize)]
struct DamagedJson<'a> {
    run: RunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<RunId>,
    damaged: bool,
    code: Code,
    what: &'a str,
}

impl<'a> From<&'a DamagedRun> for DamagedJson<'a> {
    fn from(damaged: &'a DamagedRun) -> Self {
        let DamagedRun { run, through, open, what } = damaged;
        let code = if *open { Code::RunDamaged } else { Code::Damaged };
        Self { run: *run, through: *through, damaged: true, code, what }
    }
}

#[derive(Serialize)]
struct PageJson<'a> {
    runs: Vec<RunJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<DamagedJson<'a>>,
    next: Option<RunId>,
}

pub(super) async fn get<B: Backend>(State(gateway): Shared<B>, Path(id): Path<String>) -> Result<Response, Problem> {
    let run = gateway.backend.run(&auth::principal().tenant, run_id(&id)?).await?;
    Ok(answer(StatusCode::OK, &RunJson::from(&run)))
}

/// A run as people see it.
#[derive(Serialize)]
struct RunJson<'a> {
    run: RunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    workflow: Value,
    status: &'a str,
    input: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Value>,
    current: &'a [String],
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<String>,
    head: types::Offset,
    stream: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    tags: Map<String, Value>,
}

impl<'a> From<&'a RunInfo> for RunJson<'a> {
    fn from(info: &'a RunInfo) -> Self {
        Self {
            run: info.run,
            key: info.key.as_deref(),
            workflow: info_json(&info.workflow),
            status: &info.status,
            input: payload_json(&info.input),
            output: info.output.as_ref().map(payload_json),
            error: info.error.as_ref(),
            current: &info.current,
            started: info.started.to_string(),
            closed: info.closed.map(|closed| closed.to_string()),
            head: info.head,
            stream: format!("/v1/streams/runs/{}", info.run),
            tags: info.tags.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
        }
    }
}

pub(super) async fn signal<B: Backend>(
    State(gateway): Shared<B>,
    Path((id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let run = run_id(&id)?;
    let id = idempotency_key(request.headers())?.map(|key| key.as_str().to_owned());
    let limits = &gateway.limits;
    let bytes = read(request.into_body(), limits.event_bytes, limits).await?;
    let payload = if bytes.is_empty() { Payload::null() } else { super::streams::one_json(&bytes)? };
    let request = SignalRun { run, name, id, payload };
    let accepted = gateway.backend.signal_run(&auth::principal().tenant, request).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({ "run": run, "duplicate": accepted.duplicate })))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    #[serde(default)]
    reason: String,
}

pub(super) async fn cancel<B: Backend>(
    State(gateway): Shared<B>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let run = run_id(&id)?;
    let limits = &gateway.limits;
    let bytes = read(request.into_body(), limits.event_bytes, limits).await?;
    let CancelBody { reason } = if bytes.is_empty() { CancelBody::default() } else { parse(&bytes)? };
    gateway.backend.cancel_run(&auth::principal().tenant, CancelRun { run, reason }).await?;
    Ok(answer(StatusCode::ACCEPTED, &json!({ "run": run })))
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::bad_request(format!("the body is not as expected: {error}")))
}

fn run_id(text: &str) -> Result<RunId, Problem> {
    RunId::from_str(text).map_err(|error| Problem::new(Code::InvalidName, error.to_string()))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let text = headers.get(name).map(|value| value.to_str().map(str::to_owned)).transpose();
    text.map_err(|_| Problem::bad_request(format!("the header {name} is not ASCII")))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let key = text(headers, &IDEMPOTENCY_KEY)?.map(|key| IdempotencyKey::new(&key)).transpose();
    key.map_err(Problem::bad_request)
}

fn tags(tags: Map<String, Value>) -> Result<Vec<(String, String)>, Problem> {
    tags.into_iter()
        .map(|(name, value)| match value.as_str() {
            Some(text) => Ok((name, text.to_owned())),
            None => Err(Problem::bad_request(format!("tag {name:?} is {value}, tags are strings"))),
        })
        .collect()
}

/// `Prefer: wait=10` (RFC 7240), in seconds; other preferences are not ours.
fn preferred_wait(headers: &HeaderMap, most: Duration) -> Option<Duration> {
    headers
        .get_all(&PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| preference.trim().strip_prefix("wait=")?.parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(most))
}
