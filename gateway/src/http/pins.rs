//! `/v1/pins/{reader}/{stream}`: a reader holds back what it has still to read from being dropped, up to a lag.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use types::{Code, Cursor, ProducerId, StreamName};

use super::Shared;
use super::body::read;
use super::path::Path;
use crate::auth;
use crate::backend::{Backend, Pin};
use crate::error::Problem;
use crate::limits::LARGEST_NUMBER;

/// What a pin says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// The next event that the reader needs.
    cursor: Cursor,
    /// How many events it may be behind before it holds nothing back any more.
    max_lag: u64,
}

pub(super) async fn pin<B: Backend>(
    State(gateway): Shared<B>,
    Path((reader, stream)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (reader, stream) = names(&reader, &stream)?;
    let bytes = read(request.into_body(), gateway.limits.request_bytes, &gateway.limits).await?;
    let body: Body = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not `cursor` and `max_lag`: {error}")))?;
    if !(1..=LARGEST_NUMBER).contains(&body.max_lag) {
        return Err(Problem::bad_request("max_lag is a whole number from 1 to 2^53 - 1"));
    }
    let request = Pin { stream, reader, at: body.cursor, max_lag: body.max_lag };
    gateway.backend.pin(&auth::principal().tenant, request).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn unpin<B: Backend>(
    State(gateway): Shared<B>,
    Path((reader, stream)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (reader, stream) = names(&reader, &stream)?;
    gateway.backend.unpin(&auth::principal().tenant, stream, reader).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A reader is named as producers are.
fn names(reader: &str, stream: &str) -> Result<(String, StreamName), Problem> {
    let name = ProducerId::new(reader).map_err(|error| Problem::new(Code::InvalidName, error))?;
    let stream = StreamName::new(stream).map_err(|error| Problem::new(Code::InvalidName, error.to_string()))?;
    Ok((name.as_str().to_owned(), stream))
}
