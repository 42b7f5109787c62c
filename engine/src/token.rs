//! A worker's token: names an attempt and cannot be made up. It stays valid over a restart, since it is derived from
//! a key that the data directory keeps.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use types::RunId;

/// As text: `<run id>.<step>.<attempt>.<32 hex digits>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    pub run: RunId,
    pub step: u32,
    pub attempt: u32,
    mac: [u8; 16],
}

/// Why a token could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a task's token: send it back exactly as it came")]
pub struct TokenError(String);

impl Token {
    /// The keyed hash covers run, step, path and attempt.
    pub(crate) fn new(key: &[u8; 32], run: RunId, step: u32, attempt: u32, path: &str) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&run.routing_hash().bits().to_be_bytes());
        hasher.update(&run.ulid().to_be_bytes());
        hasher.update(&step.to_be_bytes());
        hasher.update(&attempt.to_be_bytes());
        hasher.update(path.as_bytes());
        let mut mac = [0; 16];
        mac.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self { run, step, attempt, mac }
    }

    /// Whether this node made it for the step at this path. Constant time, as `blake3::Hash` compares.
    pub(crate) fn is_genuine(&self, key: &[u8; 32], path: &str) -> bool {
        let genuine = Self::new(key, self.run, self.step, self.attempt, path);
        let widen = |mac: [u8; 16]| blake3::Hash::from_bytes(std::array::from_fn(|i| mac[i % 16]));
        widen(genuine.mac) == widen(self.mac)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.", self.run, self.step, self.attempt)?;
        self.mac.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        parse(text).ok_or_else(|| TokenError(text.chars().take(120).collect()))
    }
}

fn parse(text: &str) -> Option<Token> {
    let mut parts = text.split('.');
    let (run, step, attempt, hex) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    let mut mac = [0; 16];
    for (i, byte) in mac.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    let token = Token { run: run.parse().ok()?, step: step.parse().ok()?, attempt: attempt.parse().ok()?, mac };
    (token.to_string() == text).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::RoutingHash;

    #[test]
    fn a_token_is_genuine_only_for_its_own_attempt_and_path() {
        let (key, run) = ([7; 32], RunId::new(RoutingHash::from_bits(1), 2));
        let token = Token::new(&key, run, 3, 1, "/do/0/a");
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert!(token.is_genuine(&key, "/do/0/a"));
        assert!(!token.is_genuine(&key, "/do/0/a@2"));
        assert!(!token.is_genuine(&[8; 32], "/do/0/a"));
        assert!(!Token { attempt: 2, ..token }.is_genuine(&key, "/do/0/a"));
    }

    #[test]
    fn garbage_is_not_a_token() {
        for bad in ["", ".", "a.b.c.d", "00000001-00000000000000000000000002.3.1.zz", "x.1.1.00"] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
