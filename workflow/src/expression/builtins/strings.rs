//! Texts: trimming, splitting, case, code points.

use super::super::convert::shown;
use super::super::eval::Machine;
use super::super::format;
use super::super::math;
use super::super::meter::{Flow, Stop};
use super::super::number::Number;
use super::super::value::Value;
use super::{Native, items_of, text_of};

pub(crate) const NATIVES: &[Native] = &[
    Native::new("utf8bytelength", 0, |_, input, _| Ok(Value::count(text_of(&input)?.len()))),
    Native::new("tonumber", 0, to_number),
    Native::new("ascii_downcase", 0, |machine, input, _| {
        Value::new_text(text_of(&input)?.to_ascii_lowercase(), &machine.meter)
    }),
    Native::new("ascii_upcase", 0, |machine, input, _| {
        Value::new_text(text_of(&input)?.to_ascii_uppercase(), &machine.meter)
    }),
    Native::new("trim", 0, |machine, input, _| part(machine, &input, str::trim)),
    Native::new("ltrim", 0, |machine, input, _| part(machine, &input, str::trim_start)),
    Native::new("rtrim", 0, |machine, input, _| part(machine, &input, str::trim_end)),
    Native::new("startswith", 1, |_, input, affix| {
        both(&input, &affix[0], "startswith").map(|(text, affix)| Value::Bool(text.starts_with(affix)))
    }),
    Native::new("endswith", 1, |_, input, affix| {
        both(&input, &affix[0], "endswith").map(|(text, affix)| Value::Bool(text.ends_with(affix)))
    }),
    Native::new("ltrimstr", 1, |machine, input, affix| strip(machine, input, &affix[0], true, false)),
    Native::new("rtrimstr", 1, |machine, input, affix| strip(machine, input, &affix[0], false, true)),
    Native::new("trimstr", 1, |machine, input, affix| strip(machine, input, &affix[0], true, true)),
    Native::new("split", 1, |machine, input, separator| {
        let (text, separator) = both(&input, &separator[0], "split")?;
        math::split(text, separator, &machine.meter)
    }),
    Native::new("join", 1, join),
    Native::new("explode", 0, explode),
    Native::new("implode", 0, implode),
];

fn both<'v>(input: &'v Value, other: &'v Value, name: &str) -> Flow<(&'v str, &'v str)> {
    input
        .as_text()
        .zip(other.as_text())
        .ok_or_else(|| Stop::error(format!("{name} needs two strings, not {} and {}", shown(input), shown(other))))
}

fn part(machine: &Machine<'_>, input: &Value, trim: fn(&str) -> &str) -> Flow<Value> {
    let text = input.as_text().ok_or_else(|| Stop::error(format!("{} cannot be trimmed", shown(input))))?;
    Value::new_text(trim(text), &machine.meter)
}

/// Without the affix where it is there; anything but two strings stays as it is.
fn strip(machine: &Machine<'_>, input: Value, affix: &Value, front: bool, back: bool) -> Flow<Value> {
    let (Some(whole), Some(affix)) = (input.as_text(), affix.as_text()) else { return Ok(input) };
    let mut text = whole;
    if front {
        text = text.strip_prefix(affix).unwrap_or(text);
    }
    if back {
        text = text.strip_suffix(affix).unwrap_or(text);
    }
    if text.len() == whole.len() { Ok(input) } else { Value::new_text(text, &machine.meter) }
}

fn to_number(_: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let Some(text) = input.as_text() else {
        let message = format!("{} cannot be parsed as a number", shown(&input));
        return if input.as_number().is_some() { Ok(input) } else { Err(Stop::error(message)) };
    };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number = match text.parse::<i64>() {
        Ok(whole) => Some(Number::Int(whole)),
        Err(_) => text.parse::<f64>().ok().filter(|number| plain && number.is_finite()).map(Number::of),
    };
    number.map(Value::Number).ok_or_else(|| Stop::error(format!("{} cannot be parsed as a number", shown(&input))))
}

fn join(machine: &Machine<'_>, input: Value, separator: &[Value]) -> Flow<Value> {
    let items = items_of(&input)?;
    let separator = match (&separator[0], items.is_empty()) {
        (_, true) => "",
        (separator, false) => text_of(separator)?,
    };
    concatenate(items, separator, machine)
}

/// Numbers and booleans become text, null becomes nothing.
pub(super) fn concatenate(items: &[Value], separator: &str, machine: &Machine<'_>) -> Flow<Value> {
    let mut joined = String::new();
    for (at, item) in items.iter().enumerate() {
        let text = match item {
            Value::Null => "".into(),
            Value::Text(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => format::plain(item, &machine.meter)?,
            Value::List(_) | Value::Map(_) => {
                return Err(Stop::error(format!("cannot join with {}", shown(item))));
            }
        };
        let separator = if at == 0 { "" } else { separator };
        machine.meter.work(1)?;
        machine.meter.allocate((joined.len() + separator.len() + text.len()) as u64 / 64)?;
        if (joined.len() + separator.len() + text.len()) as u64 > crate::limits::MAX_VALUE_BYTES {
            return Err(Stop::Limit(super::super::meter::Exceeded::Size));
        }
        joined.push_str(separator);
        joined.push_str(&text);
    }
    Value::new_text(joined, &machine.meter)
}

fn explode(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let text = text_of(&input)?;
    machine.meter.allocate(text.len() as u64 * 24)?;
    Value::list(text.chars().map(|character| Value::int(u32::from(character).into())).collect(), &machine.meter)
}

fn implode(machine: &Machine<'_>, input: Value, _: &[Value]) -> Flow<Value> {
    let character = |item: &Value| {
        let code = item.as_number().map(Number::as_i64).and_then(|code| u32::try_from(code).ok());
        code.and_then(char::from_u32).ok_or_else(|| Stop::error(format!("{} is not a code point", shown(item))))
    };
    let items = items_of(&input)?;
    machine.meter.allocate(items.len() as u64 * 4)?;
    Value::new_text(items.iter().map(character).collect::<Flow<String>>()?, &machine.meter)
}

/// Where `part` occurs in `text`, overlapping too, counted in characters.
pub(super) fn occurrences(text: &str, part: &str) -> Vec<Value> {
    if part.is_empty() {
        return Vec::new();
    }
    let places = text.char_indices().enumerate();
    places.filter(|(_, (byte, _))| text[*byte..].starts_with(part)).map(|(at, _)| Value::count(at)).collect()
}
