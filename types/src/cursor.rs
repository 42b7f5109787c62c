//! Where a reader stands in one stream, as one opaque token that survives restarts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Offset, Position};

/// Which published past of a partition: drawn at random when the data directory is made, redrawn only when published
/// history changed (restore, repair, an unclean stop under relaxed durability). 24 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct History(u32);

impl History {
    const BITS: u32 = 24;

    /// Keeps the lower 24 bits.
    pub const fn new(random: u32) -> Self {
        Self(random & ((1 << Self::BITS) - 1))
    }

    pub const fn value(self) -> u32 {
        self.0
    }

    /// This one, or its neighbour if this one is `before`: drawn numbers may meet.
    #[must_use]
    pub const fn unlike(self, before: Self) -> Self {
        if self.0 == before.0 { Self(self.0 ^ 1) } else { self }
    }
}

/// Which life of a stream: the position at which it was created, 40 bits (a million million records a partition).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(u64);

impl Incarnation {
    const BITS: u32 = 40;

    pub const fn at(position: Position) -> Self {
        Self(position.value() & ((1 << Self::BITS) - 1))
    }

    pub const fn value(self) -> u64 {
        self.0
    }
}

/// The next offset to read of one stream in one life of one history.
///
/// As text: 16 hex digits (24 bits of history, 40 of incarnation), `_`, 16 hex digits of the offset. Clients keep it
/// whole and compare nothing but equality; it sorts by offset within one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    pub history: History,
    pub incarnation: Incarnation,
    pub next: Offset,
}

/// Why a cursor could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a cursor: send back exactly what the node gave you, or `begin`, or `now`")]
pub struct CursorError(String);

impl Cursor {
    /// The same stream, another offset.
    #[must_use]
    pub const fn at(self, next: Offset) -> Self {
        Self { next, ..self }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let life = u64::from(self.history.0) << Incarnation::BITS | self.incarnation.0;
        write!(f, "{life:016x}_{:016x}", self.next.value())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let refused = || CursorError(text.chars().take(80).collect());
        let hex = |part: &str| {
            let plain = part.len() == 16 && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if plain { u64::from_str_radix(part, 16).map_err(|_| refused()) } else { Err(refused()) }
        };
        let (life, next) = text.split_once('_').ok_or_else(refused)?;
        let (life, next) = (hex(life)?, hex(next)?);
        let history = u32::try_from(life >> Incarnation::BITS).expect("24 bits fit");
        let incarnation = Incarnation(life & ((1 << Incarnation::BITS) - 1));
        Ok(Self { history: History(history), incarnation, next: Offset::new(next) })
    }
}

impl TryFrom<String> for Cursor {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, CursorError> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> String {
        cursor.to_string()
    }
}

/// Where a subscription starts: a cursor, or one of the sentinels `begin` and `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StreamStart {
    /// The oldest event that is kept.
    Begin,
    /// Only what is appended from here on.
    Now,
    At(Cursor),
}

impl FromStr for StreamStart {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        match text {
            "begin" => Ok(Self::Begin),
            "now" => Ok(Self::Now),
            cursor => cursor.parse().map(Self::At),
        }
    }
}

impl fmt::Display for StreamStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("begin"),
            Self::Now => f.write_str("now"),
            Self::At(cursor) => cursor.fmt(f),
        }
    }
}

impl TryFrom<String> for StreamStart {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, CursorError> {
        text.parse()
    }
}

impl From<StreamStart> for String {
    fn from(start: StreamStart) -> String {
        start.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor = Cursor {
            history: History::new(0x00ab_cdef),
            incarnation: Incarnation::at(Position::new(0x12_3456_789a)),
            next: Offset::new(17),
        };
        assert_eq!(cursor.to_string(), "abcdef123456789a_0000000000000011");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn garbage_is_refused_with_advice() {
        for bad in [
            "",
            "_",
            "17",
            "ABCDEF123456789A_0000000000000011",
            "abcdef123456789a_11",
            "abcdef123456789a-0000000000000011",
        ] {
            let error = bad.parse::<Cursor>().expect_err(bad);
            assert!(error.to_string().contains("exactly what the node gave you"));
        }
    }
}
