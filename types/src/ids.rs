//! Who owns something and what it is called: tenants, runs, workflow definitions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::RoutingHash;

/// The tenant of a request. It comes from the credential, never from a body, a cursor or a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{name:?} is not a valid {what}: use 1 to 64 letters, digits, '-', '_' or '.', starting with a letter or digit"
)]
pub struct NameError {
    what: &'static str,
    name: String,
}

fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

impl TenantId {
    pub fn new(name: &str) -> Result<Self, NameError> {
        if is_plain_name(name) {
            Ok(Self(name.into()))
        } else {
            Err(NameError { what: "tenant", name: name.to_owned() })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The one tenant of a node without authentication.
impl Default for TenantId {
    fn default() -> Self {
        Self("default".into())
    }
}

impl TryFrom<String> for TenantId {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> String {
        tenant.as_str().to_owned()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run: `<8 hex digits of the routing hash>-<26 characters of a ULID>`, such as
/// `1f0c9a3e-01JD2V6J6Q0Z8X4M7K3T5R9W1Y`. 35 characters, and it routes by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    hash: RoutingHash,
    ulid: u128,
}

/// Why a run id could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a run id: expected 8 hex digits, '-' and 26 characters of a ULID")]
pub struct RunIdError(String);

impl RunId {
    /// How many characters a run id has.
    pub const LENGTH: usize = 35;

    pub const fn new(hash: RoutingHash, ulid: u128) -> Self {
        Self { hash, ulid }
    }

    pub const fn routing_hash(&self) -> RoutingHash {
        self.hash
    }

    pub const fn ulid(&self) -> u128 {
        self.ulid
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.hash.bits(), ulid::Ulid::from(self.ulid))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let refused = || RunIdError(text.chars().take(80).collect());
        let (hash, ulid) = text.split_once('-').ok_or_else(refused)?;
        let lowercase_hex = hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !lowercase_hex {
            return Err(refused());
        }
        let hash = RoutingHash::from_bits(u32::from_str_radix(hash, 16).map_err(|_| refused())?);
        let id = Self::new(hash, ulid::Ulid::from_string(ulid).map_err(|_| refused())?.into());
        // One run has one spelling: ULID readers also take lower case and overflowing values.
        if id.to_string() == text { Ok(id) } else { Err(refused()) }
    }
}

impl TryFrom<String> for RunId {
    type Error = RunIdError;

    fn try_from(text: String) -> Result<Self, RunIdError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.to_string()
    }
}

/// The content of a workflow definition: blake3 over its source text. A run is pinned to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowHash([u8; 32]);

impl WorkflowHash {
    pub fn of(source: &str) -> Self {
        Self(*blake3::hash(source.as_bytes()).as_bytes())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for WorkflowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for WorkflowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_has_one_spelling() {
        let id = RunId::new(RoutingHash::from_bits(0x1f0c_9a3e), 0x0192_abcd_ef01_2345_6789_abcd_ef01_2345);
        let text = id.to_string();
        assert_eq!(text.len(), RunId::LENGTH);
        assert_eq!(text.parse(), Ok(id));
        for bad in ["", "runs", &text.to_lowercase(), &text[1..], &format!("{text}0"), &text.replace('-', "_")] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tenant_names_are_plain() {
        for good in ["default", "a", "Team-7", "x.y_z"] {
            assert!(TenantId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(TenantId::new(bad).is_err(), "{bad}");
        }
    }
}
