//! Makes a directory that was refused for missing data open again, without that data. Says first, partition by
//! partition, what is lost; touches nothing that is good; keeps a copy of what was there; and begins a new history, so
//! that no cursor from before is ever served as if nothing had happened.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use types::{PartitionCount, PartitionId, Position};

use crate::checkpoint::PartitionMeta;
use crate::codec::Damage;
use crate::error::OpenError;
use crate::format::{DataDirectory, DirectoryLock, Found, io_error, sync_folder};
use crate::keys::{Family, MetaKey};
use crate::open_files;
use crate::recovery::{Followed, directory, follow, history, no_row_ahead, store_error, unopened};
use crate::rocks::RocksStore;
use crate::salvage::Salvage;
use crate::store::{Batch, Store};
use crate::watermark::{self, Watermark, WatermarkFile};

/// What is missing in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub partition: PartitionId,
    /// The records before this position are there.
    pub kept: Position,
    /// Those from there to here were durable. Where that is the same position, something behind it cannot be read, and
    /// nobody knows whether it was a record.
    pub durable: Position,
    /// What ended the good ones.
    pub what: String,
}

/// A directory that is locked and was looked through, and not changed.
#[derive(Debug)]
pub struct Repair {
    directory: DataDirectory,
    _lock: DirectoryLock,
    partitions: PartitionCount,
    /// Acknowledged records that are not there.
    pub losses: Vec<Loss>,
    /// Acknowledged writes that are not there, rows among them: the last durable one and the last that was found.
    pub writes: Option<(u64, u64)>,
    /// `COMMIT` cannot be believed, for this reason: then nobody knows what is missing.
    pub commit: Option<String>,
    /// The last opening acknowledged before its syncs and did not stop in order: more may be missing than is known.
    pub may_lack: bool,
    term: u32,
}

impl Repair {
    /// Finds out what is missing. An error is something that accepting a loss does not mend.
    pub fn plan(path: &Path) -> Result<Self, OpenError> {
        let directory = DataDirectory::new(path);
        if directory.find()? == Found::New {
            let what = "there is nothing in it".to_owned();
            return Err(OpenError::NotADataDirectory { path: path.to_owned(), what });
        }
        let lock = directory.lock()?;
        let io = |error| io_error(&directory.path, &error);
        let place = directory.log().display().to_string();
        let store = RocksStore::open_read_only(&directory.log()).map_err(unopened(&place))?;
        let partitions = self::directory(&store)?.partitions;
        let commit = watermark::read(&directory.commit()).map_err(io)?;
        let (mut watermark, mut commit) = match commit {
            Ok(watermark) => (watermark, None),
            Err(damage) => (Watermark::initial(partitions, 0), Some(damage.to_string())),
        };
        if watermark.durable.len() != partitions.get() as usize {
            commit.get_or_insert_with(|| format!("it knows {} partitions", watermark.durable.len()));
            watermark = Watermark::initial(partitions, 0);
        }
        let (mut files, _) = directory.wal_files().map_err(io)?;
        files.extend(directory.kept_aside().map_err(io)?);
        let salvage = Salvage::scan(&files, &watermark).map_err(io)?;
        let (mut losses, mut term) = (Vec::new(), watermark.term);
        for partition in partitions.partitions() {
            let number = partition.value() as usize;
            let followed = follow(&store, partition)?;
            term = term.max(followed.term);
            no_row_ahead(&store, partition, followed.cut.end)?;
            let durable = watermark.durable[number].max(salvage.claims[number]).max(followed.claimed);
            let covered = salvage.covers_tables(&watermark, store.sequence());
            losses.extend(loss(partition, &followed, durable, covered));
        }
        if term > watermark.term && commit.is_none() {
            commit = Some(format!("it is of opening {}, but the log has blocks of opening {term}", watermark.term));
        }
        let sequence = store.sequence();
        let writes = (sequence < watermark.sequence).then_some((watermark.sequence, sequence));
        let may_lack = watermark.may_lack();
        Ok(Self { directory, _lock: lock, partitions, losses, writes, commit, may_lack, term })
    }

