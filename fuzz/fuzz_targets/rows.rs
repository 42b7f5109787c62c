//! Fuzzes what `storage::fuzz::rows` and `engine::stored::fuzz::row` read; see there.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    storage::fuzz::rows(data);
    engine::stored::fuzz::row(data);
});
