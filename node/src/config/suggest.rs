//! "Did you mean": the name nearest to what was written.

use super::keys::{self, KEYS};

/// Longer than any setting's name: not worth comparing.
const MAX_COMPARED: usize = 128;

/// For a name in the section `section` (empty: the root): a neighbour of nearly the same name, else the whole path of
/// a setting that is called so somewhere else.
pub(crate) fn key(section: &str, name: &str) -> Option<String> {
    let neighbours = members(section);
    let moved = || KEYS.iter().find(|key| key.path.rsplit('.').next() == Some(name)).map(|key| key.path.to_owned());
    closest(name, neighbours.into_iter()).map(str::to_owned).or_else(moved)
}

/// For an environment variable: one of nearly the same name, one underscore too few included.
pub(crate) fn variable(name: &str) -> Option<String> {
    let known: Vec<String> = KEYS.iter().map(keys::Key::variable).collect();
    let single = name.replace("__", "_");
    let near = |known: &&String| known.replace("__", "_") == single;
    known
        .iter()
        .find(near)
        .map(String::as_str)
        .or_else(|| closest(name, known.iter().map(String::as_str)))
        .map(str::to_owned)
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

fn closest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if written.len() > MAX_COMPARED {
        return None;
    }
    let written = written.to_lowercase();
    // Whoever writes `jitter` for `jitter_factor` knows what is meant, but no distance does.
    let begins = |name: &&'n str| written.len() >= 3 && name.to_lowercase().starts_with(&written);
    let near = |name: &'n str| {
        let distance = strsim::damerau_levenshtein(&written, &name.to_lowercase());
        (distance <= (name.len() / 4).clamp(1, 4)).then_some((distance, name))
    };
    let known: Vec<&str> = known.collect();
    let nearest = known.iter().copied().filter_map(near).min().map(|(_, name)| name);
    nearest.or_else(|| known.into_iter().find(begins))
}
