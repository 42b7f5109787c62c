//! How many files and sockets the process may have open, and who gets how many: the log comes first, because a log
//! that cannot open a file stops the node.

use thiserror::Error;

use crate::limits;

/// The shares of the process's open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// What the process may have open in all.
    pub(crate) limit: u64,
    /// For the log's files.
    pub(crate) log: u32,
    /// Clients' connections of every kind.
    pub(crate) connections: usize,
    /// How many of them may be sockets: the others are left for those who ask over HTTP.
    pub(crate) sockets: usize,
}

/// The process may open too few files to do anything.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the process may have only {limit} files open, and a node needs {}: raise the limit (`ulimit -n`, LimitNOFILE=)",
    limits::LEAST_OPEN_FILES
)]
pub(crate) struct TooFew {
    limit: u64,
}

impl OpenFiles {
    /// Raises the process's limit as far as it goes by itself, and shares it out.
    pub(crate) fn claim(wanted_sockets: usize) -> Result<Self, TooFew> {
        Self::share(storage::raise_open_files(), wanted_sockets)
    }

    fn share(limit: u64, wanted_sockets: usize) -> Result<Self, TooFew> {
        if limit < limits::LEAST_OPEN_FILES {
            return Err(TooFew { limit });
        }
        let most = u64::from(limits::LOG_FILES);
        let log = u32::try_from((limit / 4).min(most)).expect("at most the log's share");
        let left = usize::try_from(limit - u64::from(log) - limits::RESERVED_FILES).unwrap_or(usize::MAX);
        let connections = left.min(wanted_sockets.saturating_add(limits::HTTP_CONNECTIONS));
        let for_http = (connections / 8).min(limits::HTTP_CONNECTIONS);
        Ok(Self { limit, log, connections, sockets: wanted_sockets.min(connections - for_http) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limit: u64, expect: (u32, usize, usize)) {
        let shares = OpenFiles::share(limit, 50_000).expect("enough");
        assert_eq!((shares.log, shares.connections, shares.sockets), expect, "{limit}");
        let all = u64::from(shares.log) + shares.connections as u64 + limits::RESERVED_FILES;
        assert!(all <= limit, "{all} of {limit} are given away");
    }

    #[test]
    fn the_log_and_http_keep_their_share_however_small_the_limit_is() {
        check(256, (64, 64, 56));
        check(1024, (256, 640, 560));
        check(4096, (1024, 2944, 2576));
        check(u64::MAX, (1024, 51_024, 50_000));
    }

    #[test]
    fn too_few_files_are_refused_with_advice() {
        let refused = OpenFiles::share(255, 50_000).expect_err("too few");
        assert!(refused.to_string().contains("only 255 files open, and a node needs 256"), "{refused}");
    }
}
