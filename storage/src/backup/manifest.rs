//! What belongs to a backup: every file with its size and check, and where each partition ended. One JSON value, with a
//! check of its own.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use types::{History, PartitionCount, Position, Timestamp};

use super::error::BackupError;
use super::names;

/// The form that this program writes, and the only one so far that it reads.
const VERSION: u32 = 1;
/// How the file begins, whatever the form.
const BEGINNING: &[u8] = b"{\"headwater_backup\":";
/// The first version of headwater that reads it.
const NEEDS: &str = "0.1.0";
/// Names and sizes of a million files: a log of 64 TB.
pub(super) const MANIFEST_BYTES: u64 = 128 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// When it was made, in milliseconds since 1970.
    pub(super) made: Timestamp,
    /// The version of headwater that made it.
    pub(super) by: String,
    /// Of the data directory.
    pub(super) data_format: u32,
    pub(super) partitions: Vec<Mark>,
    pub(super) files: Vec<FileEntry>,
}

/// A partition as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub(super) history: History,
    pub(super) end: Position,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) crc32: Crc,
}

/// Eight hex digits in JSON, as other tools print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Crc(pub(super) u32);

impl TryFrom<String> for Crc {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let read = u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == 8 && text.bytes().all(lower_hex));
        read.map(Self).ok_or_else(|| format!("{text:?} is no check of 8 hex digits"))
    }
}

impl From<Crc> for String {
    fn from(crc: Crc) -> Self {
        format!("{:08x}", crc.0)
    }
}

/// Read before anything else, also of what a later version wrote.
#[derive(Deserialize)]
struct Head {
    headwater_backup: u32,
    needs: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    headwater_backup: u32,
    needs: String,
    /// Over `headwater_backup`, `needs` and the text of `manifest`, as `check` puts them together.
    crc32: Crc,
    manifest: Box<RawValue>,
}

