//! A way in for fuzzing: bytes from anywhere are a row or are refused, and nothing panics or allocates what a length only
//! claims. `fuzz/` calls this with made-up bytes, a test with the corpus.

use super::{read_row, row_name};

/// The kernel's own frame inside a row: the first byte says which kind, the rest is the id and the value.
pub fn row(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let (id, value) = rest.split_at(rest.len().min(ID_BYTES));
    let _ = read_row(*kind, id, value);
    let _ = row_name(*kind, id);
}

/// A run's id: the longest that has a fixed length.
const ID_BYTES: usize = 20;
