//! PUT and POST: create, append, close.

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use types::{Code, ProducerId, Refusal, StreamName, TenantId};

use super::{about, messages, names, writable};
use crate::auth;
use crate::backend::{Append, Appended, Backend, CreateStream, Producer, StreamInfo};
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::http::Shared;
use crate::http::body::{JSON, media_type, read};
use crate::http::path::Path;
use crate::limits::LARGEST_NUMBER;
use crate::resume;

pub(super) async fn create<B: Backend>(
    State(gateway): Shared<B>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let stream = writable(&name)?;
    let (parts, body) = request.into_parts();
    names::refuse_unsupported(&parts.headers)?;
    let content_type = media_type(&parts.headers)?.filter(|media| media != JSON);
    let body = read(body, gateway.limits.request_bytes, &gateway.limits).await?;
    let events =
        if body.is_empty() { Vec::new() } else { messages::events(content_type.as_deref(), &body, &gateway.limits)? };
    let closed = names::asks_to_close(&parts.headers);
    let keep = names::keep(&parts.headers)?;
    let request = CreateStream { stream, content_type, events, closed, keep };
    let created = gateway.backend.create_stream(&auth::principal().tenant, request).await?;
    let mut headers = about(&created.info);
    headers.insert(LOCATION, location(&parts));
    let status = if created.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, headers).into_response())
}

/// The stream's own address as the client wrote it.
fn location(parts: &Parts) -> HeaderValue {
    let path = parts.uri.path();
    let authority = parts.uri.authority().map(Authority::as_str);
    let host = authority.or_else(|| parts.headers.get(HOST)?.to_str().ok());
    let absolute = host.map_or_else(|| path.to_owned(), |host| format!("http://{host}{path}"));
    HeaderValue::from_str(&absolute).unwrap_or(HeaderValue::from_static("/v1/streams/"))
}

pub(super) async fn append<B: Backend>(
    State(gateway): Shared<B>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let stream = writable(&name)?;
    let tenant = auth::principal().tenant;
    let (parts, body) = request.into_parts();
    names::refuse_unsupported(&parts.headers)?;
    let producer = producer(&parts.headers)?;
    let sequence = sequence(&parts.headers)?;
    let close = names::asks_to_close(&parts.headers);
    let body = read(body, gateway.limits.request_bytes, &gateway.limits).await?;
    if body.is_empty() && !close {
        return Err(Problem::bad_request("the body is empty: only `Stream-Closed: true` goes without one"));
    }
    let given = if body.is_empty() { Given::Nothing } else { Given::of(&parts.headers)? };
    let info = gateway.backend.stream(&tenant, stream.clone()).await?;
    if info.closed && producer.is_none() {
        return closed_already(&info, &body);
    }
    let events = match given {
        Given::Nothing => Vec::new(),
        Given::Type(media) if media == info.content_type => messages::events(media.as_deref(), &body, &gateway.limits)?,
        Given::Type(media) => return Err(other_type(&info, media.as_deref())),
    };
    if events.is_empty() && !body.is_empty() {
        return Err(Problem::bad_request("an empty array appends nothing"));
    }
    let request = Append {
        stream: stream.clone(),
        events,
        producer: producer.clone(),
        expected: None,
        sequence,
        create: false,
        close,
    };
    match gateway.backend.append(&tenant, request).await {
        Ok(appended) => Ok(taken(&appended, producer.as_ref(), body.is_empty())),
        Err(refusal) => not_taken(&gateway, &tenant, stream, refusal, producer.as_ref(), body.is_empty()).await,
    }
}

/// What a request says that its body is.
enum Given {
    Nothing,
    /// As streams have it: `None` for JSON.
    Type(Option<String>),
}

impl Given {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let media = media_type(headers)?.ok_or_else(|| Problem::bad_request("the request has no content type"))?;
        Ok(Self::Type(Some(media).filter(|media| media != JSON)))
    }
}

fn closed_already(info: &StreamInfo, body: &[u8]) -> Result<Response, Problem> {
    if body.is_empty() {
        let mut headers = about(info);
        headers.remove(CONTENT_TYPE);
        return Ok((StatusCode::NO_CONTENT, headers).into_response());
    }
    Err(closed(Refusal::new(Code::StreamClosed, "the stream is closed and takes nothing more"), info))
}

