//! Where a value was found: getting, setting and deleting by path, with jq's rules for what is missing.

use std::sync::Arc;

use super::convert::shown;
use super::meter::{Exceeded, Flow, Meter, Stop};
use super::number::Number;
use super::value::{Fields, List, Map, Value, change_list, change_map};
use crate::limits;

/// The way to a value from the input, as `path` yields it: names, indexes and slices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    key: Value,
    length: u32,
    before: Path,
}

impl Path {
    /// One step further. Paths are as long as values are deep at most, which also bounds the recursion of dropping one.
    pub(crate) fn then(&self, key: Value, meter: &Meter) -> Flow<Self> {
        let length = self.0.as_ref().map_or(0, |link| link.length) + 1;
        if length > limits::MAX_VALUE_DEPTH {
            return Err(Stop::Limit(Exceeded::Depth));
        }
        meter.work(1)?;
        Ok(Self(Some(Arc::new(Link { key, length, before: self.clone() }))))
    }

    pub(crate) fn keys(&self) -> Vec<Value> {
        let mut keys = Vec::new();
        let mut at = self;
        while let Some(link) = &at.0 {
            keys.push(link.key.clone());
            at = &link.before;
        }
        keys.reverse();
        keys
    }
}

/// `value[key]`: `null` for what is missing.
pub(crate) fn index(value: &Value, key: &Value, meter: &Meter) -> Flow<Value> {
    match (value, key) {
        (Value::Map(_), Value::Text(name)) => {
            Ok(value.fields().and_then(|fields| fields.get(name)).cloned().unwrap_or(Value::Null))
        }
        (Value::List(_), Value::Number(number)) => {
            let items = value.items().unwrap_or_default();
            Ok(position(*number, items.len()).and_then(|at| items.get(at)).cloned().unwrap_or(Value::Null))
        }
        (Value::Null, Value::Text(_) | Value::Number(_) | Value::Null) => Ok(Value::Null),
        (Value::List(_) | Value::Text(_) | Value::Null, Value::Map(_)) => {
            let (from, until) = bounds(key)?;
            slice(value, &from, &until, meter)
        }
        (Value::List(_), Value::List(wanted)) => {
            let wanted = Value::List(wanted.clone());
            super::builtins::arrays::indices(value, &wanted, meter)
        }
        (_, Value::Text(name)) => Err(Stop::error(format!("cannot index {} with \"{name}\"", value.kind()))),
        (_, _) => Err(Stop::error(format!("cannot index {} with {}", value.kind(), key.kind()))),
    }
}

/// `value[from:until]`
pub(crate) fn slice(value: &Value, from: &Value, until: &Value, meter: &Meter) -> Flow<Value> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::List(_) => {
            let items = value.items().unwrap_or_default();
            let range = range(from, until, items.len())?;
            Value::list(items[range].to_vec(), meter)
        }
        Value::Text(text) => {
            meter.work(value.work())?;
            let range = range(from, until, text.chars().count())?;
            let part: String = text.chars().skip(range.start).take(range.len()).collect();
            Value::new_text(part, meter)
        }
        Value::Bool(_) | Value::Number(_) | Value::Map(_) => {
            Err(Stop::error(format!("cannot take a slice of {}", shown(value))))
        }
    }
}

