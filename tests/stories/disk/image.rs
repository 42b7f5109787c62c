//! A small disk of one's own: a file system in a file, mounted through a loop device. Needs root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

#[derive(Debug)]
pub(super) struct Image {
    folder: TempDir,
}

impl Image {
    /// `None`, with a printed reason, where this machine does not allow it.
    pub(super) fn mount(mib: u64) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("headwater-disk-").tempdir().expect("a temporary directory");
        let (file, place) = (folder.path().join("image"), folder.path().join("mounted"));
        fs::create_dir(&place).expect("writable");
        File::create(&file).and_then(|file| file.set_len(mib * 1024 * 1024)).expect("a sparse file");
        let image = Self { folder };
        let steps = [
            // No blocks are set aside for root, so that full is full.
            ("mkfs.ext4", vec!["-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", text(&file)]),
            ("mount", vec!["-o", "loop", text(&file), text(&place)]),
        ];
        for (program, arguments) in steps {
            match Command::new(program).args(&arguments).output() {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    println!("skipped: {program} needs root: {}", String::from_utf8_lossy(&output.stderr).trim());
                    return None;
                }
                Err(error) => {
                    println!("skipped: {program}: {error}");
                    return None;
                }
            }
        }
        Some(image)
    }

    pub(super) fn place(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.place().join("data")
    }

    fn filler(&self) -> PathBuf {
        self.place().join("filler")
    }

    /// Somebody else fills the disk until this much is left.
    pub(super) fn fill(&self, leave_mib: u64) {
        let leave = leave_mib * 1024 * 1024;
        let mut filler = File::options().append(true).create(true).open(self.filler()).expect("writable");
        loop {
            let more = self.free_bytes().saturating_sub(leave).min(4 * 1024 * 1024);
            let block = vec![7; usize::try_from(more).expect("a few megabytes")];
            if block.is_empty() || filler.write_all(&block).is_err() {
                return;
            }
        }
    }

    /// And makes room again.
    pub(super) fn make_room(&self) {
        fs::remove_file(self.filler()).expect("it is there");
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let output =
            Command::new("df").args(["--output=avail", "-B1", text(&self.place())]).output().expect("df is there");
        let printed = String::from_utf8_lossy(&output.stdout);
        printed.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("a number")
    }

    /// The device's number, as the kernel writes it.
    pub(super) fn device(&self) -> String {
        let output = Command::new("findmnt").args(["-n", "-o", "MAJ:MIN", text(&self.place())]).output();
        String::from_utf8_lossy(&output.expect("findmnt is there").stdout).trim().to_owned()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Whoever still has files open keeps the device until then.
        let _ = Command::new("umount").args(["-l", text(&self.place())]).output();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
