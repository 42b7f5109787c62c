//! Finds out which frame a message is, so that the rest of it is read once, straight into that frame's struct.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::value::{CowStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::FrameError;

/// What tells frames apart: `op`, and `type` of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) op: Cow<'a, str>,
    pub(super) kind: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// Looks at the start of the message, where our own clients put it, else through all of it.
    pub(super) fn of(text: &'a str) -> Result<Self, FrameError> {
        match Self::leading(text) {
            Some(envelope) => Ok(envelope),
            None => Self::anywhere(text),
        }
    }

    /// `{"op":"cmd","n":7,"type":"append"` without spaces or escapes; `None` says nothing about the message.
    fn leading(text: &'a str) -> Option<Self> {
        let (op, rest) = plain_string(text.strip_prefix(r#"{"op":"#)?)?;
        if op != "cmd" {
            return Some(Self { op: Cow::Borrowed(op), kind: None });
        }
        let rest = match rest.strip_prefix(r#","n":"#) {
            Some(number) => number.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => rest,
        };
        let (kind, _) = plain_string(rest.strip_prefix(r#","type":"#)?)?;
        Some(Self { op: Cow::Borrowed(op), kind: Some(Cow::Borrowed(kind)) })
    }

    fn anywhere(text: &'a str) -> Result<Self, FrameError> {
        #[derive(Deserialize)]
        #[serde(expecting = "a frame, which is one JSON object")]
        struct Head<'b> {
            #[serde(borrow)]
            op: Option<BorrowedStr<'b>>,
            #[serde(borrow, rename = "type")]
            kind: Option<BorrowedStr<'b>>,
        }
        let head: Head<'a> = serde_json::from_str(text).map_err(FrameError::bad_message)?;
        let op = head.op.ok_or_else(|| FrameError::bad_message("the message has no `op`: it names the frame"))?.0;
        // Only a command has a type; another frame's field of that name is its own affair.
        let kind = if op == "cmd" { head.kind.map(|kind| kind.0) } else { None };
        Ok(Self { op, kind })
    }
}

/// A string that holds no escape, and what follows it.
fn plain_string(text: &str) -> Option<(&str, &str)> {
    let (value, rest) = text.strip_prefix('"')?.split_once('"')?;
    (!value.contains('\\')).then_some((value, rest))
}

/// A string that is borrowed where it can be: serde copies a plain `Cow`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct BorrowedStr<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Reads a frame's own fields out of its message: the envelope's are taken out on the way.
pub(super) struct Fields<'s> {
    /// Where the `n` of a command goes; `None` for every other frame.
    pub(super) number: Option<&'s Cell<Option<u64>>>,
}

impl Fields<'_> {
    pub(super) fn read<'de, T: Deserialize<'de>>(self, text: &'de str) -> serde_json::Result<T> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = deserializer.deserialize_map(FrameVisitor { fields: self, frame: std::marker::PhantomData })?;
        deserializer.end()?;
        Ok(value)
    }
}

struct FrameVisitor<'s, T> {
    fields: Fields<'s>,
    frame: std::marker::PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for FrameVisitor<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame, which is one JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let own = OwnFields { map, number: self.fields.number, op_seen: false, type_seen: false };
        T::deserialize(MapAccessDeserializer::new(own))
    }
}

struct OwnFields<'s, A> {
    map: A,
    number: Option<&'s Cell<Option<u64>>>,
    op_seen: bool,
    type_seen: bool,
}

impl<'de, A: MapAccess<'de>> OwnFields<'_, A> {
    /// Takes the value if the key is the envelope's.
    fn take(&mut self, key: &str) -> Result<bool, A::Error> {
        match (key, self.number) {
            ("op", _) => {
                once("op", std::mem::replace(&mut self.op_seen, true))?;
                self.map.next_value::<IgnoredAny>()?;
            }
            ("type", Some(_)) => {
                once("type", std::mem::replace(&mut self.type_seen, true))?;
                self.map.next_value::<IgnoredAny>()?;
            }
            ("n", Some(number)) => {
                let n = self.map.next_value()?;
                once("n", number.replace(Some(n)).is_some())?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn once<E: serde::de::Error>(field: &'static str, seen: bool) -> Result<(), E> {
    if seen { Err(E::duplicate_field(field)) } else { Ok(()) }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OwnFields<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(BorrowedStr(key)) = self.map.next_key()? {
            if !self.take(&key)? {
                let key: CowStrDeserializer<'_, A::Error> = key.into_deserializer();
                return seed.deserialize(key).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_look_agrees_with_the_long_one() {
        for text in [
            r#"{"op":"ping","ts":1}"#,
            r#"{"op":"cmd","n":1,"type":"append","data":{"op":"x","type":"y"}}"#,
            r#"{"op":"cmd","type":"start","n":1}"#,
        ] {
            let short = Envelope::leading(text).expect("it stands in front");
            assert_eq!(short, Envelope::anywhere(text).expect("valid"), "{text}");
        }
    }

    #[test]
    fn the_short_look_leaves_what_it_does_not_know() {
        for text in [
            r#"{ "op":"ping"}"#,
            r#"{"ts":1,"op":"ping"}"#,
            r#"{"op":"p\u0069ng"}"#,
            r#"{"op":"cmd","stream":"a","n":1,"type":"append"}"#,
            r#"{"op""#,
        ] {
            assert_eq!(Envelope::leading(text), None, "{text}");
        }
    }
}
