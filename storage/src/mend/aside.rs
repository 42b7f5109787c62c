//! Damaged tables that were given up, under a second name in `quarantined/`: somebody may still save something of them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::SystemTime;

use crate::format::{DataDirectory, sync_folder};
use crate::limits::TABLES_KEPT_ASIDE;

pub(super) fn folder(directory: &DataDirectory) -> PathBuf {
    directory.path.join("quarantined")
}

/// Keeps tables of `log/`, of all that are kept the latest `TABLES_KEPT_ASIDE`. A second name costs no room as long as
/// the table is in use.
pub(super) fn keep(directory: &DataDirectory, names: &[String]) -> io::Result<()> {
    let folder = folder(directory);
    fs::create_dir_all(&folder)?;
    for name in names {
        match fs::hard_link(directory.log().join(name), folder.join(name)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        kept.push((entry.metadata()?.modified()?, entry.path()));
    }
    kept.sort();
    let too_many = kept.len().saturating_sub(TABLES_KEPT_ASIDE);
    for (_, path) in kept.into_iter().take(too_many) {
        fs::remove_file(path)?;
    }
    sync_folder(&folder).and_then(|()| sync_folder(&directory.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = DataDirectory::new(folder.path());
        fs::create_dir(directory.log()).expect("writable");
        let name = |number: usize| format!("{number:06}.sst");
        for number in 0..TABLES_KEPT_ASIDE + 3 {
            fs::write(directory.log().join(name(number)), "x").expect("writable");
            keep(&directory, &[name(number)]).expect("writable");
            keep(&directory, &[name(number)]).expect("again");
        }
        let kept = fs::read_dir(super::folder(&directory)).expect("readable").count();
        assert_eq!(kept, TABLES_KEPT_ASIDE);
    }
}
