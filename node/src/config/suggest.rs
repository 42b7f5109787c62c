//! "Did you mean": the name nearest to what was written.

use super::keys::{ENVIRONMENT_PREFIX, KEYS, Key};

/// Longer than any setting's name: not worth comparing.
const MAX_COMPARED: usize = 128;

/// For a name in the section `section` (empty: the root): a neighbour of nearly the same name, else one that begins so,
/// else the whole path of a setting that is called so somewhere else.
pub(crate) fn key(section: &str, name: &str) -> Option<String> {
    let neighbours = members(section);
    // Whoever writes `jitter` for `jitter_factor` knows what is meant, but no distance does.
    let begins = || neighbours.iter().copied().find(|neighbour| name.len() >= 3 && neighbour.starts_with(name));
    let near = closest(name, &neighbours).or_else(begins).map(str::to_owned);
    near.or_else(|| KEYS.iter().find(|key| key.name() == name).map(|key| key.path.to_owned()))
}

/// For an environment variable: one of nearly the same name, an underscore too few or the section left out included.
pub(crate) fn variable(written: &str) -> Option<String> {
    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let single = written.replace("__", "_");
    let underscore = || known.iter().copied().find(|known| known.replace("__", "_") == single).map(str::to_owned);
    let bare = written.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(written).to_lowercase();
    let section = || KEYS.iter().find(|key| key.name() == bare).map(Key::variable);
    underscore().or_else(section).or_else(|| closest(written, &known).map(str::to_owned))
}

/// The names directly in a section, in the table's order.
pub(crate) fn members(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let below = if section.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'))
        };
        let name = below.and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

fn closest<'n>(written: &str, known: &[&'n str]) -> Option<&'n str> {
    if written.len() > MAX_COMPARED {
        return None;
    }
    let written = written.to_lowercase();
    let near = |name: &'n str| {
        let distance = strsim::damerau_levenshtein(&written, &name.to_lowercase());
        (distance <= (name.len() / 4).clamp(1, 4)).then_some((distance, name))
    };
    known.iter().copied().filter_map(near).min().map(|(_, name)| name)
}
