//! Reads and writes what the node says.

use super::FrameError;
use super::envelope::{Envelope, Fields};
use crate::server_frame::ServerFrame;

impl ServerFrame {
    /// Reads one message that is a frame. Fields this version does not know are skipped: a newer node may send them.
    pub fn decode(text: &str) -> Result<Self, FrameError> {
        let envelope = Envelope::of(text)?;
        // A task carries raw JSON, which the generic reading of a tagged enum cannot keep.
        if envelope.op == "task" {
            return Fields { number: None }.read(text).map(Self::Task).map_err(FrameError::bad_message);
        }
        serde_json::from_str(text).map_err(FrameError::bad_message)
    }

    /// The message, `op` first.
    pub fn encode(&self) -> String {
        let mut out = Vec::with_capacity(160);
        self.encode_into(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    /// Appends the message to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("frames have string keys and a Vec takes every byte");
    }
}
