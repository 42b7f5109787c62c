//! Where evaluation goes: pipes, branches, loops, `try` and `label`.

use super::{Binding, Env, Machine, Out, Spot};
use crate::expression::meter::{Flow, Stop};
use crate::expression::term::{Fold, Term};
use crate::expression::value::Value;

impl Machine<'_> {
    pub(super) fn pipe(&self, stages: &[Term], env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        match stages {
            [] => out(spot),
            [last] => self.eval(last, env, spot, out),
            [first, rest @ ..] => self.eval(first, env, spot, &mut |spot| self.pipe(rest, env, spot, out)),
        }
    }

    pub(super) fn comma(&self, terms: &[Term], env: &Env<'_>, spot: &Spot, out: &mut Out<'_>) -> Flow {
        terms.iter().try_for_each(|term| self.eval(term, env, spot.clone(), out))
    }

    pub(super) fn branch(
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

    pub(super) fn label(&self, body: &Term, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
        let id = self.meter.fresh_label();
        let env = Env { parent: Some(env), binding: Binding::Label(id) };
        match self.eval(body, &env, spot, out) {
            Err(Stop::Break(to)) if to == id => Ok(()),
            flow => flow,
        }
    }

    pub(super) fn reduce(&self, fold: &Fold, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
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

    pub(super) fn foreach(&self, fold: &Fold, env: &Env<'_>, spot: Spot, out: &mut Out<'_>) -> Flow {
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
    pub(super) fn attempt(
        &self,
        body: &Term,
        handler: Option<&Term>,
        env: &Env<'_>,
        spot: Spot,
        out: &mut Out<'_>,
    ) -> Flow {
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
}
