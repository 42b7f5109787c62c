//! Begins a new history: what was published may not be what is there any more, so that cursors of before are refused.

use types::History;

use crate::error::OpenError;
use crate::format::{DataDirectory, io_error};
use crate::keys::{Family, MetaKey};
use crate::open_files;
use crate::recovery::{directory as directory_value, history, partition_meta, store_error, unopened};
use crate::rocks::RocksStore;
use crate::store::{Batch, Store};
use crate::watermark::{self, WatermarkFile};

/// Gives every partition of a directory that nobody has open another history, and closes it in order. Durable when it
/// returns.
pub(crate) fn renew(directory: &DataDirectory, seed: u32) -> Result<Vec<History>, OpenError> {
    let place = directory.log().display().to_string();
    let commit = directory.commit();
    let opened = WatermarkFile::open(&commit).map_err(|error| io_error(&commit, &error))?;
    let (mut file, mut watermark) = opened.map_err(|damage| watermark::unbelievable(&commit, &damage))?;
    let store = RocksStore::open(&directory.log(), open_files::of_a_command(), watermark.durable.len())
        .map_err(unopened(&place))?;
    let (mut batch, mut histories) = (Batch::default(), Vec::new());
    for partition in directory_value(&store)?.partitions.partitions() {
        let mut meta = partition_meta(&store, partition)?;
        meta.history = history(seed, partition).unlike(meta.history);
        batch.put(Family::Meta, &MetaKey::Partition(partition).encode(), meta.value(partition));
        histories.push(meta.history);
    }
    store.write(&batch).and_then(|()| store.sync()).and_then(|()| store.flush()).map_err(store_error(&place))?;
    watermark.sequence = store.sequence();
    drop(store);
    file.write_both(&watermark).map_err(|error| io_error(&commit, &error))?;
    Ok(histories)
}
