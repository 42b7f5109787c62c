//! Functions that take filters rather than values, or that keep track of paths: they steer the evaluation themselves.

use super::super::convert::shown;
use super::super::eval::{Env, Machine, Out, Spot};
use super::super::meter::{Flow, Stop};
use super::super::path;
use super::super::term::Term;
use super::super::value::{Fields, Value};
use super::{number_of, patterns};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Empty,
    Error,
    ErrorOf,
    Path,
    GetPath,
    Recurse,
    RecurseBy,
    RecurseWhile,
    While,
    Until,
    Repeat,
    Range,
    Limit,
    First,
    Last,
    Skip,
    Walk,
    Substitute,
    SubstituteAll,
}

impl Form {
    pub(crate) const ALL: &[(&'static str, usize, Self)] = &[
        ("empty", 0, Self::Empty),
        ("error", 0, Self::Error),
        ("error", 1, Self::ErrorOf),
        ("path", 1, Self::Path),
        ("getpath", 1, Self::GetPath),
        ("recurse", 0, Self::Recurse),
        ("recurse", 1, Self::RecurseBy),
        ("recurse", 2, Self::RecurseWhile),
        ("while", 2, Self::While),
        ("until", 2, Self::Until),
        ("repeat", 1, Self::Repeat),
        ("range", 1, Self::Range),
        ("range", 2, Self::Range),
        ("range", 3, Self::Range),
        ("limit", 2, Self::Limit),
        ("first", 1, Self::First),
        ("last", 1, Self::Last),
        ("skip", 2, Self::Skip),
        ("walk", 1, Self::Walk),
        ("sub", 2, Self::Substitute),
        ("sub", 3, Self::Substitute),
        ("gsub", 2, Self::SubstituteAll),
        ("gsub", 3, Self::SubstituteAll),
    ];

    pub(crate) fn named(name: &str, arity: usize) -> Option<Self> {
        Self::ALL.iter().find(|(known, takes, _)| *known == name && *takes == arity).map(|(_, _, form)| *form)
    }
}

/// Runs a form. `arguments` has as many terms as the form was found with.
pub(crate) fn run(
    machine: &Machine<'_>,
    form: Form,
    arguments: &[Term],
    env: &Env<'_>,
    spot: Spot,
    out: &mut Out<'_>,
) -> Flow {
    match (form, arguments) {
        (Form::Empty, _) => Ok(()),
        (Form::Error, _) => Err(Stop::Error(spot.value)),
        (Form::ErrorOf, [message]) => {
            machine.values(message, env, &spot.value, &mut |message| Err(Stop::Error(message)))
        }
        (Form::Path, [place]) => machine
            .trace(place, env, &spot.value, &mut |path, _| out(spot.with(Value::list(path.keys(), &machine.meter)?))),
        (Form::GetPath, [keys]) => {
            machine.values(keys, env, &spot.value, &mut |keys| get_path(machine, &keys, spot.clone(), out))
        }
        (Form::Recurse, _) => machine.search(spot, out, &mut |spot, more| each_leniently(machine, spot, more)),
        (Form::Repeat, [term]) => loop {
            machine.eval(term, env, spot.clone(), out)?;
        },
        (Form::RecurseBy, [next]) => {
            machine.search(spot, out, &mut |spot, more| machine.eval(next, env, spot.clone(), &mut |spot| more(spot)))
        }
        (Form::RecurseWhile, [next, holds]) => machine.search(spot, out, &mut |spot, more| {
            machine.eval(next, env, spot.clone(), &mut |spot| {
                machine.values(holds, env, &spot.value, &mut |condition| {
                    if condition.is_true() { more(spot.clone()) } else { Ok(()) }
                })
            })
        }),
        (Form::While, [holds, next]) => repeat_while(machine, holds, next, env, spot, out),
        (Form::Until, [holds, next]) => repeat_until(machine, holds, next, env, spot, out),
        (Form::Range, bounds) => range(machine, bounds, env, &spot, out),
        (Form::Limit, [count, term]) => limit(machine, count, term, env, spot, out),
        (Form::First, [term]) => match machine.first(term, env, spot)? {
            Some(first) => out(first),
            None => Ok(()),
        },
        (Form::Last, [term]) => {
            let mut last = None;
            machine.eval(term, env, spot, &mut |spot| {
                last = Some(spot);
                Ok(())
            })?;
            last.map_or(Ok(()), out)
        }
        (Form::Skip, [count, term]) => skip(machine, count, term, env, &spot, out),
        (Form::Walk, [change]) => {
            let result = spot.with(Value::Null);
            walk(machine, change, env, spot.value, &mut |value| out(result.with(value)))
        }
        (Form::Substitute | Form::SubstituteAll, [pattern, replacement, flags @ ..]) => {
            let all = form == Form::SubstituteAll;
            patterns::substitute(machine, [pattern, replacement], flags.first(), all, env, &spot, out)
        }
        (_, _) => unreachable!("a form is found by its name and the number of its arguments"),
    }
}

fn get_path(machine: &Machine<'_>, keys: &Value, mut spot: Spot, out: &mut Out<'_>) -> Flow {
    let keys = keys.items().ok_or_else(|| Stop::error("a path must be an array"))?;
    for key in keys {
        machine.meter.work(1)?;
        let value = path::index(&spot.value, key, &machine.meter)?;
        spot = spot.part(key.clone(), value, &machine.meter)?;
    }
    out(spot)
}

fn each_leniently(machine: &Machine<'_>, spot: &Spot, more: &mut Out<'_>) -> Flow {
    if !matches!(spot.value, Value::List(_) | Value::Map(_)) {
        return Ok(());
    }
    let parts = path::each(&spot.value)?;
    machine.meter.allocate(parts.len() as u64 * 48)?;
    parts.into_iter().try_for_each(|(key, value)| more(spot.part(key, value, &machine.meter)?))
}

impl Machine<'_> {
    /// Hands on the value, then what `next` makes of it, and so on, depth first; the stack is here, not in calls.
    pub(crate) fn search(
        &self,
        spot: Spot,
        out: &mut Out<'_>,
        next: &mut dyn FnMut(&Spot, &mut Out<'_>) -> Flow,
    ) -> Flow {
        let mut waiting = vec![spot];
        while let Some(spot) = waiting.pop() {
            self.meter.work(1)?;
            out(spot.clone())?;
            let from = waiting.len();
            next(&spot, &mut |spot| {
                self.meter.allocate(64)?;
                waiting.push(spot);
                Ok(())
            })?;
            waiting[from..].reverse();
        }
        Ok(())
    }
}

fn repeat_while(
    machine: &Machine<'_>,
    holds: &Term,
    next: &Term,
    env: &Env<'_>,
    spot: Spot,
    out: &mut Out<'_>,
) -> Flow {
    let mut waiting = vec![spot];
    while let Some(spot) = waiting.pop() {
        let from = waiting.len();
        machine.values(holds, env, &spot.value, &mut |condition| {
            if !condition.is_true() {
                return Ok(());
            }
            out(spot.clone())?;
            machine.eval(next, env, spot.clone(), &mut |spot| {
                machine.meter.allocate(64)?;
                waiting.push(spot);
                Ok(())
            })
        })?;
        waiting[from..].reverse();
    }
    Ok(())
}

fn repeat_until(
    machine: &Machine<'_>,
    holds: &Term,
    next: &Term,
    env: &Env<'_>,
    spot: Spot,
    out: &mut Out<'_>,
) -> Flow {
    let mut waiting = vec![spot];
    while let Some(spot) = waiting.pop() {
        let from = waiting.len();
        machine.values(holds, env, &spot.value, &mut |condition| {
            if condition.is_true() {
                return out(spot.clone());
            }
            machine.eval(next, env, spot.clone(), &mut |spot| {
                machine.meter.allocate(64)?;
                waiting.push(spot);
                Ok(())
            })
        })?;
        waiting[from..].reverse();
    }
    Ok(())
}

fn range(machine: &Machine<'_>, bounds: &[Term], env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
    let zero = Term::Literal(Value::int(0));
    let one = Term::Literal(Value::int(1));
    let (from, until, step) = match bounds {
        [until] => (&zero, until, &one),
        [from, until] => (from, until, &one),
        [from, until, step] => (from, until, step),
        _ => unreachable!("`range` is found with one to three arguments"),
    };
    machine.values(from, env, &spot.value, &mut |from| {
        machine.values(until, env, &spot.value, &mut |until| {
            machine.values(step, env, &spot.value, &mut |step| {
                count(machine, [&from, &until, &step], &mut |value| out(spot.with(value)))
            })
        })
    })
}

fn count(machine: &Machine<'_>, [from, until, step]: [&Value; 3], out: &mut dyn FnMut(Value) -> Flow) -> Flow {
    let (mut at, until, step) = (number_of(from)?, number_of(until)?, number_of(step)?);
    let forwards = step.as_f64() > 0.0;
    while if forwards { at.order(until).is_lt() } else { at.order(until).is_gt() && !step.is_zero() } {
        machine.meter.work(1)?;
        out(Value::Number(at))?;
        at = at.add(step);
    }
    Ok(())
}

fn limit(machine: &Machine<'_>, count: &Term, term: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
    machine.values(count, env, &spot.value.clone(), &mut |count| {
        let mut left = number_of(&count)?.as_f64().ceil();
        if left < 0.0 {
            return Err(Stop::error("limit does not support a negative count"));
        }
        if left == 0.0 {
            return Ok(());
        }
        let label = machine.meter.fresh_label();
        let flow = machine.eval(term, env, spot.clone(), &mut |spot| {
            left -= 1.0;
            out(spot)?;
            if left <= 0.0 { Err(Stop::Break(label)) } else { Ok(()) }
        });
        match flow {
            Err(Stop::Break(to)) if to == label => Ok(()),
            flow => flow,
        }
    })
}

fn skip(machine: &Machine<'_>, count: &Term, term: &Term, env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
    machine.values(count, env, &spot.value, &mut |count| {
        let mut left = number_of(&count)?.as_f64();
        if left < 0.0 {
            return Err(Stop::error("skip does not support a negative count"));
        }
        machine.eval(term, env, spot.clone(), &mut |spot| {
            if left > 0.0 {
                left -= 1.0;
                return Ok(());
            }
            out(spot)
        })
    })
}

/// Changes the parts first, then the whole.
fn walk(machine: &Machine<'_>, change: &Term, env: &Env<'_>, value: Value, out: &mut dyn FnMut(Value) -> Flow) -> Flow {
    let rebuilt = match &value {
        Value::List(_) => {
            let mut items = Vec::new();
            for item in value.items().unwrap_or_default() {
                machine.meter.deeper(|| {
                    walk(machine, change, env, item.clone(), &mut |item| {
                        machine.meter.allocate(24)?;
                        items.push(item);
                        Ok(())
                    })
                })?;
            }
            Value::list(items, &machine.meter)?
        }
        Value::Map(_) => {
            let mut fields = Fields::new();
            for (name, field) in value.fields().into_iter().flatten() {
                let mut first = None;
                machine.meter.deeper(|| {
                    walk(machine, change, env, field.clone(), &mut |field| {
                        first.get_or_insert(field);
                        Ok(())
                    })
                })?;
                if let Some(field) = first {
                    fields.insert(name.clone(), field);
                }
            }
            Value::map(fields, &machine.meter)?
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => value.clone(),
    };
    machine.values(change, env, &rebuilt, out)
}

/// The message of an uncaught `error(value)`.
pub(crate) fn message_of(error: &Value) -> String {
    match error {
        Value::Text(text) => text.to_string(),
        Value::Null => "null (null) was raised".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => format!("{} was raised", shown(error)),
    }
}
