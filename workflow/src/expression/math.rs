//! `+ - * / %` and comparisons, with jq's rules for values that are no numbers. Pays for what it allocates first.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::convert::shown;
use super::meter::{Flow, Meter, Stop};
use super::term::{Compare, Math};
use super::value::{Fields, Value, change_list, change_map};

pub(crate) fn apply(op: Math, left: Value, right: Value, meter: &Meter) -> Flow<Value> {
    match op {
        Math::Add => add(left, right, meter),
        Math::Subtract => subtract(left, right, meter),
        Math::Multiply => multiply(left, right, meter),
        Math::Divide => divide(&left, &right, meter),
        Math::Remainder => remainder(&left, &right),
    }
}

pub(crate) fn compare(op: Compare, left: &Value, right: &Value, meter: &Meter) -> Flow<bool> {
    meter.work(left.work().min(right.work()))?;
    let order = left.order(right);
    Ok(match op {
        Compare::Less => order == Ordering::Less,
        Compare::LessOrEqual => order != Ordering::Greater,
        Compare::Greater => order == Ordering::Greater,
        Compare::GreaterOrEqual => order != Ordering::Less,
        Compare::Equal => order == Ordering::Equal,
        Compare::NotEqual => order != Ordering::Equal,
    })
}

pub(crate) fn add(left: Value, right: Value, meter: &Meter) -> Flow<Value> {
    match (left, right) {
        (Value::Null, other) | (other, Value::Null) => Ok(other),
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a.add(b))),
        (Value::Text(a), Value::Text(b)) => {
            meter.allocate((a.len() + b.len()) as u64)?;
            Ok(Value::text([&*a, &*b].concat()))
        }
        (Value::List(mut a), Value::List(b)) => {
            let more = Value::List(b);
            let items = more.items().unwrap_or_default();
            meter.allocate(items.len() as u64 * 24)?;
            change_list(&mut a, meter, |list| items.iter().for_each(|item| list.push(item.clone())))?;
            Ok(Value::List(a))
        }
        (Value::Map(mut a), Value::Map(b)) => {
            let more = Value::Map(b);
            meter.allocate(more.fields().map_or(0, Fields::len) as u64 * 48)?;
            let fields = more.fields().into_iter().flatten();
            change_map(&mut a, meter, |map| fields.for_each(|(name, value)| map.set(name, value.clone())))?;
            Ok(Value::Map(a))
        }
        (left, right) => Err(refused(&left, &right, "added")),
    }
}

fn subtract(left: Value, right: Value, meter: &Meter) -> Flow<Value> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a.subtract(b))),
        (Value::List(mut a), Value::List(b)) => {
            let gone = Value::List(b);
            let kept = Value::List(a.clone());
            let comparisons = 1 + u64::from(gone.items().unwrap_or_default().len().max(1).ilog2());
            meter.work(gone.work() + kept.work().saturating_mul(comparisons))?;
            drop(kept);
            let gone: BTreeSet<Ordered<'_>> = gone.items().unwrap_or_default().iter().map(Ordered).collect();
            change_list(&mut a, meter, |list| list.retain(|_, item| !gone.contains(&Ordered(item))))?;
            Ok(Value::List(a))
        }
        (left, right) => Err(refused(&left, &right, "subtracted")),
    }
}

/// A value in jq's order, for sorted collections.
#[derive(Clone, Copy)]
pub(crate) struct Ordered<'v>(pub(crate) &'v Value);

impl Ord for Ordered<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(other.0)
    }
}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered<'_> {}

fn multiply(left: Value, right: Value, meter: &Meter) -> Flow<Value> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a.multiply(b))),
        (Value::Text(text), Value::Number(times)) | (Value::Number(times), Value::Text(text)) => {
            repeat(&text, times.as_f64(), meter)
        }
        (Value::Map(a), Value::Map(b)) => {
            meter.work(Value::Map(b.clone()).work())?;
            merge(Value::Map(a), &Value::Map(b), meter)
        }
        (left, right) => Err(refused(&left, &right, "multiplied")),
    }
}

/// `"ab" * 3`; `null` for a negative number.
fn repeat(text: &Arc<str>, times: f64, meter: &Meter) -> Flow<Value> {
    if times.is_nan() || times < 0.0 {
        return Ok(Value::Null);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and `as` saturates")]
    let times = times as u64;
    meter.allocate((text.len() as u64).saturating_mul(times))?;
    let times = if text.is_empty() { 1 } else { times };
    Ok(Value::text(text.repeat(usize::try_from(times).expect("its product with a length was allowed"))))
}

/// `{…} * {…}`: maps on both sides are merged, all else is replaced.
fn merge(left: Value, right: &Value, meter: &Meter) -> Flow<Value> {
    let (Value::Map(mut map), Value::Map(_)) = (left, right) else { return Ok(right.clone()) };
    meter.allocate(right.fields().map_or(0, Fields::len) as u64 * 48)?;
    for (name, value) in right.fields().into_iter().flatten() {
        let old = change_map(&mut map, meter, |map| map.take(name))?;
        let new = match (old, value) {
            (old @ Value::Map(_), Value::Map(_)) => merge(old, value, meter)?,
            (_, value) => value.clone(),
        };
        change_map(&mut map, meter, |map| map.set(name, new))?;
    }
    Ok(Value::Map(map))
}

fn divide(left: &Value, right: &Value, meter: &Meter) -> Flow<Value> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.divide(*b).map(Value::Number).ok_or_else(|| by_zero(left, right)),
        (Value::Text(text), Value::Text(separator)) => split(text, separator, meter),
        (left, right) => Err(refused(left, right, "divided")),
    }
}

/// The parts of a text between separators; an empty one parts all characters.
pub(crate) fn split(text: &str, separator: &str, meter: &Meter) -> Flow<Value> {
    meter.work(text.len() as u64 / 16)?;
    if text.is_empty() {
        return Value::list(Vec::new(), meter);
    }
    let mut parts = Vec::new();
    let mut keep = |part: &str| {
        meter.allocate(24)?;
        parts.push(Value::new_text(part, meter)?);
        Ok(())
    };
    if separator.is_empty() {
        let mut buffer = [0; 4];
        text.chars().try_for_each(|character| keep(character.encode_utf8(&mut buffer)))?;
    } else {
        text.split(separator).try_for_each(keep)?;
    }
    Value::list(parts, meter)
}

fn remainder(left: &Value, right: &Value) -> Flow<Value> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.remainder(*b).map(Value::Number).ok_or_else(|| by_zero(left, right)),
        (left, right) => Err(refused(left, right, "divided")),
    }
}

fn by_zero(left: &Value, right: &Value) -> Stop {
    Stop::error(format!("{} and {} cannot be divided because the divisor is zero", shown(left), shown(right)))
}

fn refused(left: &Value, right: &Value, verb: &str) -> Stop {
    Stop::error(format!("{} and {} cannot be {verb}", shown(left), shown(right)))
}
