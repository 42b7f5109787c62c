//! How a refusal leaves over HTTP: a problem (RFC 9457) with a stable code, and the status that goes with each code.

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use types::{Code, Refusal};

use crate::details;
use crate::recourse::resume_at;

/// The status of each code. One place, and no code without one.
pub(crate) const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::BadRequest
        | Code::BadMessage
        | Code::InvalidName
        | Code::InvalidCursor
        | Code::InvalidInput
        | Code::ForgedToken => StatusCode::BAD_REQUEST,
        Code::InvalidDefinition => StatusCode::UNPROCESSABLE_ENTITY,
        Code::ReservedName | Code::ProducerFenced | Code::OriginNotAllowed => StatusCode::FORBIDDEN,
        Code::HostNotAllowed => StatusCode::MISDIRECTED_REQUEST,
        Code::WorkflowNotFound | Code::RunNotFound | Code::StreamNotFound | Code::NotFound => StatusCode::NOT_FOUND,
        Code::StreamExists
        | Code::StreamClosed
        | Code::WorkflowExists
        | Code::RunClosed
        | Code::IdempotencyConflict
        | Code::ProducerGap
        | Code::SequenceConflict
        | Code::StaleAttempt
        | Code::ChunkGap => StatusCode::CONFLICT,
        Code::OtherHistory | Code::OtherStream | Code::Trimmed | Code::LogTruncated | Code::Damaged => StatusCode::GONE,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::QueueFull | Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Code::Draining | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::OutcomeUnknown | Code::RunDamaged | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An answer that is an error. The status follows from the code unless the protocol of an endpoint says otherwise.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    refusal: Refusal,
    headers: HeaderMap,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Refusal::new(code, detail).into()
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    pub(crate) fn method_not_allowed(code: Code, allow: &'static str, detail: impl Into<String>) -> Self {
        Self::new(code, detail).status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, HeaderValue::from_static(allow))
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }
}

impl Parts {
    fn body(&self) -> String {
        let Refusal { code, message, retry_after_ms, details } = &self.refusal;
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:headwater:problem:{code}").into());
        body.insert("title".into(), title(*code).into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), message.as_str().into());
        body.insert("code".into(), code.as_str().into());
        if let Some(millis) = retry_after_ms {
            body.insert("retry_after_ms".into(), (*millis).into());
        }
        details::add(details, &mut body);
        Value::Object(body).to_string()
    }
}

/// The code in words: the same for every occurrence, as the standard asks.
fn title(code: Code) -> String {
    let words = code.as_str().replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        // Without a place to go on nothing has gone: the node cannot give what it should.
        let broken = refusal.code == Code::Damaged && resume_at(&refusal).is_none();
        let status = if broken { StatusCode::INTERNAL_SERVER_ERROR } else { status_of(refusal.code) };
        Self(Box::new(Parts { status, refusal, headers: HeaderMap::new() }))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.0.body();
        let Parts { status, refusal, mut headers } = *self.0;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(millis) = refusal.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000).max(1)));
        }
        let mut response = (status, headers, body).into_response();
        // For the counter of refusals, which sees responses only.
        response.extensions_mut().insert(refusal.code);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_well() {
        let refusal = Refusal::new(Code::QueueFull, "the partition's mailbox is full")
            .retry_after_ms(50)
            .detail("partition", 3)
            .detail("status", "hidden");
        insta::assert_snapshot!(Problem::from(refusal).0.body(), @r#"{"type":"urn:headwater:problem:queue_full","title":"Queue full","status":429,"detail":"the partition's mailbox is full","code":"queue_full","retry_after_ms":50,"partition":3}"#);
    }

    #[test]
    fn damage_is_a_gap_only_with_a_place_behind_it() {
        let damaged = || Refusal::new(Code::Damaged, "the disk gave back other bytes");
        assert_eq!(Problem::from(damaged().detail("low", 7)).0.status, StatusCode::GONE);
        assert_eq!(Problem::from(damaged()).0.status, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn mistakes_are_a_list_however_many() {
        let one = Refusal::new(Code::InvalidDefinition, "a").detail("problem", "a");
        insta::assert_snapshot!(Problem::from(one.clone()).0.body(), @r#"{"type":"urn:headwater:problem:invalid_definition","title":"Invalid definition","status":422,"detail":"a","code":"invalid_definition","problem":["a"]}"#);
        let refusal = Refusal { message: "2 problems".into(), ..one.detail("problem", "b") };
        insta::assert_snapshot!(Problem::from(refusal).0.body(), @r#"{"type":"urn:headwater:problem:invalid_definition","title":"Invalid definition","status":422,"detail":"2 problems","code":"invalid_definition","problem":["a","b"]}"#);
    }
}
