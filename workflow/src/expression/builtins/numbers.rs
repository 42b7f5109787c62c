//! Numbers: rounding, powers, logarithms, angles.

use super::super::meter::Flow;
use super::super::value::Value;
use super::{Native, number_of, wrong};

/// Functions of one number.
macro_rules! of_one {
    ($($name:literal => $function:expr),* $(,)?) => {
        [$(Native::new($name, 0, |_, input, _| {
            let function: fn(f64) -> f64 = $function;
            Ok(Value::float(function(number_of(&input)?.as_f64())))
        })),*]
    };
}

pub(crate) const ROUNDING: &[Native] = &[
    Native::new("floor", 0, |_, input, _| round(&input, f64::floor)),
    Native::new("ceil", 0, |_, input, _| round(&input, f64::ceil)),
    Native::new("round", 0, |_, input, _| round(&input, f64::round)),
    Native::new("trunc", 0, |_, input, _| round(&input, f64::trunc)),
    Native::new("rint", 0, |_, input, _| round(&input, f64::round_ties_even)),
    Native::new("nearbyint", 0, |_, input, _| round(&input, f64::round_ties_even)),
    Native::new("abs", 0, |_, input, _| match &input {
        Value::Number(number) => Ok(Value::Number(number.absolute())),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            Err(wrong(&input, "a number"))
        }
    }),
];

pub(crate) const CURVES: &[Native] = &of_one! {
    "sqrt" => f64::sqrt, "cbrt" => f64::cbrt, "fabs" => f64::abs,
    "exp" => f64::exp, "exp2" => f64::exp2, "exp10" => |x| 10_f64.powf(x), "expm1" => f64::exp_m1,
    "log" => f64::ln, "log2" => f64::log2, "log10" => f64::log10, "log1p" => f64::ln_1p,
    "sin" => f64::sin, "cos" => f64::cos, "tan" => f64::tan,
    "asin" => f64::asin, "acos" => f64::acos, "atan" => f64::atan,
    "sinh" => f64::sinh, "cosh" => f64::cosh, "tanh" => f64::tanh,
    "asinh" => f64::asinh, "acosh" => f64::acosh, "atanh" => f64::atanh,
};

pub(crate) const OTHERS: &[Native] = &[
    Native::new("pow", 2, |_, _, given| pair(given, f64::powf)),
    Native::new("atan2", 2, |_, _, given| pair(given, f64::atan2)),
    Native::new("fmod", 2, |_, _, given| pair(given, |a, b| a % b)),
    Native::new("fmin", 2, |_, _, given| pair(given, f64::min)),
    Native::new("fmax", 2, |_, _, given| pair(given, f64::max)),
    Native::new("hypot", 2, |_, _, given| pair(given, f64::hypot)),
    Native::new("copysign", 2, |_, _, given| pair(given, f64::copysign)),
    Native::new("fdim", 2, |_, _, given| pair(given, |a, b| (a - b).max(0.0))),
    Native::new("infinite", 0, |_, _, _| Ok(Value::float(f64::INFINITY))),
    Native::new("nan", 0, |_, _, _| Ok(Value::float(f64::NAN))),
    Native::new("isinfinite", 0, |_, input, _| Ok(Value::Bool(number_of(&input)?.as_f64().is_infinite()))),
    Native::new("isnan", 0, |_, input, _| Ok(Value::Bool(number_of(&input)?.as_f64().is_nan()))),
    Native::new("isnormal", 0, |_, input, _| {
        Ok(Value::Bool(input.as_number().is_some_and(|number| number.as_f64().is_normal())))
    }),
    Native::new("have_literal_numbers", 0, |_, _, _| Ok(Value::Bool(true))),
];

/// Whole numbers are exact and stay as they are.
fn round(input: &Value, round: fn(f64) -> f64) -> Flow<Value> {
    let number = number_of(input)?;
    let value = number.as_f64();
    Ok(if value.fract() == 0.0 { Value::Number(number) } else { Value::float(round(value)) })
}

fn pair(given: &[Value], function: fn(f64, f64) -> f64) -> Flow<Value> {
    Ok(Value::float(function(number_of(&given[0])?.as_f64(), number_of(&given[1])?.as_f64())))
}
