//! Output as records: payloads stay as they were sent, all else goes into the record's header.

use bincode::Decode;
use bytes::Bytes;
use types::{Payload, ProducerId, RunId};

use super::error::StoredError;
use super::limits::EVENT_BYTES;
use super::{ATTEMPT_SUPERSEDED, CHUNK, Encoded, OutputPart, Place, USER_EVENT, envelope};
use crate::command::ProducerStamp;
use crate::event::{Class, Event, RunEvent};

// Names of headers are short: they go with every event that has them. Each stands there once at most, so that no
// sender can reach the log's limit of headers.
const CONTENT_TYPE: &[u8] = b"c";
const META: &[u8] = b"m";
const PRODUCER: &[u8] = b"p";

pub(super) fn chunk(place: Place, output: OutputPart, data: &Payload) -> Encoded {
    let headers = headers_of(data);
    Encoded { output: Some(output), headers, payload: data.data.clone(), ..empty(CHUNK, place) }
}

pub(super) fn attempt_superseded(place: Place, step: u32, attempt: u32) -> Encoded {
    Encoded { output: Some(OutputPart { step, attempt, sequence: 0 }), ..empty(ATTEMPT_SUPERSEDED, place) }
}

pub(super) fn user_event(place: Place, payload: &Payload, producer: Option<&ProducerStamp>) -> Encoded {
    let mut headers = headers_of(payload);
    let mut key = Bytes::new();
    if let Some(stamp) = producer {
        key = Bytes::copy_from_slice(stamp.id.as_str().as_bytes());
        let request = envelope::write(&(stamp.epoch, stamp.sequence));
        headers.push((Bytes::from_static(PRODUCER), request.into()));
    }
    Encoded { key, headers, payload: payload.data.clone(), ..empty(USER_EVENT, place) }
}

fn empty(schema: u16, place: Place) -> Encoded {
    Encoded {
        schema,
        class: Class::Output,
        stream: place.stream,
        offset: place.offset,
        output: None,
        key: Bytes::new(),
        headers: Vec::new(),
        payload: Bytes::new(),
    }
}

/// Whether what headers say of a payload could be read back.
pub(super) fn check(payload: &Payload) -> Result<(), StoredError> {
    envelope::check::<_, EVENT_BYTES>(&payload.meta).map_err(|why| StoredError::invalid("attributes", &why))
}

/// Nothing for plain JSON.
fn headers_of(payload: &Payload) -> Vec<(Bytes, Bytes)> {
    let mut headers = Vec::new();
    if let Some(text) = &payload.content_type {
        headers.push((Bytes::from_static(CONTENT_TYPE), text.clone().into()));
    }
    if !payload.meta.is_empty() {
        headers.push((Bytes::from_static(META), envelope::write(&payload.meta).into()));
    }
    headers
}

/// An output event of the run that the record's stream belongs to.
pub(super) fn read_of_run(encoded: &Encoded, run: RunId) -> Result<Event, StoredError> {
    let refused = |why| StoredError::Header { schema: encoded.schema, why };
    let OutputPart { step, attempt, sequence } = encoded.output.ok_or_else(|| refused("it names no attempt"))?;
    let (data, request) = content(encoded)?;
    if request.is_some() || !encoded.key.is_empty() {
        return Err(refused("it names a producer"));
    }
    if encoded.schema == CHUNK {
        return Ok(Event::Run { run, event: RunEvent::ChunkAppended { step, attempt, sequence, data } });
    }
    let bare = sequence == 0 && encoded.headers.is_empty() && encoded.payload.is_empty();
    let event = RunEvent::AttemptSuperseded { step, attempt };
    if bare { Ok(Event::Run { run, event }) } else { Err(refused("it has content")) }
}

pub(super) fn read_user_event(encoded: &Encoded) -> Result<Event, StoredError> {
    let refused = |why| StoredError::Header { schema: encoded.schema, why };
    if encoded.stream.is_none() {
        return Err(refused("it names no stream"));
    }
    if encoded.output.is_some() {
        return Err(refused("it names an attempt"));
    }
    let (payload, request) = content(encoded)?;
    let producer = match (encoded.key.is_empty(), request) {
        (true, None) => None,
        (false, Some((epoch, sequence))) => Some(ProducerStamp { id: producer_id(&encoded.key)?, epoch, sequence }),
        (true, Some(_)) | (false, None) => return Err(refused("half of its producer is missing")),
    };
    Ok(Event::EventAppended { stream: encoded.stream, offset: encoded.offset, payload, producer })
}

fn producer_id(key: &Bytes) -> Result<ProducerId, StoredError> {
    ProducerId::new(text("producer id", key)?.as_str()).map_err(|why| StoredError::invalid("producer id", &why))
}

/// The payload with what headers say of it, and a producer's epoch and sequence.
fn content(encoded: &Encoded) -> Result<(Payload, Option<(u64, u64)>), StoredError> {
    let mut payload = Payload::json(encoded.payload.clone());
    let mut request = None;
    for (name, value) in &encoded.headers {
        match &name[..] {
            CONTENT_TYPE => payload.content_type = Some(text("content type", value)?),
            META => payload.meta = read("attributes", value)?,
            PRODUCER => request = Some(read("producer", value)?),
            _ => return Err(StoredError::Header { schema: encoded.schema, why: "it has a header of unknown name" }),
        }
    }
    Ok((payload, request))
}

fn read<T: Decode<()>>(what: &'static str, bytes: &[u8]) -> Result<T, StoredError> {
    envelope::read::<_, EVENT_BYTES>(bytes).map_err(|why| StoredError::invalid(what, &why))
}

fn text(what: &'static str, bytes: &[u8]) -> Result<String, StoredError> {
    String::from_utf8(bytes.to_vec()).map_err(|error| StoredError::invalid(what, &error))
}
