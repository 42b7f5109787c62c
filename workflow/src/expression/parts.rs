//! Reading only what is needed: most expressions touch a few fields of data that may be large. Plain paths such as
//! `.order.id` and `$context.user` are read straight off the data, and where an expression uses its input only through
//! them, nothing else of it is taken in. A test holds every answer equal to that of the long way.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::convert;
use super::meter::{Flow, Meter, Stop};
use super::resolve::Resolved;
use super::term::{KeyKind, Term};
use super::value::Value;
use crate::program::Variables;

/// A path of plain names from the input or from a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlainPath {
    /// Without `$`; the input where there is none.
    variable: Option<String>,
    fields: Vec<String>,
}

impl PlainPath {
    /// The whole expression as a plain path, if it is one.
    pub(crate) fn of(resolved: &Resolved) -> Option<Self> {
        if let Term::Identity = resolved.term {
            return Some(Self { variable: None, fields: Vec::new() });
        }
        if let Term::Global(at) = resolved.term {
            return Some(Self { variable: Some(resolved.globals[at].clone()), fields: Vec::new() });
        }
        if let Term::Part(at) = resolved.term { Some(resolved.parts[at].clone()) } else { None }
    }

    /// Whether it may read this field of the variable; `None`: any.
    pub(crate) fn touches(&self, variable: &str, field: Option<&str>) -> bool {
        let first = self.fields.first().map(String::as_str);
        self.variable.as_deref() == Some(variable) && (field.is_none() || first.is_none() || first == field)
    }

    pub(crate) fn is_input(&self) -> bool {
        self.variable.is_none() && self.fields.is_empty()
    }

    /// `null` for what is missing, an error for what has no fields.
    pub(crate) fn read<'d>(&self, input: &'d Json, variables: &'d Variables) -> Flow<&'d Json> {
        let mut at = match &self.variable {
            None => input,
            Some(name) => variables.get(name).ok_or_else(|| Stop::error(format!("${name} has no value here")))?,
        };
        for name in &self.fields {
            let kind = match at {
                Json::Object(object) => {
                    at = object.get(name).unwrap_or(&Json::Null);
                    continue;
                }
                Json::Null => continue,
                Json::Bool(_) => "boolean",
                Json::Number(_) => "number",
                Json::String(_) => "string",
                Json::Array(_) => "array",
            };
            return Err(Stop::error(format!("cannot index {kind} with \"{name}\"")));
        }
        Ok(at)
    }
}

/// What an expression reads by plain paths.
#[derive(Debug, Default)]
pub(crate) struct Lifted {
    pub(crate) parts: Vec<PlainPath>,
    /// Whether it uses its input in any other way.
    pub(crate) whole_input: bool,
}

/// Replaces plain paths by `Term::Part`: those from variables everywhere, those from the input where it is not used in
/// any other way.
pub(crate) fn lift(term: &mut Term, globals: &[String]) -> Lifted {
    let mut lifted = Lifted::default();
    lift_variables(term, globals, &mut lifted.parts);
    lifted.whole_input = !only_paths(term);
    if !lifted.whole_input {
        lift_input(term, &mut lifted.parts);
    }
    lifted
}

fn lift_variables(term: &mut Term, globals: &[String], parts: &mut Vec<PlainPath>) {
    if let Term::Path(root, _) = term
        && let Term::Global(at) = **root
        && plain_fields(term) > 0
    {
        replace(term, Some(globals[at].clone()), parts);
        return;
    }
    term.each_child(&mut |child| lift_variables(child, globals, parts));
}

/// The variables that are still read as a whole, by their numbers.
pub(crate) fn whole_variables(term: &mut Term, found: &mut BTreeSet<usize>) {
    if let Term::Global(at) = term {
        found.insert(*at);
    }
    term.each_child(&mut |child| whole_variables(child, found));
}

/// Whether every use of the input is a plain path from it.
fn only_paths(term: &mut Term) -> bool {
    if from_input(term) {
        return plain_fields(term) > 0;
    }
    let mut only = true;
    match with_same_input(term) {
        Same::All => term.each_child(&mut |child| only = only && only_paths(child)),
        Same::First(first) => only = only_paths(first),
        Same::Unclear => only = false,
    }
    only
}

