//! Fuzzes what `storage::fuzz::rows` reads; see there.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    storage::fuzz::rows(data);
    // The kernel's own frame inside a row: the first byte says which kind, the rest is the id and the value.
    if let Some((kind, rest)) = data.split_first() {
        let (id, value) = rest.split_at(rest.len().min(20));
        let _ = engine::stored::read_row(*kind, id, value);
        let _ = engine::stored::row_name(*kind, id);
    }
});
