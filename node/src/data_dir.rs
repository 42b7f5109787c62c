//! What a node keeps in its data directory besides the log: the key that workers' tokens are made with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

const KEY_FILE: &str = "token.key";

/// The directory's key, made on first use: tokens stay valid over restarts, and only this directory can make them.
pub(crate) fn token_key(data_dir: &Path) -> io::Result<[u8; 32]> {
    let path = data_dir.join(KEY_FILE);
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|bytes: Vec<u8>| {
            let what = format!("{} has {} bytes instead of 32", path.display(), bytes.len());
            io::Error::new(io::ErrorKind::InvalidData, what)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(data_dir, &path),
        Err(error) => Err(error),
    }
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
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
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
}
