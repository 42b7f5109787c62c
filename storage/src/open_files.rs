//! How many files a store may keep open where nobody shares them out: in a command that looks at a directory. A store
//! that is refused a file cannot tell that from a file that is gone.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::OPEN_FILES;

/// Lifts the process's limit of open files as far as it goes by itself, and tells it.
pub fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let lifted = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if lifted.is_ok() { maximum } else { current };
    limit.unwrap_or(u64::MAX)
}

/// A command's share: half of what the process may have. The rest is for its own files.
pub(crate) fn of_a_command() -> u32 {
    share(raise_open_files())
}

fn share(limit: u64) -> u32 {
    u32::try_from(limit / 2).unwrap_or(u32::MAX).min(OPEN_FILES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_leaves_files_for_others() {
        assert_eq!([share(64), share(1024), share(u64::MAX)], [32, 512, OPEN_FILES]);
        assert!(of_a_command() > 0);
    }
}
