//! Which attempts were handed to workers, in a file that outlives this process: what is not in it was handed to nobody,
//! so after a crash nobody has to be waited for. Written without a sync: what a killed process wrote is still there.
//! What a machine that went down had written may not be, so a file of another boot is not believed.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use types::{RoutingHash, RunId};

use crate::limits;

/// A run's step and which try at it.
pub(crate) type Attempt = (RunId, u32, u32);

const FILE: &str = "HANDED";
const HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 28;
/// Linux draws it anew whenever the machine starts.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug)]
pub(crate) struct Handed {
    path: PathBuf,
    /// `None`: nothing is kept, and nothing will be believed.
    file: Option<File>,
    boot: String,
    records: usize,
    /// Beyond it the file is written anew with what still matters.
    most: usize,
}

impl Handed {
    /// The file of a data directory, and what it says; `None` where it cannot be believed.
    pub(crate) fn open(directory: &Path) -> (Self, Option<BTreeSet<Attempt>>) {
        let boot = fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default();
        Self::of_boot(directory, boot)
    }

    fn of_boot(directory: &Path, boot: String) -> (Self, Option<BTreeSet<Attempt>>) {
        let path = directory.join(FILE);
        let believed = read(&path, &boot);
        let mut handed = Self { path, file: None, boot, records: 0, most: limits::HANDED_KEPT };
        if let Err(error) = handed.rewrite(&believed.iter().flatten().copied().collect::<Vec<_>>()) {
            tracing::warn!(%error, "what is handed to workers cannot be kept; after a crash all of them are waited for");
            handed.forget();
        }
        (handed, believed)
    }

    /// Keeps attempts before they leave. `held` are those that matter still, these included; it is asked for seldom.
    /// False: they must not leave, because whoever opens the directory next would believe that they had not.
    pub(crate) fn note(&mut self, attempts: &[Attempt], held: impl FnOnce() -> Vec<Attempt>) -> bool {
        let Some(file) = &mut self.file else { return true };
        if attempts.is_empty() {
            return true;
        }
        self.records += attempts.len();
        let kept = if self.records > self.most { self.rewrite(&held()) } else { file.write_all(&encode(attempts)) };
        kept.is_ok() || self.forget()
    }

    /// A new file in the place of the old one, in one step.
    fn rewrite(&mut self, attempts: &[Attempt]) -> io::Result<()> {
        if self.boot.is_empty() {
            return Err(io::Error::other(format!("{BOOT_ID} cannot be read")));
        }
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&header(&self.boot))?;
        file.write_all(&encode(attempts))?;
        fs::rename(&beside, &self.path)?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        self.records = attempts.len();
        self.most = limits::HANDED_KEPT.max(2 * attempts.len());
        Ok(())
    }

    /// Whether nobody can believe the file any more.
    fn forget(&mut self) -> bool {
        self.file = None;
        let gone = match fs::remove_file(&self.path) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        };
        let spoil = || OpenOptions::new().write(true).open(&self.path)?.write_all_at(&[0; HEADER_BYTES], 0);
        gone || spoil().is_ok()
    }
}

fn header(boot: &str) -> [u8; HEADER_BYTES] {
    let mut header = [b' '; HEADER_BYTES];
    let text = format!("headwater handed 1\n{boot}\n");
    let length = text.len().min(HEADER_BYTES);
    header[..length].copy_from_slice(&text.as_bytes()[..length]);
    header
}

fn read(path: &Path, boot: &str) -> Option<BTreeSet<Attempt>> {
    let bytes = fs::read(path).ok()?;
    let (head, records) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    // A record that was cut off was not handed over: the process died before it could go on.
    (!boot.is_empty() && *head == header(boot)).then(|| records.chunks_exact(RECORD_BYTES).map(decode).collect())
}

fn encode(attempts: &[Attempt]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(attempts.len() * RECORD_BYTES);
    for (run, step, attempt) in attempts {
        bytes.extend(run.routing_hash().bits().to_be_bytes());
        bytes.extend(run.ulid().to_be_bytes());
        bytes.extend(step.to_be_bytes());
        bytes.extend(attempt.to_be_bytes());
    }
    bytes
}

fn decode(record: &[u8]) -> Attempt {
    let number = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().expect("four bytes"));
    let ulid = u128::from_be_bytes(record[4..20].try_into().expect("sixteen bytes"));
    (RunId::new(RoutingHash::from_bits(number(0)), ulid), number(20), number(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32) -> Attempt {
        (RunId::new(RoutingHash::from_bits(number), u128::from(number) << 64), number, number + 1)
    }

    fn set(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<Attempt> {
        numbers.into_iter().map(attempt).collect()
    }

    fn open(directory: &Path) -> (Handed, Option<BTreeSet<Attempt>>) {
        Handed::of_boot(directory, "boot-1".to_owned())
    }

    #[test]
    fn what_was_handed_is_known_to_the_next_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut first, before) = open(folder.path());
        assert_eq!(before, None, "a directory without the file says nothing");
        assert!(first.note(&[attempt(1), attempt(2)], Vec::new) && first.note(&[attempt(3)], Vec::new));
        let (mut second, before) = open(folder.path());
        assert_eq!(before, Some(set([1, 2, 3])));
        assert!(second.note(&[attempt(4)], Vec::new));
        assert_eq!(open(folder.path()).1, Some(set([1, 2, 3, 4])), "a second crash forgets nothing");
    }

    #[test]
    fn a_file_of_another_boot_is_not_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(open(folder.path()).0.note(&[attempt(1)], Vec::new));
        assert_eq!(Handed::of_boot(folder.path(), "boot-2".to_owned()).1, None);
        assert_eq!(Handed::of_boot(folder.path(), String::new()).1, None, "nor one of an unknown boot");
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn a_record_that_was_cut_off_was_not_handed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(open(folder.path()).0.note(&[attempt(1), attempt(2)], Vec::new));
        let path = folder.path().join(FILE);
        let bytes = fs::read(&path).expect("it is there");
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("writable");
        assert_eq!(open(folder.path()).1, Some(set([1])));
        fs::write(&path, &bytes[..HEADER_BYTES - 1]).expect("writable");
        assert_eq!(open(folder.path()).1, None);
    }

    #[test]
    fn a_file_that_grew_keeps_what_matters() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut handed, _) = open(folder.path());
        handed.most = 3;
        for number in 0..10 {
            assert!(handed.note(&[attempt(number)], || vec![attempt(number)]));
            handed.most = 3;
        }
        let (_, found) = open(folder.path());
        assert!(found.as_ref().is_some_and(|found| found.contains(&attempt(9)) && found.len() <= 4), "{found:?}");
    }

    #[test]
    fn what_cannot_be_kept_is_not_believed_either() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut handed, _) = open(folder.path());
        // Nothing can be written through a file that was opened for reading.
        handed.file = Some(File::open(&handed.path).expect("it is there"));
        assert!(handed.note(&[attempt(1)], Vec::new), "it may leave: nobody will believe that it did not");
        assert_eq!(open(folder.path()).1, None);
    }
}