/// Everything that `.[]` yields.
pub(crate) fn each(value: &Value) -> Flow<Vec<(Value, Value)>> {
    match value {
        Value::List(_) => {
            let items = value.items().unwrap_or_default().iter().enumerate();
            Ok(items.map(|(at, item)| (Value::count(at), item.clone())).collect())
        }
        Value::Map(_) => {
            let fields = value.fields().into_iter().flatten();
            Ok(fields.map(|(name, field)| (Value::Text(name.clone()), field.clone())).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            Err(Stop::error(format!("cannot iterate over {}", shown(value))))
        }
    }
}

pub(crate) fn get(value: &Value, keys: &[Value], meter: &Meter) -> Flow<Value> {
    let mut at = value.clone();
    for key in keys {
        meter.work(1)?;
        at = index(&at, key, meter)?;
    }
    Ok(at)
}

/// What `update` makes of the value at the end of the path.
pub(crate) type Change<'c> = dyn FnMut(Value) -> Flow<Value> + 'c;

/// Replaces what is at the path by what `change` makes of it, building what is missing on the way. What is taken out
/// is not shared meanwhile, so a change in place costs nothing.
pub(crate) fn update(value: Value, keys: &[Value], meter: &Meter, change: &mut Change<'_>) -> Flow<Value> {
    let Some((key, rest)) = keys.split_first() else { return change(value) };
    meter.work(1)?;
    match (value, key) {
        (Value::Null, Value::Text(name)) => {
            let inner = update(Value::Null, rest, meter, change)?;
            Value::map(Fields::from_iter([(name.clone(), inner)]), meter)
        }
        (Value::Null, Value::Number(_)) => update(Value::list(Vec::new(), meter)?, keys, meter, change),
        (Value::Null, Value::Map(_)) => {
            let new = update(Value::Null, rest, meter, change)?;
            if matches!(new, Value::List(_)) { Ok(new) } else { Err(not_a_list()) }
        }
        (Value::Map(map), Value::Text(name)) => update_field(map, name, rest, meter, change),
        (Value::List(list), Value::Number(number)) => update_item(list, *number, rest, meter, change),
        (Value::List(list), Value::Map(_)) => update_slice(list, key, rest, meter, change),
        (value, Value::Text(name)) => Err(Stop::error(format!("cannot index {} with \"{name}\"", value.kind()))),
        (value, key) => Err(Stop::error(format!("cannot index {} with {}", value.kind(), key.kind()))),
    }
}

// The three below recurse through `update`; kept apart, each has a small frame on the stack.

#[inline(never)]
fn update_field(
    mut map: Arc<Map>,
    name: &Arc<str>,
    rest: &[Value],
    meter: &Meter,
    change: &mut Change<'_>,
) -> Flow<Value> {
    let old = change_map(&mut map, meter, |map| map.take(name))?;
    let new = update(old, rest, meter, change)?;
    change_map(&mut map, meter, |map| map.set(name, new))?;
    Ok(Value::Map(map))
}

#[inline(never)]
fn update_item(
    mut list: Arc<List>,
    number: Number,
    rest: &[Value],
    meter: &Meter,
    change: &mut Change<'_>,
) -> Flow<Value> {
    let at = place(number, list.len())?;
    grow(&mut list, at + 1, meter)?;
    let old = change_list(&mut list, meter, |list| list.take(at))?;
    let new = update(old, rest, meter, change)?;
    change_list(&mut list, meter, |list| list.replace(at, new))?;
    Ok(Value::List(list))
}

#[inline(never)]
fn update_slice(
    mut list: Arc<List>,
    key: &Value,
    rest: &[Value],
    meter: &Meter,
    change: &mut Change<'_>,
) -> Flow<Value> {
    let (from, until) = bounds(key)?;
    let range = range(&from, &until, list.len())?;
    let old = Value::list(list.items()[range.clone()].to_vec(), meter)?;
    let new = update(old, rest, meter, change)?;
    let items = new.items().ok_or_else(not_a_list)?;
    meter.allocate(items.len() as u64 * 24)?;
    change_list(&mut list, meter, |list| list.splice(range, items.to_vec()))?;
    Ok(Value::List(list))
}

fn not_a_list() -> Stop {
    Stop::error("a slice of an array can only be assigned another array")
}

/// Removes all the paths. Longer and later ones go first, so that none moves what another means.
pub(crate) fn delete(mut value: Value, mut paths: Vec<Vec<Value>>, meter: &Meter) -> Flow<Value> {
    meter.work(paths.len() as u64)?;
    paths.sort_by(|a, b| {
        let pairs = a.iter().zip(b).map(|(a, b)| a.order(b)).find(|order| order.is_ne());
        pairs.unwrap_or_else(|| a.len().cmp(&b.len()))
    });
    for path in paths.iter().rev() {
        let Some((last, way)) = path.split_last() else { return Ok(Value::Null) };
        if matches!(get(&value, way, meter)?, Value::Null) {
            continue;
        }
        value = update(value, way, meter, &mut |holder| remove(holder, last, meter))?;
    }
    Ok(value)
}

fn remove(value: Value, key: &Value, meter: &Meter) -> Flow<Value> {
    match (value, key) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Map(mut map), Value::Text(name)) => {
            meter.work(map.len() as u64 / 16)?;
            change_map(&mut map, meter, |map| map.remove(name))?;
            Ok(Value::Map(map))
        }
        (Value::List(mut list), Value::Number(number)) => {
            meter.work(list.len() as u64 / 16)?;
            if let Some(gone) = position(*number, list.len()).filter(|at| *at < list.len()) {
                change_list(&mut list, meter, |list| list.splice(gone..gone + 1, Vec::new()))?;
            }
            Ok(Value::List(list))
        }
        (Value::List(mut list), Value::Map(_)) => {
            let (from, until) = bounds(key)?;
            meter.work(list.len() as u64 / 16)?;
            let gone = range(&from, &until, list.len())?;
            change_list(&mut list, meter, |list| list.splice(gone, Vec::new()))?;
            Ok(Value::List(list))
        }
        (value, key) => Err(Stop::error(format!("cannot delete {} of {}", shown(key), value.kind()))),
    }
}