/// A closed stream's "no" says where it ended.
fn closed(refusal: Refusal, info: &StreamInfo) -> Problem {
    let end = names::cursor(resume::cursor(info, info.head));
    Problem::from(refusal).header(names::CLOSED, names::TRUE).header(names::NEXT_OFFSET, end)
}

fn other_type(info: &StreamInfo, given: Option<&str>) -> Problem {
    let (has, given) = (info.content_type.as_deref().unwrap_or(JSON), given.unwrap_or(JSON));
    let message = format!("the stream has the content type {has}, the request has {given}");
    Problem::new(Code::UnsupportedMediaType, message).status(StatusCode::CONFLICT)
}

/// With a producer, 200 is new and 204 was there before; without one, and without data, there is nothing to tell apart.
fn taken(appended: &Appended, producer: Option<&Producer>, close_only: bool) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(names::NEXT_OFFSET, names::cursor(appended.cursor));
    if appended.closed {
        headers.insert(names::CLOSED, names::TRUE);
    }
    if let Some(producer) = producer {
        headers.insert(names::PRODUCER_EPOCH, producer.epoch.into());
        headers.insert(names::PRODUCER_SEQ, appended.producer_seq.unwrap_or(producer.seq).into());
    }
    let new = producer.is_some() && !appended.duplicate && !close_only;
    let status = if new { StatusCode::OK } else { StatusCode::NO_CONTENT };
    (status, headers).into_response()
}

/// Says "no" in the protocol's own headers.
async fn not_taken<B: Backend>(
    gateway: &Gateway<B>,
    tenant: &TenantId,
    stream: StreamName,
    refusal: Refusal,
    producer: Option<&Producer>,
    close_only: bool,
) -> Result<Response, Problem> {
    let number = |name: &str| {
        let detail = refusal.details.iter().find(|(known, _)| known == name);
        detail.and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let (epoch, expected) = (number("epoch"), number("expected"));
    let code = refusal.code;
    if code == Code::StreamClosed {
        let info = gateway.backend.stream(tenant, stream).await?;
        let done = close_only && producer.is_none();
        return if done { closed_already(&info, &[]) } else { Err(closed(refusal, &info)) };
    }
    let problem = Problem::from(refusal);
    Err(if code == Code::ProducerFenced {
        with_number(problem, names::PRODUCER_EPOCH, epoch)
    } else if code == Code::ProducerGap {
        let new_epoch = expected == Some(0) && producer.is_some_and(|producer| producer.epoch > 0);
        let problem = with_number(problem, names::EXPECTED_SEQ, expected);
        let problem = with_number(problem, names::RECEIVED_SEQ, producer.map(|producer| producer.seq));
        // The protocol calls a new epoch that does not start at 0 a malformed request, not a conflict.
        if new_epoch { problem.status(StatusCode::BAD_REQUEST) } else { problem }
    } else if code == Code::UnsupportedMediaType {
        problem.status(StatusCode::CONFLICT)
    } else {
        problem
    })
}

fn with_number(problem: Problem, name: HeaderName, number: Option<u64>) -> Problem {
    match number {
        Some(number) => problem.header(name, number.into()),
        None => problem,
    }
}

/// The writer's own place in its order.
fn sequence(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(&names::SEQUENCE) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if !text.is_empty() => Ok(Some(text.to_owned())),
        Ok(_) | Err(_) => Err(Problem::bad_request("Stream-Seq is empty, or not ASCII: write any other text")),
    }
}

/// The three producer headers, all or none.
fn producer(headers: &HeaderMap) -> Result<Option<Producer>, Problem> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(&names::PRODUCER_ID), text(&names::PRODUCER_EPOCH), text(&names::PRODUCER_SEQ)) {
        (None, None, None) => Ok(None),
        (Some(id), Some(epoch), Some(seq)) => {
            let id = ProducerId::new(id).map_err(Problem::bad_request)?;
            Ok(Some(Producer { id, epoch: number(epoch)?, seq: number(seq)? }))
        }
        _ => Err(Problem::bad_request("Producer-Id, Producer-Epoch and Producer-Seq go together")),
    }
}

fn number(text: &str) -> Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok().filter(|&number| number <= LARGEST_NUMBER) } else { None };
    number.ok_or_else(|| Problem::bad_request(format!("{text:?} is not a whole number from 0 to 2^53 - 1")))
}
