//! Version 2 of what changed since version 1, and of nothing else. These shapes never change either. A row is written
//! in the lowest version that holds all of it, so that what needs nothing new stays readable for older nodes.

use bincode::{Decode, Encode};
use bytes::Bytes;

use super::envelope::{self, Opened};
use super::limits::ROW_BYTES;
use super::row_name::{self as kind, envelope_kind};
use super::v1::row::Stream;
use super::v1::shape::Shape;
use super::{StoredError, kind_name};
use crate::row::RowImage;
use crate::stream;

const VERSION: u8 = 2;

/// A stream on which a writer has named a sequence.
#[derive(Encode, Decode)]
struct SequencedStream {
    stream: Stream,
    sequence: String,
}

/// Frames a row that version 1 cannot hold; `None`: it can.
pub(super) fn write(kind: u8, id: &[u8], image: &RowImage) -> Option<Bytes> {
    let RowImage::Stream(stream) = image else { return None };
    let sequence = stream.sequence.clone()?;
    let body = SequencedStream { stream: Shape::of(stream), sequence };
    Some(envelope::seal(envelope_kind(kind), VERSION, id, &body, ROW_BYTES))
}

/// Reads what `write` framed for a row of this kind.
pub(super) fn open(opened: &Opened<'_>, kind: u8) -> Result<RowImage, StoredError> {
    let name = || kind_name(opened.kind);
    if kind != kind::STREAM {
        return Err(StoredError::UnknownVersion { kind: name(), version: VERSION });
    }
    let SequencedStream { stream, sequence } =
        envelope::read::<_, ROW_BYTES>(opened.body).map_err(|why| StoredError::Body { kind: name(), why })?;
    let stream: stream::Stream = stream.restore()?;
    Ok(RowImage::Stream(stream::Stream { sequence: Some(sequence), ..stream }))
}
