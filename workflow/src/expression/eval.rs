//! Walks a resolved expression. Each term hands what it yields to the next one by calling it, so what is alive at a
//! time is one stack of calls, and its depth, its work and its memory are counted exactly.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use super::math;
use super::meter::{Flow, Meter, Stop};
use super::path::{self, Path};
use super::prelude;
use super::term::{Definition, DefinitionId, Fold, Key, KeyKind, Parameter, Pattern, Step, Term, TextPart};
use super::value::{Fields, Value};
use super::{Moment, builtins, convert, format};
use crate::program::Variables;

/// Everything that one evaluation reads.
pub(crate) struct Machine<'m> {
    pub(crate) meter: Meter,
    pub(crate) moment: &'m Moment,
    pub(crate) definitions: &'m [Definition],
    pub(crate) globals: Globals<'m>,
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
            Term::Path(term, keys) => match &**term {
                Term::Identity => self.follow(keys, spot, out),
                term => self.eval(term, env, spot, &mut |spot| self.follow(keys, spot, out)),
            },
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

    /// All places that the term points to, as lists of keys.
    pub(crate) fn places(&self, term: &Term, env: &Env<'_>, value: &Value) -> Flow<Vec<Vec<Value>>> {
        let mut places = Vec::new();
        self.trace(term, env, value, &mut |path, _| {
            let keys = path.keys();
            self.meter.allocate(keys.len() as u64 * 24)?;
            places.push(keys);
            Ok(())
        })?;
        Ok(places)
    }

    /// Hands on every place that the term points to, with the value there.
    pub(crate) fn trace(
        &self,
        term: &Term,
        env: &Env<'_>,
        value: &Value,
        out: &mut dyn FnMut(Path, Value) -> Flow,
    ) -> Flow {
        let start = Spot { value: value.clone(), track: Track::At(Path::default()) };
        self.eval(term, env, start, &mut |spot| match spot.track {
            Track::At(path) => out(path, spot.value),
            Track::Off | Track::Lost => {
                Err(Stop::error(format!("invalid path expression with result {}", convert::shown(&spot.value))))
            }
        })
    }

    /// `..`: the value, then its parts, each before its own.
    fn descend(&self, spot: Spot, out: &mut Out<'_>) -> Flow {
        let mut waiting = vec![spot];
        while let Some(spot) = waiting.pop() {
            self.meter.work(1)?;
            if matches!(spot.value, Value::List(_) | Value::Map(_)) {
                let parts = path::each(&spot.value)?;
                self.meter.allocate(parts.len() as u64 * 48)?;
                for (key, value) in parts.into_iter().rev() {
                    waiting.push(spot.part(key, value, &self.meter)?);
                }
            }
            out(spot)?;
        }
        Ok(())
    }

    fn text(
        &self,
        how: super::term::Format,
        parts: &[TextPart],
        env: &Env<'_>,
        spot: &Spot,
        rendered: &mut Vec<Arc<str>>,
        out: &mut Out<'_>,
    ) -> Flow {
        let Some((last, before)) = parts.split_last() else {
            let length: usize = rendered.iter().map(|part| part.len()).sum();
            self.meter.allocate(length as u64)?;
            let text: String = rendered.iter().rev().map(|part| &**part).collect();
            return out(spot.with(Value::text(text)));
        };
        let mut then = |part: Arc<str>| {
            rendered.push(part);
            let flow = self.meter.deeper(|| self.text(how, before, env, spot, rendered, out));
            rendered.pop();
            flow
        };
        match last {
            TextPart::Plain(text) => then(text.clone()),
            TextPart::Term(term) => {
                self.values(term, env, &spot.value, &mut |value| then(format::render(how, &value, &self.meter)?))
            }
        }
    }

    fn array(&self, term: &Term, env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
        let mut items = Vec::new();
        let mut bytes = 0;
        self.values(term, env, &spot.value, &mut |value| {
            bytes += value.bytes();
            self.meter.allocate(bytes.min(24))?;
            if bytes > crate::limits::MAX_VALUE_BYTES {
                return Err(Stop::Limit(super::meter::Exceeded::Size));
            }
            items.push(value);
            Ok(())
        })?;
        out(spot.with(Value::list(items, &self.meter)?))
    }

    /// The first field varies slowest, as in jq.
    fn object(
        &self,
        fields: &[(Term, Term)],
        env: &Env<'_>,
        spot: &Spot,
        built: &mut Vec<(Arc<str>, Value)>,
        out: &mut Out<'_>,
    ) -> Flow {
        let Some(((name, value), rest)) = fields.split_first() else {
            self.meter.allocate(built.len() as u64 * 48)?;
            let fields: Fields = built.iter().cloned().collect();
            return out(spot.with(Value::map(fields, &self.meter)?));
        };
        self.values(name, env, &spot.value, &mut |name| {
            let Value::Text(name) = name else {
                return Err(Stop::error(format!("object keys must be strings, not {}", convert::shown(&name))));
            };
            self.values(value, env, &spot.value, &mut |value| {
                built.push((name.clone(), value));
                let flow = self.meter.deeper(|| self.object(rest, env, spot, built, out));
                built.pop();
                flow
            })
        })
    }

    fn negate(&self, term: &Term, env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
        self.values(term, env, &spot.value, &mut |value| match value {
            Value::Number(number) => out(spot.with(Value::Number(number.negate()))),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                Err(Stop::error(format!("{} cannot be negated", convert::shown(&value))))
            }
        })
    }

    fn pipe(&self, stages: &[Term], env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        match stages {
            [] => out(spot),
            [last] => self.eval(last, env, spot, out),
            [first, rest @ ..] => self.eval(first, env, spot, &mut |spot| self.pipe(rest, env, spot, out)),
        }
    }

    fn comma(&self, terms: &[Term], env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
        terms.iter().try_for_each(|term| self.eval(term, env, spot.clone(), out))
    }

    fn bind(
        &self,
        source: &Term,
        pattern: &Pattern,
        body: &Term,
        env: &Env<'_>,
        spot: Spot,
        out: &mut Out<'_>,
    ) -> Flow {
        if source.yields_one() {
            let value = self.one(source, env, &spot.value)?;
            let mut spot = Some(spot);
            return self.destructure(&[(pattern, &value)], env, env, &mut |env| {
                // A pattern with computed names may bind more than once; only then is the input copied.
                let input = spot.clone();
                if matches!(pattern, Pattern::Variable) {
                    spot = None;
                }
                self.eval(body, env, input.expect("taken only by the last use"), out)
            });
        }
        self.values(source, env, &spot.value, &mut |value| {
            self.destructure(&[(pattern, &value)], env, env, &mut |env| self.eval(body, env, spot.clone(), out))
        })
    }

    /// Binds the variables of all patterns, one frame each, and calls `then` with them in scope. Names that are
    /// computed see what was in scope outside.
    fn destructure(
        &self,
        patterns: &[(&Pattern, &Value)],
        outside: &Env<'_>,
        env: &Env<'_>,
        then: &mut dyn FnMut(&Env<'_>) -> Flow,
    ) -> Flow {
        let Some(((pattern, value), rest)) = patterns.split_first() else { return then(env) };
        self.meter.deeper(|| match pattern {
            Pattern::Variable => {
                let env = Env { parent: Some(env), binding: Binding::Value(value) };
                self.destructure(rest, outside, &env, then)
            }
            Pattern::List(parts) => {
                if !matches!(value, Value::List(_) | Value::Null) {
                    return Err(Stop::error(format!("cannot index {} with number", value.kind())));
                }
                let items: Vec<Value> = (0..parts.len())
                    .map(|at| path::index(value, &Value::count(at), &self.meter))
                    .collect::<Flow<_>>()?;
                let mut all: Vec<(&Pattern, &Value)> = parts.iter().zip(&items).collect();
                all.extend(rest);
                self.destructure(&all, outside, env, then)
            }
            Pattern::Map(parts) => self.destructure_map(parts, value, rest, outside, env, then),
        })
    }

    fn destructure_map(
        &self,
        parts: &[(Term, Pattern)],
        value: &Value,
        rest: &[(&Pattern, &Value)],
        outside: &Env<'_>,
        env: &Env<'_>,
        then: &mut dyn FnMut(&Env<'_>) -> Flow,
    ) -> Flow {
        let Some(((name, pattern), others)) = parts.split_first() else {
            return self.destructure(rest, outside, env, then);
        };
        self.values(name, outside, value, &mut |name| {
            let Value::Text(_) = name else {
                return Err(Stop::error(format!("cannot index {} with {}", value.kind(), name.kind())));
            };
            let field = path::index(value, &name, &self.meter)?;
            self.destructure(&[(pattern, &field)], outside, env, &mut |env| {
                self.destructure_map(others, value, rest, outside, env, then)
            })
        })
    }

    /// All of the first that is neither `null` nor `false`; only if there is none, the second. Errors are not hidden.
    fn alternative(&self, first: &Term, second: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        let mut found = false;
        self.eval(first, env, spot.clone(), &mut |spot| {
            if !spot.value.is_true() {
                return Ok(());
            }
            found = true;
            out(spot)
        })?;
        if found { Ok(()) } else { self.eval(second, env, spot, out) }
    }

    fn logic(&self, a: &Term, b: &Term, decides: bool, env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
        self.values(a, env, &spot.value, &mut |left| {
            if left.is_true() == decides {
                return out(spot.with(Value::Bool(decides)));
            }
            self.values(b, env, &spot.value, &mut |right| out(spot.with(Value::Bool(right.is_true()))))
        })
    }

    fn math(&self, op: super::term::Math, a: &Term, b: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        if b.yields_one() {
            // The right side is done with the input before the left one takes it, so that `. + [x]` grows in place.
            let right = self.one(b, env, &spot.value)?;
            let Spot { value, track } = spot;
            return self.eval(a, env, Spot::untracked(value), &mut |left| {
                let result = math::apply(op, left.value, right.clone(), &self.meter)?;
                out(Spot { value: Value::Null, track: track.clone() }.with(result))
            });
        }
        self.values(b, env, &spot.value, &mut |right| {
            self.values(a, env, &spot.value, &mut |left| {
                out(spot.with(math::apply(op, left, right.clone(), &self.meter)?))
            })
        })
    }

    fn compare(
        &self,
        op: super::term::Compare,
        a: &Term,
        b: &Term,
        env: &Env<'_>,
        spot: &Spot,
        out: &mut Out<'_>,
    ) -> Flow {
        self.values(b, env, &spot.value, &mut |right| {
            self.values(a, env, &spot.value, &mut |left| {
                out(spot.with(Value::Bool(math::compare(op, &left, &right, &self.meter)?)))
            })
        })
    }

    fn assign(&self, place: &Term, value: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        self.for_each_value(value, env, spot, &mut |spot, new| {
            let places = self.places(place, env, &spot.value)?;
            let track = spot.with(Value::Null);
            let mut result = spot.value;
            for keys in &places {
                result = path::update(result, keys, &self.meter, &mut |_| Ok(new.clone()))?;
            }
            out(track.with(result))
        })
    }

    /// Places for which the change yields nothing are deleted, all together and last.
    fn update(&self, place: &Term, change: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        let places = self.places(place, env, &spot.value)?;
        let track = spot.with(Value::Null);
        let mut result = spot.value;
        let mut gone = Vec::new();
        for keys in places {
            // What is not there yet must not be built if nothing is to be put there.
            if matches!(path::get(&result, &keys, &self.meter)?, Value::Null) {
                match self.first(change, env, Spot::untracked(Value::Null))? {
                    Some(new) => result = path::update(result, &keys, &self.meter, &mut |_| Ok(new.value.clone()))?,
                    None => gone.push(keys),
                }
                continue;
            }
            let mut kept = true;
            result = path::update(result, &keys, &self.meter, &mut |old| {
                let new = self.first(change, env, Spot::untracked(old))?;
                kept = new.is_some();
                Ok(new.map_or(Value::Null, |spot| spot.value))
            })?;
            if !kept {
                gone.push(keys);
            }
        }
        out(track.with(path::delete(result, gone, &self.meter)?))
    }

    fn update_math(
        &self,
        op: super::term::Math,
        place: &Term,
        value: &Term,
        env: &Env<'_>,
        spot: Spot,
        out: &mut Out<'_>,
    ) -> Flow {
        self.for_each_value(value, env, spot, &mut |spot, right| {
            let places = self.places(place, env, &spot.value)?;
            let track = spot.with(Value::Null);
            let mut result = spot.value;
            for keys in &places {
                result = path::update(result, keys, &self.meter, &mut |old| {
                    math::apply(op, old, right.clone(), &self.meter)
                })?;
            }
            out(track.with(result))
        })
    }

    fn update_alternative(&self, place: &Term, value: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        self.for_each_value(value, env, spot, &mut |spot, right| {
            let places = self.places(place, env, &spot.value)?;
            let track = spot.with(Value::Null);
            let mut result = spot.value;
            for keys in &places {
                result = path::update(result, keys, &self.meter, &mut |old| {
                    Ok(if old.is_true() { old } else { right.clone() })
                })?;
            }
            out(track.with(result))
        })
    }

    /// Calls `then` with the input and each value of the term; a single value gets the input unshared.
    fn for_each_value(
        &self,
        term: &Term,
        env: &Env<'_>,
        spot: Spot,
        then: &mut dyn FnMut(Spot, Value) -> Flow,
    ) -> Flow {
        if term.yields_one() {
            let value = self.one(term, env, &spot.value)?;
            return then(spot, value);
        }
        self.values(term, env, &spot.value, &mut |value| then(spot.clone(), value))
    }

    fn label(&self, body: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        let id = self.meter.fresh_label();
        let env = Env { parent: Some(env), binding: Binding::Label(id) };
        match self.eval(body, &env, spot, out) {
            Err(Stop::Break(to)) if to == id => Ok(()),
            flow => flow,
        }
    }

    fn reduce(&self, fold: &Fold, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        let input = spot.value.clone();
        self.eval(&fold.init, env, spot, &mut |start| {
            let empty = start.with(Value::Null);
            let mut state = start;
            self.values(&fold.source, env, &input, &mut |item| {
                self.destructure(&[(&fold.pattern, &item)], env, env, &mut |env| {
                    let before = std::mem::replace(&mut state, empty.clone());
                    self.eval(&fold.update, env, before, &mut |after| {
                        state = after;
                        Ok(())
                    })
                })
            })?;
            out(state)
        })
    }

    fn foreach(&self, fold: &Fold, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        let input = spot.value.clone();
        self.eval(&fold.init, env, spot, &mut |start| {
            let empty = start.with(Value::Null);
            let mut state = start;
            self.values(&fold.source, env, &input, &mut |item| {
                self.destructure(&[(&fold.pattern, &item)], env, env, &mut |env| {
                    let before = std::mem::replace(&mut state, empty.clone());
                    self.eval(&fold.update, env, before, &mut |after| {
                        state = after.clone();
                        match &fold.extract {
                            Some(extract) => self.eval(extract, env, after, out),
                            None => out(after),
                        }
                    })
                })
            })
        })
    }

    /// Only errors of the body are caught: not those of what comes after it, not `break`, not a limit.
    fn attempt(&self, body: &Term, handler: Option<&Term>, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        let place = spot.with(Value::Null);
        let mut beyond = None;
        let flow = self.eval(body, env, spot, &mut |spot| {
            out(spot).map_err(|stop| {
                beyond = Some(stop);
                Stop::Unwind
            })
        });
        match (flow, beyond) {
            (_, Some(stop)) => Err(stop),
            (Err(Stop::Error(error)), None) => match handler {
                Some(handler) => self.eval(handler, env, place.with(error), out),
                None => Ok(()),
            },
            (flow, None) => flow,
        }
    }

    fn branch(
        &self,
        cases: &[(Term, Term)],
        otherwise: Option<&Term>,
        env: &Env<'_>,
        spot: Spot,
        out: &mut Out<'_>,
    ) -> Flow {
        let Some(((when, then), rest)) = cases.split_first() else {
            return match otherwise {
                Some(otherwise) => self.eval(otherwise, env, spot, out),
                None => out(spot),
            };
        };
        self.for_each_value(when, env, spot, &mut |spot, condition| {
            if condition.is_true() {
                self.eval(then, env, spot, out)
            } else {
                self.meter.deeper(|| self.branch(rest, otherwise, env, spot, out))
            }
        })
    }

    /// Binds the parameters one by one, then runs the body in the definition's own surroundings.
    #[expect(clippy::too_many_arguments, reason = "caller and definition each bring their own surroundings")]
    fn call(
        &self,
        definition: &Definition,
        bound: usize,
        arguments: &[Term],
        caller: &Env<'_>,
        home: &Env<'_>,
        spot: Spot,
        out: &mut Out<'_>,
    ) -> Flow {
        let Some(parameter) = definition.parameters.get(bound) else {
            return self.eval(&definition.body, home, spot, out);
        };
        match (parameter, &arguments[bound]) {
            (Parameter::Filter, Term::Parameter(up)) => {
                let env = Env { parent: Some(home), binding: caller.up(*up).binding };
                self.meter.deeper(|| self.call(definition, bound + 1, arguments, caller, &env, spot, out))
            }
            (Parameter::Filter, argument) => {
                let env = Env { parent: Some(home), binding: Binding::Filter(argument, caller) };
                self.meter.deeper(|| self.call(definition, bound + 1, arguments, caller, &env, spot, out))
            }
            (Parameter::Value, argument) => self.for_each_value(argument, caller, spot, &mut |spot, value| {
                let env = Env { parent: Some(home), binding: Binding::Value(&value) };
                self.meter.deeper(|| self.call(definition, bound + 1, arguments, caller, &env, spot, out))
            }),
        }
    }

    fn native(
        &self,
        native: builtins::Native,
        arguments: &[Term],
        env: &Env<'_>,
        spot: Spot,
        given: &mut Vec<Value>,
        out: &mut Out<'_>,
    ) -> Flow {
        let Some((argument, rest)) = arguments.split_first() else {
            let track = spot.with(Value::Null);
            return out(track.with((native.run)(self, spot.value, given)?));
        };
        self.for_each_value(argument, env, spot, &mut |spot, value| {
            given.push(value);
            let flow = self.native(native, rest, env, spot, given, out);
            given.pop();
            flow
        })
    }

    /// A path with computed steps: their values first, the last one's slowest, then the way they lead.
    fn computed_path(&self, term: &Term, steps: &[Step], env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
        self.keys(steps, env, &spot.value, &mut Vec::new(), &mut |keys| {
            let keys: Vec<Key> = keys.iter().rev().cloned().collect();
            self.meter.allocate(keys.len() as u64 * 64)?;
            self.eval(term, env, spot.clone(), &mut |spot| self.follow(&keys, spot, out))
        })
    }

    /// Calls `then` with all combinations of the steps' values, last step first.
    fn keys(
        &self,
        steps: &[Step],
        env: &Env<'_>,
        input: &Value,
        known: &mut Vec<Key>,
        then: &mut dyn FnMut(&[Key]) -> Flow,
    ) -> Flow {
        let Some((step, before)) = steps.split_last() else { return then(known) };
        let mut with = |key: Key| {
            known.push(key);
            let flow = self.meter.deeper(|| self.keys(before, env, input, known, then));
            known.pop();
            flow
        };
        match step {
            Step::Known(key) => with(key.clone()),
            Step::Index(term, lenient) => {
                self.values(term, env, input, &mut |key| with(Key { kind: KeyKind::At(key), lenient: *lenient }))
            }
            Step::Slice(from, until, lenient) => {
                let null = Term::Literal(Value::Null);
                let (from, until) = (from.as_ref().unwrap_or(&null), until.as_ref().unwrap_or(&null));
                self.values(until, env, input, &mut |until| {
                    self.values(from, env, input, &mut |from| {
                        with(Key { kind: KeyKind::Slice(from, until.clone()), lenient: *lenient })
                    })
                })
            }
        }
    }

    fn follow(&self, keys: &[Key], mut spot: Spot, out: &mut Out<'_>) -> Flow {
        for (at, Key { kind, lenient }) in keys.iter().enumerate() {
            self.meter.work(1)?;
            let part = match kind {
                KeyKind::At(key) => self.part(&spot, key.clone()),
                KeyKind::Slice(from, until) => self.slice(&spot, from, until),
                KeyKind::Each => match path::each(&spot.value) {
                    Ok(parts) => return self.follow_each(parts, &keys[at + 1..], &spot, out),
                    Err(stop) => Err(stop),
                },
            };
            match part {
                Ok(part) => spot = part,
                Err(Stop::Error(_)) if *lenient => return Ok(()),
                Err(stop) => return Err(stop),
            }
        }
        out(spot)
    }

    fn follow_each(&self, parts: Vec<(Value, Value)>, rest: &[Key], spot: &Spot, out: &mut Out<'_>) -> Flow {
        self.meter.allocate(parts.len() as u64 * 48)?;
        parts.into_iter().try_for_each(|(key, value)| {
            let part = spot.part(key, value, &self.meter)?;
            self.meter.deeper(|| self.follow(rest, part, out))
        })
    }

    fn part(&self, spot: &Spot, key: Value) -> Flow<Spot> {
        let value = path::index(&spot.value, &key, &self.meter)?;
        spot.part(key, value, &self.meter)
    }

    fn slice(&self, spot: &Spot, from: &Value, until: &Value) -> Flow<Spot> {
        let value = path::slice(&spot.value, from, until, &self.meter)?;
        match spot.track {
            Track::Off => Ok(Spot::untracked(value)),
            Track::At(_) | Track::Lost => {
                let key = path::slice_key(from.clone(), until.clone(), &self.meter)?;
                spot.part(key, value, &self.meter)
            }
        }
    }
}
