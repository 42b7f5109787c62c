//! Reading nodes: what kind they are, which fields they have, where a problem is.

use serde_json::Value as Json;

use super::Compiler;
use crate::document::{Content, Field, Node, Place};
use crate::duration;
use crate::expression::{Expression, Scope, SyntaxError, Template};
use crate::problem::Problem;
use crate::suggest;

/// A node and the JSON pointer to it.
#[derive(Clone, Debug)]
pub(super) struct At<'d> {
    pub(super) node: &'d Node,
    pub(super) pointer: String,
    /// Where a problem is shown: the node, or the name of its field.
    place: Place,
}

impl<'d> At<'d> {
    pub(super) fn root(node: &'d Node) -> Self {
        Self { node, pointer: String::new(), place: node.place }
    }

    pub(super) fn field(&self, name: &str) -> Option<Self> {
        let fields = self.node.fields()?;
        fields.iter().find(|field| field.name == name).map(|field| self.below(field))
    }

    pub(super) fn below(&self, field: &'d Field) -> Self {
        let token = field.name.replace('~', "~0").replace('/', "~1");
        // A map or list is shown where its name stands: its own place is the first thing in it.
        let place = match &field.value.content {
            Content::Scalar { value: Json::Null, .. } | Content::List(_) | Content::Map(_) => field.place,
            Content::Scalar { .. } => field.value.place,
        };
        Self { node: &field.value, pointer: format!("{}/{token}", self.pointer), place }
    }

    pub(super) fn item(&self, index: usize) -> Self {
        let node = match &self.node.content {
            Content::List(items) => &items[index],
            Content::Scalar { .. } | Content::Map(_) => unreachable!("only lists are asked for items"),
        };
        Self { node, pointer: format!("{}/{index}", self.pointer), place: node.place }
    }

    /// The same node, shown where its name is.
    pub(super) fn named(&self, field: &Field) -> Self {
        Self { place: field.place, ..self.clone() }
    }
}

impl<'d> Compiler<'d> {
    pub(super) fn problem(&mut self, at: &At<'_>, code: &'static str, message: String) {
        self.suggest(at, code, message, None);
    }

    pub(super) fn suggest(&mut self, at: &At<'_>, code: &'static str, message: String, suggestion: Option<String>) {
        let Place { line, column } = at.place;
        self.problems.add(Problem { code, message, line, column, pointer: at.pointer.clone(), suggestion });
    }

    /// Refuses a construct by name, with what to do instead.
    pub(super) fn unsupported(&mut self, at: &At<'_>, what: &str, advice: &str) {
        self.problem(at, "unsupported_construct", format!("{what} is not supported: {advice}"));
    }

    pub(super) fn missing<T>(&mut self, at: &At<'_>, name: &str, of: &str) -> Option<T> {
        self.problem(at, "missing_field", format!("{of} needs the field `{name}`"));
        None
    }

    fn wrong_type<T>(&mut self, at: &At<'_>, what: &str, wanted: &str) -> Option<T> {
        let message = format!("{what} must be {wanted}, not {}", at.node.kind());
        self.problem(at, "wrong_type", message);
        None
    }

