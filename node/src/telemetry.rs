//! Sets up what the node says about itself: one line an event to standard error, for people or for machines.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt as lines};

/// For whom the lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Coloured on a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Parts of one level: more would be a mistake.
const MAX_PARTS: usize = 64;

/// What is worth a line: `info`, or also by module, such as `info,node::dispatcher=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

/// A level that nobody could mean.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{part}` in it is not a level")]
pub struct LogLevelError {
    part: String,
}

impl FromStr for LogLevel {
    type Err = LogLevelError;

    /// Stricter than the library, which takes a misspelled level for a module's name and then shows nothing.
    fn from_str(written: &str) -> Result<Self, LogLevelError> {
        let wrong = |part: &str| LogLevelError { part: part.chars().take(80).collect() };
        if written.split(',').count() > MAX_PARTS {
            return Err(wrong(written));
        }
        for part in written.split(',') {
            let (module, level) = part.split_once('=').unwrap_or(("all", part));
            if !LEVELS.contains(&level) || !is_module(module) {
                return Err(wrong(part));
            }
        }
        let level = Self(written.to_owned());
        level.targets().map(|_| level).ok_or_else(|| wrong(written))
    }
}

impl LogLevel {
    /// Always `Some` once it was made.
    fn targets(&self) -> Option<Targets> {
        self.0.parse().ok()
    }
}

fn is_module(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    !name.is_empty() && name.bytes().all(allowed)
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why nothing was set up. Harmless: what was set up before goes on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the log output of this process is already set up; the first setting stays")]
pub struct AlreadySetUp;

/// Once per process; a second call changes nothing and says so.
pub fn init(format: LogFormat, level: &LogLevel) -> Result<(), AlreadySetUp> {
    let filter = level.targets().expect("a level was read as targets when it was made");
    let lines = lines::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Pretty => lines.with_ansi(wants_colour()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().map_err(|_| AlreadySetUp)
}

/// <https://no-color.org>
fn wants_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_level_is_not_taken_for_a_module() {
        let check = |written: &str, expect: Result<&str, &str>| {
            let read = written.parse::<LogLevel>().map(|level| level.to_string()).map_err(|error| error.to_string());
            assert_eq!(read, expect.map(str::to_owned).map_err(str::to_owned));
        };
        check("info", Ok("info"));
        check("warn,node::dispatcher=debug,storage=off", Ok("warn,node::dispatcher=debug,storage=off"));
        check("inof", Err("`inof` in it is not a level"));
        check("", Err("`` in it is not a level"));
        check("info,", Err("`` in it is not a level"));
        check("node=", Err("`node=` in it is not a level"));
        check("[span]=info", Err("`[span]=info` in it is not a level"));
    }

    #[test]
    fn a_level_by_module_overrides_the_level_for_all() {
        let level: LogLevel = "warn,node::dispatcher=debug".parse().expect("both parts are levels");
        let targets = level.targets().expect("it was read before");
        assert!(targets.would_enable("node::dispatcher", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("node::alarm", &tracing::Level::INFO));
        assert!(targets.would_enable("node::alarm", &tracing::Level::WARN));
    }

    #[test]
    fn a_second_set_up_is_refused_without_a_panic() {
        let level: LogLevel = "off".parse().expect("off is a level");
        assert_eq!(init(LogFormat::Json, &level), Ok(()));
        assert_eq!(init(LogFormat::Pretty, &level), Err(AlreadySetUp));
    }
}
