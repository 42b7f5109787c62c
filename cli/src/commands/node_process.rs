//! A node as this process: started, announced, and stopped by a signal or by its own failing log.

use std::net::SocketAddr;
use std::time::Duration;

use node::{Config, Node, NodeError, telemetry};
use storage::OpenError;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};
use crate::render;

/// Clients can connect.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    /// From the beginning of the start.
    pub(super) after: Duration,
    /// What was found behind the last good record after an unclean stop; it was never acknowledged.
    pub(super) torn_records: u64,
}

/// Runs until SIGINT or SIGTERM, then drains. A second signal ends it at once; nothing acknowledged is lost by that.
pub(super) async fn run(config: Config, announce: impl FnOnce(&Ready) -> Result<(), Failure>) -> Result<Exit, Failure> {
    // A second start in one process keeps the first's setting, which is the same.
    let _ = telemetry::init(config.log_format, &config.log_level);
    let watch = |kind| signal(kind).map_err(|error| Failure::local("watch for signals", error));
    let (mut interrupt, mut terminate) = (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?);
    let node = Node::start(config).await.map_err(|error| failure(&error))?;
    announce(&Ready {
        address: node.address(),
        admin: node.admin_address(),
        after: node.ready_after(),
        torn_records: node.report().torn_records,
    })?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        failed = node.failed() => return Err(failure(&failed)),
    }
    render::notice("draining: clients are sent away, what was taken is made durable");
    tokio::select! {
        stopped = node.stop() => stopped.map(|()| Exit::Done).map_err(|error| failure(&error)),
        _ = interrupt.recv() => Ok(Exit::Interrupted),
        _ = terminate.recv() => Ok(Exit::Interrupted),
    }
}

/// What the end of a node means for a script: 74 asks for a look at the disk, 4 for another port or directory.
fn failure(error: &NodeError) -> Failure {
    let (exit, code) = match error {
        NodeError::Log(_) => (Exit::LogFailed, "log_failed"),
        NodeError::Recover(_) => (Exit::LogFailed, "recovery_failed"),
        NodeError::Open(open) => open_exit(open),
        NodeError::Listen { .. } => (Exit::Refused, "cannot_listen"),
        NodeError::Setup { .. } => (Exit::Failed, "setup_failed"),
    };
    Failure::new(exit, error.to_string()).coded(code)
}

/// The exit code and the stable name of it.
pub(super) fn open_exit(error: &OpenError) -> (Exit, &'static str) {
    match error {
        OpenError::Locked { .. } => (Exit::Refused, "directory_in_use"),
        OpenError::NewerFormat { .. } => (Exit::Refused, "newer_format"),
        OpenError::NotWritable { .. } => (Exit::Usage, "directory_not_writable"),
        OpenError::NotADataDirectory { .. } => (Exit::Usage, "not_a_data_directory"),
        OpenError::AcknowledgedDataMissing { .. }
        | OpenError::AcknowledgedWritesMissing { .. }
        | OpenError::EndUnknown { .. } => (Exit::LogFailed, "acknowledged_data_missing"),
        OpenError::Damaged { .. } => (Exit::LogFailed, "damaged"),
        OpenError::StoreUnreadable { .. } => (Exit::LogFailed, "store_unreadable"),
        OpenError::Io { .. } => (Exit::LogFailed, "disk_failed"),
    }
}
