//! Lists: sorting, grouping, searching.

use std::cmp::Ordering;

use super::super::convert::shown;
use super::super::eval::Machine;
use super::super::math::{self, Ordered};
use super::super::meter::{Flow, Meter, Stop};
use super::super::path;
use super::super::value::Value;
use super::{Native, items_of, number_of, wrong};

pub(crate) const NATIVES: &[Native] = &[
    Native::new("add", 0, add),
    Native::new("sort", 0, |machine, input, _| sort_with(machine, &input, &input)),
    Native::new("_sort_by", 1, |machine, input, keys| sort_with(machine, &input, &keys[0])),
    Native::new("_group_by", 1, group_by),
    Native::new("_min_by", 1, |machine, input, keys| extreme(machine, &input, &keys[0], Ordering::Less)),
    Native::new("_max_by", 1, |machine, input, keys| extreme(machine, &input, &keys[0], Ordering::Greater)),
    Native::new("min", 0, |machine, input, _| extreme(machine, &input, &input, Ordering::Less)),
    Native::new("max", 0, |machine, input, _| extreme(machine, &input, &input, Ordering::Greater)),
    Native::new("unique", 0, unique),
    Native::new("reverse", 0, reverse),
    Native::new("flatten", 0, |machine, input, _| flatten(machine, &input, f64::INFINITY)),
    Native::new("flatten", 1, |machine, input, depth| flatten(machine, &input, number_of(&depth[0])?.as_f64())),
    Native::new("transpose", 0, transpose),
    Native::new("indices", 1, |machine, input, wanted| indices(&input, &wanted[0], &machine.meter)),
    Native::new("contains", 1, |machine, input, part| {
        machine.meter.work(input.work().saturating_mul(part[0].work()))?;
        contains(&input, &part[0]).map(Value::Bool)
    }),
    Native::new("bsearch", 1, binary_search),
    Native::new("toarray", 0, |machine, input, _| {
        if input.items().is_some() { Ok(input) } else { Value::list(vec![input], &machine.meter) }
    }),
];

fn add(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let items: Vec<Value> = path::each(&input)?.into_iter().map(|(_, item)| item).collect();
    machine.meter.allocate(items.len() as u64 * 24)?;
    if items.iter().all(|item| matches!(item, Value::Text(_))) && !items.is_empty() {
        return super::strings::concatenate(&items, "", machine);
    }
    items.into_iter().try_fold(Value::Null, |sum, item| math::add(sum, item, &machine.meter))
}

/// Charges for comparing all items of a list with each other, as sorting does.
fn charge_sorting(machine: &Machine<'_>, input: &Value) -> Flow {
    let rounds = 1 + u64::from(input.items().unwrap_or_default().len().max(1).ilog2());
    machine.meter.work(input.work().saturating_mul(rounds))
}

/// The list's items paired with their keys, in the keys' order; equal ones stay as they were.
fn sorted<'v>(machine: &Machine<'_>, input: &'v Value, keys: &'v Value) -> Flow<Vec<(&'v Value, &'v Value)>> {
    let items = input
        .items()
        .ok_or_else(|| Stop::error(format!("{} cannot be sorted, as it is not an array", shown(input))))?;
    charge_sorting(machine, keys)?;
    let mut pairs: Vec<(&Value, &Value)> = items_of(keys)?.iter().zip(items).collect();
    pairs.sort_by(|(a, _), (b, _)| a.order(b));
    Ok(pairs)
}

fn sort_with(machine: &Machine<'_>, input: &Value, keys: &Value) -> Flow<Value> {
    let pairs = sorted(machine, input, keys)?;
    Value::list(pairs.into_iter().map(|(_, item)| item.clone()).collect(), &machine.meter)
}

fn group_by(machine: &Machine<'_>, input: Value, keys: &[Value]) -> Flow<Value> {
    let pairs = sorted(machine, &input, &keys[0])?;
    let groups = pairs.chunk_by(|(a, _), (b, _)| a.equals(b));
    let groups =
        groups.map(|group| Value::list(group.iter().map(|(_, item)| (*item).clone()).collect(), &machine.meter));
    Value::list(groups.collect::<Flow<_>>()?, &machine.meter)
}

fn unique(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let mut items: Vec<Value> = sorted(machine, &input, &input)?.into_iter().map(|(_, item)| item.clone()).collect();
    items.dedup_by(|a, b| a.equals(b));
    Value::list(items, &machine.meter)
}

/// The first smallest or the last largest item, by its key.
fn extreme(machine: &Machine<'_>, input: &Value, keys: &Value, wanted: Ordering) -> Flow<Value> {
    machine.meter.work(keys.work())?;
    let items = items_of(input)?;
    let pairs = items_of(keys)?.iter().zip(items);
    let best = pairs.reduce(|best, next| match next.0.order(best.0) {
        order if order == wanted => next,
        Ordering::Equal if wanted == Ordering::Greater => next,
        Ordering::Less | Ordering::Equal | Ordering::Greater => best,
    });
    Ok(best.map_or(Value::Null, |(_, item)| item.clone()))
}

