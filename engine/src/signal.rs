//! A message to a run from outside, kept until something consumes it.

use types::Payload;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    pub name: String,
    /// The sender's own id: the same again is a duplicate.
    pub id: Option<String>,
    pub payload: Payload,
}
