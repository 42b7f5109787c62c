//! Assignments: the places first, then each changed in place.

use super::{Env, Machine, Out, Spot};
use crate::expression::meter::Flow;
use crate::expression::term::{Math, Term};
use crate::expression::value::Value;
use crate::expression::{math, path};

impl Machine<'_> {
    pub(super) fn assign(&self, place: &Term, value: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
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
    pub(super) fn update(&self, place: &Term, change: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
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

    pub(super) fn update_math(
        &self,
        op: Math,
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

    pub(super) fn update_alternative(
        &self,
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
                    Ok(if old.is_true() { old } else { right.clone() })
                })?;
            }
            out(track.with(result))
        })
    }

    /// Calls `then` with the input and each value of the term; a single value gets the input unshared.
    pub(super) fn for_each_value(
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
}