fn reverse(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    match &input {
        Value::Null => Value::list(Vec::new(), &machine.meter),
        Value::Text(text) => Value::new_text(text.chars().rev().collect::<String>(), &machine.meter),
        Value::List(_) => Value::list(items_of(&input)?.iter().rev().cloned().collect(), &machine.meter),
        Value::Bool(_) | Value::Number(_) | Value::Map(_) => Err(wrong(&input, "an array")),
    }
}

fn flatten(machine: &Machine<'_>, input: &Value, depth: f64) -> Flow<Value> {
    if depth < 0.0 {
        return Err(Stop::error("flatten depth must not be negative"));
    }
    let mut flat = Vec::new();
    let items: Vec<Value> = path::each(input)?.into_iter().map(|(_, item)| item).collect();
    flatten_into(machine, &items, depth, &mut flat)?;
    Value::list(flat, &machine.meter)
}

fn flatten_into(machine: &Machine<'_>, items: &[Value], depth: f64, flat: &mut Vec<Value>) -> Flow {
    for item in items {
        machine.meter.allocate(24)?;
        machine.meter.work(1)?;
        match item.items() {
            Some(inner) if depth > 0.0 => flatten_into(machine, inner, depth - 1.0, flat)?,
            Some(_) | None => flat.push(item.clone()),
        }
    }
    Ok(())
}

fn transpose(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let rows = items_of(&input)?.iter().map(items_of).collect::<Flow<Vec<_>>>()?;
    let width = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    machine.meter.allocate((width as u64).saturating_mul(rows.len() as u64).saturating_mul(24))?;
    let column = |at: usize| rows.iter().map(|row| row.get(at).cloned().unwrap_or(Value::Null)).collect();
    let columns = (0..width).map(|at| Value::list(column(at), &machine.meter)).collect::<Flow<_>>()?;
    Value::list(columns, &machine.meter)
}

/// Where a part occurs in a text or list, or an item in a list.
pub(crate) fn indices(input: &Value, wanted: &Value, meter: &Meter) -> Flow<Value> {
    meter.work(input.work().saturating_mul(1 + wanted.work() / 2))?;
    let found: Vec<Value> = match (input, wanted) {
        (Value::Text(text), Value::Text(part)) => super::strings::occurrences(text, part),
        (Value::List(_), Value::List(_)) => {
            let part = items_of(wanted)?;
            let same = |window: &[Value]| window.iter().zip(part).all(|(a, b)| a.equals(b));
            let items = items_of(input)?;
            if part.is_empty() {
                return Value::list(Vec::new(), meter);
            }
            items.windows(part.len()).enumerate().filter(|(_, w)| same(w)).map(|(at, _)| Value::count(at)).collect()
        }
        (Value::List(_), item) => {
            let items = items_of(input)?.iter().enumerate();
            items.filter(|(_, value)| value.equals(item)).map(|(at, _)| Value::count(at)).collect()
        }
        (other, wanted) => return path::index(other, wanted, meter),
    };
    Value::list(found, meter)
}

fn contains(whole: &Value, part: &Value) -> Flow<bool> {
    match (whole, part) {
        (Value::Text(whole), Value::Text(part)) => Ok(whole.contains(&**part)),
        (Value::List(_), Value::List(_)) => {
            for wanted in items_of(part)? {
                let mut found = false;
                for item in items_of(whole)? {
                    found = found || (item.kind() == wanted.kind() && contains(item, wanted)?);
                }
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(_), Value::Map(_)) => {
            for (name, wanted) in part.fields().into_iter().flatten() {
                let field = whole.fields().and_then(|fields| fields.get(name));
                match field {
                    Some(field) if field.kind() == wanted.kind() && contains(field, wanted)? => {}
                    Some(_) | None => return Ok(false),
                }
            }
            Ok(true)
        }
        (whole, part) if whole.kind() == part.kind() => Ok(whole.equals(part)),
        (whole, part) => {
            Err(Stop::error(format!("{} and {} cannot have their containment checked", shown(whole), shown(part))))
        }
    }
}

/// Where it is in a sorted list, or `-1 - (where it would go)`.
fn binary_search(machine: &Machine<'_>, input: Value, wanted: &[Value]) -> Flow<Value> {
    machine.meter.work(wanted[0].work().saturating_mul(32))?;
    let wanted = Ordered(&wanted[0]);
    let place = |at: usize| i64::try_from(at).expect("a list is shorter than that");
    Ok(match items_of(&input)?.binary_search_by(|item| Ordered(item).cmp(&wanted)) {
        Ok(at) => Value::count(at),
        Err(at) => Value::int(-1 - place(at)),
    })
}
