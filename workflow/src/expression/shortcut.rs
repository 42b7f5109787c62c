//! Plain paths such as `.`, `.order.id` and `$context.user`: read straight off the data, as most expressions are.
//! A test holds every answer equal to that of the evaluation it saves.

use serde_json::Value as Json;

use super::meter::Stop;
use super::resolve::Resolved;
use super::term::{KeyKind, Term};
use super::value::Value;
use crate::program::Variables;

#[derive(Debug)]
pub(crate) struct Shortcut {
    /// Where the path begins: a variable, or the input.
    variable: Option<String>,
    fields: Vec<String>,
}

impl Shortcut {
    /// The expression as a plain path, if it is one.
    pub(crate) fn of(resolved: &Resolved) -> Option<Self> {
        let (root, keys) = if let Term::Path(root, keys) = &resolved.term {
            (&**root, keys.as_slice())
        } else {
            (&resolved.term, [].as_slice())
        };
        let variable = if let Term::Global(at) = root {
            Some(resolved.globals[*at].clone())
        } else if matches!(root, Term::Identity) {
            None
        } else {
            return None;
        };
        let fields = keys.iter().map(|key| match &key.kind {
            KeyKind::At(Value::Text(name)) if !key.lenient => Some(name.to_string()),
            KeyKind::At(_) | KeyKind::Each | KeyKind::Slice(..) => None,
        });
        Some(Self { variable, fields: fields.collect::<Option<_>>()? })
    }

    pub(crate) fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }

    pub(crate) fn is_identity(&self) -> bool {
        self.variable.is_none() && self.fields.is_empty()
    }

    /// The field of the input that it reads, if it reads one.
    pub(crate) fn reads(&self) -> Vec<String> {
        match &self.variable {
            None => self.fields.first().cloned().into_iter().collect(),
            Some(_) => Vec::new(),
        }
    }

    pub(crate) fn read(&self, input: &Json, variables: &Variables) -> Result<Json, Stop> {
        let mut at = match &self.variable {
            None => input,
            Some(name) => variables.get(name).ok_or_else(|| Stop::error(format!("${name} has no value here")))?,
        };
        for field in &self.fields {
            at = match at {
                Json::Object(object) => object.get(field).unwrap_or(&Json::Null),
                Json::Null => &Json::Null,
                Json::Bool(_) => return Err(refused("boolean", field)),
                Json::Number(_) => return Err(refused("number", field)),
                Json::String(_) => return Err(refused("string", field)),
                Json::Array(_) => return Err(refused("array", field)),
            };
        }
        Ok(at.clone())
    }
}

fn refused(kind: &str, field: &str) -> Stop {
    Stop::error(format!("cannot index {kind} with \"{field}\""))
}
