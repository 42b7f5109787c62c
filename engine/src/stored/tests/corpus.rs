//! The fuzz target's corpus of rows, cut anywhere and with any bit flipped.

use std::fs;
use std::path::Path;

use crate::stored::fuzz;

#[test]
fn rows_of_the_corpus_are_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/rows");
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is there") {
        let bytes = fs::read(entry.expect("listed").path()).expect("readable");
        (0..=bytes.len()).for_each(|end| fuzz::row(&bytes[..end]));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fuzz::row(&flipped);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}
