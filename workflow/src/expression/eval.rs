//! Walks a resolved expression. Each term hands what it yields to the next one by calling it, so what is alive at a
//! time is one stack of calls, and its depth, its work and its memory are counted exactly.

mod bind;
mod build;
mod change;
mod follow;
mod steer;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use super::meter::{Flow, Meter, Stop};
use super::parts::Parts;
use super::path::Path;
use super::prelude;
use super::term::{Definition, DefinitionId, Term};
use super::value::Value;
use super::{Moment, builtins, convert};
use crate::program::Variables;

/// Everything that one evaluation reads.
pub(crate) struct Machine<'m> {
    pub(crate) meter: Meter,
    pub(crate) moment: &'m Moment,
    pub(crate) definitions: &'m [Definition],
    pub(crate) globals: Globals<'m>,
    pub(crate) parts: Parts<'m>,
    /// Compiled once for an evaluation, however often they are applied.
    pub(crate) patterns: RefCell<BTreeMap<(String, String), Arc<Regex>>>,
}

/// The variables given from outside; converted when first used.
pub(crate) struct Globals<'m> {
    names: &'m [String],
    given: &'m Variables,
    converted: Vec<OnceCell<Value>>,
}

impl<'m> Globals<'m> {
    pub(crate) fn new(names: &'m [String], given: &'m Variables) -> Self {
        Self { names, given, converted: names.iter().map(|_| OnceCell::new()).collect() }
    }

    fn value(&self, at: usize, meter: &Meter) -> Flow<Value> {
        if let Some(value) = self.converted[at].get() {
            return Ok(value.clone());
        }
        let name = &self.names[at];
        let given = self.given.get(name).ok_or_else(|| Stop::error(format!("${name} has no value here")))?;
        let value = convert::from_json(given, meter)?;
        Ok(self.converted[at].get_or_init(|| value).clone())
    }
}

/// A value on its way, and, where paths are asked for, where it was found.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) value: Value,
    pub(crate) track: Track,
}

#[derive(Clone, Debug)]
pub(crate) enum Track {
    /// Nobody asks.
    Off,
    At(Path),
    /// A new value, which was not found anywhere.
    Lost,
}

impl Spot {
    pub(crate) fn untracked(value: Value) -> Self {
        Self { value, track: Track::Off }
    }

    /// A new value in place of this one.
    pub(crate) fn with(&self, value: Value) -> Self {
        let track = match self.track {
            Track::Off => Track::Off,
            Track::At(_) | Track::Lost => Track::Lost,
        };
        Self { value, track }
    }

    /// The part of this value under `key`.
    pub(crate) fn part(&self, key: Value, value: Value, meter: &Meter) -> Flow<Self> {
        let track = match &self.track {
            Track::Off => Track::Off,
            Track::At(path) => Track::At(path.then(key, meter)?),
            Track::Lost => {
                return Err(Stop::error(format!(
                    "invalid path expression with result {}",
                    convert::shown(&self.value)
                )));
            }
        };
        Ok(Self { value, track })
    }
}

pub(crate) type Out<'o> = dyn FnMut(Spot) -> Flow + 'o;

/// What is bound around a term, innermost first. Lives on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Env<'e> {
    parent: Option<&'e Env<'e>>,
    binding: Binding<'e>,
}

