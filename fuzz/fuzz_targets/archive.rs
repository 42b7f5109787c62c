//! Fuzzes what `storage::fuzz::archive` reads; see there.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| storage::fuzz::archive(data));
