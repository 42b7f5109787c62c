//! Regular expressions. They run in time linear in pattern times text, and the compiled pattern's size is bounded.

use std::fmt::Write as _;
use std::sync::Arc;

use regex::{Captures, Regex, RegexBuilder};

use super::super::convert::shown;
use super::super::eval::{Env, Machine, Out, Spot};
use super::super::meter::{Flow, Stop};
use super::super::term::Term;
use super::super::value::{Fields, Value};
use super::{Native, text_of};
use crate::limits;

pub(crate) const NATIVES: &[Native] = &[Native::new("_match", 3, matches), Native::new("split", 2, split)];

/// What the flags of jq's regular expressions say.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are the language's flags, each on or off")]
struct Flags {
    global: bool,
    skip_empty: bool,
    ignore_case: bool,
    extended: bool,
    dot_matches_newline: bool,
    multi_line: bool,
}

impl Flags {
    fn read(text: &str) -> Flow<Self> {
        let mut flags = Self::default();
        for letter in text.chars() {
            match letter {
                'g' => flags.global = true,
                'n' => flags.skip_empty = true,
                'i' => flags.ignore_case = true,
                'x' => flags.extended = true,
                's' => flags.dot_matches_newline = true,
                'm' => flags.multi_line = true,
                'p' => (flags.dot_matches_newline, flags.multi_line) = (true, true),
                other => {
                    return Err(Stop::error(format!(
                        "{other} is not a flag of regular expressions: use g, i, m, n, p, s or x"
                    )));
                }
            }
        }
        Ok(flags)
    }
}

fn compile(machine: &Machine<'_>, pattern: &str, flags: Flags, written: &str) -> Flow<Arc<Regex>> {
    let key = (pattern.to_owned(), written.to_owned());
    if let Some(known) = machine.patterns.borrow().get(&key) {
        return Ok(known.clone());
    }
    // Compiling costs about as much as the compiled form is large.
    machine.meter.work(200 + pattern.len() as u64 * 50)?;
    machine.meter.allocate(limits::MAX_REGEX_BYTES as u64 / 8)?;
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(flags.ignore_case)
        .ignore_whitespace(flags.extended)
        .dot_matches_new_line(flags.dot_matches_newline)
        .multi_line(flags.multi_line)
        .size_limit(limits::MAX_REGEX_BYTES)
        .dfa_size_limit(limits::MAX_REGEX_BYTES)
        .nest_limit(64)
        .build()
        .map_err(|error| Stop::error(refused(pattern, &error)))?;
    let regex = Arc::new(regex);
    machine.patterns.borrow_mut().insert(key, regex.clone());
    Ok(regex)
}

fn refused(pattern: &str, error: &regex::Error) -> String {
    let mut message = format!("{} is not a regular expression that can be used", shown(&Value::text(pattern)));
    if let regex::Error::CompiledTooBig(_) = error {
        message.push_str(": it is too large once compiled");
    } else {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        write!(message, ": {reason}").expect("a String takes everything");
    }
    message
}

fn flags_of(flags: &Value) -> Flow<&str> {
    if matches!(flags, Value::Null) { Ok("") } else { text_of(flags) }
}

/// Searching costs, at worst, text times pattern.
fn charge(machine: &Machine<'_>, text: &str, pattern: &str) -> Flow {
    machine.meter.work((text.len() as u64 / 64).saturating_mul(1 + pattern.len() as u64 / 8) + 4)
}

