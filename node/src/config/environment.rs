//! Which environment variables are settings. Knows their names, not their meaning.

use super::keys::{ENVIRONMENT_PREFIX, KEYS, Key};
use super::settings::Settings;
use super::{Origin, ProblemCode, suggest};

/// Variables that are near a setting's, or have its form, must be one: a typo is refused, not ignored. Others are not
/// ours: `HEADWATER_PORT` and its like are made by Kubernetes for any service of that name.
pub(crate) fn put_into(settings: &mut Settings, variables: impl Iterator<Item = (String, String)>) {
    let mut ours: Vec<_> = variables.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)).collect();
    ours.sort();
    for (variable, text) in ours {
        let origin = Origin::Environment { variable: variable.clone() };
        if let Some(key) = KEYS.iter().find(|key| key.variable() == variable) {
            settings.put(key, &text, origin);
        } else if let Some(near) = suggest::variable(&variable) {
            let message = format!("there is no setting of this name; did you mean `{near}`?");
            settings.refuse(origin, ProblemCode::UnknownKey, message);
        } else if has_form_of_a_setting(&variable) {
            let message = "there is no setting of this name; docs/configuration.md lists all".to_owned();
            settings.refuse(origin, ProblemCode::UnknownKey, message);
        }
    }
}

fn has_form_of_a_setting(variable: &str) -> bool {
    let section = |key: &Key| key.variable().split("__").next().map(|section| format!("{section}__"));
    KEYS.iter().filter_map(section).any(|section| variable.starts_with(&section))
}
