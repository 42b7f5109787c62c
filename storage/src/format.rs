//! The data directory as a whole: what lies in it, which format it has, and who is using it.
//!
//! `FORMAT` a line a fact, for people and old programs · `LOCK` held while open, names the process · `COMMIT` the
//! watermark · `BALLAST` room that is given back on a full disk · `log/` RocksDB · `salvage/` log files kept aside while
//! an unclean stop is looked into · `frozen/` links that a backup is made from.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// A lock may outlive its holder for a moment: a process that was just being started shares it until it runs its own
/// program. So a directory counts as in use only when it stays locked for this long.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// The format that this program writes; it reads all from 1 on. What each added stands in `upgrade.rs`.
pub(crate) const FORMAT: u32 = 2;
/// The first version of headwater that reads it.
const NEEDS: &str = "0.2.0";

/// A store that was mended, before it takes the other one's place.
pub(crate) const MADE_FOLDER: &str = "log.made";
const FORMAT_FILE: &str = "FORMAT";
/// There only while a directory is being made.
const UNFINISHED_FILE: &str = "FORMAT.new";
const TITLE: &str = "headwater data directory";

/// The names in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataDirectory {
    pub(crate) path: PathBuf,
}

/// What an opening finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or the beginning of a directory whose making was interrupted.
    New,
    Existing,
}

impl DataDirectory {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn commit(&self) -> PathBuf {
        self.path.join("COMMIT")
    }

    pub(crate) fn salvage(&self) -> PathBuf {
        self.path.join("salvage")
    }

    /// Where the log stands still while a backup copies it.
    pub(crate) fn frozen(&self) -> PathBuf {
        self.path.join("frozen")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.path.join(FORMAT_FILE)
    }

    /// What stands in `FORMAT`.
    pub(crate) fn format_text() -> String {
        format!("{TITLE}\nformat {FORMAT}\nneeds headwater {NEEDS}\n")
    }

    pub(crate) fn write_format(&self) -> io::Result<()> {
        write_synced(&self.format(), Self::format_text().as_bytes())
    }

