//! `/v1/streams/{name}`: the Durable Streams protocol. Create, append, close, look at, read and delete.

mod live;
mod messages;
mod names;
mod read;
mod write;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use types::{Code, StreamName};

pub(super) use self::messages::one_json;
use super::Shared;
use super::path::Path;
use crate::auth;
use crate::backend::{Backend, StreamInfo};
use crate::error::Problem;
use crate::gateway::Gateway;
use crate::resume;

/// What can be done with a stream's path.
pub(super) fn methods<B: Backend>() -> MethodRouter<std::sync::Arc<Gateway<B>>> {
    axum::routing::get(read::read::<B>)
        .head(head::<B>)
        .put(write::create::<B>)
        .post(write::append::<B>)
        .delete(delete::<B>)
}

fn stream_name(name: &str) -> Result<StreamName, Problem> {
    StreamName::new(name).map_err(|error| Problem::new(Code::InvalidName, error.to_string()))
}

/// A stream that clients may write to.
fn writable(name: &str) -> Result<StreamName, Problem> {
    let stream = stream_name(name)?;
    if stream.is_reserved() {
        let detail = format!("{stream} belongs to the node, clients read it only");
        return Err(Problem::method_not_allowed(Code::ReservedName, "GET, HEAD", detail));
    }
    Ok(stream)
}

async fn head<B: Backend>(State(gateway): Shared<B>, Path(name): Path<String>) -> Result<Response, Problem> {
    let info = gateway.backend.stream(&auth::principal().tenant, stream_name(&name)?).await?;
    let mut headers = about(&info);
    headers.insert(header::CACHE_CONTROL, names::NO_STORE);
    Ok((StatusCode::OK, headers).into_response())
}

async fn delete<B: Backend>(State(gateway): Shared<B>, Path(name): Path<String>) -> Result<Response, Problem> {
    gateway.backend.delete_stream(&auth::principal().tenant, writable(&name)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Type, end and closure of a stream.
fn about(info: &StreamInfo) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, names::content_type(info));
    headers.insert(names::NEXT_OFFSET, names::cursor(resume::cursor(info, info.head)));
    if info.closed {
        headers.insert(names::CLOSED, names::TRUE);
    }
    headers
}
