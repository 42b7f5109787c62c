//! What the next start must mend: sentences that name damaged tables, in the file `DAMAGED`.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use crate::format::{DataDirectory, sync_folder};

/// As many sentences as a person reads; each table is met again as long as it is there.
const NOTE_BYTES: u64 = 64 * 1024;

fn path(directory: &DataDirectory) -> PathBuf {
    directory.path.join("DAMAGED")
}

/// Adds a sentence, synced. More than fits is left out: what was left out is met again.
pub(crate) fn note(directory: &DataDirectory, what: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path(directory))?;
    if file.metadata()?.len() < NOTE_BYTES && !read(directory)?.iter().any(|noted| noted == &one_line(what)) {
        file.write_all(format!("{}\n", one_line(what)).as_bytes())?;
        file.sync_all()?;
    }
    sync_folder(&directory.path)
}

fn one_line(what: &str) -> String {
    what.replace(['\n', '\r'], " ")
}

/// All sentences; none where nothing is to be mended.
pub(super) fn read(directory: &DataDirectory) -> io::Result<Vec<String>> {
    match fs::read(path(directory)) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub(super) fn clear(directory: &DataDirectory) -> io::Result<()> {
    match fs::remove_file(path(directory)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => sync_folder(&directory.path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_a_line_and_is_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = DataDirectory::new(folder.path());
        for what in ["one in 1.sst", "two\nin 2.sst", "one in 1.sst"] {
            note(&directory, what).expect("writable");
        }
        assert_eq!(read(&directory).expect("readable"), ["one in 1.sst", "two in 2.sst"]);
        clear(&directory).expect("writable");
        assert_eq!(read(&directory).expect("readable"), Vec::<String>::new());
    }
}
