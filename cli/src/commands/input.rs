//! What people give on the command line: JSON as it stands, from a file, or from standard input.

use std::io::Read;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::exit::Failure;

/// `@file`, `-` for standard input, else the text itself.
pub(super) fn text(given: &str) -> Result<String, Failure> {
    match given.strip_prefix('@') {
        Some(path) => file(path),
        None if given == "-" => standard_input(),
        None => Ok(given.to_owned()),
    }
}

pub(super) fn file(path: &str) -> Result<String, Failure> {
    if path == "-" {
        return standard_input();
    }
    std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{path} cannot be read: {error}")))
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    Ok(text)
}

/// The same as JSON, with a hint at the usual mistake.
pub(super) fn json(given: &str, what: &str) -> Result<Value, Failure> {
    let text = text(given)?;
    serde_json::from_str(&text).map_err(|error| {
        let failure = Failure::usage(format!("{what} is no JSON: {error}"));
        let quoted = serde_json::to_string(&text).expect("a text is JSON");
        if text.len() < 60 { failure.advise(format!("a text is written in quotes: '{quoted}'")) } else { failure }
    })
}

/// A line that some program wrote: JSON if it is that, else a JSON string of it.
pub(super) fn json_or_text(line: &str) -> Box<RawValue> {
    match serde_json::from_str::<Box<RawValue>>(line) {
        Ok(json) => json,
        Err(_) => serde_json::value::to_raw_value(line).expect("a text is JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_where_it_can_be() {
        let check = |line: &str, expect: &str| assert_eq!(json_or_text(line).get(), expect);
        check(r#"{"a": 1}"#, r#"{"a": 1}"#);
        check("17", "17");
        check("Hello", r#""Hello""#);
        check(" say \"hi\"", r#"" say \"hi\"""#);
        check("", r#""""#);
        check("{broken", r#""{broken""#);
    }
}
