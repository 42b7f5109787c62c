//! The headers of the Durable Streams protocol.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use types::Cursor;

use crate::backend::{Keep, StreamInfo};
use crate::error::Problem;
use crate::http::body::JSON;
use crate::limits::LARGEST_NUMBER;

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
/// Our own: how much of a stream is kept, where it says so itself.
pub(super) const KEEP_SECONDS: HeaderName = HeaderName::from_static("headwater-keep-seconds");
pub(super) const KEEP_EVENTS: HeaderName = HeaderName::from_static("headwater-keep-events");
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

/// What a new stream says of how much of it is kept.
pub(super) fn keep(headers: &HeaderMap) -> Result<Keep, Problem> {
    let number = |name: &HeaderName| {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let number = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        let number = number.filter(|number| (1..=LARGEST_NUMBER).contains(number));
        let message = format!("{name} is not a whole number from 1 to 2^53 - 1");
        number.map(Some).ok_or_else(|| Problem::bad_request(message))
    };
    let age_ms = number(&KEEP_SECONDS)?.map(|seconds| seconds.saturating_mul(1_000));
    Ok(Keep { age_ms, events: number(&KEEP_EVENTS)? })
}

pub(super) fn refuse_unsupported(headers: &HeaderMap) -> Result<(), Problem> {
    match UNSUPPORTED.iter().find(|name| headers.contains_key(**name)) {
        None => Ok(()),
        Some(name) => Err(Problem::bad_request(format!("this node does not support {name}: leave it out"))),
    }
}