    pub(super) fn map(&mut self, at: &At<'d>, what: &str) -> Option<&'d [Field]> {
        at.node.fields().or_else(|| self.wrong_type(at, what, "a map"))
    }

    pub(super) fn list(&mut self, at: &At<'d>, what: &str) -> Option<&'d [Node]> {
        match &at.node.content {
            Content::List(items) => Some(items),
            Content::Scalar { .. } | Content::Map(_) => self.wrong_type(at, what, "a list"),
        }
    }

    pub(super) fn text(&mut self, at: &At<'d>, name: &str) -> Option<&'d str> {
        if let Some(text) = at.node.text() {
            return Some(text);
        }
        let advice = match &at.node.content {
            Content::Scalar { value: Json::Number(_) | Json::Bool(_), .. } => "a text (put it in quotes)",
            Content::Scalar { .. } | Content::List(_) | Content::Map(_) => "a text",
        };
        self.wrong_type(at, &format!("`{name}`"), advice)
    }

    pub(super) fn boolean(&mut self, at: &At<'d>, name: &str) -> Option<bool> {
        match &at.node.content {
            Content::Scalar { value: Json::Bool(value), .. } => Some(*value),
            Content::Scalar { .. } | Content::List(_) | Content::Map(_) => {
                self.wrong_type(at, &format!("`{name}`"), "`true` or `false`")
            }
        }
    }

    /// A whole number from 0 to `most`.
    pub(super) fn count(&mut self, at: &At<'d>, name: &str, most: u64) -> Option<u64> {
        let number = match &at.node.content {
            Content::Scalar { value, .. } => value.as_u64().filter(|number| *number <= most),
            Content::List(_) | Content::Map(_) => None,
        };
        if number.is_none() {
            self.problem(at, "wrong_type", format!("`{name}` must be a whole number from 0 to {most}"));
        }
        number
    }

    /// Reports every field that does not belong there.
    pub(super) fn known_fields(&mut self, at: &At<'d>, fields: &'d [Field], known: &[&str], what: &str) {
        for field in fields {
            if !known.contains(&field.name.as_str()) {
                let suggestion = suggest::closest(&field.name, known.iter().copied());
                let message = format!("{what} has no field `{}`", field.name);
                self.suggest(&at.below(field).named(field), "unknown_field", message, suggestion);
            }
        }
    }

    /// The only field of a map, as tasks and cases are written.
    pub(super) fn single(&mut self, at: &At<'d>, what: &str, example: &str) -> Option<(&'d Field, At<'d>)> {
        if let Some([field]) = at.node.fields() {
            return Some((field, at.below(field)));
        }
        let message = format!("{what} is a map with one field, its name: `{example}`");
        self.problem(at, "wrong_type", message);
        None
    }

    /// A condition: an expression, with or without `${ … }`.
    pub(super) fn condition(&mut self, at: &At<'d>, name: &str, scope: &Scope) -> Option<Expression> {
        let text = self.text(at, name)?;
        Expression::parse(text, scope).map_err(|errors| self.syntax_errors(at, text, errors)).ok()
    }

    /// Data with expressions; a text is one even without `${ … }`.
    pub(super) fn data(&mut self, at: &At<'d>, scope: &Scope) -> Option<Template> {
        match at.node.text() {
            Some(text) => Template::expression(text, scope).map_err(|errors| self.syntax_errors(at, text, errors)).ok(),
            None => self.template(at, scope),
        }
    }

    /// Data in which texts that are wholly `${ … }` are expressions.
    pub(super) fn template(&mut self, at: &At<'d>, scope: &Scope) -> Option<Template> {
        let errors = match Template::parse(&at.node.to_json(), scope) {
            Ok(template) => return Some(template),
            Err(errors) => errors,
        };
        for found in errors {
            let node = at.node.at(&found.pointer).unwrap_or(at.node);
            let inner = At { node, pointer: format!("{}{}", at.pointer, found.pointer), place: node.place };
            self.syntax_errors(&inner, node.text().unwrap_or_default(), vec![found.error]);
        }
        None
    }

    /// `input.from`, `output.as` and `export.as`, with a refusal of schemas.
    pub(super) fn data_field(&mut self, at: &At<'d>, name: &str, key: &str, scope: &Scope) -> Option<Template> {
        let at = at.field(name)?;
        let fields = self.map(&at, &format!("`{name}`"))?;
        self.known_fields(&at, fields, &["schema", key], &format!("`{name}`"));
        if let Some(schema) = at.field("schema") {
            let advice = "check the data in a worker, or with a `switch` that leads to a `raise`";
            self.unsupported(&schema, &format!("`{name}.schema`"), advice);
        }
        let data = at.field(key)?;
        match &data.node.content {
            Content::Scalar { value: Json::String(_), .. } | Content::Map(_) => self.data(&data, scope),
            Content::Scalar { .. } | Content::List(_) => {
                self.wrong_type(&data, &format!("`{name}.{key}`"), "an expression or a map")
            }
        }
    }

    /// Shows each error where it is inside the text, when that can be told.
    fn syntax_errors(&mut self, at: &At<'_>, text: &str, errors: Vec<SyntaxError>) {
        for error in errors {
            let mut at = at.clone();
            at.place = at.node.place;
            if let Content::Scalar { offset: Some(offset), .. } = &at.node.content {
                let before = text.get(..error.offset).map_or(0, |before| before.chars().count());
                at.place.column += offset + u32::try_from(before).unwrap_or(0);
            }
            let mut message = format!("in the expression: {}", error.message);
            let whole = text.trim().starts_with("${") && text.trim().ends_with('}');
            if error.code == "bad_expression" && text.contains("${") && !whole {
                message = String::from("an expression stands wholly inside `${ … }` or wholly without it");
            }
            self.suggest(&at, error.code, message, error.suggestion);
        }
    }

    /// A duration of constant length.
    pub(super) fn duration(&mut self, at: &At<'d>, name: &str) -> Option<u64> {
        let read = match &at.node.content {
            Content::Scalar { value: Json::String(text), .. } if text.trim_start().starts_with("${") => {
                let advice = "write a constant such as `{seconds: 30}`";
                self.unsupported(at, &format!("a computed duration (`{name}`)"), advice);
                return None;
            }
            Content::Scalar { value: Json::String(text), .. } => duration::iso(text),
            Content::Map(fields) => self.inline_duration(at, fields, name)?,
            Content::Scalar { .. } | Content::List(_) => {
                return self.wrong_type(at, &format!("`{name}`"), "a duration such as `{seconds: 30}` or `PT30S`");
            }
        };
        read.map_err(|message| self.problem(at, "bad_duration", message)).ok()
    }

    fn inline_duration(&mut self, at: &At<'d>, fields: &'d [Field], name: &str) -> Option<Result<u64, String>> {
        let known = duration::FIELDS.map(|(field, _)| field);
        self.known_fields(at, fields, &known, "a duration");
        if fields.is_empty() {
            let message = format!("`{name}` is an empty duration: write `{{seconds: 30}}`");
            self.problem(at, "bad_duration", message);
            return None;
        }
        let mut parts = Vec::new();
        for (field, unit) in duration::FIELDS {
            let Some(at) = at.field(field) else { continue };
            let Some(count) = at.node.to_json().as_u64() else {
                let message = format!("`{field}` of a duration is a whole number, 0 or more");
                self.problem(&at, "bad_duration", message);
                return None;
            };
            parts.push((count, unit));
        }
        Some(duration::sum(parts.into_iter()))
    }
}

/// Turns "there, but unreadable" into nothing, and keeps "not there".
#[expect(clippy::option_option, reason = "unreadable, absent and present are three things")]
pub(super) fn all_or_nothing<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(read) => read.map(Some),
        None => Some(None),
    }
}
