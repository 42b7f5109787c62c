//! What the expressions of one task may use up together. Counted as `Meter` counts one evaluation: work, never time.

use std::cell::Cell;

use serde_json::Value as Json;

use crate::limits::BYTES_PER_STEP;

/// Steps of work that are left. Evaluations and copies of data take from it.
#[derive(Debug)]
pub struct Fuel {
    left: Cell<u64>,
}

impl Fuel {
    pub const fn new(steps: u64) -> Self {
        Self { left: Cell::new(steps) }
    }

    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Uses up so many steps. `false`: there were fewer, and now there are none.
    pub fn burn(&self, steps: u64) -> bool {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// Steps that a copy of the value takes: one for each part of it, one for each 64 bytes of its texts.
pub(crate) fn copying(value: &Json) -> u64 {
    let text = |text: &str| text.len() as u64 / BYTES_PER_STEP;
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 1,
        Json::String(value) => 1 + text(value),
        Json::Array(items) => items.iter().map(copying).sum::<u64>() + 1,
        Json::Object(fields) => fields.iter().map(|(name, field)| 1 + text(name) + copying(field)).sum::<u64>() + 1,
    }
}
