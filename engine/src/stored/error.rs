//! Why stored bytes could not be read. None of these is worth a retry: the bytes are what they are.

use std::fmt::Display;

use thiserror::Error;
use types::StreamOrdinal;

/// What is wrong with a record or a row, for the one who has to decide between an upgrade, a repair and a restore.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoredError {
    /// The bytes are sound, this program is too old for them.
    #[error("record schema {0} is not known: a newer version of this program wrote it, upgrade to read it")]
    UnknownSchema(u16),
    /// The bytes are sound, this program is too old for them.
    #[error("event or row kind {0} is not known: a newer version of this program wrote it, upgrade to read it")]
    UnknownKind(u8),
    /// The bytes are sound, this program is too old for them.
    #[error("{kind} is stored in version {version}: a newer version of this program wrote it, upgrade to read it")]
    UnknownVersion { kind: String, version: u8 },
    /// Bytes are missing or too many.
    #[error("an envelope of {expected} bytes is {actual} bytes long: the bytes are damaged")]
    Length { expected: usize, actual: usize },
    /// The bytes are not those that were written, or not at the place they were written to.
    #[error(
        "an envelope's checksum is {expected:08x}, its bytes give {actual:08x}: the bytes are damaged or misplaced"
    )]
    Checksum { expected: u32, actual: u32 },
    /// Sound bytes that make no sense: whoever wrote them was wrong.
    #[error("the body of {kind} makes no sense: {why}")]
    Body { kind: String, why: String },
    /// Sound bytes that hold a value which the node would never have accepted.
    #[error("a stored {what} is not valid: {why}")]
    Invalid { what: &'static str, why: String },
    /// The record's header and its schema contradict each other.
    #[error("a record's header contradicts its schema {schema}: {why}")]
    Header { schema: u16, why: &'static str },
    /// The record belongs to a run that is not known here.
    #[error("no run has stream ordinal {0}: its first event is missing, or it is closed")]
    UnknownRun(StreamOrdinal),
    /// The key of a row is not one that `row_key` makes.
    #[error("{id:02x?} is not an id of row kind {kind}: {why}")]
    RowId { kind: u8, id: Vec<u8>, why: String },
    /// The row is sound but stands under another name.
    #[error("the row found under {wanted} is {found}")]
    Misplaced { wanted: String, found: String },
}

impl StoredError {
    /// Whether the bytes are not those that were written; else this program does not know what they say.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::UnknownSchema(_) | Self::UnknownKind(_) | Self::UnknownVersion { .. } | Self::UnknownRun(_) => false,
            Self::Length { .. }
            | Self::Checksum { .. }
            | Self::Body { .. }
            | Self::Invalid { .. }
            | Self::Header { .. }
            | Self::RowId { .. }
            | Self::Misplaced { .. } => true,
        }
    }

    pub(super) fn invalid(what: &'static str, why: &dyn Display) -> Self {
        Self::Invalid { what, why: why.to_string() }
    }
}
