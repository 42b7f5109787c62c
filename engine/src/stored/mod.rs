//! Events and rows as bytes, for ever: the only room that knows bincode. Every version that was ever written can be
//! read; a newer one is refused by name. Knows no disk: `node` copies an `Encoded` into a record of the log.

mod envelope;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod limits;
mod record;
mod row_name;
mod rows;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod v3;
mod v4;

use bytes::Bytes;
use types::{Offset, RunId, StreamOrdinal};

use crate::event::{Class, Event, RunEvent};
use crate::run::Run;

pub use error::StoredError;
pub use row_name::{producers_of, row_key, row_name};
pub use rows::{decode_row, encode_row, read_row};

/// Schema of an event that the kernel folds: an envelope.
pub const KERNEL_EVENT: u16 = 1;
/// Schema of a chunk: the payload as the worker sent it.
pub const CHUNK: u16 = 2;
/// Schema of an event of a user stream: the payload as the producer sent it.
pub const USER_EVENT: u16 = 3;
/// Schema of the mark that cuts an attempt's chunks: header only.
pub const ATTEMPT_SUPERSEDED: u16 = 4;

/// What a record of the log carries of an event. Time and position are storage's and the driver's to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    pub schema: u16,
    pub class: Class,
    /// `StreamOrdinal::NONE` for an event that no stream shows.
    pub stream: StreamOrdinal,
    pub offset: Offset,
    pub output: Option<OutputPart>,
    pub key: Bytes,
    pub headers: Vec<(Bytes, Bytes)>,
    pub payload: Bytes,
}

/// Which attempt of which step an output comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPart {
    pub step: u32,
    pub attempt: u32,
    pub sequence: u64,
}

/// Where the kernel numbered an event: for an event of a run, the run's stream, also when the stream does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub stream: StreamOrdinal,
    pub offset: Offset,
}

/// An event as a record. Panics when `place` is not the event's own.
pub fn encode(event: &Event, place: Place) -> Encoded {
    match event {
        Event::EventAppended { stream, offset, payload, producer } => {
            assert_eq!((*stream, *offset), (place.stream, place.offset), "a user event says where it stands");
            record::user_event(place, payload, producer.as_ref())
        }
        Event::Run { event: RunEvent::ChunkAppended { step, attempt, sequence, data }, .. } => {
            record::chunk(place, OutputPart { step: *step, attempt: *attempt, sequence: *sequence }, data)
        }
        Event::Run { event: RunEvent::AttemptSuperseded { step, attempt }, .. } => {
            record::attempt_superseded(place, *step, *attempt)
        }
        Event::WorkflowRegistered(_)
        | Event::StreamCreated { .. }
        | Event::StreamSequenced { .. }
        | Event::StreamClosed { .. }
        | Event::StreamDeleted { .. }
        | Event::Retention(_)
        | Event::Run { .. } => kernel_event(event, place),
    }
}

/// Whether an event could be read back once it is in the log. Nothing else is ever written.
pub(crate) fn check(event: &Event) -> Result<(), StoredError> {
    match event {
        Event::EventAppended { payload, .. } => record::check(payload),
        Event::Run { event: RunEvent::ChunkAppended { data, .. }, .. } => record::check(data),
        Event::Run { event: RunEvent::AttemptSuperseded { .. }, .. } => Ok(()),
        Event::WorkflowRegistered(_)
        | Event::StreamCreated { .. }
        | Event::StreamClosed { .. }
        | Event::StreamDeleted { .. }
        | Event::StreamSequenced { .. }
        | Event::Retention(_)
        | Event::Run { .. } => v1::event::check(event),
    }
}

fn kernel_event(event: &Event, place: Place) -> Encoded {
    if let Event::Run { event: RunEvent::Started(started), .. } = event {
        assert_eq!(started.ordinal, place.stream, "a run begins on its own stream");
    }
    let class = event.class();
    let of_run = matches!(event, Event::Run { .. });
    assert_eq!(of_run, !place.stream.is_none(), "run events have a stream, all other kernel events have none");
    let (stream, offset, key) = match class {
        Class::Fact | Class::Output => (place.stream, place.offset, Bytes::new()),
        Class::Attempt => (StreamOrdinal::NONE, Offset::ZERO, hidden_stream(place.stream)),
    };
    let (headers, payload) = (Vec::new(), v1::event::write(event));
    Encoded { schema: KERNEL_EVENT, class, stream, offset, output: None, key, headers, payload }
}

/// An event that its run's stream does not show keeps the stream's ordinal in the record's key.
fn hidden_stream(stream: StreamOrdinal) -> Bytes {
    if stream.is_none() { Bytes::new() } else { Bytes::copy_from_slice(&stream.value().to_be_bytes()) }
}

/// The event that a record carries. `run_of` knows the run of a stream ordinal.
pub fn decode(encoded: &Encoded, run_of: impl Fn(StreamOrdinal) -> Option<RunId>) -> Result<Event, StoredError> {
    let run = |stream| run_of(stream).ok_or(StoredError::UnknownRun(stream));
    let event = match encoded.schema {
        KERNEL_EVENT => read_kernel_event(encoded, run)?,
        CHUNK | ATTEMPT_SUPERSEDED => record::read_of_run(encoded, run(encoded.stream)?)?,
        USER_EVENT => record::read_user_event(encoded)?,
        unknown => return Err(StoredError::UnknownSchema(unknown)),
    };
    if event.class() == encoded.class {
        return Ok(event);
    }
    Err(StoredError::Header { schema: encoded.schema, why: "its class is not that of its event" })
}

fn read_kernel_event(
    encoded: &Encoded,
    run: impl Fn(StreamOrdinal) -> Result<RunId, StoredError>,
) -> Result<Event, StoredError> {
    let opened = envelope::open(&[], &encoded.payload)?;
    let read = match opened.version {
        1 => v1::event::open(&opened, encoded.stream)?,
        version => return Err(StoredError::UnknownVersion { kind: kind_name(opened.kind), version }),
    };
    match read {
        v1::event::Read::Whole(event) => Ok(event),
        v1::event::Read::OfRun(event) => Ok(Event::Run { run: run(stream_of(encoded)?)?, event }),
    }
}

/// The stream of a run event: its own, or the one in the key where no stream shows it.
fn stream_of(encoded: &Encoded) -> Result<StreamOrdinal, StoredError> {
    match (encoded.stream.is_none(), <[u8; 8]>::try_from(&encoded.key[..])) {
        (true, Ok(ordinal)) => Ok(StreamOrdinal::new(u64::from_be_bytes(ordinal))),
        (false, _) => Ok(encoded.stream),
        (true, Err(_)) => Err(StoredError::Header { schema: encoded.schema, why: "it names no run" }),
    }
}

/// A run's state as bytes: equal for equal states, so that they can be compared by hash. Without when its tasks began,
/// which a row of an earlier version does not tell.
pub fn run_bytes(run: &Run) -> Vec<u8> {
    v1::run::bytes(run)
}

/// What a kind in an envelope is called.
fn kind_name(kind: u8) -> String {
    let event = v1::event::KINDS.iter().find(|(number, _)| *number == kind).map(|(_, name)| format!("event {name}"));
    let row = row_name::KINDS.iter().find(|(number, _)| row_name::envelope_kind(*number) == kind);
    event.or_else(|| row.map(|(_, name)| format!("row {name}"))).unwrap_or_else(|| format!("kind {kind}"))
}
