//! Maps, and what is asked of values of any kind: length, keys, type, paths.

use std::sync::Arc;

use super::super::convert::{self, shown};
use super::super::eval::Machine;
use super::super::format;
use super::super::meter::{Flow, Stop};
use super::super::path;
use super::super::term::Format;
use super::super::value::{Fields, Value};
use super::{Native, items_of, text_of, wrong};

pub(crate) const NATIVES: &[Native] = &[
    Native::new("not", 0, |_, input, _| Ok(Value::Bool(!input.is_true()))),
    Native::new("length", 0, length),
    Native::new("type", 0, |_, input, _| Ok(Value::text(input.kind()))),
    Native::new("keys", 0, |machine, input, _| keys(machine, &input, true)),
    Native::new("keys_unsorted", 0, |machine, input, _| keys(machine, &input, false)),
    Native::new("has", 1, has),
    Native::new("to_entries", 0, to_entries),
    Native::new("from_entries", 0, from_entries),
    Native::new("setpath", 2, set_path),
    Native::new("delpaths", 1, delete_paths),
    Native::new("tojson", 0, |machine, input, _| Ok(Value::text(convert::to_text(&input, &machine.meter)?))),
    Native::new("fromjson", 0, from_json),
    Native::new("tostring", 0, |machine, input, _| Ok(Value::Text(format::plain(&input, &machine.meter)?))),
    Native::new("toboolean", 0, to_boolean),
    Native::new("uuid", 0, uuid),
    Native::new("@text", 0, |machine, input, _| formatted(machine, Format::Text, &input)),
    Native::new("@json", 0, |machine, input, _| formatted(machine, Format::Json, &input)),
    Native::new("@csv", 0, |machine, input, _| formatted(machine, Format::Csv, &input)),
    Native::new("@tsv", 0, |machine, input, _| formatted(machine, Format::Tsv, &input)),
    Native::new("@html", 0, |machine, input, _| formatted(machine, Format::Html, &input)),
    Native::new("@uri", 0, |machine, input, _| formatted(machine, Format::Uri, &input)),
    Native::new("@urid", 0, |machine, input, _| formatted(machine, Format::UriDecode, &input)),
    Native::new("@sh", 0, |machine, input, _| formatted(machine, Format::Sh, &input)),
    Native::new("@base64", 0, |machine, input, _| formatted(machine, Format::Base64, &input)),
    Native::new("@base64d", 0, |machine, input, _| formatted(machine, Format::Base64Decode, &input)),
];

fn formatted(machine: &Machine<'_>, format: Format, input: &Value) -> Flow<Value> {
    Ok(Value::Text(format::render(format, input, &machine.meter)?))
}

fn length(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    match &input {
        Value::Null => Ok(Value::int(0)),
        Value::Number(number) => Ok(Value::Number(number.absolute())),
        Value::Text(text) => {
            machine.meter.work(input.work())?;
            Ok(Value::count(text.chars().count()))
        }
        Value::List(_) => Ok(Value::count(items_of(&input)?.len())),
        Value::Map(_) => Ok(Value::count(input.fields().map_or(0, Fields::len))),
        Value::Bool(_) => Err(Stop::error(format!("{} has no length", shown(&input)))),
    }
}

fn keys(machine: &Machine<'_>, input: &Value, sorted: bool) -> Flow<Value> {
    match input {
        Value::List(_) => Value::list((0..items_of(input)?.len()).map(Value::count).collect(), &machine.meter),
        Value::Map(_) => {
            let mut names: Vec<&Arc<str>> = input.fields().into_iter().flat_map(Fields::keys).collect();
            machine.meter.work(names.len() as u64)?;
            if sorted {
                names.sort();
            }
            Value::list(names.into_iter().map(|name| Value::Text(name.clone())).collect(), &machine.meter)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            Err(Stop::error(format!("{} has no keys", shown(input))))
        }
    }
}

