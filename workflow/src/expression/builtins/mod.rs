//! The functions that are not written in the language itself, and which of jq's there are not, with the reason.
#![expect(clippy::needless_pass_by_value, reason = "all have one signature; some change their input in place")]
#![expect(clippy::unnecessary_wraps, reason = "all have one signature; some cannot fail")]

pub(crate) mod arrays;
pub(crate) mod forms;
mod numbers;
mod objects;
mod patterns;
mod strings;
mod time;

pub(crate) use forms::Form;

use super::eval::Machine;
use super::meter::{Flow, Stop};
use super::value::Value;

/// A function of its input and the values of its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Native {
    pub(crate) name: &'static str,
    pub(crate) arity: usize,
    pub(crate) run: Run,
}

pub(crate) type Run = fn(&Machine<'_>, Value, &[Value]) -> Flow<Value>;

impl Native {
    const fn new(name: &'static str, arity: usize, run: Run) -> Self {
        Self { name, arity, run }
    }

    pub(crate) fn named(name: &str, arity: usize) -> Option<Self> {
        all().find(|native| native.name == name && native.arity == arity).copied()
    }
}

fn all() -> impl Iterator<Item = &'static Native> {
    let groups: [&'static [Native]; 8] = [
        arrays::NATIVES,
        objects::NATIVES,
        strings::NATIVES,
        numbers::ROUNDING,
        numbers::CURVES,
        numbers::OTHERS,
        patterns::NATIVES,
        time::NATIVES,
    ];
    groups.into_iter().flatten()
}

/// Names and arities of all that is built in.
pub(crate) fn names() -> impl Iterator<Item = (&'static str, usize)> {
    let formats = super::term::Format::ALL.iter().map(|(name, _)| (*name, 0));
    let constants = [("true", 0), ("false", 0), ("null", 0)];
    let natives = all().map(|native| (native.name, native.arity));
    natives.chain(Form::ALL.iter().map(|(name, arity, _)| (*name, *arity))).chain(formats).chain(constants)
}

/// Why a function of jq is not available here.
pub(crate) fn refusal(name: &str) -> Option<&'static str> {
    Some(match name {
        "env" => "expressions see data, never the node's environment",
        "input" | "inputs" | "input_filename" | "input_line_number" => "there is one input, and it is `.`",
        "debug" | "stderr" => "expressions write nowhere; put the value into the output or the context instead",
        "halt" | "halt_error" => "end the workflow with `then: end`, or fail it with a `raise` task",
        "localtime" | "strflocaltime" => {
            "the result would depend on the node's time zone; use `gmtime` and `strftime`, which are UTC"
        }
        "import" | "include" | "modulemeta" | "get_search_list" => "there are no modules",
        "random" | "rand" => "a result must come out the same again; `uuid` gives a unique id that does",
        "fromstream" | "truncate_stream" => "streams of events are not supported, only `tostream`",
        _ => return None,
    })
}

/// The message for an input of the wrong kind.
fn wrong(value: &Value, wanted: &str) -> Stop {
    Stop::error(format!("{} is not {wanted}", super::convert::shown(value)))
}

fn text_of(value: &Value) -> Flow<&str> {
    value.as_text().ok_or_else(|| wrong(value, "a string"))
}

fn number_of(value: &Value) -> Flow<super::number::Number> {
    value.as_number().ok_or_else(|| wrong(value, "a number"))
}

fn items_of(value: &Value) -> Flow<&[Value]> {
    value.items().ok_or_else(|| wrong(value, "an array"))
}
