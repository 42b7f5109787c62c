//! What lets a sender try again: an idempotency key for a start, a producer for appends.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A sender's name for one request, 1 to 256 bytes of visible ASCII: the same key inside the window is the same request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(Arc<str>);

/// A producer's own name, 1 to 256 bytes of visible ASCII. Its events are deduplicated by (producer, epoch, sequence).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProducerId(Arc<str>);

macro_rules! visible_name {
    ($name:ident, $what:literal) => {
        impl $name {
            pub fn new(text: &str) -> Result<Self, String> {
                let visible = text.bytes().all(|b| (0x21..=0x7e).contains(&b));
                if visible && (1..=256).contains(&text.len()) {
                    Ok(Self(text.into()))
                } else {
                    Err(format!(concat!("a ", $what, " is 1 to 256 visible ASCII characters, got {:?}"), clip(text)))
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }
    };
}

visible_name!(IdempotencyKey, "idempotency key");
visible_name!(ProducerId, "producer id");

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
