//! Errors of workflows as RFC 7807 describes them, and what a `catch` compares. One table knows that several names
//! mean the same type.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::program::ErrorFilter;

/// The standard types, in their canonical form
/// (<https://github.com/open-workflow-specification/specification/blob/main/dsl-reference.md#standard-error-types>).
pub const CONFIGURATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/configuration";
pub const VALIDATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/validation";
pub const EXPRESSION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/expression";
pub const AUTHENTICATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/authentication";
pub const AUTHORIZATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/authorization";
pub const TIMEOUT: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/timeout";
pub const COMMUNICATION: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/communication";
pub const RUNTIME: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/runtime";

/// The statuses that the specification gives the standard types.
pub const STANDARD: [(&str, u16); 8] = [
    (CONFIGURATION, 400),
    (VALIDATION, 400),
    (EXPRESSION, 400),
    (AUTHENTICATION, 401),
    (AUTHORIZATION, 403),
    (TIMEOUT, 408),
    (COMMUNICATION, 500),
    (RUNTIME, 500),
];

const PREFIX: &str = "https://open-workflow-specification.org/";
const CANONICAL: &str = "https://open-workflow-specification.org/spec/1.0.0/errors/";
/// The specification's name until mid-2026, and how its addresses are written.
const FAMILIES: [&str; 6] = [
    PREFIX,
    "https://serverlessworkflow.io/",
    "http://open-workflow-specification.org/",
    "http://serverlessworkflow.io/",
    "https://www.open-workflow-specification.org/",
    "https://www.serverlessworkflow.io/",
];

/// The one name under which a type is compared. Types outside the specification's addresses are their own names.
pub fn canonical_error_type(type_: &str) -> Cow<'_, str> {
    let Some(path) = FAMILIES.iter().find_map(|family| type_.strip_prefix(family)) else {
        return Cow::Borrowed(type_);
    };
    let path = path.trim_end_matches('/');
    match name_of(path) {
        Some(name) => Cow::Owned(format!("{CANONICAL}{name}")),
        None => Cow::Owned(format!("{PREFIX}{path}")),
    }
}

/// The name of an error, from either form: `spec/<version>/errors/<name>` or `dsl/errors/types/<name>`.
fn name_of(path: &str) -> Option<&str> {
    if let Some(name) = path.strip_prefix("dsl/errors/types/") {
        return Some(name);
    }
    let (_, name) = path.strip_prefix("spec/")?.split_once("/errors/")?;
    Some(name)
}

/// An error of a run: raised by its definition, by a step or by the engine. The type is as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowError {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// A JSON pointer to the task that it comes from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
}

impl WorkflowError {
    pub fn new(type_: impl Into<String>, status: u16) -> Self {
        Self { type_: type_.into(), status, title: None, detail: None, instance: None }
    }

    #[must_use]
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: Some(title.into()), ..self }
    }

    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    #[must_use]
    pub fn instance(self, instance: impl Into<String>) -> Self {
        Self { instance: Some(instance.into()), ..self }
    }

    /// What `$error` holds in a `catch`.
    pub fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("texts and a number are JSON")
    }

    pub fn from_json(value: &Json) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }

    pub fn canonical_type(&self) -> Cow<'_, str> {
        canonical_error_type(&self.type_)
    }
}

impl ErrorFilter {
    /// Whether an error has all that the filter names.
    pub fn matches(&self, error: &WorkflowError) -> bool {
        let same = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.type_.as_deref().is_none_or(|wanted| canonical_error_type(wanted) == error.canonical_type())
            && self.status.is_none_or(|wanted| wanted == error.status)
            && same(&self.instance, &error.instance)
            && same(&self.title, &error.title)
            && same(&self.detail, &error.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_standard_type_are_one() {
        for name in [
            "https://serverlessworkflow.io/spec/1.0.0/errors/timeout",
            "https://serverlessworkflow.io/dsl/errors/types/timeout",
            "https://open-workflow-specification.org/dsl/errors/types/timeout",
            "https://open-workflow-specification.org/spec/1.0.3/errors/timeout",
            "https://open-workflow-specification.org/spec/1.0.0/errors/timeout/",
            "http://serverlessworkflow.io/spec/1.0.0/errors/timeout",
        ] {
            assert_eq!(canonical_error_type(name), TIMEOUT, "{name}");
        }
    }

    #[test]
    fn other_types_stay_what_they_are() {
        for name in ["https://example.com/errors/x", "RateLimited", "", "urn:x:y"] {
            assert_eq!(canonical_error_type(name), name);
        }
        let renamed = canonical_error_type("https://serverlessworkflow.io/errors/not-implemented");
        assert_eq!(renamed, "https://open-workflow-specification.org/errors/not-implemented");
    }

    #[test]
    fn a_filter_catches_an_error_that_has_all_it_names() {
        let error = WorkflowError::new("https://serverlessworkflow.io/spec/1.0.0/errors/communication", 503)
            .title("Service Unavailable")
            .instance("/do/0/ask");
        let filter = |change: fn(&mut ErrorFilter)| {
            let mut filter = ErrorFilter::default();
            change(&mut filter);
            filter.matches(&error)
        };
        assert!(filter(|_| ()));
        assert!(filter(|filter| filter.type_ = Some(COMMUNICATION.to_owned())));
        assert!(!filter(|filter| filter.type_ = Some(TIMEOUT.to_owned())));
        assert!(filter(|filter| filter.status = Some(503)));
        assert!(!filter(|filter| filter.status = Some(500)));
        assert!(filter(|filter| filter.instance = Some("/do/0/ask".to_owned())));
        assert!(!filter(|filter| filter.detail = Some("anything".to_owned())));
    }

    #[test]
    fn an_error_comes_back_as_it_went() {
        let error = WorkflowError::new(RUNTIME, 500).detail("it broke");
        let json = error.to_json();
        assert_eq!(json.to_string(), format!(r#"{{"type":"{RUNTIME}","status":500,"detail":"it broke"}}"#));
        assert_eq!(WorkflowError::from_json(&json), Some(error));
    }
}
