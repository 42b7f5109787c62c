//! A folder that is worked in until the result has its name. Only one process works in it, and what a killed one left
//! behind is cleared away; a folder of somebody else's is never touched.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::{BackupError, io_at};
use crate::format::sync_folder;

/// Says that the folder is ours; locked while somebody works in it.
const MARK: &str = "UNFINISHED";

/// Removed when it is dropped before it was finished.
#[derive(Debug)]
pub(super) struct Workplace {
    path: PathBuf,
    mark: File,
    finished: bool,
}

impl Workplace {
    pub(super) fn begin(path: &Path) -> Result<Self, BackupError> {
        clear(path)?;
        fs::create_dir(path).map_err(io_at(path))?;
        let mark = File::create_new(path.join(MARK)).map_err(io_at(path))?;
        mark.try_lock().map_err(|_| BackupError::Busy { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), mark, finished: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name. `to` is nothing, or an empty folder.
    pub(super) fn finish(mut self, to: &Path) -> Result<(), BackupError> {
        let parent = to.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        sync_folder(&self.path).map_err(io_at(&self.path))?;
        fs::rename(&self.path, to).map_err(io_at(to))?;
        self.finished = true;
        let settled = sync_folder(parent).and_then(|()| fs::remove_file(to.join(MARK))).and_then(|()| sync_folder(to));
        settled.map_err(io_at(to))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed by whoever begins here next.
            let _ = fs::remove_dir_all(&self.path);
        }
        let _ = self.mark.unlock();
    }
}

/// Makes sure that nothing is there.
fn clear(path: &Path) -> Result<(), BackupError> {
    let taken = || BackupError::Exists { path: path.to_owned() };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_at(path)(error)),
        Ok(found) if !found.is_dir() => return Err(taken()),
        Ok(_) => {}
    }
    match File::open(path.join(MARK)) {
        Ok(mark) => match mark.try_lock() {
            Ok(()) => fs::remove_dir_all(path).map_err(io_at(path)),
            Err(TryLockError::WouldBlock) => Err(BackupError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(io_at(path)(error)),
        },
        // An empty folder is nobody's.
        Err(_) => fs::remove_dir(path).map_err(|_| taken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_cleared_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("work");
        let working = Workplace::begin(&path).expect("free");
        assert!(matches!(Workplace::begin(&path), Err(BackupError::Busy { .. })));
        drop(working);
        assert!(!path.exists());

        fs::create_dir(&path).expect("writable");
        fs::write(path.join(MARK), "").expect("writable");
        fs::write(path.join("half"), "x").expect("writable");
        drop(Workplace::begin(&path).expect("left by a killed process"));

        fs::create_dir(&path).expect("writable");
        fs::write(path.join("letter.txt"), "dear").expect("writable");
        assert!(matches!(Workplace::begin(&path), Err(BackupError::Exists { .. })));
        assert!(path.join("letter.txt").exists());
    }

    #[test]
    fn a_finished_one_has_its_name_and_no_mark() {
        let folder = tempfile::tempdir().expect("a folder");
        let working = Workplace::begin(&folder.path().join("work")).expect("free");
        fs::write(working.path().join("result"), "x").expect("writable");
        working.finish(&folder.path().join("done")).expect("nothing is there");
        let left: Vec<_> = fs::read_dir(folder.path().join("done")).expect("it is there").collect();
        assert_eq!(left.len(), 1);
    }
}