    /// Whether there is anything to accept.
    pub fn is_needed(&self) -> bool {
        !self.losses.is_empty() || self.writes.is_some() || self.commit.is_some()
    }

    /// Accepts it: the log ends where the good records do, under histories drawn from `seed`. Gives the folder with a
    /// copy of all that was there before. Cut short, it is simply done again.
    pub fn accept(self, seed: u32) -> Result<PathBuf, OpenError> {
        let io = |error| io_error(&self.directory.path, &error);
        let copy = self.keep_copy().map_err(io)?;
        let place = self.directory.log().display().to_string();
        let count = self.partitions.get() as usize;
        let store =
            RocksStore::open(&self.directory.log(), open_files::of_a_command(), count).map_err(unopened(&place))?;
        let partitions = directory(&store)?.partitions;
        let (mut batch, mut ends) = (Batch::default(), Vec::new());
        for partition in partitions.partitions() {
            let Followed { meta, cut, .. } = follow(&store, partition)?;
            cut.torn.iter().for_each(|torn| batch.delete(Family::Log, &torn.key));
            let everywhere = self.writes.is_some() || self.commit.is_some() || self.may_lack;
            if everywhere || self.losses.iter().any(|loss| loss.partition == partition) {
                let meta = PartitionMeta { history: history(seed, partition).unlike(meta.history), ..meta };
                batch.put(Family::Meta, &MetaKey::Partition(partition).encode(), meta.value(partition));
            }
            ends.push(cut.end);
        }
        store.write(&batch).and_then(|()| store.sync()).map_err(store_error(&place))?;
        // Files of the write-ahead log with claims of what is lost must not be found again.
        store.flush().map_err(store_error(&place))?;
        // All that is left is durable.
        let (term, sequence) = (self.term, store.sequence());
        let watermark = Watermark { clean: false, relaxed: false, term, sequence, durable: ends };
        drop(store);
        WatermarkFile::create(&self.directory.commit(), &watermark).map_err(io)?;
        self.directory.clear_aside().map_err(io)?;
        Ok(copy)
    }

    /// Table files never change, so a second name is a copy; all else is written again.
    fn keep_copy(&self) -> io::Result<PathBuf> {
        let mut number = 1;
        let folder = loop {
            let folder = self.directory.path.join(format!("before-repair-{number}"));
            match fs::create_dir(&folder) {
                Ok(()) => break folder,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        };
        let log = folder.join("log");
        fs::create_dir(&log)?;
        for entry in fs::read_dir(self.directory.log())? {
            let from = entry?.path();
            let to = log.join(from.file_name().expect("a file that was listed has a name"));
            if from.extension().is_some_and(|extension| extension == "sst") {
                fs::hard_link(&from, &to)?;
            } else if from.is_file() {
                fs::copy(&from, &to)?;
            }
        }
        // A start that was refused has put the files of the write-ahead log here; they do not change any more.
        for file in self.directory.kept_aside()? {
            fs::create_dir_all(folder.join("salvage"))?;
            fs::hard_link(
                &file,
                folder.join("salvage").join(file.file_name().expect("a file that was listed has a name")),
            )?;
        }
        match fs::copy(self.directory.commit(), folder.join("COMMIT")) {
            // That it was not there may be what is repaired.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => drop(copied?),
        }
        fs::copy(self.directory.format(), folder.join("FORMAT"))?;
        sync_folder(&log).and_then(|()| sync_folder(&folder)).and_then(|()| sync_folder(&self.directory.path))?;
        Ok(folder)
    }
}

/// `covered`: all that is in a table is known to `COMMIT`, so what cannot be read behind the end was no record.
fn loss(partition: PartitionId, followed: &Followed, durable: Position, covered: bool) -> Option<Loss> {
    let kept = followed.cut.end;
    let unsettled = followed.unsettled.as_ref().filter(|_| !covered);
    let damage = || followed.damage.as_ref().map(Damage::to_string);
    let what = || unsettled.cloned().or_else(damage).unwrap_or_else(|| "what follows is gone".to_owned());
    let durable = durable.max(kept);
    (kept < durable || unsettled.is_some()).then(|| Loss { partition, kept, durable, what: what() })
}
