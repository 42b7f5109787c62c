//! RocksDB's write-ahead log, read without RocksDB and also behind damage, where RocksDB stops. Only what RocksDB itself
//! framed, checked and wrote as a change counts: the bytes of a payload never do, whatever they look like.
//! Source: RocksDB's "Write Ahead Log File Format" and `db/log_format.h`, `db/write_batch.cc`, release 11.8.

mod batch;
mod fragment;

use std::io;
use std::path::{Path, PathBuf};

use fragment::{CHUNK_BYTES, Found, Part, fragment};

/// Shows each value that the files put under a key, oldest first within a file: `visit(key, value)`. It may be one
/// that was deleted later, or one that was never acknowledged.
pub(crate) fn for_each_put(files: &[PathBuf], mut visit: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
    for file in files {
        let Some(number) = number(file) else { continue };
        batches(&std::fs::read(file)?, number, |batch| batch::for_each_put(batch, &mut visit));
    }
    Ok(())
}

/// The number of the first change in the newest of the files; `None` where it has none that can be read.
pub(crate) fn first_change(files: &[PathBuf]) -> io::Result<Option<u64>> {
    let newest = files.iter().filter_map(|file| number(file).map(|number| (number, file))).max();
    let Some((number, file)) = newest else { return Ok(None) };
    let mut first = None;
    batches(&std::fs::read(file)?, number, |batch| first = first.or_else(|| batch::first_change(batch)));
    Ok(first)
}

/// `000042.log` is number 42: each fragment in it names the low half, so that what an earlier use of the same file left
/// behind is told apart.
fn number(file: &Path) -> Option<u32> {
    let number: u64 = file.file_stem()?.to_str()?.parse().ok()?;
    u32::try_from(number & u64::from(u32::MAX)).ok()
}

/// The batches of a file that can be put together from good fragments, up to where an earlier use of it shows.
fn batches(file: &[u8], number: u32, mut visit: impl FnMut(&[u8])) {
    let mut open: Option<Vec<u8>> = None;
    for chunk in file.chunks(CHUNK_BYTES) {
        let mut rest = chunk;
        loop {
            match fragment(rest, number) {
                Found::Good { part, content, after } => {
                    match part {
                        Part::Full => visit(content),
                        Part::First => open = Some(content.to_vec()),
                        Part::Middle => open.iter_mut().for_each(|open| open.extend_from_slice(content)),
                        Part::Last => {
                            if let Some(mut whole) = open.take() {
                                whole.extend_from_slice(content);
                                visit(&whole);
                            }
                        }
                        Part::Note => {}
                    }
                    rest = after;
                }
                Found::Damaged { after } => {
                    open = None;
                    // Its length may be damaged, too: only a good fragment where it claims to end confirms it.
                    match fragment(after, number) {
                        Found::Good { .. } => rest = after,
                        Found::Damaged { .. } | Found::Stale | Found::Nothing => break,
                    }
                }
                Found::Stale => return,
                Found::Nothing => break,
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fragment::tests::write;

    /// A file as RocksDB writes one that it may use again.
    pub(crate) fn file(number: u32, batches: &[Vec<u8>]) -> Vec<u8> {
        let mut file = Vec::new();
        for batch in batches {
            write(&mut file, number, batch);
        }
        file
    }

    fn found(file: &[u8], number: u32) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        batches(file, number, |batch| found.push(batch.to_vec()));
        found
    }

    fn some_batches() -> Vec<Vec<u8>> {
        (0..60_u8).map(|n| vec![n; 1 + usize::from(n) * 997]).collect()
    }

    #[test]
    fn batches_are_put_together_across_chunks() {
        assert_eq!(found(&file(7, &some_batches()), 7), some_batches());
    }

    #[test]
    fn a_flipped_bit_anywhere_costs_no_batch_but_those_near_it() {
        let batches: Vec<_> = (0..200_u16).map(|n| [n.to_le_bytes().to_vec(), vec![9; 700]].concat()).collect();
        let good = file(7, &batches);
        for at in (0..good.len()).step_by(131) {
            let mut damaged = good.clone();
            damaged[at] ^= 0x40;
            let found = found(&damaged, 7);
            assert!(found.iter().all(|batch| batches.contains(batch)), "flipped at {at}: a batch that nobody wrote");
            // What starts in a later chunk is found; a batch takes 713 bytes, or 11 more where a chunk cuts it.
            let later = ((at / CHUNK_BYTES + 1) * CHUNK_BYTES).div_ceil(713).min(batches.len());
            assert!(found.ends_with(&batches[later..]), "flipped at {at}");
        }
    }

    #[test]
    fn damage_within_a_fragment_costs_that_one_batch() {
        let batches: Vec<_> = (0..20_u8).map(|n| vec![n; 400]).collect();
        let mut damaged = file(7, &batches);
        damaged[5 * 411 + 100] ^= 1;
        let expect: Vec<_> = batches.iter().filter(|batch| batch[0] != 5).cloned().collect();
        assert_eq!(found(&damaged, 7), expect);
    }

    #[test]
    fn what_an_earlier_use_of_the_file_left_is_not_read() {
        let (old, new) = (file(3, &some_batches()), file(7, &some_batches()[..9]));
        let reused = [&new[..], &old[new.len()..]].concat();
        assert_eq!(found(&reused, 7), &some_batches()[..9]);
    }

    #[test]
    fn a_file_within_a_payload_is_a_payload() {
        let inner = file(7, &some_batches()[..30]);
        assert!(inner.len() > 5 * CHUNK_BYTES);
        for shift in [0, 1, 100, CHUNK_BYTES - 11] {
            let payload = [vec![0; shift], inner.clone()].concat();
            assert_eq!(found(&file(7, std::slice::from_ref(&payload)), 7), [payload]);
        }
    }

    #[test]
    fn cut_short_anywhere_gives_only_whole_batches() {
        let (batches, whole) = (some_batches(), file(7, &some_batches()));
        for end in (0..whole.len()).step_by(997) {
            let found = found(&whole[..end], 7);
            assert_eq!(found, batches[..found.len()]);
        }
    }
}
