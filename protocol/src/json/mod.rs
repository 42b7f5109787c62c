//! Frames and events as JSON texts: strict towards clients, lenient towards a newer node.

mod client;
mod envelope;
mod event;
mod nesting;
mod server;

use std::fmt;

use types::Code;

pub use nesting::{MAX_NESTING, is_too_nested};

/// Why a message was not understood. A frame that could be told apart from others is answered by its own number and the
/// connection goes on; otherwise nobody knows what was lost and the connection closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    pub code: Code,
    /// A sentence for the author of the client.
    pub message: String,
    /// The `n` of the command that was meant.
    pub command: Option<u64>,
    /// The `id` of the subscription that was meant.
    pub subscription: Option<u32>,
}

impl FrameError {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), command: None, subscription: None }
    }

    fn bad_message(message: impl fmt::Display) -> Self {
        Self::new(Code::BadMessage, message.to_string())
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for FrameError {}

/// Turns `{"a":1}`, which stands in `out` from `start` on, into a continuation of the open object before it.
fn splice(out: &mut [u8], start: usize) {
    assert_eq!(out.get(start), Some(&b'{'), "every frame is a struct with at least one field");
    out[start] = b',';
}
