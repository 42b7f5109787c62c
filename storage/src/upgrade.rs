//! Brings a data directory of an earlier format to the one that this program writes, in place. Each format adds to the
//! one before, so nothing that is there changes; what must not happen is that a program which does not know the
//! additions opens the directory. So the new number is durable before anything that only the new format has.
//!
//! | format | since headwater | adds |
//! |---|---|---|
//! | 1 | 0.1.0 | |
//! | 2 | 0.2.0 | marks on segments that take records, rows that are lost, rows of later versions |

use std::fs;

use crate::error::OpenError;
use crate::format::{DataDirectory, FORMAT, io_error, sync_folder, write_synced};

/// Gives the format that it had, if that was an earlier one. Cut short anywhere, it is done again. The caller holds the
/// lock and is about to write.
pub(crate) fn upgrade(directory: &DataDirectory) -> Result<Option<u32>, OpenError> {
    let before = directory.format_number()?;
    if before == FORMAT {
        return Ok(None);
    }
    let path = directory.format();
    let beside = path.with_extension("upgrade");
    let upgraded = write_synced(&beside, DataDirectory::format_text().as_bytes())
        .and_then(|()| fs::rename(&beside, &path))
        .and_then(|()| sync_folder(&directory.path));
    upgraded.map_err(|error| io_error(&path, &error))?;
    Ok(Some(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Found;

    #[test]
    fn an_earlier_format_is_upgraded_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = DataDirectory::new(folder.path());
        let first = "headwater data directory\nformat 1\nneeds headwater 0.1.0\n";
        fs::write(directory.format(), first).expect("writable");
        assert_eq!(directory.find(), Ok(Found::Existing));
        assert_eq!(upgrade(&directory), Ok(Some(1)));
        assert_eq!(upgrade(&directory), Ok(None));
        let now = fs::read_to_string(directory.format()).expect("readable");
        assert_eq!(now, "headwater data directory\nformat 2\nneeds headwater 0.2.0\n");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "nothing is left beside it");
    }
}
