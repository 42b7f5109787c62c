//! The name of a stream, and which part of it decides the partition.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{RoutingHash, RunId, TenantId};

/// A stream's name: 1 to 512 bytes, segments parted by `/`, each of letters, digits and `-_.~:@+=`.
/// `runs/<run id>` is the stream of a run; `runs/` and `system/` cannot be created by clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Arc<str>);

/// Why a stream's name was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StreamNameError {
    #[error("a stream's name has 1 to 512 bytes, this one has {0}")]
    Length(usize),
    #[error("{0:?} has an empty segment or a segment of dots: write it as `agent-42/tokens`")]
    Segment(String),
    #[error("{0:?} contains {1:?}: use letters, digits, '/', and any of -_.~:@+=")]
    Character(String, char),
    #[error("{0:?} names no run: `runs/` is followed by a run id")]
    Run(String),
}

impl StreamName {
    pub const MAX_BYTES: usize = 512;

    pub fn new(name: &str) -> Result<Self, StreamNameError> {
        if !(1..=Self::MAX_BYTES).contains(&name.len()) {
            return Err(StreamNameError::Length(name.len()));
        }
        let odd = name.chars().find(|&c| !(c.is_ascii_alphanumeric() || "-_.~:@+=/".contains(c)));
        if let Some(odd) = odd {
            return Err(StreamNameError::Character(name.to_owned(), odd));
        }
        if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(StreamNameError::Segment(name.to_owned()));
        }
        if let Some(id) = name.strip_prefix("runs/") {
            id.parse::<RunId>().map_err(|_| StreamNameError::Run(name.to_owned()))?;
        }
        Ok(Self(name.into()))
    }

    pub fn of_run(run: RunId) -> Self {
        Self(format!("runs/{run}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The run whose stream this is, if it is one.
    pub fn run(&self) -> Option<RunId> {
        self.0.strip_prefix("runs/")?.parse().ok()
    }

    /// Clients may neither create nor append to these.
    pub fn is_reserved(&self) -> bool {
        let first = self.first_segment();
        first == "runs" || first == "system"
    }

    /// What decides the partition: the run's own hash, else the first segment (an agent, a session).
    pub fn routing_hash(&self, tenant: &TenantId) -> RoutingHash {
        match self.run() {
            Some(run) => run.routing_hash(),
            None => RoutingHash::of(tenant, self.first_segment()),
        }
    }

    fn first_segment(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }
}

impl TryFrom<String> for StreamName {
    type Error = StreamNameError;

    fn try_from(name: String) -> Result<Self, StreamNameError> {
        Self::new(&name)
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> String {
        name.as_str().to_owned()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_segments_of_plain_characters() {
        for good in ["a", "agent-42/tokens", "a/b/c", "x:y@z", "system/audit"] {
            assert!(StreamName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "a/../b", "a b", "ü", "runs/x", &"x".repeat(513)] {
            assert!(StreamName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_keyed_by_an_agent_lives_with_that_agents_streams() {
        let tenant = TenantId::default();
        let run = RunId::new(RoutingHash::of(&tenant, "agent-42"), 7);
        let tokens = StreamName::new("agent-42/tokens").expect("valid");
        assert_eq!(StreamName::of_run(run).routing_hash(&tenant), tokens.routing_hash(&tenant));
        assert!(StreamName::of_run(run).is_reserved() && !tokens.is_reserved());
    }
}
