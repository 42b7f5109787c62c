//! Between JSON, text and the values of expressions. All recursion here ends at `MAX_VALUE_DEPTH`.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value as Json;

use super::meter::{Exceeded, Flow, Meter, Stop};
use super::number::Number;
use super::value::{Fields, Value};
use crate::limits;

/// Data enters an expression.
pub(crate) fn from_json(json: &Json, meter: &Meter) -> Flow<Value> {
    import(json, limits::MAX_VALUE_DEPTH, meter)
}

fn import(json: &Json, depth_left: u32, meter: &Meter) -> Flow<Value> {
    match json {
        Json::Null => Ok(Value::Null),
        Json::Bool(value) => Ok(Value::Bool(*value)),
        Json::Number(number) => Ok(Value::Number(Number::from_json(number))),
        Json::String(text) => Value::new_text(text.as_str(), meter),
        Json::Array(items) => {
            let below = depth_left.checked_sub(1).ok_or(Stop::Limit(Exceeded::Depth))?;
            Value::list(items.iter().map(|item| import(item, below, meter)).collect::<Flow<_>>()?, meter)
        }
        Json::Object(object) => {
            let below = depth_left.checked_sub(1).ok_or(Stop::Limit(Exceeded::Depth))?;
            let field = |(name, value): (&String, &Json)| Ok((Arc::from(name.as_str()), import(value, below, meter)?));
            Value::map(object.iter().map(field).collect::<Flow<Fields>>()?, meter)
        }
    }
}

/// A result leaves; `Err` holds the number that JSON does not have.
pub(crate) fn to_json(value: &Value) -> Result<Json, Number> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => Json::Number(number.to_json().ok_or(*number)?),
        Value::Text(text) => Json::String(text.to_string()),
        Value::List(_) => {
            let items = value.items().unwrap_or_default();
            Json::Array(items.iter().map(to_json).collect::<Result<_, _>>()?)
        }
        Value::Map(_) => {
            let fields = value.fields().into_iter().flatten();
            Json::Object(fields.map(|(name, value)| Ok((name.to_string(), to_json(value)?))).collect::<Result<_, _>>()?)
        }
    })
}

/// Writing escapes looks at every byte, unlike copying.
pub(crate) const BYTES_WRITTEN_PER_STEP: u64 = 16;

/// The value as compact JSON text, paid for.
pub(crate) fn to_text(value: &Value, meter: &Meter) -> Flow<String> {
    meter.work(1 + value.bytes() / BYTES_WRITTEN_PER_STEP)?;
    let mut text = String::new();
    write(value, &mut text)?;
    meter.allocate(text.len() as u64)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String) -> Flow {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => write!(text, "{number}").expect("a String takes everything"),
        Value::Text(content) => text.push_str(&quoted(content)),
        Value::List(_) => {
            text.push('[');
            for (index, item) in value.items().unwrap_or_default().iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Map(_) => {
            text.push('{');
            for (index, (name, field)) in value.fields().into_iter().flatten().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&quoted(name));
                text.push(':');
                write(field, text)?;
            }
            text.push('}');
        }
    }
    // Escapes can make the text six times as long as the value, so it is watched while it grows.
    if text.len() as u64 > limits::MAX_VALUE_BYTES { Err(Stop::Limit(Exceeded::Size)) } else { Ok(()) }
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("every text can be written as JSON")
}

/// What an error message shows of a value: its kind and the beginning of its text.
pub(crate) fn shown(value: &Value) -> String {
    const SHOWN: usize = 40;
    if value.bytes() > 64 * SHOWN as u64 {
        return value.kind().to_owned();
    }
    let mut text = String::new();
    if write(value, &mut text).is_err() {
        return value.kind().to_owned();
    }
    if text.chars().count() > SHOWN {
        text = text.chars().take(SHOWN - 3).chain("...".chars()).collect();
    }
    format!("{} ({text})", value.kind())
}
