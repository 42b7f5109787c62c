//! How values become text: `@csv`, `@base64` and so on.

use std::fmt::Write as _;
use std::sync::Arc;

use super::convert::{self, shown};
use super::meter::{Flow, Meter, Stop};
use super::term::Format;
use super::value::Value;

pub(crate) fn render(format: Format, value: &Value, meter: &Meter) -> Flow<Arc<str>> {
    meter.work(value.bytes() / convert::BYTES_WRITTEN_PER_STEP)?;
    let text = match format {
        Format::Text => return plain(value, meter),
        Format::Json => convert::to_text(value, meter)?,
        Format::Csv => row(value, ",", csv_cell, "csv")?,
        Format::Tsv => row(value, "\t", tsv_cell, "tsv")?,
        Format::Html => html(&plain(value, meter)?),
        Format::Uri => uri(&plain(value, meter)?),
        Format::UriDecode => uri_decode(value, &plain(value, meter)?)?,
        Format::Sh => shell(value, meter)?,
        Format::Base64 => base64(plain(value, meter)?.as_bytes()),
        Format::Base64Decode => base64_decode(value, &plain(value, meter)?)?,
    };
    meter.allocate(text.len() as u64)?;
    Ok(text.into())
}

/// A text as it is, anything else as JSON.
pub(crate) fn plain(value: &Value, meter: &Meter) -> Flow<Arc<str>> {
    match value {
        Value::Text(text) => {
            meter.work(value.work())?;
            Ok(text.clone())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
            Ok(convert::to_text(value, meter)?.into())
        }
    }
}

fn row(value: &Value, separator: &str, cell: fn(&Value) -> Option<String>, name: &str) -> Flow<String> {
    let items = value
        .items()
        .ok_or_else(|| Stop::error(format!("{} cannot be {name}-formatted, only an array can", shown(value))))?;
    let mut text = String::new();
    for (at, item) in items.iter().enumerate() {
        let cell = cell(item).ok_or_else(|| Stop::error(format!("{} is not valid in a {name} row", shown(item))))?;
        text.push_str(if at == 0 { "" } else { separator });
        text.push_str(&cell);
    }
    Ok(text)
}

fn csv_cell(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(format!("\"{}\"", text.replace('"', "\"\""))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => scalar(value),
    }
}

fn tsv_cell(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => {
            Some(text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => scalar(value),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Text(_) | Value::List(_) | Value::Map(_) => None,
    }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;").replace('"', "&quot;")
}

fn uri(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}

fn uri_decode(value: &Value, text: &str) -> Flow<String> {
    let refused = || Stop::error(format!("{} is not a valid uri encoding", shown(value)));
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(refused);
        let code = digit()? * 16 + digit()?;
        decoded.push(u8::try_from(code).expect("two hex digits are a byte"));
    }
    Ok(String::from_utf8_lossy(&decoded).into_owned())
}

fn shell(value: &Value, meter: &Meter) -> Flow<String> {
    let items = value.items().unwrap_or(std::slice::from_ref(value));
    let mut words = Vec::new();
    for item in items {
        words.push(match item {
            Value::Text(text) => format!("'{}'", text.replace('\'', r"'\''")),
            Value::Null | Value::Bool(_) | Value::Number(_) => convert::to_text(item, meter)?,
            Value::List(_) | Value::Map(_) => {
                return Err(Stop::error(format!("{} cannot be escaped for a shell", shown(item))));
            }
        });
    }
    Ok(words.join(" "))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn base64_decode(value: &Value, text: &str) -> Flow<String> {
    let letters = text.trim_end_matches('=').bytes();
    let (mut decoded, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0_u32);
    for letter in letters {
        let place = ALPHABET.iter().position(|known| *known == letter);
        let place = place.ok_or_else(|| Stop::error(format!("{} is not valid base64 data", shown(value))))?;
        bits = bits << 6 | u32::try_from(place).expect("below 64");
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push((bits >> held & 0xff) as u8);
        }
    }
    if decoded.is_empty() && !text.is_empty() {
        return Err(Stop::error(format!("{} is not valid base64 data", shown(value))));
    }
    Ok(String::from_utf8_lossy(&decoded).into_owned())
}
