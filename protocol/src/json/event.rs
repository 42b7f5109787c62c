//! Writes an event once for all its readers, and reads it back in a client.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use types::{Offset, Payload, Timestamp};

use super::FrameError;
use crate::event::{CHUNK, ChunkSource, EVENT, Event};

const NO_FAILURE: &str = "a Vec takes every byte";

impl Event {
    /// Appends the event's JSON to `out`, laid out as [`Event`] says; a JSON payload is copied as it stands.
    pub fn encode_json(&self, out: &mut Vec<u8>) {
        out.reserve(128 + self.payload.data.len());
        write!(out, r#"{{"offset":{},"time":{},"type":"#, self.offset, self.time.as_millis()).expect(NO_FAILURE);
        write_string(out, &self.kind);
        if let Some(ChunkSource { step, attempt, seq }) = self.source {
            write!(out, r#","step":{step},"attempt":{attempt},"seq":{seq}"#).expect(NO_FAILURE);
        }
        if !self.payload.meta.is_empty() {
            write_meta(out, &self.payload.meta);
        }
        write_payload(out, &self.payload);
        out.push(b'}');
    }

    /// Reads an event; fields this version does not know are skipped.
    pub fn decode(text: &str) -> Result<Self, FrameError> {
        let wire: WireEvent<'_> = serde_json::from_str(text).map_err(FrameError::bad_message)?;
        wire.into_event()
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect(NO_FAILURE);
}

fn write_meta(out: &mut Vec<u8>, meta: &[(String, String)]) {
    let meta: BTreeMap<&str, &str> = meta.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    out.extend_from_slice(br#","meta":"#);
    serde_json::to_writer(out, &meta).expect(NO_FAILURE);
}

fn write_payload(out: &mut Vec<u8>, payload: &Payload) {
    match &payload.content_type {
        None => {
            out.extend_from_slice(br#","data":"#);
            out.extend_from_slice(&payload.data);
        }
        Some(content_type) => {
            out.extend_from_slice(br#","content_type":"#);
            write_string(out, content_type);
            write!(out, r#","base64":"{}""#, Base64Display::new(&payload.data, &STANDARD)).expect(NO_FAILURE);
        }
    }
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    offset: Offset,
    time: Timestamp,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    step: Option<u32>,
    attempt: Option<u32>,
    seq: Option<u64>,
    #[serde(default)]
    meta: BTreeMap<String, String>,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    content_type: Option<String>,
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
}

/// `null` is a payload like any other, not an absent one.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

impl WireEvent<'_> {
    fn into_event(self) -> Result<Event, FrameError> {
        let source = match (self.step, self.attempt, self.seq) {
            (Some(step), Some(attempt), Some(seq)) => Some(ChunkSource { step, attempt, seq }),
            (None, None, None) => None,
            _ => return Err(FrameError::bad_message("an event has only a part of `step`, `attempt` and `seq`")),
        };
        let (data, content_type) = match (self.data, self.content_type, self.base64) {
            (Some(json), None, None) => (Bytes::copy_from_slice(json.get().as_bytes()), None),
            (None, Some(content_type), Some(base64)) => {
                let decoded = STANDARD.decode(base64.as_bytes());
                (decoded.map_err(FrameError::bad_message)?.into(), Some(content_type))
            }
            _ => return Err(FrameError::bad_message("an event has either `data`, or `content_type` and `base64`")),
        };
        let payload = Payload { data, content_type, meta: self.meta.into_iter().collect() };
        Ok(Event { offset: self.offset, time: self.time, kind: known_kind(&self.kind), source, payload })
    }
}

/// The kinds that make up nearly all events need no copy.
fn known_kind(kind: &str) -> Cow<'static, str> {
    match kind {
        EVENT => Cow::Borrowed(EVENT),
        CHUNK => Cow::Borrowed(CHUNK),
        other => Cow::Owned(other.to_owned()),
    }
}