    /// Makes the folder if it is not there, and holds its lock.
    pub(crate) fn lock(&self) -> Result<DirectoryLock, OpenError> {
        fs::create_dir_all(&self.path).map_err(|error| self.not_writable(&error))?;
        let path = self.path.join("LOCK");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(|error| self.not_writable(&error))?;
        let mut tries = 1;
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                TryLockError::WouldBlock => {
                    return Err(OpenError::Locked { path: self.path.clone(), owner: owner(&mut file) });
                }
                TryLockError::Error(error) => return Err(self.not_writable(&error)),
            }
        }
        let named = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| {
            let name = format!("{}\n", std::process::id());
            file.write_all(name.as_bytes())
        });
        match named {
            // On a full disk nobody learns the name, and the lock holds all the same.
            Err(error) if error.kind() != ErrorKind::StorageFull => Err(self.not_writable(&error)),
            Ok(()) | Err(_) => Ok(DirectoryLock { _file: file }),
        }
    }

    /// Who holds the lock, if anybody. Needs no right to write.
    pub(crate) fn in_use_by(&self) -> Option<String> {
        let mut file = File::open(self.path.join("LOCK")).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(owner(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Keeps nodes from opening it, without a right to write. `None`: nobody ever opened it here.
    pub(crate) fn hold_still(&self) -> Result<Option<File>, OpenError> {
        let path = self.path.join("LOCK");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unread(&path, &error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                Err(OpenError::Locked { path: self.path.clone(), owner: owner(&mut file) })
            }
            Err(TryLockError::Error(error)) => Err(io_error(&path, &error)),
        }
    }

    /// A backup has the form of a data directory, but a node would change it and go on with its history.
    pub(crate) fn refuse_backup(&self) -> Result<(), OpenError> {
        if !self.path.join("MANIFEST").exists() {
            return Ok(());
        }
        let what = "it is a backup: make a data directory of it with `headwater backup restore`".to_owned();
        Err(OpenError::NotADataDirectory { path: self.path.clone(), what })
    }

    /// As `look`, for who changes nothing: a store that a start has to bring to its place first is not there.
    pub(crate) fn find(&self) -> Result<Found, OpenError> {
        let found = self.look()?;
        if found == Found::Existing && !self.log().exists() && self.path.join(MADE_FOLDER).exists() {
            let what = "a mend was cut short just before its end: start the node once, which finishes it".to_owned();
            return Err(OpenError::Damaged { place: self.path.display().to_string(), what });
        }
        Ok(found)
    }

    /// Looks at `FORMAT` and at what else is there.
    pub(crate) fn look(&self) -> Result<Found, OpenError> {
        match fs::read_to_string(self.format()) {
            Ok(text) => self.check(&text).map(|_| Found::Existing),
            Err(error) if error.kind() == ErrorKind::NotFound => self.find_without_format(),
            Err(error) => Err(self.unread(&self.format(), &error)),
        }
    }

    /// Of a directory that is there.
    pub(crate) fn format_number(&self) -> Result<u32, OpenError> {
        let text = fs::read_to_string(self.format()).map_err(|error| self.unread(&self.format(), &error))?;
        self.check(&text)
    }

    /// A file in it cannot be read.
    fn unread(&self, file: &Path, error: &std::io::Error) -> OpenError {
        if error.kind() == ErrorKind::NotADirectory {
            return OpenError::NotADataDirectory { path: self.path.clone(), what: "it is a file".to_owned() };
        }
        io_error(file, error)
    }

    fn find_without_format(&self) -> Result<Found, OpenError> {
        let unfinished = self.path.join(UNFINISHED_FILE).exists();
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::New),
            Err(error) => return Err(io_error(&self.path, &error)),
        };
        for entry in entries {
            let name = entry.map_err(|error| io_error(&self.path, &error))?.file_name();
            // A fresh file system has one of its own.
            let expected = name == "LOCK" || name == "lost+found";
            if !expected && !unfinished {
                let what = format!("it has no {FORMAT_FILE} file, but holds {}", Path::new(&name).display());
                return Err(OpenError::NotADataDirectory { path: self.path.clone(), what });
            }
        }
        Ok(Found::New)
    }

    /// Its number, if this program reads it.
    fn check(&self, text: &str) -> Result<u32, OpenError> {
        let fact = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let format = fact("format ").and_then(|number| number.parse::<u32>().ok());
        let format = format.filter(|format| *format > 0 && text.starts_with(TITLE));
        let Some(format) = format else {
            let what = format!("its {FORMAT_FILE} file cannot be understood");
            return Err(OpenError::NotADataDirectory { path: self.path.clone(), what });
        };
        if format > FORMAT {
            let needs = fact("needs headwater ").unwrap_or("a newer version").to_owned();
            return Err(OpenError::NewerFormat { path: self.path.clone(), found: format, supported: FORMAT, needs });
        }
        Ok(format)
    }

    /// From here until `finish`, an interruption leaves a directory that is made anew.
    pub(crate) fn begin(&self) -> Result<(), OpenError> {
        let unfinished = self.path.join(UNFINISHED_FILE);
        write_synced(&unfinished, Self::format_text().as_bytes()).map_err(|error| self.not_writable(&error))?;
        sync_folder(&self.path).map_err(|error| self.not_writable(&error))?;
        let log = self.log();
        if log.exists() {
            fs::remove_dir_all(&log).map_err(|error| io_error(&log, &error))?;
        }
        Ok(())
    }

    /// The directory is whole.
    pub(crate) fn finish(&self) -> Result<(), OpenError> {
        let renamed = fs::rename(self.path.join(UNFINISHED_FILE), self.format());
        renamed.and_then(|()| sync_folder(&self.path)).map_err(|error| io_error(&self.path, &error))
    }

    /// The writer's files of RocksDB that an opening reads back, and their size.
    pub(crate) fn wal_files(&self) -> io::Result<(Vec<PathBuf>, u64)> {
        wal_files(&self.log())
    }

    /// Keeps the files of an unclean stop in `salvage/` until it is known that nothing is missing. RocksDB drops its
    /// own names for them once it has opened; it does not write into files of an earlier process.
    pub(crate) fn keep_aside(&self, files: &[PathBuf]) -> io::Result<()> {
        let salvage = self.salvage();
        fs::create_dir_all(&salvage)?;
        for file in files {
            let name = file.file_name().expect("a file that was listed has a name");
            match fs::hard_link(file, salvage.join(name)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        sync_folder(&salvage).and_then(|()| sync_folder(&self.path))
    }

    pub(crate) fn kept_aside(&self) -> io::Result<Vec<PathBuf>> {
        if self.salvage().exists() { wal_files(&self.salvage()).map(|(files, _)| files) } else { Ok(Vec::new()) }
    }

    pub(crate) fn clear_aside(&self) -> io::Result<()> {
        if self.salvage().exists() { fs::remove_dir_all(self.salvage()) } else { Ok(()) }
    }

    /// Links that a backup left when its process was killed: they would keep files alive for ever.
    pub(crate) fn clear_frozen(&self) -> io::Result<()> {
        if self.frozen().exists() { fs::remove_dir_all(self.frozen()) } else { Ok(()) }
    }

    fn not_writable(&self, error: &io::Error) -> OpenError {
        let path = self.path.clone();
        if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
            return OpenError::NotWritable { path, what: error.to_string() };
        }
        io_error(&path, error)
    }
}

