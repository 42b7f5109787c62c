//! Runtime expressions: jq, inside limits. Syntax is read by `jaq-core`; evaluation is this crate's own, because what
//! one evaluation may use of stack, work and memory has to be counted exactly (docs/workflows.md says how much).
//! Knows no clock and no chance: both come in as a `Moment`.

mod builtins;
mod convert;
mod eval;
mod format;
mod fuel;
mod math;
mod meter;
mod number;
mod parts;
mod path;
mod prelude;
mod resolve;
mod scope;
mod shape;
mod syntax;
mod template;
mod term;
mod value;

use std::cell::RefCell;
use std::fmt;

use serde_json::Value as Json;
use thiserror::Error;
use types::Timestamp;

pub use fuel::Fuel;
pub use scope::Scope;
pub(crate) use shape::Shape;
pub use syntax::SyntaxError;
pub use template::{Template, TemplateError};

use crate::program::Variables;
use eval::{Env, Globals, Machine, Spot};
use meter::{Exceeded, Meter, Stop};
use parts::{Parts, PlainPath};
use resolve::Resolved;

/// What an evaluation may know of the world: the record's time, and a seed for ids. The same moment and data give the
/// same result, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    pub now: Timestamp,
    pub seed: u64,
}

/// A checked expression. Evaluating it can fail, but never crash, stall or take more than its limits.
#[derive(Debug)]
pub struct Expression {
    source: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Nothing but a plain path: read off the data without evaluating.
    Path(PlainPath, Vec<String>),
    Resolved(Resolved),
}

/// What kind of failure an evaluation met. Stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressionErrorKind {
    /// The language's own errors, `error(…)` included.
    Failed,
    /// More steps than one evaluation may take.
    TooMuchWork,
    /// A value larger than one may be.
    TooLarge,
    /// Values or calls nested too deep.
    TooDeep,
    /// It yielded no value, or several.
    NotOneValue,
    /// NaN or an infinity.
    NotJson,
}

/// Why an expression has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the expression `{expression}` {message}")]
pub struct ExpressionError {
    pub kind: ExpressionErrorKind,
    /// The expression's text, clipped.
    pub expression: String,
    /// What happened, to be read after "the expression `…`".
    pub message: String,
}

impl ExpressionErrorKind {
    /// Whether the author's expression met a limit rather than an error.
    pub const fn is_limit(self) -> bool {
        match self {
            Self::TooMuchWork | Self::TooLarge | Self::TooDeep => true,
            Self::Failed | Self::NotOneValue | Self::NotJson => false,
        }
    }
}

impl Expression {
    /// Reads an expression, with or without `${ … }` around it, whose variables must all be in scope.
    pub fn parse(source: &str, scope: &Scope) -> Result<Self, Vec<SyntaxError>> {
        let (bare, from) = template::bare(source).unwrap_or((source, 0));
        let resolved = resolve::resolve(bare, scope).map_err(|mut errors| {
            for error in &mut errors {
                error.offset += from;
            }
            errors
        })?;
        let form = match PlainPath::of(&resolved) {
            Some(path) => Form::Path(path, resolved.reads),
            None => Form::Resolved(resolved),
        };
        Ok(Self { source: bare.trim().to_owned(), form })
    }

    /// The expression's text, without `${ … }`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it reads the variable, named without `$`, or as `name.field` that field of it. What no expression reads
    /// need not be put together.
    pub fn uses(&self, name: &str) -> bool {
        let (variable, field) = name.split_once('.').map_or((name, None), |(variable, field)| (variable, Some(field)));
        match &self.form {
            Form::Path(path, _) => path.touches(variable, field),
            Form::Resolved(resolved) => {
                resolved.parts.iter().any(|part| part.touches(variable, field))
                    || resolved.whole_globals.iter().any(|name| name == variable)
            }
        }
    }

    /// The fields of its input that it reads without providing for their absence.
    pub(crate) fn reads(&self) -> Vec<String> {
        match &self.form {
            Form::Path(_, reads) => reads.clone(),
            Form::Resolved(resolved) => resolved.reads.clone(),
        }
    }

    /// What is known of its result, given what is known of its input.
    pub(crate) fn shape(&self, input: &Shape) -> Shape {
        match &self.form {
            Form::Path(path, _) if path.is_input() => input.clone(),
            Form::Path(..) => Shape::Unknown,
            Form::Resolved(resolved) => shape::of(&resolved.term, input),
        }
    }

