//! What the disk itself gives: how long one small write with its sync takes, in the same run as what is measured.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::common::median;

const BYTES: usize = 1024;
const ROUNDS: usize = 200;

/// The median of a small append with fdatasync, in milliseconds.
pub(crate) fn sync_ms(folder: &Path) -> f64 {
    let path = folder.join("sync");
    let mut file = File::create(&path).expect("writable");
    let mut one = || {
        let started = Instant::now();
        file.write_all(&[7; BYTES]).expect("writable");
        file.sync_data().expect("it syncs");
        started.elapsed().as_secs_f64() * 1e3
    };
    let mut all: Vec<f64> = (0..ROUNDS).map(|_| one()).collect();
    std::fs::remove_file(path).expect("it was made");
    median(&mut all)
}
