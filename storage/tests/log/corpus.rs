//! The fuzz targets' corpora, and what can be made of them by flipping and cutting, as plain tests.

use std::fs;
use std::path::Path;

fn corpus(target: &str, run: fn(&[u8])) {
    corpus_by(target, 1, run);
}

/// Cuts and flips as one in so many allow.
fn corpus_by(target: &str, step: usize, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let bytes = fs::read(entry.expect("listed").path()).expect("readable");
        run(&bytes);
        for end in (0..bytes.len()).step_by(step) {
            run(&bytes[..end]);
        }
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            run(&flipped);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn blocks() {
    corpus("block", storage::fuzz::block);
}

#[test]
fn records() {
    corpus("record", storage::fuzz::record);
}

#[test]
fn rows() {
    corpus("rows", storage::fuzz::rows);
}

#[test]
fn watermarks() {
    corpus("commit", storage::fuzz::commit);
}

/// Each is unpacked to files, which takes its time.
#[test]
fn backup_archives() {
    corpus_by("archive", 13, storage::fuzz::archive);
}
