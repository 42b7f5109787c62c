//! What operators ask of the node: long work on threads of its own, never on those that serve clients.

use std::future::Future;
use std::path::{Path, PathBuf};

use gateway::operator::{BackUp, BackupMade, Load, LogStats, Operator, ReadRecords, RecordPage, SegmentView, Written};
use storage::{BackupError, BackupOptions, OpenError, ReadError};
use types::{Code, PartitionId, Refusal};

use crate::backend::NodeBackend;
use crate::inspect::{self, Names};
use crate::partition::Host;
use crate::translate;

type Outcome<T> = Result<T, Refusal>;

impl Operator for NodeBackend {
    fn back_up(&self, request: BackUp) -> impl Future<Output = Outcome<BackupMade>> + Send + 'static {
        let host = self.host().clone();
        in_background(move || {
            let target = target(&request.target)?;
            let options = BackupOptions { now: host.now(), copy: request.copy };
            tracing::info!(target = request.target, "a backup is being made");
            let made = host.storage.back_up(&target, options, &mut |_| {}).map_err(|error| refusal(&error))?;
            tracing::info!(path = %made.path.display(), bytes = made.bytes, copied = made.copied_bytes, "backed up");
            Ok(BackupMade {
                path: made.path.display().to_string(),
                made: options.now,
                partitions: made.partitions,
                positions: made.positions,
                files: made.files,
                bytes: made.bytes,
                copied_bytes: made.copied_bytes,
                quarantined: made.quarantined,
                elapsed_ms: u64::try_from(made.elapsed.as_millis()).unwrap_or(u64::MAX),
            })
        })
    }

    fn load(&self, over_ms: u64) -> impl Future<Output = Outcome<Load>> + Send + 'static {
        self.look(move |host| inspect::load(host.log.as_ref(), Some(host.now()), over_ms))
    }

    fn segments(
        &self,
        partition: Option<PartitionId>,
    ) -> impl Future<Output = Outcome<Vec<SegmentView>>> + Send + 'static {
        let host = self.host().clone();
        in_background(move || {
            if let Some(partition) = partition.filter(|partition| partition.value() >= host.partitions().get()) {
                return Err(no_partition(partition, &host));
            }
            inspect::segments(host.storage.as_ref(), partition).map_err(|error| unreadable(&error))
        })
    }

    fn stats(&self) -> impl Future<Output = Outcome<LogStats>> + Send + 'static {
        let host = self.host().clone();
        in_background(move || {
            let block_bytes = host.storage.metrics().block_bytes();
            let written = inspect::disk_bytes().map(|disk_bytes| Written { block_bytes, disk_bytes });
            inspect::stats(host.storage.as_ref(), written).map_err(|error| unreadable(&error))
        })
    }

    fn read_records(&self, request: ReadRecords) -> impl Future<Output = Outcome<RecordPage>> + Send + 'static {
        let (host, partition) = (self.host().clone(), request.partition);
        let read = self
            .look(move |host| inspect::read(host.log.as_ref(), host.rows.as_ref(), &mut Names::default(), &request));
        async move {
            if partition.value() >= host.partitions().get() {
                return Err(no_partition(partition, &host));
            }
            read.await
        }
    }
}

impl NodeBackend {
    /// Looks into the log, among the bounded number of those that read it at once.
    fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Host) -> Result<T, ReadError> + Send + 'static,
    ) -> impl Future<Output = Outcome<T>> + Send + 'static {
        let (host, reads) = (self.host().clone(), self.reads());
        async move {
            let _permit = reads.acquire_owned().await;
            in_background(move || look(&host).map_err(|error| translate::read_failed(&error))).await
        }
    }
}

fn no_partition(partition: PartitionId, host: &Host) -> Refusal {
    let last = host.partitions().get() - 1;
    Refusal::new(Code::NotFound, format!("there is no such partition as {partition}: the node has 0 to {last}"))
}

fn unreadable(error: &OpenError) -> Refusal {
    Refusal::new(Code::Internal, error.to_string())
}

/// Runs to its end, also when nobody waits for the answer any more.
fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> impl Future<Output = Outcome<T>> + Send + 'static {
    let working = tokio::task::spawn_blocking(work);
    async move { working.await.unwrap_or_else(|_| Err(Refusal::new(Code::Internal, "the work broke off"))) }
}

/// The node's own working directory is nobody's business.
fn target(text: &str) -> Outcome<PathBuf> {
    let path = Path::new(text);
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    Err(Refusal::new(Code::InvalidInput, format!("{text:?} is not an absolute path on the node's machine")))
}

fn refusal(error: &BackupError) -> Refusal {
    let code = match error {
        BackupError::Busy { .. } | BackupError::NoSpace { .. } => Code::Unavailable,
        BackupError::Exists { .. }
        | BackupError::NotABackup { .. }
        | BackupError::NewerFormat { .. }
        | BackupError::Refused { .. }
        | BackupError::Damaged { .. }
        | BackupError::Io { .. } => Code::InvalidInput,
        BackupError::Log(_) => Code::Internal,
    };
    Refusal::new(code, format!("failed to back up: {error}"))
}
