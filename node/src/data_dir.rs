//! What a node keeps in its data directory besides the log: the key that workers' tokens are made with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

const KEY_FILE: &str = "token.key";
/// For the owner alone: whoever reads the key can make tokens.
const KEY_MODE: u32 = 0o600;

/// The directory's key, made on first use: tokens stay valid over restarts, and only this directory can make them.
pub(crate) fn token_key(data_dir: &Path) -> io::Result<[u8; 32]> {
    let path = data_dir.join(KEY_FILE);
    match read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|bytes: Vec<u8>| {
            let what = format!("{} has {} bytes instead of 32", path.display(), bytes.len());
            io::Error::new(io::ErrorKind::InvalidData, what)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(data_dir, &path),
        Err(error) => Err(error),
    }
}

/// A key that others could read, as of an earlier version or a careless copy, is closed to them.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(KEY_MODE))?;
    }
    Ok(bytes)
}

/// Written beside and renamed, so that a crash leaves all of it or none.
fn make(data_dir: &Path, path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    keep(data_dir, path, &key)?;
    Ok(key)
}

fn keep(data_dir: &Path, path: &Path, key: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(KEY_MODE).open(&beside)?;
    // What a crash left behind keeps its own mode when it is opened.
    file.set_permissions(fs::Permissions::from_mode(KEY_MODE))?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(data_dir)?.sync_all()
}

/// Gives another directory the key of this one, if it has one: tokens made for one are then good for the other.
pub(crate) fn copy_token_key(from: &Path, to: &Path) -> io::Result<()> {
    match fs::read(from.join(KEY_FILE)) {
        Ok(key) => keep(to, &to.join(KEY_FILE), &key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_directory_stays() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let key = token_key(dir.path()).expect("a key");
        assert_eq!(token_key(dir.path()).expect("the same key"), key);
        fs::write(dir.path().join(KEY_FILE), b"short").expect("written");
        assert!(token_key(dir.path()).expect_err("a damaged key").to_string().contains("5 bytes instead of 32"));
    }

    #[test]
    fn the_key_is_readable_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(KEY_FILE);
        let mode = || fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
        token_key(dir.path()).expect("a key");
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        token_key(dir.path()).expect("the same key");
        assert_eq!(mode(), 0o600, "a key that was open to others is closed");
    }
}
