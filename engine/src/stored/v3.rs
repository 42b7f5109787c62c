//! Version 3 of what changed since version 2, and of nothing else: a stream that says itself how long it is kept, or that
//! readers pin.

use bincode::{Decode, Encode};
use bytes::Bytes;
use types::Offset;

use super::envelope::{self, Opened};
use super::limits::ROW_BYTES;
use super::row_name::envelope_kind;
use super::v1::row::Stream;
use super::v1::shape::Shape;
use super::{StoredError, kind_name};
use crate::retention::{Keep, Pin};
use crate::row::RowImage;
use crate::stream;

const VERSION: u8 = 3;

#[derive(Encode, Decode)]
struct KeptStream {
    stream: Stream,
    sequence: Option<String>,
    age_ms: Option<u64>,
    events: Option<u64>,
    /// Reader, offset, the most it may lag.
    pins: Vec<(String, u64, u64)>,
}

/// Frames a row that earlier versions cannot hold; `None`: they can.
pub(super) fn write(kind: u8, id: &[u8], image: &RowImage) -> Option<Bytes> {
    let RowImage::Stream(stream) = image else { return None };
    if stream.keep == Keep::default() && stream.pins.is_empty() {
        return None;
    }
    let pin = |(reader, pin): (&String, &Pin)| (reader.clone(), pin.at.value(), pin.max_lag);
    let Keep { age_ms, events } = stream.keep;
    let (sequence, pins) = (stream.sequence.clone(), stream.pins.iter().map(pin).collect());
    let body = KeptStream { stream: Shape::of(stream), sequence, age_ms, events, pins };
    Some(envelope::seal(envelope_kind(kind), VERSION, id, &body, ROW_BYTES))
}

/// Reads what `write` framed.
pub(super) fn open(opened: &Opened<'_>) -> Result<stream::Stream, StoredError> {
    let body = envelope::read::<KeptStream, ROW_BYTES>(opened.body);
    let KeptStream { stream, sequence, age_ms, events, pins } =
        body.map_err(|why| StoredError::Body { kind: kind_name(opened.kind), why })?;
    let pin = |(reader, at, max_lag)| (reader, Pin { at: Offset::new(at), max_lag });
    let pins = pins.into_iter().map(pin).collect();
    let stream: stream::Stream = stream.restore()?;
    Ok(stream::Stream { sequence, keep: Keep { age_ms, events }, pins, ..stream })
}
