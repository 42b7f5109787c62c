//! Dates and times, all of them UTC. `now` is the record's time, so that an evaluation can be repeated.

use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::super::convert::shown;
use super::super::eval::Machine;
use super::super::meter::{Flow, Stop};
use super::super::number::Number;
use super::super::value::Value;
use super::{Native, number_of, text_of};

pub(crate) const NATIVES: &[Native] = &[
    Native::new("now", 0, |machine, _, _| Ok(Value::float(seconds(machine.moment.now.as_millis())))),
    Native::new("gmtime", 0, |machine, input, _| broken_down(machine, moment(&input)?.datetime())),
    Native::new("mktime", 0, |_, input, _| match &input {
        Value::List(_) => Ok(Value::int(moment(&input)?.timestamp().as_second())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
            Err(super::wrong(&input, "an array such as `gmtime` yields"))
        }
    }),
    Native::new("strftime", 1, format),
    Native::new("strptime", 1, parse),
    Native::new("fromdateiso8601", 0, |_, input, _| from_iso(&input)),
];

#[expect(clippy::cast_precision_loss, reason = "milliseconds of the next 280,000 years are exact")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// A moment from seconds since 1970 or from a list `[year, month from 0, day, hour, minute, second, …]`.
fn moment(value: &Value) -> Flow<Zoned> {
    let refused = || Stop::error(format!("{} is not a point in time", shown(value)));
    match value {
        Value::Number(number) => {
            let micros = Number::of((number.as_f64() * 1e6).floor());
            let timestamp = number.is_finite().then(|| Timestamp::from_microsecond(micros.as_i64()).ok());
            Ok(timestamp.flatten().ok_or_else(refused)?.to_zoned(TimeZone::UTC))
        }
        Value::List(_) => {
            let parts: Vec<f64> = value
                .items()
                .unwrap_or_default()
                .iter()
                .map(|part| number_of(part).map(Number::as_f64))
                .collect::<Flow<_>>()?;
            civil(&parts).and_then(|civil| civil.to_zoned(TimeZone::UTC).ok()).ok_or_else(refused)
        }
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Map(_) => Err(refused()),
    }
}

fn civil(parts: &[f64]) -> Option<DateTime> {
    let whole = |at: usize| parts.get(at).map(|part| Number::of(part.floor()).as_i64());
    let small = |at: usize| i8::try_from(whole(at)?).ok();
    let year = i16::try_from(whole(0)?).ok()?;
    let month = small(1)?.checked_add(1)?;
    let nanos = i32::try_from(Number::of((parts.get(5)?.fract() * 1e9).floor()).as_i64()).ok()?;
    DateTime::new(year, month, small(2)?, small(3)?, small(4)?, small(5)?, nanos.max(0)).ok()
}

fn since_epoch(timestamp: Timestamp) -> Flow<Value> {
    Ok(match timestamp.subsec_nanosecond() {
        0 => Value::int(timestamp.as_second()),
        _ => Value::float(timestamp.as_duration().as_secs_f64()),
    })
}

fn broken_down(machine: &Machine<'_>, civil: DateTime) -> Flow<Value> {
    let second = f64::from(civil.second()) + f64::from(civil.subsec_nanosecond()) / 1e9;
    let parts = [
        Value::int(civil.year().into()),
        Value::int(i64::from(civil.month()) - 1),
        Value::int(civil.day().into()),
        Value::int(civil.hour().into()),
        Value::int(civil.minute().into()),
        Value::float(second),
        Value::int(civil.weekday().to_sunday_zero_offset().into()),
        Value::int(i64::from(civil.day_of_year()) - 1),
    ];
    Value::list(parts.to_vec(), &machine.meter)
}

fn format(machine: &Machine<'_>, input: Value, given: &[Value]) -> Flow<Value> {
    let pattern = text_of(&given[0])?;
    // A conversion yields at most some 260 bytes (a padded number), so this is what the result may take.
    machine.meter.allocate((pattern.len() as u64).saturating_mul(16))?;
    machine.meter.work(pattern.len() as u64)?;
    let text = strtime::format(pattern, &moment(&input)?)
        .map_err(|error| Stop::error(format!("strftime/1 cannot use {}: {error}", shown(&given[0]))))?;
    Value::new_text(text, &machine.meter)
}

fn parse(machine: &Machine<'_>, input: Value, given: &[Value]) -> Flow<Value> {
    let (text, pattern) = (text_of(&input)?, text_of(&given[0])?);
    machine.meter.work((text.len() + pattern.len()) as u64)?;
    let refused = |error: jiff::Error| {
        Stop::error(format!("date {} does not match format {}: {error}", shown(&input), shown(&given[0])))
    };
    let mut parsed = BrokenDownTime::parse(pattern, text).map_err(refused)?;
    if parsed.offset().is_none() {
        parsed.set_offset(Some(Offset::UTC));
    }
    let timestamp = parsed.to_timestamp().map_err(refused)?;
    broken_down(machine, timestamp.to_zoned(TimeZone::UTC).datetime())
}

/// RFC 3339, with any offset; the fraction is kept.
fn from_iso(input: &Value) -> Flow<Value> {
    let text = text_of(input)?;
    let timestamp: Result<Timestamp, _> = text.parse();
    since_epoch(
        timestamp.map_err(|_| {
            Stop::error(format!("{} is not a date and time such as 2026-11-24T04:07:00Z", shown(input)))
        })?,
    )
}
