//! Paths: where they lead, and where values were found.

use super::{Env, Machine, Out, Spot, Track};
use crate::expression::convert;
use crate::expression::meter::{Flow, Stop};
use crate::expression::path::{self, Path};
use crate::expression::term::{Key, KeyKind, Step, Term};
use crate::expression::value::Value;

impl Machine<'_> {
    /// `..`: the value, then its parts, each before its own.
    pub(super) fn descend(&self, spot: Spot, out: &mut Out<'_>) -> Flow {
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

    /// A path with computed steps: their values first, the last one's slowest, then the way they lead.
    pub(super) fn computed_path(
        &self,
        term: &Term,
        steps: &[Step],
        env: &Env<'_>,
        spot: &Spot,
        out: &mut Out<'_>,
    ) -> Flow {
        self.keys(steps, env, &spot.value, &mut Vec::new(), &mut |keys| {
            let keys: Vec<Key> = keys.iter().rev().cloned().collect();
            self.meter.allocate(keys.len() as u64 * 64)?;
            self.eval(term, env, spot.clone(), &mut |spot| self.follow(&keys, spot, out))
        })
    }

    /// Calls `then` with all combinations of the steps' values, last step first.
    pub(super) fn keys(
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

    pub(super) fn follow(&self, keys: &[Key], mut spot: Spot, out: &mut Out<'_>) -> Flow {
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

    pub(super) fn follow_each(&self, parts: Vec<(Value, Value)>, rest: &[Key], spot: &Spot, out: &mut Out<'_>) -> Flow {
        self.meter.allocate(parts.len() as u64 * 48)?;
        parts.into_iter().try_for_each(|(key, value)| {
            let part = spot.part(key, value, &self.meter)?;
            self.meter.deeper(|| self.follow(rest, part, out))
        })
    }

    pub(super) fn part(&self, spot: &Spot, key: Value) -> Flow<Spot> {
        let value = path::index(&spot.value, &key, &self.meter)?;
        spot.part(key, value, &self.meter)
    }

    pub(super) fn slice(&self, spot: &Spot, from: &Value, until: &Value) -> Flow<Spot> {
        let value = path::slice(&spot.value, from, until, &self.meter)?;
        match spot.track {
            Track::Off => Ok(Spot::untracked(value)),
            Track::At(_) | Track::Lost => {
                let key = path::slice_key(from.clone(), until.clone(), &self.meter)?;
                spot.part(key, value, &self.meter)
            }
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
}
