//! The headers of the Durable Streams protocol.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use types::Cursor;

use crate::backend::StreamInfo;
use crate::error::Problem;
use crate::http::body::JSON;

pub(super) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(super) const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
pub(super) const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
pub(super) const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(super) const SSE_ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");
pub(super) const SEQUENCE: HeaderName = HeaderName::from_static("stream-seq");
pub(super) const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
pub(super) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(super) const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
pub(super) const EXPECTED_SEQ: HeaderName = HeaderName::from_static("producer-expected-seq");
pub(super) const RECEIVED_SEQ: HeaderName = HeaderName::from_static("producer-received-seq");
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Parts of the protocol that this node does not have. Leaving them out in silence would change what a client gets.
pub(super) const UNSUPPORTED: [&str; 5] =
    ["stream-ttl", "stream-expires-at", "stream-forked-from", "stream-fork-offset", "stream-fork-sub-offset"];

pub(super) const TRUE: HeaderValue = HeaderValue::from_static("true");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
pub(super) const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// What lies behind the end of a stream never changes; a minute is short enough for a deletion to be noticed.
pub(super) const KEEP: HeaderValue = HeaderValue::from_static("private, max-age=60, stale-while-revalidate=300");

pub(super) fn cursor(cursor: Cursor) -> HeaderValue {
    HeaderValue::from_str(&cursor.to_string()).expect("a cursor is hex digits")
}

pub(super) fn content_type(info: &StreamInfo) -> HeaderValue {
    let text = info.content_type.as_deref().unwrap_or(JSON);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// `Stream-Closed: true`, in any case; anything else is as if it were absent.
pub(super) fn asks_to_close(headers: &HeaderMap) -> bool {
    headers.get(CLOSED).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

pub(super) fn refuse_unsupported(headers: &HeaderMap) -> Result<(), Problem> {
    match UNSUPPORTED.iter().find(|name| headers.contains_key(**name)) {
        None => Ok(()),
        Some(name) => Err(Problem::bad_request(format!("this node does not support {name}: leave it out"))),
    }
}
