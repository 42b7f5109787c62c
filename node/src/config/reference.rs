//! All settings as people read them: what docs/configuration.md holds and a command can print.

use super::keys::{KEYS, Key, State};

/// One row of a Markdown table for each setting: key, default, what is allowed, what it does, environment variable.
pub fn reference() -> Vec<String> {
    KEYS.iter().map(row).collect()
}

fn row(key: &Key) -> String {
    let (default, about) = match key.state {
        State::InForce { default } => (format!("`{default}`"), key.about.to_owned()),
        State::NotYet { instead, .. } => ("–".to_owned(), format!("**Not yet in force**: {instead}.")),
    };
    format!("| `{}` | {default} | {} | {about} | `{}` |", key.path, key.kind, key.variable())
}
