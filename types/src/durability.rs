//! What an acknowledgement promises: how much a crash may take back of what was acknowledged.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// When an acknowledgement is given. As text: `commit`, `interval=50` (milliseconds) or `os`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Durability {
    /// After the sync to disk: nothing that was acknowledged is lost.
    #[default]
    Commit,
    /// After the write to the operating system, which is synced so often, in milliseconds: a crash of the machine may
    /// take back what was acknowledged since the last sync.
    Interval(NonZeroU32),
    /// After the write to the operating system, which syncs when it likes: a crash of the machine may take back what
    /// was acknowledged since the node was started.
    Os,
}

impl Durability {
    /// The longest interval: an hour.
    pub const INTERVAL_MS_MAX: u32 = 3_600_000;

    /// Whether something that was acknowledged may be lost, so that an unclean stop begins a new history.
    pub const fn is_relaxed(self) -> bool {
        match self {
            Self::Commit => false,
            Self::Interval(_) | Self::Os => true,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => f.write_str("commit"),
            Self::Interval(ms) => write!(f, "interval={ms}"),
            Self::Os => f.write_str("os"),
        }
    }
}

/// A text that names no level.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`commit`, `interval=<ms>` with 1 to {max} milliseconds, or `os` is expected", max = Durability::INTERVAL_MS_MAX)]
pub struct DurabilityError;

impl FromStr for Durability {
    type Err = DurabilityError;

    fn from_str(text: &str) -> Result<Self, DurabilityError> {
        match text {
            "commit" => Ok(Self::Commit),
            "os" => Ok(Self::Os),
            _ => {
                let digits = text.strip_prefix("interval=").ok_or(DurabilityError)?;
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let ms = digits.parse::<NonZeroU32>().ok().filter(|ms| plain && ms.get() <= Self::INTERVAL_MS_MAX);
                ms.map(Self::Interval).ok_or(DurabilityError)
            }
        }
    }
}

impl TryFrom<String> for Durability {
    type Error = DurabilityError;

    fn try_from(text: String) -> Result<Self, DurabilityError> {
        text.parse()
    }
}

impl From<Durability> for String {
    fn from(durability: Durability) -> Self {
        durability.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_read_as_it_is_written() {
        for text in ["commit", "os", "interval=1", "interval=50", "interval=3600000"] {
            let level: Durability = text.parse().expect("it is a level");
            assert_eq!(level.to_string(), text);
            assert_eq!(level.is_relaxed(), text != "commit");
        }
    }

    #[test]
    fn nothing_else_is_a_level() {
        for text in
            ["", "Commit", "interval", "interval=", "interval=0", "interval=+5", "interval=3600001", "interval=5ms"]
        {
            assert_eq!(text.parse::<Durability>(), Err(DurabilityError), "{text}");
        }
    }
}