/// The index that a number means in a list of this length; negative ones count from the end.
fn position(number: Number, length: usize) -> Option<usize> {
    let at = floor(number);
    if at < 0 { length.checked_sub(usize::try_from(at.unsigned_abs()).ok()?) } else { usize::try_from(at).ok() }
}

fn place(number: Number, length: usize) -> Flow<usize> {
    let at = position(number, length).ok_or_else(|| Stop::error("out of bounds negative array index"))?;
    let most = limits::MAX_VALUE_BYTES / 8;
    if at as u64 > most { Err(Stop::Limit(Exceeded::Size)) } else { Ok(at) }
}

fn floor(number: Number) -> i64 {
    Number::of(number.as_f64().floor()).as_i64()
}

fn grow(list: &mut Arc<List>, length: usize, meter: &Meter) -> Flow {
    let missing = length.saturating_sub(list.len());
    meter.allocate(missing as u64 * 24)?;
    change_list(list, meter, |list| (0..missing).for_each(|_| list.push(Value::Null)))
}

/// The bounds that a slice's key `{"start": …, "end": …}` holds.
fn bounds(key: &Value) -> Flow<(Value, Value)> {
    let fields = key.fields().ok_or_else(|| Stop::error("a slice needs a start and an end"))?;
    let bound = |name| fields.get(name).cloned().unwrap_or(Value::Null);
    Ok((bound("start"), bound("end")))
}

/// The key of a slice, as `path(.[1:3])` yields it.
pub(crate) fn slice_key(from: Value, until: Value, meter: &Meter) -> Flow<Value> {
    Value::map(Fields::from_iter([(Arc::from("start"), from), (Arc::from("end"), until)]), meter)
}

fn range(from: &Value, until: &Value, length: usize) -> Flow<std::ops::Range<usize>> {
    let start = bound(from, length, 0, f64::floor)?;
    let end = bound(until, length, length, f64::ceil)?;
    Ok(start..end.max(start))
}

fn bound(value: &Value, length: usize, absent: usize, round: fn(f64) -> f64) -> Flow<usize> {
    let number = match value {
        Value::Null => return Ok(absent),
        Value::Number(number) => Number::of(round(number.as_f64())).as_i64(),
        Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            return Err(Stop::error("start and end of a slice must be numbers"));
        }
    };
    let size = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    Ok(if number < 0 { length.saturating_sub(size) } else { size.min(length) })
}
