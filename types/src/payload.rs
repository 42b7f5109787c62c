//! The bytes that people send: never interpreted by the log, JSON unless said otherwise.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes with an optional content type (`None` means JSON) and room for attributes of foreign protocols.
/// Cloning is cheap: the bytes are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    pub data: Bytes,
    pub content_type: Option<String>,
    pub meta: Vec<(String, String)>,
}

impl Payload {
    /// A JSON text, taken as it is.
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self { data: text.into(), content_type: None, meta: Vec::new() }
    }

    /// JSON `null`.
    pub fn null() -> Self {
        Self::json(Bytes::from_static(b"null"))
    }

    pub fn is_json(&self) -> bool {
        self.content_type.is_none()
    }

    /// How many bytes of a limit it uses up.
    pub fn len(&self) -> usize {
        self.data.len() + self.meta.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
