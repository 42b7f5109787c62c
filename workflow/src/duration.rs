//! Durations as they are written: `{seconds: 3}` or ISO 8601 `PT3S`. Milliseconds, at most ten years.

use crate::limits;

const MILLISECOND: u64 = 1;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// The fields of a duration that is written as a map.
pub(crate) const FIELDS: [(&str, u64); 5] =
    [("days", DAY), ("hours", HOUR), ("minutes", MINUTE), ("seconds", SECOND), ("milliseconds", MILLISECOND)];

/// Adds up parts, or says that they are too long.
pub(crate) fn sum(parts: impl Iterator<Item = (u64, u64)>) -> Result<u64, String> {
    let mut total: u64 = 0;
    for (count, unit) in parts {
        total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(too_long)?;
    }
    if total > limits::MAX_DURATION_MS { Err(too_long()) } else { Ok(total) }
}

fn too_long() -> String {
    "the duration is longer than ten years".to_owned()
}

/// Reads ISO 8601 with weeks, days and times; fractions down to the millisecond. Years and months have no fixed length.
pub(crate) fn iso(text: &str) -> Result<u64, String> {
    let refused =
        || format!("`{text}` is not a duration: write `PT30S`, `P1DT12H`, or a map such as `{{seconds: 30}}`");
    let body = text.strip_prefix('P').ok_or_else(refused)?;
    let (date, time) = match body.split_once('T') {
        Some((_, "")) => return Err(refused()),
        Some((date, time)) => (date, time),
        None => (body, ""),
    };
    if body.is_empty() || text.len() > 64 {
        return Err(refused());
    }
    if date.contains(['Y', 'M']) {
        return Err(format!("`{text}` counts years or months, which have no fixed length: write days"));
    }
    let mut total = 0;
    for (part, units) in
        [(date, [('W', WEEK), ('D', DAY)].as_slice()), (time, &[('H', HOUR), ('M', MINUTE), ('S', SECOND)])]
    {
        total = sum([(total, 1), (components(part, units).ok_or_else(refused)?, 1)].into_iter())?;
    }
    Ok(total)
}

/// `1H30M` with the units in their order, each at most once.
fn components(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let mut total: u64 = 0;
    for (letter, unit) in units {
        let Some(end) = text.find(*letter) else { continue };
        total = total.checked_add(amount(&text[..end], *unit)?)?;
        text = &text[end + letter.len_utf8()..];
    }
    text.is_empty().then_some(total)
}

/// `12` or `1.5` units in milliseconds.
fn amount(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 || text.ends_with(['.', ',']) {
        return None;
    }
    let mut millis = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
        millis = millis.checked_add(
            u64::try_from(u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit) / u128::from(scale)).ok()?,
        )?;
    }
    Some(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_durations_are_read_to_the_millisecond() {
        let check = |text: &str, millis: u64| assert_eq!(iso(text), Ok(millis), "{text}");
        check("PT30S", 30_000);
        check("PT0.25S", 250);
        check("PT1,5S", 1_500);
        check("P1DT2H3M4.005S", DAY + 2 * HOUR + 3 * MINUTE + 4_005);
        check("P2W", 14 * DAY);
        check("PT0S", 0);
        check("P3652D", 3652 * DAY);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for bad in [
            "", "P", "PT", "30s", "PT30", "PT3S2M", "PS", "P1DT", "PT-3S", "PT1.S", "PT.5S", "P1H", "p1d", "PT1S ",
            "PTS",
        ] {
            assert!(iso(bad).expect_err(bad).contains("PT30S"), "{bad}");
        }
        assert!(iso("P1Y").expect_err("years").contains("no fixed length"));
        assert!(iso("P1M").expect_err("months").contains("no fixed length"));
        assert!(iso("P999999999999W").is_err());
        assert!(iso("P3653D").expect_err("too long").contains("ten years"));
    }
}
