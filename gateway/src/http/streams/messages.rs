//! Between a body's bytes and a stream's events: JSON arrays are taken apart and put together, other bytes are not
//! looked at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::Event;
use protocol::json::{MAX_NESTING, is_too_nested};
use serde_json::value::RawValue;
use types::{Code, Payload};

use crate::error::Problem;
use crate::http::body::too_large;
use crate::limits::Limits;

/// The events in a body. `media`: the stream's content type, `None` for JSON. A JSON array is one event per element.
pub(super) fn events(media: Option<&str>, body: &Bytes, limits: &Limits) -> Result<Vec<Payload>, Problem> {
    let events = match media {
        None => json_events(body)?,
        Some(media) => {
            let parts = body.chunks(limits.event_bytes);
            let content_type = || Some(media.to_owned());
            parts
                .map(|part| Payload { data: body.slice_ref(part), content_type: content_type(), meta: vec![] })
                .collect()
        }
    };
    if events.len() > limits.request_events {
        let message = format!("one request appends at most {} events, not {}", limits.request_events, events.len());
        return Err(Problem::new(Code::TooLarge, message));
    }
    if events.iter().any(|event| event.data.len() > limits.event_bytes) {
        return Err(too_large("one event", limits.event_bytes));
    }
    Ok(events)
}

fn json_events(body: &Bytes) -> Result<Vec<Payload>, Problem> {
    let text = checked(body)?;
    let part = |raw: &RawValue| Payload::json(body.slice_ref(raw.get().as_bytes()));
    if text.trim_start().starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
        return Ok(elements.into_iter().map(part).collect());
    }
    let one: &RawValue = serde_json::from_str(text).map_err(not_json)?;
    Ok(vec![part(one)])
}

/// A body that is one JSON value, array or not.
pub(in crate::http) fn one_json(body: &Bytes) -> Result<Payload, Problem> {
    let text = checked(body)?;
    let one: &RawValue = serde_json::from_str(text).map_err(not_json)?;
    // A copy: it may be kept for long, and the body around it may be large.
    Ok(Payload::json(one.get().to_owned()))
}

fn checked(body: &Bytes) -> Result<&str, Problem> {
    if is_too_nested(body) {
        return Err(Problem::bad_request(format!("the body nests deeper than {MAX_NESTING} levels")));
    }
    std::str::from_utf8(body).map_err(|error| Problem::bad_request(format!("the body is not UTF-8: {error}")))
}

#[expect(clippy::needless_pass_by_value, reason = "fits `map_err`")]
fn not_json(error: serde_json::Error) -> Problem {
    Problem::bad_request(format!("the body is not JSON: {error}"))
}

/// How a stream's events look to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A run: the events with all that is known about them.
    Events,
    /// JSON: what was appended, in one array.
    Json,
    /// Bytes, one after the other. `text`: they are characters.
    Bytes { text: bool },
}

impl Shape {
    pub(super) fn of(content_type: Option<&str>, run: bool) -> Self {
        match (content_type, run) {
            (None, true) => Self::Events,
            (None, false) => Self::Json,
            (Some(media), _) => Self::Bytes { text: media.starts_with("text/") },
        }
    }

    /// A body of events.
    pub(super) fn body(self, events: &[Event]) -> Vec<u8> {
        let most: usize = events.iter().map(|event| event.payload.data.len() + 2).sum();
        let mut body = Vec::with_capacity(most + 2);
        match self {
            Self::Events => array(&mut body, events, Event::encode_json),
            Self::Json => array(&mut body, events, json_or_event),
            Self::Bytes { .. } => events.iter().for_each(|event| body.extend_from_slice(&event.payload.data)),
        }
        body
    }

    /// The same as text for an event stream.
    pub(super) fn text(self, events: &[Event]) -> String {
        let body = self.body(events);
        match self {
            Self::Events | Self::Json | Self::Bytes { text: true } => String::from_utf8_lossy(&body).into_owned(),
            Self::Bytes { text: false } => STANDARD.encode(&body),
        }
    }

    /// Whether an event stream carries it in base64.
    pub(super) const fn is_encoded(self) -> bool {
        matches!(self, Self::Bytes { text: false })
    }
}

fn array(body: &mut Vec<u8>, events: &[Event], write: impl Fn(&Event, &mut Vec<u8>)) {
    body.push(b'[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write(event, body);
    }
    body.push(b']');
}

/// A JSON stream has JSON events; should one not be, the reader gets it wrapped rather than a broken array.
fn json_or_event(event: &Event, body: &mut Vec<u8>) {
    if event.payload.is_json() {
        body.extend_from_slice(&event.payload.data);
    } else {
        event.encode_json(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(media: Option<&str>, body: &'static str, expect: &[&str]) {
        let events = events(media, &Bytes::from_static(body.as_bytes()), &Limits::default()).expect(body);
        let texts: Vec<_> = events.iter().map(|event| std::str::from_utf8(&event.data).expect("text")).collect();
        assert_eq!(texts, expect, "{body}");
    }

    #[test]
    fn an_array_is_taken_apart_by_one_level() {
        check(None, r#"{"a":1}"#, &[r#"{"a":1}"#]);
        check(None, r#" [{"a":1}, {"b": 2}] "#, &[r#"{"a":1}"#, r#"{"b": 2}"#]);
        check(None, "[[1,2],[3]]", &["[1,2]", "[3]"]);
        check(None, "[[[1,2,3]]]", &["[[1,2,3]]"]);
        check(None, "[]", &[]);
        check(None, "null", &["null"]);
    }

    #[test]
    fn other_bytes_are_not_looked_at() {
        check(Some("text/plain"), "[1, 2", &["[1, 2"]);
        let small = Limits { event_bytes: 4, ..Limits::default() };
        let parts = events(Some("text/plain"), &Bytes::from_static(b"0123456789"), &small).expect("fits in parts");
        assert_eq!(parts.iter().map(|part| part.data.len()).collect::<Vec<_>>(), [4, 4, 2]);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for body in ["", "[1,", "{a:1}", "[1] 2", "\u{7f}"] {
            assert!(events(None, &Bytes::from(body.to_owned()), &Limits::default()).is_err(), "{body:?}");
        }
    }
}