#[derive(Clone, Copy)]
enum Binding<'e> {
    Nothing,
    Value(&'e Value),
    Filter(&'e Term, &'e Env<'e>),
    Label(u64),
}

impl<'e> Env<'e> {
    pub(crate) const ROOT: Env<'static> = Env { parent: None, binding: Binding::Nothing };

    fn up(&'e self, frames: usize) -> &'e Env<'e> {
        let mut at = self;
        for _ in 0..frames {
            at = at.parent.expect("names are resolved to frames that exist");
        }
        at
    }
}

impl Machine<'_> {
    pub(crate) fn eval(&self, term: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        self.meter.deeper(|| self.term(term, env, spot, out))
    }

    /// Only dispatches, so that the stack it needs stays small.
    fn term(&self, term: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        match term {
            Term::Identity => out(spot),
            Term::Descend => self.descend(spot, out),
            Term::Literal(value) => out(spot.with(value.clone())),
            Term::Text(format, parts) => self.text(*format, parts, env, &spot, &mut Vec::new(), out),
            Term::Array(None) => out(spot.with(Value::list(Vec::new(), &self.meter)?)),
            Term::Array(Some(term)) => self.array(term, env, &spot, out),
            Term::Object(fields) => self.object(fields, env, &spot, &mut Vec::new(), out),
            Term::Negate(term) => self.negate(term, env, &spot, out),
            Term::Pipe(stages) => self.pipe(stages, env, spot, out),
            Term::Comma(terms) => self.comma(terms, env, &spot, out),
            Term::Bind(source, pattern, body) => self.bind(source, pattern, body, env, spot, out),
            Term::Alternative(first, second) => self.alternative(first, second, env, spot, out),
            Term::And(a, b) => self.logic(a, b, false, env, &spot, out),
            Term::Or(a, b) => self.logic(a, b, true, env, &spot, out),
            Term::Math(op, a, b) => self.math(*op, a, b, env, spot, out),
            Term::Compare(op, a, b) => self.compare(*op, a, b, env, &spot, out),
            Term::Assign(place, value) => self.assign(place, value, env, spot, out),
            Term::Update(place, change) => self.update(place, change, env, spot, out),
            Term::UpdateMath(op, place, value) => self.update_math(*op, place, value, env, spot, out),
            Term::UpdateAlternative(place, value) => self.update_alternative(place, value, env, spot, out),
            Term::Label(body) => self.label(body, env, spot, out),
            Term::Break(up) => match env.up(*up).binding {
                Binding::Label(id) => Err(Stop::Break(id)),
                Binding::Nothing | Binding::Value(_) | Binding::Filter(..) => unreachable!("resolved to a label"),
            },
            Term::Reduce(fold) => self.reduce(fold, env, spot, out),
            Term::Foreach(fold) => self.foreach(fold, env, spot, out),
            Term::Try(body, handler) => self.attempt(body, handler.as_deref(), env, spot, out),
            Term::If(cases, otherwise) => self.branch(cases, otherwise.as_deref(), env, spot, out),
            Term::Variable(up) => match env.up(*up).binding {
                Binding::Value(value) => out(spot.with(value.clone())),
                Binding::Nothing | Binding::Label(_) | Binding::Filter(..) => unreachable!("resolved to a variable"),
            },
            Term::Global(at) => out(spot.with(self.globals.value(*at, &self.meter)?)),
            Term::Part(at) => out(spot.with(self.parts.value(*at, &self.meter)?)),
            Term::Parameter(up) => match env.up(*up).binding {
                Binding::Filter(term, home) => self.eval(term, home, spot, out),
                Binding::Nothing | Binding::Label(_) | Binding::Value(_) => unreachable!("resolved to a parameter"),
            },
            Term::Call(id, arguments, up) => {
                let (definition, home) = match id {
                    DefinitionId::Prelude(at) => (prelude::definition(*at), &Env::ROOT),
                    DefinitionId::Own(at) => (&self.definitions[*at], env.up(*up)),
                };
                self.call(definition, 0, arguments, env, home, spot, out)
            }
            Term::Native(native, arguments) => self.native(*native, arguments, env, spot, &mut Vec::new(), out),
            Term::Form(form, arguments) => builtins::forms::run(self, *form, arguments, env, spot, out),
            Term::Path(term, keys) if matches!(**term, Term::Identity) => self.follow(keys, spot, out),
            Term::Path(term, keys) => self.eval(term, env, spot, &mut |spot| self.follow(keys, spot, out)),
            Term::ComputedPath(term, steps) => self.computed_path(term, steps, env, &spot, out),
        }
    }

    /// Hands on every value that the term yields for this input, without a path.
    pub(crate) fn values(&self, term: &Term, env: &Env<'_>, input: &Value, out: &mut dyn FnMut(Value) -> Flow) -> Flow {
        self.eval(term, env, Spot::untracked(input.clone()), &mut |spot| out(spot.value))
    }

    /// The only value of a term that surely yields one.
    pub(crate) fn one(&self, term: &Term, env: &Env<'_>, input: &Value) -> Flow<Value> {
        let mut only = Value::Null;
        self.values(term, env, input, &mut |value| {
            only = value;
            Ok(())
        })?;
        Ok(only)
    }

    /// The first value of a term, if it yields any; the rest is not computed.
    pub(crate) fn first(&self, term: &Term, env: &Env<'_>, spot: Spot) -> Flow<Option<Spot>> {
        let mut found = None;
        let flow = self.eval(term, env, spot, &mut |spot| {
            found = Some(spot);
            Err(Stop::Unwind)
        });
        match flow {
            Err(Stop::Unwind) if found.is_some() => Ok(found),
            Ok(()) => Ok(found),
            Err(stop) => Err(stop),
        }
    }
}
