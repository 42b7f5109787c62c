//! Ways in for fuzzing backups: an archive is unpacked into a folder of its own, which it must not leave.

use std::fs;
use std::path::{Path, PathBuf};

use super::extract::unpack;
use super::manifest::Manifest;
use super::names;

/// Between the headers of an archive: sizes are rounded up to it.
const TAR_BLOCK: usize = 512;

/// A place to unpack to, in memory where there is such a file system.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let own = format!("headwater-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let place = Self(folder.join(own));
        fs::create_dir_all(place.folder().join("log")).expect("writable");
        place
    }

    fn folder(&self) -> PathBuf {
        self.0.join("in")
    }

    /// Panics when something lies outside of what a backup is.
    fn check(&self) {
        let listed = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").file_name());
            entries.map(|name| name.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(listed(&self.0), ["in"], "something was written outside");
        let top = listed(&self.folder());
        let foreign = top.iter().find(|name| *name != "log" && !names::is_known(name));
        assert_eq!(foreign, None, "a name that no backup has");
        let log = listed(&self.folder().join("log"));
        let foreign = log.iter().find(|name| !names::is_store_file(name));
        assert_eq!(foreign, None, "a name that no backup has");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays is cleared by who clears the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn archive(data: &[u8]) {
    manifest(data);
    for archive in [data.to_vec(), with_checks(data)] {
        let place = Place::new();
        let _ = unpack(&archive[..], Path::new("fuzz.tar"), &place.folder(), archive.len() as u64, &mut |_| {});
        place.check();
    }
}

fn manifest(data: &[u8]) {
    let path = Path::new("fuzz.tar");
    if let Ok(found) = Manifest::decode(path, data) {
        assert_eq!(Manifest::decode(path, &found.encode()).ok(), Some(found), "a manifest comes back");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Manifest::decode(path, &Manifest::framed(text));
    }
}

/// The same archive with the check of each header set right.
fn with_checks(data: &[u8]) -> Vec<u8> {
    let mut archive = data.to_vec();
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + TAR_BLOCK) {
        let mut read = tar::Header::new_old();
        read.as_mut_bytes().copy_from_slice(header);
        read.set_cksum();
        header.copy_from_slice(read.as_bytes());
        let Some(size) = read.entry_size().ok().and_then(|size| usize::try_from(size).ok()) else { break };
        let Some(end) = size.checked_next_multiple_of(TAR_BLOCK).and_then(|size| size.checked_add(at + TAR_BLOCK))
        else {
            break;
        };
        if end > archive.len() {
            break;
        }
        at = end;
    }
    archive
}