/// Who has the data directory at `path` open for writing, if anybody. Looks at nothing but its lock.
pub fn in_use_by(path: &Path) -> Option<String> {
    DataDirectory::new(path).in_use_by()
}

fn wal_files(folder: &Path) -> io::Result<(Vec<PathBuf>, u64)> {
    let (mut files, mut bytes) = (Vec::new(), 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            bytes += entry.metadata()?.len();
            files.push(path);
        }
    }
    files.sort();
    Ok((files, bytes))
}

fn owner(file: &mut File) -> String {
    let mut name = String::new();
    match file.read_to_string(&mut name) {
        Ok(_) if !name.trim().is_empty() => format!("process {}", name.trim()),
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn io_error(place: &Path, error: &io::Error) -> OpenError {
    OpenError::Io { place: place.display().to_string(), what: error.to_string() }
}

/// Keeps nodes from opening a directory for as long as it is held.
#[derive(Debug)]
pub struct HeldStill {
    _lock: Option<File>,
}

/// Holds the directory of a stopped node still. Refused when a node has it open.
pub fn hold_still(path: &Path) -> Result<HeldStill, OpenError> {
    DataDirectory::new(path).hold_still().map(|lock| HeldStill { _lock: lock })
}

/// Held while the directory is open. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, DataDirectory) {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = DataDirectory::new(folder.path());
        (folder, directory)
    }

    #[test]
    fn who_only_looks_is_told_what_a_mend_needs_that_was_cut_short() {
        let (_folder, directory) = folder();
        directory.begin().expect("writable");
        directory.finish().expect("writable");
        fs::create_dir(directory.path.join(MADE_FOLDER)).expect("writable");
        assert_eq!(directory.look(), Ok(Found::Existing), "a start goes on");
        let told = directory.find().expect_err("its store is not in its place").to_string();
        assert!(told.contains("start the node once") && !directory.log().exists(), "{told}");
    }

    #[test]
    fn a_directory_is_new_until_it_is_finished() {
        let (_folder, directory) = folder();
        assert_eq!(directory.find(), Ok(Found::New));
        directory.begin().expect("writable");
        fs::create_dir(directory.log()).expect("writable");
        assert_eq!(directory.find(), Ok(Found::New));
        directory.begin().expect("writable");
        assert!(!directory.log().exists());
        directory.finish().expect("writable");
        assert_eq!(directory.find(), Ok(Found::Existing));
    }

    #[test]
    fn a_newer_format_is_refused_with_the_version_it_needs() {
        let (_folder, directory) = folder();
        fs::write(directory.format(), format!("{TITLE}\nformat 7\nneeds headwater 3.4.5\n")).expect("writable");
        let error = directory.find().expect_err("newer");
        assert!(matches!(&error, OpenError::NewerFormat { found: 7, needs, .. } if needs == "3.4.5"), "{error}");
        assert!(error.to_string().contains("format 7, which needs headwater 3.4.5 or later"), "{error}");
    }

    #[test]
    fn a_folder_with_other_things_is_refused() {
        let (_folder, directory) = folder();
        fs::write(directory.path.join("photo.jpg"), "x").expect("writable");
        let error = directory.find().expect_err("not ours");
        assert!(error.to_string().contains("holds photo.jpg"), "{error}");
        fs::write(directory.format(), "something else\n").expect("writable");
        assert!(matches!(directory.find(), Err(OpenError::NotADataDirectory { .. })));
    }

    #[test]
    fn a_second_lock_names_the_first_process() {
        let (_folder, directory) = folder();
        let lock = directory.lock().expect("free");
        let error = directory.lock().expect_err("taken");
        assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(lock);
        directory.lock().expect("free again");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        // Not even root may make folders here.
        let directory = DataDirectory::new(Path::new("/sys/headwater"));
        let error = directory.lock().expect_err("not writable");
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    }
}
