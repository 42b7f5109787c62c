//! Reads a pipe for as long as its process is there, and then what the process left in it.

use std::time::Duration;

use headwater_client::Failed;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

/// What is copied at a time.
pub(super) const PIECE_BYTES: usize = 8 * 1024;

/// How long a program that has exited may be quiet before its output counts as ended, though somebody else, such as a
/// daemon that it left behind, holds its pipes still.
const QUIET: Duration = Duration::from_millis(500);

/// How much is read after the exit: more than any pipe holds (1 MiB is the most that Linux gives to an ordinary user).
const LEFT_BEHIND_BYTES: usize = 1 << 20;

/// Copies what a process writes, and ends with its exit: after that only what it left in the pipe is read.
pub(super) async fn drain(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut exited: watch::Receiver<bool>,
) -> Result<(), Failed> {
    let unreadable = |error| Failed::new(format!("the program's output cannot be read: {error}"));
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = LEFT_BEHIND_BYTES;
    let mut running = true;
    while left > 0 {
        let read = if running {
            tokio::select! {
                read = from.read(&mut piece) => read,
                _ = exited.wait_for(|exited| *exited) => {
                    running = false;
                    continue;
                }
            }
        } else {
            match timeout(QUIET, from.read(&mut piece)).await {
                Ok(read) => read,
                Err(_) => return Ok(()),
            }
        };
        let read = read.map_err(unreadable)?;
        if read == 0 || to.write_all(&piece[..read]).await.is_err() {
            // Its end, or nobody listens any more and says why.
            return Ok(());
        }
        if !running {
            left = left.saturating_sub(read);
        }
    }
    Ok(())
}
