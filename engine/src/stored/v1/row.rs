//! What rows hold.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use bytes::Bytes;

use super::run::Run;
use super::shape::Shape;
use super::shapes::DefinitionName;
use crate::retention::Keep;
use crate::row::{RowImage, RowName};
use crate::stored::envelope::{self, Opened};
use crate::stored::limits::ROW_BYTES;
use crate::stored::row_name::{self as kind, envelope_kind};
use crate::stored::{StoredError, kind_name};
use crate::{definition, row, run, stream};

const VERSION: u8 = 1;

stored_struct! {
    Scalars for row::Scalars { next_ordinal: u64, time: u64 }
}

/// Without a sequence and without anything about keeping: those need versions 2 and 3.
#[derive(Encode, Decode)]
pub(in crate::stored) struct Stream {
    ordinal: u64,
    incarnation: u64,
    low: u64,
    head: u64,
    closed: bool,
    content_type: Option<String>,
}

impl Shape<stream::Stream> for Stream {
    fn of(value: &stream::Stream) -> Self {
        Self {
            ordinal: Shape::of(&value.ordinal),
            incarnation: Shape::of(&value.incarnation),
            low: Shape::of(&value.low),
            head: Shape::of(&value.head),
            closed: value.closed,
            content_type: value.content_type.clone(),
        }
    }

    fn restore(self) -> Result<stream::Stream, StoredError> {
        Ok(stream::Stream {
            ordinal: self.ordinal.restore()?,
            incarnation: self.incarnation.restore()?,
            low: self.low.restore()?,
            head: self.head.restore()?,
            closed: self.closed,
            content_type: self.content_type,
            sequence: None,
            keep: Keep::default(),
            pins: BTreeMap::new(),
        })
    }
}

/// Of the closed run whose stream has this ordinal.
#[derive(Encode, Decode)]
struct RunOfStream {
    run: [u8; 20],
}

stored_struct! {
    StreamKey for stream::StreamKey { tenant: String, name: String }
}

stored_struct! {
    ProducerWindow for stream::ProducerWindow { ordinal: u64, epoch: u64, sequence: u64, offset: u64 }
}

stored_struct! {
    StartKey for row::StartKey {
        tenant: String,
        workflow: (String, String),
        key: Option<String>,
        idempotency_key: String,
    }
}

stored_struct! {
    StartRecord for row::StartRecord { run: [u8; 20], input_hash: [u8; 32], started: u64 }
}

stored_struct! {
    Definition for definition::Definition {
        tenant: String,
        name: DefinitionName,
        hash: [u8; 32],
        source: String,
        registered: u64,
    }
}

/// The row's id is a hash, so the row says itself what it stands for.
#[derive(Encode, Decode)]
struct Start {
    key: StartKey,
    record: StartRecord,
}

/// What a row says: its image, and its name where the id alone does not tell it.
pub(in crate::stored) struct Read {
    pub(in crate::stored) image: RowImage,
    pub(in crate::stored) name: Option<RowName>,
}

impl Read {
    /// Whether a run is open says the run itself.
    pub(in crate::stored) fn run(run: run::Run) -> Self {
        let name = if run.status.is_closed() { RowName::ClosedRun(run.id) } else { RowName::OpenRun(run.id) };
        Self { name: Some(name), image: RowImage::Run(Box::new(run)) }
    }
}

/// Frames a row under its id.
pub(in crate::stored) fn write(name: &RowName, kind: u8, id: &[u8], image: &RowImage) -> Bytes {
    match (name, image) {
        (RowName::Partition, RowImage::Partition(scalars)) => seal(kind, id, &Scalars::of(scalars)),
        (RowName::OpenRun(_) | RowName::ClosedRun(_), RowImage::Run(run)) => seal(kind, id, &Run::of(run)),
        (RowName::Stream(_), RowImage::Stream(stream)) => seal(kind, id, &Stream::of(stream)),
        (RowName::StreamName(_), RowImage::StreamName(key)) => seal(kind, id, &StreamKey::of(key)),
        (RowName::RunOfStream(_), RowImage::RunOfStream(run)) => seal(kind, id, &RunOfStream { run: Shape::of(run) }),
        (RowName::Producer(..), RowImage::Producer(window)) => seal(kind, id, &ProducerWindow::of(window)),
        (RowName::Start(key), RowImage::Start(record)) => {
            seal(kind, id, &Start { key: Shape::of(key), record: Shape::of(record) })
        }
        (RowName::Definition(..), RowImage::Definition(definition)) => seal(kind, id, &Definition::of(definition)),
        (name, image) => panic!("row {name:?} cannot hold {image:?}: `Partition::take_dirty` pairs them"),
    }
}

/// Reads what `write` framed for a row of this kind.
pub(in crate::stored) fn open(opened: &Opened<'_>, kind: u8) -> Result<Read, StoredError> {
    let mut name = None;
    let image = match kind {
        kind::PARTITION => RowImage::Partition(read::<Scalars>(opened)?.restore()?),
        kind::OPEN_RUN | kind::CLOSED_RUN => {
            return Ok(Read::run(read::<Run>(opened)?.restore()?));
        }
        kind::STREAM => RowImage::Stream(read::<Stream>(opened)?.restore()?),
        kind::STREAM_NAME => RowImage::StreamName(read::<StreamKey>(opened)?.restore()?),
        kind::RUN_OF_STREAM => RowImage::RunOfStream(read::<RunOfStream>(opened)?.run.restore()?),
        kind::PRODUCER => RowImage::Producer(read::<ProducerWindow>(opened)?.restore()?),
        kind::START => {
            let Start { key, record } = read(opened)?;
            name = Some(RowName::Start(key.restore()?));
            RowImage::Start(record.restore()?)
        }
        kind::DEFINITION => {
            let found: definition::Definition = read::<Definition>(opened)?.restore()?;
            name = Some(RowName::Definition(found.hash, found.tenant.clone(), found.name.clone()));
            RowImage::Definition(found)
        }
        unknown => return Err(StoredError::UnknownKind(envelope_kind(unknown))),
    };
    Ok(Read { image, name })
}

fn seal(kind: u8, id: &[u8], body: &impl Encode) -> Bytes {
    envelope::seal(envelope_kind(kind), VERSION, id, body, ROW_BYTES)
}

fn read<T: Decode<()>>(opened: &Opened<'_>) -> Result<T, StoredError> {
    envelope::read::<T, ROW_BYTES>(opened.body).map_err(|why| StoredError::Body { kind: kind_name(opened.kind), why })
}
