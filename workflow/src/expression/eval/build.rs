//! What terms build: texts, arrays, objects, and the results of operators.

use std::sync::Arc;

use super::{Env, Machine, Out, Spot};
use crate::expression::meter::{Exceeded, Flow, Stop};
use crate::expression::term::{Compare, Format, Math, Term, TextPart};
use crate::expression::value::{Fields, Value};
use crate::expression::{convert, format, math};

impl Machine<'_> {
    pub(super) fn text(
        &self,
        how: Format,
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

    pub(super) fn array(&self, term: &Term, env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
        let mut items = Vec::new();
        let mut bytes = 0;
        self.values(term, env, &spot.value, &mut |value| {
            bytes += value.bytes();
            self.meter.allocate(bytes.min(24))?;
            if bytes > crate::limits::MAX_VALUE_BYTES {
                return Err(Stop::Limit(Exceeded::Size));
            }
            items.push(value);
            Ok(())
        })?;
        out(spot.with(Value::list(items, &self.meter)?))
    }

    /// The first field varies slowest, as in jq.
    pub(super) fn object(
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

    pub(super) fn negate(&self, term: &Term, env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
        self.values(term, env, &spot.value, &mut |value| match value {
            Value::Number(number) => out(spot.with(Value::Number(number.negate()))),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                Err(Stop::error(format!("{} cannot be negated", convert::shown(&value))))
            }
        })
    }

    pub(super) fn math(&self, op: Math, a: &Term, b: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
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

    pub(super) fn compare(
        &self,
        op: Compare,
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

    pub(super) fn logic(
        &self,
        a: &Term,
        b: &Term,
        decides: bool,
        env: &Env<'_>,
        spot: &Spot,
        out: &mut Out<'_>,
    ) -> Flow {
        self.values(a, env, &spot.value, &mut |left| {
            if left.is_true() == decides {
                return out(spot.with(Value::Bool(decides)));
            }
            self.values(b, env, &spot.value, &mut |right| out(spot.with(Value::Bool(right.is_true()))))
        })
    }

    /// All of the first that is neither `null` nor `false`; only if there is none, the second. Errors are not hidden.
    pub(super) fn alternative(
        &self,
        first: &Term,
        second: &Term,
        env: &Env<'_>,
        spot: Spot,
        out: &mut Out<'_>,
    ) -> Flow {
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
}
