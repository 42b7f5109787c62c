//! What the commands share that look at a stopped node's data directory.

use std::path::Path;

use storage::{OpenError, ReadOnlyLog};

use super::node_process::open_exit;
use crate::exit::{Exit, Failure};

/// A running node's files change under the eye: what looks wrong then may only be half written.
pub(super) fn refuse_running(directory: &Path) -> Result<(), Failure> {
    refuse_in_use(storage::in_use_by(directory), directory)
}

/// Opens the log to read it from beginning to end.
pub(super) fn open(directory: &Path) -> Result<ReadOnlyLog, Failure> {
    let (log, _) = ReadOnlyLog::open(directory).map_err(|error| failure(&error))?;
    refuse_in_use(log.in_use_by().map(str::to_owned), directory)?;
    Ok(log)
}

fn refuse_in_use(owner: Option<String>, directory: &Path) -> Result<(), Failure> {
    match owner {
        None => Ok(()),
        Some(owner) => Err(Failure::new(Exit::Refused, format!("{} is in use by {owner}", directory.display()))
            .coded("directory_in_use")
            .advise("stop that node first")),
    }
}

pub(super) fn failure(error: &OpenError) -> Failure {
    let (exit, code) = open_exit(error);
    Failure::new(exit, error.to_string()).coded(code)
}
