//! Whether a JSON text can be read by whoever has to: numbers inside a double's range, texts of whole characters,
//! nesting inside the limit. Reads it without keeping any of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Why a text is not such a JSON text, or nests deeper than `limit`.
pub(crate) fn check(text: &[u8], limit: usize) -> Result<(), String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    Part { depth: limit, limit }.deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())
}

/// A value that may nest `depth` deep, inside a text that may nest as deep as its limit.
#[derive(Clone, Copy)]
struct Part {
    depth: usize,
    limit: usize,
}

impl Part {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let refused = || E::custom(format_args!("it nests deeper than {} levels", self.limit));
        depth.map(|depth| Self { depth, ..self }).ok_or_else(refused)
    }
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while fields.next_key_seed(inner)?.is_some() {
            fields.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::VALUE_DEPTH;

    #[test]
    fn what_some_reader_could_not_read_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deepest = nested(VALUE_DEPTH);
        let fine = ["null", "-1.5e300", r#"{"a":[1,"\ud83d\ude00",true]}"#, "123456789012345678901234567890", &deepest];
        for text in fine {
            assert_eq!(check(text.as_bytes(), VALUE_DEPTH), Ok(()), "{text}");
            drop(serde_json::from_str::<serde_json::Value>(text).expect("readers agree"));
        }
        let too_deep = nested(VALUE_DEPTH + 1);
        let odd = ["", "1e999", "[-1e400]", r#""\ud800""#, r#"{"\udc00":1}"#, "1 2", "[1,]", "nul", &too_deep];
        for text in odd {
            assert!(check(text.as_bytes(), VALUE_DEPTH).is_err(), "{text}");
        }
        assert!(check(b"\"\xff\"", VALUE_DEPTH).is_err(), "no UTF-8");
        assert!(check(b"[[]]", 1).is_err_and(|why| why.contains("deeper than 1 levels")));
    }
}