fn has(_: &Machine<'_>, input: Value, key: &[Value]) -> Flow<Value> {
    match (&input, &key[0]) {
        (Value::Null, Value::Text(_) | Value::Number(_)) => Ok(Value::Bool(false)),
        (Value::Map(_), Value::Text(name)) => {
            Ok(Value::Bool(input.fields().is_some_and(|fields| fields.contains_key(name))))
        }
        (Value::List(_), Value::Number(at)) => {
            let length = Value::count(items_of(&input)?.len());
            let at = Value::Number(*at);
            Ok(Value::Bool(at.order(&Value::int(0)).is_ge() && at.order(&length).is_lt()))
        }
        (input, key) => Err(Stop::error(format!("cannot check whether {} has a {} key", input.kind(), key.kind()))),
    }
}

fn to_entries(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let (key, value): (Arc<str>, Arc<str>) = ("key".into(), "value".into());
    let entry = |(name, field): (Value, Value)| {
        Value::map(Fields::from_iter([(key.clone(), name), (value.clone(), field)]), &machine.meter)
    };
    Value::list(path::each(&input)?.into_iter().map(entry).collect::<Flow<_>>()?, &machine.meter)
}

/// Takes `key`, `k` or `name` and `value` or `v` of each entry, also capitalised, as jq does.
fn from_entries(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let mut fields = Fields::new();
    for (_, entry) in path::each(&input)? {
        machine.meter.work(4)?;
        let given = entry.fields().ok_or_else(|| wrong(&entry, "an object"))?;
        let present = |name: &&str| given.get(*name).filter(|value| !matches!(value, Value::Null));
        let key = ["key", "k", "name", "Name", "Key", "K"].iter().find_map(present);
        let name = match key {
            Some(Value::Text(name)) => name.clone(),
            Some(key @ (Value::Bool(_) | Value::Number(_))) => format::plain(key, &machine.meter)?,
            Some(Value::Null | Value::List(_) | Value::Map(_)) | None => {
                let key = key.cloned().unwrap_or(Value::Null);
                return Err(Stop::error(format!("cannot use {} as object key", shown(&key))));
            }
        };
        let value = ["value", "v", "Value", "V"].iter().find_map(|name| given.get(*name));
        fields.insert(name, value.cloned().unwrap_or(Value::Null));
    }
    Value::map(fields, &machine.meter)
}

fn set_path(machine: &Machine<'_>, input: Value, arguments: &[Value]) -> Flow<Value> {
    let keys = arguments[0].items().ok_or_else(|| Stop::error("a path must be an array"))?;
    path::update(input, keys, &machine.meter, &mut |_| Ok(arguments[1].clone()))
}

fn delete_paths(machine: &Machine<'_>, input: Value, arguments: &[Value]) -> Flow<Value> {
    let paths = items_of(&arguments[0])?.iter();
    let keys = |path: &Value| Ok(path.items().ok_or_else(|| Stop::error("a path must be an array"))?.to_vec());
    machine.meter.allocate(arguments[0].bytes())?;
    path::delete(input, paths.map(keys).collect::<Flow<_>>()?, &machine.meter)
}

fn from_json(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let text = text_of(&input)?;
    // Parsed text takes up to some thirty times its length in memory (`[[],[],…]`).
    machine.meter.allocate(text.len() as u64)?;
    machine.meter.work(text.len() as u64 / 4)?;
    let json: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| Stop::error(format!("{} (while parsing {})", error, shown(&input))))?;
    convert::from_json(&json, &machine.meter)
}

fn to_boolean(_: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    match (&input, input.as_text()) {
        (Value::Bool(_), _) => Ok(input),
        (_, Some("true")) => Ok(Value::Bool(true)),
        (_, Some("false")) => Ok(Value::Bool(false)),
        (_, Some(_) | None) => Err(Stop::error(format!("{} cannot be parsed as a boolean", shown(&input)))),
    }
}

/// A version 4 id that is the same whenever this evaluation is repeated.
fn uuid(machine: &Machine<'_>, _: Value, _: &[Value]) -> Flow<Value> {
    let draw = machine.meter.next_draw();
    let high = spread(machine.moment.seed ^ spread(draw));
    let low = spread(high ^ draw);
    let version = high & 0x0fff | 0x4000;
    let variant = low >> 48 & 0x3fff | 0x8000;
    Ok(Value::text(format!(
        "{:08x}-{:04x}-{version:04x}-{variant:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        low & 0xffff_ffff_ffff
    )))
}

/// SplitMix64's finaliser (<https://prng.di.unimi.it/splitmix64.c>): neighbouring seeds give unrelated numbers.
fn spread(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
