//! Backups as one file: cut, flipped, and made by somebody who means no good.

use std::fs;
use std::path::Path;

use storage::{BackupError, ReadOnlyLog, restore, verify_backup};

use crate::backup::{SEED, all, back_up, names, partitions, quiet};
use crate::harness::{Rocks, SMALL};
use crate::reading::mixture;

#[test]
fn an_archive_is_a_backup_in_one_file() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 30);
    let (folder, path) = (rocks.folder.path(), rocks.folder.path().join("on/a/stick/log.tar"));
    let report = back_up(&rocks, &path, 1);
    assert_eq!((&report.path, report.copied_bytes), (&path, report.bytes));
    let verified = verify_backup(&path, &mut quiet).expect("it is whole");
    assert_eq!((verified.log.records, verified.files), (report.positions, report.files));
    assert_eq!(names(path.parent().expect("a folder")), ["log.tar"]);
    let restored = restore(&path, &folder.join("again"), SEED, &mut quiet).expect("it restores");
    let log = ReadOnlyLog::open(&restored.directory).expect("it opens").0;
    for id in partitions() {
        assert_eq!(all(&log, id), all(&**rocks.rocks(), id));
    }
}

/// Between two lengths and two flipped bits.
const STEP: usize = 997;

#[test]
fn an_archive_cut_at_any_length_or_with_a_flipped_bit_is_found() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 5);
    let folder = rocks.folder.path();
    let path = folder.join("log.tar");
    let report = back_up(&rocks, &path, 1);
    let good = fs::read(&path).expect("readable");
    let bad = folder.join("bad.tar");
    // Blocks of 512 bytes: before, in and behind headers. The end is two blocks of zeros, which nobody needs.
    let cuts = (0..good.len() - 1024).step_by(STEP).map(|length| (length, good[..length].to_vec()));
    let flips = (0..good.len() - 1024).step_by(STEP).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        (at, bytes)
    });
    let mut harmless = 0;
    for (at, bytes) in cuts.chain(flips) {
        let whole = bytes.len() == good.len();
        fs::write(&bad, bytes).expect("writable");
        match verify_backup(&bad, &mut quiet) {
            Err(_) => {}
            // Padding behind a file is no part of it.
            Ok(_) if whole => harmless += 1,
            Ok(_) => panic!("cut at {at} it is still a backup"),
        }
    }
    // Less than a block of padding a file, and one file more: the manifest.
    let most = (usize::try_from(report.files).expect("few") + 1) * 512 / STEP + 1;
    assert!(harmless <= most, "{harmless} flipped bits were not found, of which {most} may be padding");
}

/// An archive with the entries that `fill` adds.
fn hostile(path: &Path, fill: impl FnOnce(&mut tar::Builder<fs::File>)) {
    let mut builder = tar::Builder::new(fs::File::create(path).expect("writable"));
    fill(&mut builder);
    builder.finish().expect("writable");
}

fn entry(builder: &mut tar::Builder<fs::File>, kind: tar::EntryType, name: &str, link: Option<&str>, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    // Written by hand: the crate would refuse to write such names.
    let raw = header.as_ustar_mut().expect("it was made as one");
    raw.name[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(link) = link {
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
    }
    header.set_cksum();
    builder.append(&header, content).expect("writable");
}

#[test]
fn a_hostile_archive_is_refused_and_writes_nothing_outside() {
    use tar::EntryType::{Directory, GNULongName, GNUSparse, Link, Regular, Symlink, XHeader};
    let folder = tempfile::tempdir().expect("a folder");
    let (path, into) = (folder.path().join("hostile.tar"), folder.path().join("in/data"));
    let outside = folder.path().join("outside");
    let outside_text = outside.to_str().expect("text").to_owned();
    let check = |expect: &str, fill: &dyn Fn(&mut tar::Builder<fs::File>)| {
        hostile(&path, fill);
        for error in [
            verify_backup(&path, &mut quiet).expect_err(expect),
            restore(&path, &into, SEED, &mut quiet).expect_err(expect),
        ] {
            assert!(matches!(error, BackupError::Refused { .. }) && error.to_string().contains(expect), "{error}");
        }
        assert!(!outside.exists() && !into.exists(), "{expect}");
        assert_eq!(names(&folder.path().join("in")), Vec::<String>::new(), "{expect}");
    };
    check("no file of a backup", &|tar| entry(tar, Regular, &outside_text, None, b"x"));
    check("\"../../outside\"", &|tar| entry(tar, Regular, "../../outside", None, b"x"));
    check("\"log/../../outside\"", &|tar| entry(tar, Regular, "log/../../outside", None, b"x"));
    check("Symlink", &|tar| entry(tar, Symlink, "log/CURRENT", Some(&outside_text), b""));
    check("Link", &|tar| entry(tar, Link, "log/000001.sst", Some("/etc/passwd"), b""));
    check("Directory", &|tar| entry(tar, Directory, "log/", None, b""));
    check("GNULongName", &|tar| entry(tar, GNULongName, "././@LongLink", None, outside_text.as_bytes()));
    check("XHeader", &|tar| entry(tar, XHeader, "PaxHeaders/x", None, b"18 path=../outside\n"));
    check("GNUSparse", &|tar| entry(tar, GNUSparse, "log/000001.sst", None, b"x"));
    check("FORMAT is there twice", &|tar| {
        entry(tar, Regular, "FORMAT", None, b"x");
        entry(tar, Regular, "FORMAT", None, b"x");
    });
    check("claims", &|tar| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(Regular);
        header.set_path("log/000001.sst").expect("a name");
        header.set_size(1 << 50);
        header.set_cksum();
        tar.append(&header, &b""[..]).expect("writable");
    });
}

#[test]
fn an_archive_with_more_than_its_manifest_names_is_refused() {
    let rocks = Rocks::new(SMALL);
    mixture(&rocks, 5);
    let report = back_up(&rocks, &rocks.folder.path().join("backups"), 1);
    let path = rocks.folder.path().join("more.tar");
    let pack = |before: &[&str], behind: &[&str]| {
        hostile(&path, |tar| {
            for name in before {
                entry(tar, tar::EntryType::Regular, name, None, b"x");
            }
            for name in names(&report.path).iter().filter(|name| *name != "MANIFEST") {
                tar.append_path_with_name(report.path.join(name), name).expect("writable");
            }
            tar.append_path_with_name(report.path.join("MANIFEST"), "MANIFEST").expect("writable");
            for name in behind {
                entry(tar, tar::EntryType::Regular, name, None, b"x");
            }
        });
        verify_backup(&path, &mut quiet)
    };
    assert_eq!(pack(&[], &[]).expect("packed by hand it is a backup as well").log.records, report.positions);
    let error = pack(&["log/777777.sst"], &[]).expect_err("one more").to_string();
    assert!(error.contains("log/777777.sst, which its MANIFEST does not name"), "{error}");
    let error = pack(&[], &["log/777777.sst"]).expect_err("one more").to_string();
    assert!(error.contains("something follows its MANIFEST"), "{error}");
}
