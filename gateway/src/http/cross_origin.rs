//! What a browser must be told before a page of another site may use the node: the answers of CORS (Fetch standard).
//! Which sites those are is `crate::origin`'s to say.

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, VARY,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::backend::Backend;
use crate::error::Problem;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE");
/// Every header of a request that some path reads, and the one that readers of event streams add by themselves.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Cache-Control, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, Producer-Epoch, Producer-Id, \
     Producer-Seq, Stream-Closed, Stream-Seq, X-Agent-Id",
);
/// Every header of an answer that a page may need besides those that browsers show anyway.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "ETag, Location, Preference-Applied, Producer-Epoch, Producer-Expected-Seq, Producer-Received-Seq, Producer-Seq, \
     Retry-After, Stream-Closed, Stream-Cursor, Stream-Next-Offset, Stream-SSE-Data-Encoding, Stream-Up-To-Date",
);
/// For how many seconds a browser need not ask again.
const KEEP_PREFLIGHT: HeaderValue = HeaderValue::from_static("600");

/// Lets a request through, or refuses it before anything of it is looked at.
pub(super) async fn admit<B: Backend>(State(gateway): Shared<B>, request: Request, next: Next) -> Response {
    let page = match gateway.web.check(&request) {
        Ok(page) => page,
        Err(refusal) => return with_policy(Problem::from(refusal).into_response(), "same-origin"),
    };
    let Some(page) = page else { return with_policy(next.run(request).await, "same-origin") };
    let mut response = if is_preflight(&request) { preflight() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
    headers.append(VARY, HeaderValue::from_static("Origin"));
    with_policy(response, "cross-origin")
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The same for all paths: the request itself finds out whether its path takes its method.
fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
        (ACCESS_CONTROL_MAX_AGE, KEEP_PREFLIGHT),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Which pages may embed the answer without asking.
fn with_policy(mut response: Response, who: &'static str) -> Response {
    response.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static(who));
    response
}