fn lift_input(term: &mut Term, parts: &mut Vec<PlainPath>) {
    if from_input(term) {
        replace(term, None, parts);
        return;
    }
    match with_same_input(term) {
        Same::All => term.each_child(&mut |child| lift_input(child, parts)),
        Same::First(first) => lift_input(first, parts),
        Same::Unclear => {}
    }
}

fn from_input(term: &Term) -> bool {
    if let Term::Path(root, _) = term { matches!(**root, Term::Identity) } else { false }
}

/// Which children of a term have the term's own input.
enum Same<'t> {
    All,
    First(&'t mut Term),
    Unclear,
}

/// What a place is asked of (`.a = 1`, `path(.a)`) uses the input as a whole, and so does what is handed to functions.
fn with_same_input(term: &mut Term) -> Same<'_> {
    match term {
        Term::Literal(_)
        | Term::Array(_)
        | Term::Variable(_)
        | Term::Global(_)
        | Term::Part(_)
        | Term::Break(_)
        | Term::Text(..)
        | Term::Negate(_)
        | Term::Label(_)
        | Term::Object(_)
        | Term::Comma(_)
        | Term::And(..)
        | Term::Or(..)
        | Term::Math(..)
        | Term::Compare(..)
        | Term::Alternative(..)
        | Term::Path(..)
        | Term::If(_, Some(_)) => Same::All,
        Term::Pipe(stages) => stages.first_mut().map_or(Same::Unclear, Same::First),
        Term::Identity
        | Term::Descend
        | Term::Bind(..)
        | Term::Assign(..)
        | Term::Update(..)
        | Term::UpdateMath(..)
        | Term::UpdateAlternative(..)
        | Term::Reduce(_)
        | Term::Foreach(_)
        | Term::Try(..)
        | Term::If(_, None)
        | Term::Parameter(_)
        | Term::Call(..)
        | Term::Native(..)
        | Term::Form(..)
        | Term::ComputedPath(..) => Same::Unclear,
    }
}

/// How many plain names a path begins with.
fn plain_fields(term: &Term) -> usize {
    let Term::Path(_, keys) = term else { return 0 };
    keys.iter().take_while(|key| !key.lenient && name_of(&key.kind).is_some()).count()
}

fn name_of(key: &KeyKind) -> Option<&str> {
    match key {
        KeyKind::At(Value::Text(name)) => Some(name),
        KeyKind::At(_) | KeyKind::Each | KeyKind::Slice(..) => None,
    }
}

/// Puts a part in the place of a path's root and its plain names.
fn replace(term: &mut Term, variable: Option<String>, parts: &mut Vec<PlainPath>) {
    let plain = plain_fields(term);
    let Term::Path(root, keys) = term else { return };
    let fields = keys.drain(..plain).filter_map(|key| name_of(&key.kind).map(str::to_owned)).collect();
    let part = PlainPath { variable, fields };
    let at = parts.iter().position(|known| *known == part).unwrap_or_else(|| {
        parts.push(part);
        parts.len() - 1
    });
    if keys.is_empty() {
        *term = Term::Part(at);
    } else {
        **root = Term::Part(at);
    }
}

/// The parts of the data that an expression uses; each is converted when it is first read.
pub(crate) struct Parts<'m> {
    paths: &'m [PlainPath],
    input: &'m Json,
    variables: &'m Variables,
    converted: Vec<OnceCell<Value>>,
}

impl<'m> Parts<'m> {
    pub(crate) fn new(paths: &'m [PlainPath], input: &'m Json, variables: &'m Variables) -> Self {
        Self { paths, input, variables, converted: paths.iter().map(|_| OnceCell::new()).collect() }
    }

    pub(crate) fn value(&self, at: usize, meter: &Meter) -> Flow<Value> {
        if let Some(value) = self.converted[at].get() {
            return Ok(value.clone());
        }
        let value = convert::from_json(self.paths[at].read(self.input, self.variables)?, meter)?;
        Ok(self.converted[at].get_or_init(|| value).clone())
    }
}
