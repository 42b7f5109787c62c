//! "Did you mean": the known name nearest to what was written.

/// The closest of the known names, if one is close enough to be meant.
pub(crate) fn closest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<String> {
    let near = |name: &'n str| {
        let distance = strsim::damerau_levenshtein(&written.to_lowercase(), &name.to_lowercase());
        (distance <= (name.len() / 3).max(1) && name != written).then_some((distance, name))
    };
    if written.len() > 64 {
        return None;
    }
    known.filter_map(near).min().map(|(_, name)| name.to_owned())
}