    /// The one value that the expression yields for this input. It has the limits of one evaluation, and what it uses
    /// is taken from `fuel`.
    pub fn evaluate(
        &self,
        input: &Json,
        variables: &Variables,
        at: &Moment,
        fuel: &Fuel,
    ) -> Result<Json, ExpressionError> {
        match &self.form {
            Form::Path(path, _) => {
                let value = path.read(input, variables).map_err(|stop| self.failed(&stop))?;
                if fuel.burn(fuel::copying(value)) { Ok(value.clone()) } else { Err(self.out_of_fuel()) }
            }
            Form::Resolved(resolved) => self.run(resolved, input, variables, at, fuel),
        }
    }

    /// Whether a condition holds: as in jq, everything but `false` and `null` does.
    pub fn holds(
        &self,
        input: &Json,
        variables: &Variables,
        at: &Moment,
        fuel: &Fuel,
    ) -> Result<bool, ExpressionError> {
        self.evaluate(input, variables, at, fuel).map(|value| !matches!(value, Json::Null | Json::Bool(false)))
    }

    fn run(
        &self,
        resolved: &Resolved,
        input: &Json,
        variables: &Variables,
        at: &Moment,
        fuel: &Fuel,
    ) -> Result<Json, ExpressionError> {
        let given = fuel.left().min(crate::limits::MAX_FUEL);
        let machine = Machine {
            meter: Meter::new(given),
            moment: at,
            definitions: &resolved.definitions,
            globals: Globals::new(&resolved.globals, variables),
            parts: Parts::new(&resolved.parts, input, variables),
            patterns: RefCell::default(),
        };
        let mut results = Vec::new();
        let whole = if resolved.whole_input { input } else { &Json::Null };
        let flow = convert::from_json(whole, &machine.meter).and_then(|input| {
            machine.eval(&resolved.term, &Env::ROOT, Spot::untracked(input), &mut |spot| {
                results.push(spot.value);
                if results.len() > 1 { Err(Stop::Unwind) } else { Ok(()) }
            })
        });
        fuel.burn(given - machine.meter.left());
        match (flow, results.as_slice()) {
            (Err(Stop::Limit(Exceeded::Work)), _) if given < crate::limits::MAX_FUEL => Err(self.out_of_fuel()),
            (Ok(()), [value]) => convert::to_json(value).map_err(|number| {
                let name = if number.as_f64().is_nan() { "NaN" } else { "an infinity" };
                self.error(ExpressionErrorKind::NotJson, format!("yielded {name}, which JSON cannot hold"))
            }),
            (Ok(()), _) => Err(self.error(
                ExpressionErrorKind::NotOneValue,
                "yielded no value; `// null` after it gives it one".to_owned(),
            )),
            (Err(Stop::Unwind), _) => Err(self.error(
                ExpressionErrorKind::NotOneValue,
                "yielded more than one value; `[…]` around it makes them an array, `first(…)` takes the first"
                    .to_owned(),
            )),
            (Err(stop), _) => Err(self.failed(&stop)),
        }
    }

    fn out_of_fuel(&self) -> ExpressionError {
        self.error(
            ExpressionErrorKind::TooMuchWork,
            "was stopped: the expressions of its task take too much work together; do less in one task, or do it in a \
             worker"
                .to_owned(),
        )
    }

    fn failed(&self, stop: &Stop) -> ExpressionError {
        let (kind, message) = match stop {
            Stop::Error(error) => {
                (ExpressionErrorKind::Failed, format!("failed: {}", builtins::forms::message_of(error)))
            }
            Stop::Break(_) | Stop::Unwind => {
                (ExpressionErrorKind::Failed, "failed: a `break` left the expression".to_owned())
            }
            Stop::Limit(Exceeded::Work) => (
                ExpressionErrorKind::TooMuchWork,
                "was stopped: it takes too much work for one expression; do less of it, or do it in a worker"
                    .to_owned(),
            ),
            Stop::Limit(Exceeded::Size) => (
                ExpressionErrorKind::TooLarge,
                format!(
                    "was stopped: a value grew beyond {} MiB; keep large data out of the workflow and pass references",
                    crate::limits::MAX_VALUE_BYTES >> 20
                ),
            ),
            Stop::Limit(Exceeded::Depth) => (
                ExpressionErrorKind::TooDeep,
                "was stopped: calls or values nest too deep; `reduce`, `foreach`, `until` and `recurse` do not nest"
                    .to_owned(),
            ),
        };
        self.error(kind, message)
    }

    fn error(&self, kind: ExpressionErrorKind, message: String) -> ExpressionError {
        const SHOWN: usize = 120;
        let mut expression: String = self.source.chars().take(SHOWN).collect();
        if expression.len() < self.source.len() {
            expression.push('…');
        }
        ExpressionError { kind, expression, message }
    }
}

/// As it is written in a definition, without `${ … }`.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests;
