//! Fuzzes what `storage::fuzz::record` reads; see there.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| storage::fuzz::record(data));
