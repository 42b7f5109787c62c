//! What terms bind: variables by pattern, and the parameters of functions.

use super::{Binding, Env, Machine, Out, Spot};
use crate::expression::builtins;
use crate::expression::meter::{Flow, Stop};
use crate::expression::path;
use crate::expression::term::{Definition, Parameter, Pattern, Term};
use crate::expression::value::Value;

impl Machine<'_> {
    pub(super) fn bind(
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
    pub(super) fn destructure(
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

    pub(super) fn destructure_map(
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

    /// Binds the parameters one by one, then runs the body in the definition's own surroundings.
    #[expect(clippy::too_many_arguments, reason = "caller and definition each bring their own surroundings")]
    pub(super) fn call(
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

    pub(super) fn native(
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
}
