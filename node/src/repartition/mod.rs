//! Spreads a stopped node's data over another number of partitions: writes a second directory beside the first, verifies
//! it, and only then exchanges the two. What it means for positions, cursors and workers is in ADR 0061.

mod check;
mod error;
mod exchange;
mod merge;
mod owners;
mod renumber;
mod rewrite;
mod rows;

use std::path::{Path, PathBuf};

use storage::{Log, Options, ReadOnlyLog, RocksLog};
use types::{History, PartitionCount, Position};

pub use error::RepartitionError;
use exchange::{Begun, Places};
use owners::Owners;

use crate::data_dir;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repartition {
    pub partitions: PartitionCount,
    /// A random number, from which the histories of the new directory are drawn.
    pub history_seed: u32,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repartitioned {
    pub before: PartitionCount,
    pub after: PartitionCount,
    pub records: u64,
    pub streams: u64,
    pub runs: u64,
    /// Where the directory of before is now.
    pub original: PathBuf,
    /// An earlier attempt had done all but the last step.
    pub resumed: bool,
}

/// Where it is, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The directory as it is is being verified.
    Check,
    /// Records are written to their new partitions.
    Records {
        done: u64,
        of: u64,
    },
    /// State beside the log follows.
    Rows,
    /// The new directory is being verified: first by itself, then against the old one.
    Verify,
    Compare,
    /// Both are exchanged.
    Exchange,
    Settle,
}

/// Told before each step.
pub type OnStep<'a> = &'a mut dyn FnMut(Step);

/// Killed at any step it can be called again: it goes on once the new directory was verified, and begins anew before
/// that. The directory of before is kept beside the new one.
pub fn repartition(
    directory: &Path,
    request: Repartition,
    on_step: OnStep<'_>,
) -> Result<Repartitioned, RepartitionError> {
    let places = Places::of(directory)?;
    let _held = storage::hold_still(directory)?;
    match exchange::begun(&places)? {
        Begun::Exchanged(record) => {
            on_step(Step::Settle);
            return exchange::settle(&places, &record, true);
        }
        // A node that ran meanwhile has written to the old directory what is not in the new one.
        Begun::Verified(record)
            if record.after == request.partitions.get() && record.ends == ends(&ReadOnlyLog::open(directory)?.0) =>
        {
            on_step(Step::Exchange);
            exchange::exchange(&places)?;
            on_step(Step::Settle);
            return exchange::settle(&places, &record, true);
        }
        Begun::Verified(_) | Begun::Unfinished | Begun::Nothing => {}
    }
    on_step(Step::Check);
    let (old, _) = ReadOnlyLog::open(directory)?;
    suitable(&old, request.partitions)?;
    exchange::begin(&places)?;
    exchange::clear(&places)?;
    let report = storage::verify(directory)?;
    if !report.is_sound() {
        return Err(RepartitionError::Damaged { count: report.damage_count, first: report.damages[0].to_string() });
    }
    let record = write(&old, &places, request, on_step)?;
    exchange::verified(&places, &record)?;
    drop(old);
    on_step(Step::Exchange);
    exchange::exchange(&places)?;
    on_step(Step::Settle);
    exchange::settle(&places, &record, false)
}

fn suitable(old: &dyn Log, wanted: PartitionCount) -> Result<(), RepartitionError> {
    if old.partitions() == wanted {
        return Err(RepartitionError::AlreadySo { partitions: wanted });
    }
    for partition in old.partitions().partitions() {
        let bounds = old.bounds(partition);
        if bounds.trimmed || bounds.start_run.value() > 0 || bounds.start_stream.value() > 0 {
            return Err(RepartitionError::Trimmed { partition });
        }
    }
    Ok(())
}

/// Writes the new directory and holds it against the old one.
fn write(
    old: &ReadOnlyLog,
    places: &Places,
    request: Repartition,
    on_step: OnStep<'_>,
) -> Result<exchange::Record, RepartitionError> {
    let options = Options { partitions: request.partitions, history_seed: request.history_seed, ..Options::default() };
    let mut owners = Owners::new(request.partitions);
    let (new, _) = RocksLog::open(&places.beside, &options)?;
    let written = rewrite::records(old, new.as_ref(), &mut owners, &mut *on_step)?;
    on_step(Step::Rows);
    let kept = rows::rewrite(old, new.as_ref(), &owners)?;
    new.close().map_err(|error| RepartitionError::Write { what: error.to_string() })?;
    drop(new);
    // Workers' tokens name runs and steps, which stay what they are: what is held now is still held afterwards.
    data_dir::copy_token_key(&places.directory, &places.beside)
        .map_err(|error| RepartitionError::io(&places.beside, &error))?;
    on_step(Step::Verify);
    let report = storage::verify(&places.beside)?;
    if !report.is_sound() {
        return Err(RepartitionError::NotTheSame { what: report.damages[0].to_string() });
    }
    on_step(Step::Compare);
    check::compare(&places.beside, &written, &kept)?;
    Ok(exchange::Record {
        before: old.partitions().get(),
        after: request.partitions.get(),
        records: written.records,
        streams: kept.streams,
        runs: kept.runs,
        ends: ends(old),
    })
}

fn ends(log: &dyn Log) -> Vec<(History, Position)> {
    let end = |partition| (log.bounds(partition).history, log.bounds(partition).end);
    log.partitions().partitions().map(end).collect()
}
