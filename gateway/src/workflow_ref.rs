//! How people name a workflow: `name`, `namespace/name`, either with `@version`.

use types::{Code, Refusal};

use crate::backend::WorkflowRef;

/// The namespace of a name that has none.
pub const DEFAULT_NAMESPACE: &str = "default";

impl WorkflowRef {
    /// Reads a name as people write it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let (namespace, name) = path.split_once('/').unwrap_or((DEFAULT_NAMESPACE, path));
        Self::new(namespace, name, version).ok_or_else(|| {
            let start: String = text.chars().take(80).collect();
            let message =
                format!("{start:?} names no workflow: write `name` or `namespace/name`, either with `@version`");
            Refusal::new(Code::InvalidName, message)
        })
    }

    /// Puts a name together, if its parts are plain.
    pub(crate) fn new(namespace: &str, name: &str, version: Option<&str>) -> Option<Self> {
        let plain = |part: &str| {
            (1..=128).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
        };
        let good = plain(namespace) && plain(name) && version.is_none_or(plain);
        let version = version.map(str::to_owned);
        good.then(|| Self { namespace: namespace.to_owned(), name: name.to_owned(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_is_named_as_people_write_it() {
        let check = |text: &str, namespace: &str, name: &str, version: Option<&str>| {
            let version = version.map(str::to_owned);
            let expect = WorkflowRef { namespace: namespace.into(), name: name.into(), version };
            assert_eq!(WorkflowRef::parse(text), Ok(expect), "{text}");
        };
        check("draft", "default", "draft", None);
        check("acme/draft", "acme", "draft", None);
        check("draft@1.0.0", "default", "draft", Some("1.0.0"));
        check("acme/draft@1.0.0-rc.1+7", "acme", "draft", Some("1.0.0-rc.1+7"));
        for bad in ["", "/draft", "acme/", "a/b/c", "draft@", "dra ft", "draft@1@2"] {
            assert!(WorkflowRef::parse(bad).is_err(), "{bad:?}");
        }
    }
}