fn check(version: u32, needs: &str, manifest: &str) -> Crc {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(format!("{version} {needs} ").as_bytes());
    hasher.update(manifest.as_bytes());
    Crc(hasher.finalize())
}

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        Self::framed(&serde_json::to_string(self).expect("a manifest has string keys"))
    }

    /// What stands in the file: the text of a manifest behind the check over it.
    pub(super) fn framed(text: &str) -> Vec<u8> {
        let crc = String::from(check(VERSION, NEEDS, text));
        let head = format!("{{\"headwater_backup\":{VERSION},\"needs\":\"{NEEDS}\",\"crc32\":\"{crc}\",\"manifest\":");
        format!("{head}{text}}}\n").into_bytes()
    }

    /// Reads and checks what stands in the backup at `path`.
    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, BackupError> {
        let not_one = |what: String| BackupError::NotABackup { path: path.to_owned(), what };
        let damaged = |what: String| BackupError::Damaged { path: path.to_owned(), damages: vec![what], count: 1 };
        let head: Head = serde_json::from_slice(bytes).map_err(|error| {
            let what = format!("{}: {error}", names::MANIFEST);
            // It began as one.
            if bytes.starts_with(BEGINNING) { damaged(what) } else { not_one(what) }
        })?;
        if head.headwater_backup > VERSION {
            let (found, needs) = (head.headwater_backup, head.needs);
            return Err(BackupError::NewerFormat { path: path.to_owned(), found, needs });
        }
        let envelope: Envelope =
            serde_json::from_slice(bytes).map_err(|error| damaged(format!("{}: {error}", names::MANIFEST)))?;
        let found = check(envelope.headwater_backup, &envelope.needs, envelope.manifest.get());
        if found != envelope.crc32 {
            let (says, is) = (String::from(envelope.crc32), String::from(found));
            return Err(damaged(format!("{}: its check is {says} but its bytes give {is}", names::MANIFEST)));
        }
        let manifest: Self = serde_json::from_str(envelope.manifest.get())
            .map_err(|error| damaged(format!("{}: {error}", names::MANIFEST)))?;
        manifest.hold().map_err(|what| BackupError::Refused { path: path.to_owned(), what })?;
        Ok(manifest)
    }

    /// What a good check does not promise: whoever can write a manifest can write its check.
    fn hold(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut bytes = 0_u64;
        for FileEntry { name, bytes: size, .. } in &self.files {
            if !names::is_known(name) {
                return Err(format!("its manifest names {name:?}, which is no file of a backup"));
            }
            if !seen.insert(name.as_str()) {
                return Err(format!("its manifest names {name} twice"));
            }
            bytes =
                bytes.checked_add(*size).ok_or_else(|| "its manifest claims more bytes than there are".to_owned())?;
        }
        if let Some(missing) = names::REQUIRED.iter().find(|name| !seen.contains(*name)) {
            return Err(format!("its manifest does not name {missing}"));
        }
        let count = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        PartitionCount::try_from(count).map(|_| ()).map_err(|error| format!("its manifest says: {error}"))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// How many were given to records, over all partitions: also to those that are no longer kept.
    pub(super) fn positions(&self) -> u64 {
        self.partitions.iter().fold(0, |sum, mark| sum.saturating_add(mark.end.value()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, bytes: u64) -> FileEntry {
        FileEntry { name: name.to_owned(), bytes, crc32: Crc(7) }
    }

    pub(in crate::backup) fn sample() -> Manifest {
        Manifest {
            made: Timestamp::from_millis(1_795_493_220_123),
            by: "0.1.0".to_owned(),
            data_format: 1,
            partitions: vec![Mark { history: History::new(77), end: Position::new(5) }],
            files: vec![file("FORMAT", 60), file("COMMIT", 32_768), file("log/CURRENT", 16), file("log/000012.sst", 9)],
        }
    }

    fn read(bytes: &[u8]) -> Result<Manifest, BackupError> {
        Manifest::decode(Path::new("backup"), bytes)
    }

    proptest! {
        #[test]
        fn a_manifest_comes_back(made: u64, ends in prop::collection::vec((any::<u32>(), any::<u64>()), 1..20), crc: u32) {
            let mut manifest = sample();
            manifest.made = Timestamp::from_millis(made);
            let mark = |&(history, end): &(u32, u64)| Mark { history: History::new(history), end: Position::new(end) };
            manifest.partitions = ends.iter().map(mark).collect();
            manifest.files[3].crc32 = Crc(crc);
            prop_assert_eq!(read(&manifest.encode()), Ok(manifest));
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = sample().encode();
        // The line break at the end is no part of it.
        for bit in 0..(good.len() - 1) * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes).is_err(), "bit {bit} of {}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn what_a_hostile_manifest_names_is_refused() {
        let check = |change: fn(&mut Manifest), expect: &str| {
            let mut manifest = sample();
            change(&mut manifest);
            let error = read(&manifest.encode()).expect_err(expect);
            assert!(matches!(error, BackupError::Refused { .. }), "{error}");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(|manifest| manifest.files.push(file("/etc/passwd", 1)), "\"/etc/passwd\", which is no file of a backup");
        check(|manifest| manifest.files.push(file("log/../../x", 1)), "\"log/../../x\"");
        check(|manifest| manifest.files.push(file("FORMAT", 60)), "names FORMAT twice");
        check(|manifest| manifest.files.push(file("log/000013.sst", u64::MAX)), "more bytes than there are");
        check(|manifest| drop(manifest.files.remove(1)), "does not name COMMIT");
        check(|manifest| manifest.partitions.clear(), "0 partitions");
    }

    #[test]
    fn a_newer_form_is_refused_with_the_version_it_needs() {
        let newer = br#"{"headwater_backup":2,"needs":"0.7.0","more":{"things":[]}}"#;
        let error = read(newer).expect_err("newer");
        assert!(error.to_string().contains("backup format 2, which needs headwater 0.7.0 or later"), "{error}");
    }

    #[test]
    fn something_else_is_no_backup() {
        for other in ["", "{}", "[1]", "headwater", r#"{"headwater":1,"needs":""}"#] {
            assert!(matches!(read(other.as_bytes()), Err(BackupError::NotABackup { .. })), "{other}");
        }
    }
}