/// All captures that the flags ask for.
fn find<'t>(machine: &Machine<'_>, regex: &Regex, flags: Flags, text: &'t str) -> Flow<Vec<Captures<'t>>> {
    charge(machine, text, regex.as_str())?;
    let mut found = Vec::new();
    for captures in regex.captures_iter(text) {
        machine.meter.work(8 + 2 * captures.len() as u64)?;
        if !(flags.skip_empty && captures[0].is_empty()) {
            found.push(captures);
        }
        if !flags.global && !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// `_match(re; flags; test)`: the matches as jq describes them, or only whether there is one.
fn matches(machine: &Machine<'_>, input: Value, given: &[Value]) -> Flow<Value> {
    let (pattern, written) = pattern_and_flags(&given[0], &given[1])?;
    let text = input
        .as_text()
        .ok_or_else(|| Stop::error(format!("{} cannot be matched, as it is not a string", shown(&input))))?;
    let flags = Flags::read(&written)?;
    let regex = compile(machine, &pattern, flags, &written)?;
    if given[2].is_true() {
        charge(machine, text, &pattern)?;
        return Ok(Value::Bool(regex.is_match(text)));
    }
    let mut position = Position::default();
    let mut described = Vec::new();
    for captures in find(machine, &regex, flags, text)? {
        described.push(describe(machine, &regex, &captures, text, &mut position)?);
    }
    Value::list(described, &machine.meter)
}

fn pattern_and_flags(pattern: &Value, flags: &Value) -> Flow<(String, String)> {
    let wanted = |value: &Value| Stop::error(format!("{} is not a string and cannot be matched", shown(value)));
    let pattern_text = pattern.as_text().ok_or_else(|| wanted(pattern))?;
    Ok((pattern_text.to_owned(), flags_of(flags)?.to_owned()))
}

/// From byte offsets to character offsets, for offsets that mostly grow.
#[derive(Default)]
struct Position {
    byte: usize,
    character: usize,
}

impl Position {
    fn of(&mut self, text: &str, byte: usize) -> usize {
        if byte < self.byte {
            *self = Self::default();
        }
        self.character += text[self.byte..byte].chars().count();
        self.byte = byte;
        self.character
    }
}

fn describe(
    machine: &Machine<'_>,
    regex: &Regex,
    captures: &Captures<'_>,
    text: &str,
    position: &mut Position,
) -> Flow<Value> {
    let whole = captures.get(0).expect("group 0 is the whole match");
    let mut fields = group(machine, text, Some(whole), position)?;
    let mut groups = Vec::new();
    for (name, matched) in regex.capture_names().zip(captures.iter()).skip(1) {
        let mut fields = group(machine, text, matched, position)?;
        fields.insert("name".into(), name.map_or(Value::Null, Value::text));
        groups.push(Value::map(fields, &machine.meter)?);
    }
    fields.insert("captures".into(), Value::list(groups, &machine.meter)?);
    Value::map(fields, &machine.meter)
}

fn group(
    machine: &Machine<'_>,
    text: &str,
    matched: Option<regex::Match<'_>>,
    position: &mut Position,
) -> Flow<Fields> {
    let (offset, length, string) = match matched {
        None => (Value::int(-1), Value::int(0), Value::Null),
        Some(matched) => {
            machine.meter.work(1 + (matched.start().abs_diff(position.byte) + matched.len()) as u64 / 64)?;
            (
                Value::count(position.of(text, matched.start())),
                Value::count(matched.as_str().chars().count()),
                Value::new_text(matched.as_str(), &machine.meter)?,
            )
        }
    };
    Ok(Fields::from_iter([("offset".into(), offset), ("length".into(), length), ("string".into(), string)]))
}

/// `split(re; flags)`: what is between the matches.
fn split(machine: &Machine<'_>, input: Value, given: &[Value]) -> Flow<Value> {
    let (pattern, written) = pattern_and_flags(&given[0], &given[1])?;
    let text = text_of(&input)?;
    let flags = Flags { global: true, ..Flags::read(&written)? };
    let regex = compile(machine, &pattern, flags, &written)?;
    let (mut parts, mut from) = (Vec::new(), 0);
    for captures in find(machine, &regex, flags, text)? {
        let found = captures.get(0).expect("group 0 is the whole match");
        parts.push(Value::new_text(&text[from..found.start()], &machine.meter)?);
        from = found.end();
    }
    parts.push(Value::new_text(&text[from..], &machine.meter)?);
    Value::list(parts, &machine.meter)
}

/// `sub` and `gsub`: replaces the first match or (with the flag `g`, which `gsub` adds) all of them. The replacement is
/// computed on the named captures; if it yields several, so does this.
pub(crate) fn substitute(
    machine: &Machine<'_>,
    [pattern, replacement]: [&Term; 2],
    flags: Option<&Term>,
    global: bool,
    env: &Env<'_>,
    spot: &Spot,
    out: &mut Out<'_>,
) -> Flow {
    let none = Term::Literal(Value::Null);
    machine.values(pattern, env, &spot.value, &mut |pattern| {
        machine.values(flags.unwrap_or(&none), env, &spot.value, &mut |flags| {
            let (pattern, mut written) = pattern_and_flags(&pattern, &flags)?;
            if global {
                written.push('g');
            }
            for text in replaced(machine, &pattern, &written, replacement, env, &spot.value)? {
                out(spot.with(Value::new_text(text, &machine.meter)?))?;
            }
            Ok(())
        })
    })
}

fn replaced(
    machine: &Machine<'_>,
    pattern: &str,
    written: &str,
    replacement: &Term,
    env: &Env<'_>,
    input: &Value,
) -> Flow<Vec<String>> {
    let text = input
        .as_text()
        .ok_or_else(|| Stop::error(format!("{} cannot be matched, as it is not a string", shown(input))))?;
    let flags = Flags::read(written)?;
    let regex = compile(machine, pattern, flags, written)?;
    let (mut results, mut from) = (vec![String::new()], 0);
    for captures in find(machine, &regex, flags, text)? {
        let found = captures.get(0).expect("group 0 is the whole match");
        let between = &text[from..found.start()];
        from = found.end();
        let given = named(machine, &regex, &captures)?;
        let mut longer = Vec::new();
        machine.values(replacement, env, &given, &mut |piece| {
            let piece =
                piece.as_text().ok_or_else(|| Stop::error(format!("{} cannot be added to a string", shown(&piece))))?;
            for result in &results {
                let length = result.len() + between.len() + piece.len();
                machine.meter.allocate(length as u64 / 8)?;
                longer.push([result, between, piece].concat());
            }
            Ok(())
        })?;
        results = longer;
    }
    for result in &mut results {
        result.push_str(&text[from..]);
    }
    Ok(results)
}

fn named(machine: &Machine<'_>, regex: &Regex, captures: &Captures<'_>) -> Flow<Value> {
    let mut fields = Fields::new();
    for name in regex.capture_names().flatten() {
        let value = match captures.name(name) {
            Some(found) => Value::new_text(found.as_str(), &machine.meter)?,
            None => Value::Null,
        };
        fields.insert(name.into(), value);
    }
    Value::map(fields, &machine.meter)
}
