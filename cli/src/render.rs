//! How answers look: tables for people, JSON for programs, colour only on a terminal.

use std::io::{IsTerminal, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, ContentArrangement, Table};
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// A list as a table; says so when there is nothing in it.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>, nothing: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        eprintln!("{nothing}");
        return Ok(());
    }
    let mut table = Table::new();
    // Nothing is wrapped: a run's id stays in one piece to be copied.
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.map(|name| Cell::new(name.to_uppercase()).add_attribute(Attribute::Dim)));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    line(table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"))
}

/// One JSON value on a line of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(value).expect("answers have string keys"))
}

/// A line on standard output. A reader that has gone away, such as `head`, ends the program in silence.
pub(crate) fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    text_now(&format!("{}\n", text.as_ref()))
}

/// Text without a line break, shown at once.
pub(crate) fn text_now(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(i32::from(Exit::Done.number()));
        }
        Failure::local("write the answer", error)
    })
}

/// Something beside the answer, on standard error.
pub(crate) fn notice(text: impl AsRef<str>) {
    let terminal = std::io::stderr().is_terminal();
    eprintln!("{}", paint(Style::Dim, text.as_ref(), terminal));
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Bold,
    Dim,
    Green,
    Red,
    Cyan,
}

/// <https://no-color.org>
pub(crate) fn paint(style: Style, text: &str, terminal: bool) -> String {
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Green => "32",
        Style::Red => "31",
        Style::Cyan => "36",
    };
    if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// `1 stream`, `2 streams`: a number with what it counts, which takes an s when it is not one.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A size as people read it: three digits and a unit of 1,000.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1000;
    let mut units = UNITS.iter();
    let mut unit = units.next().expect("there are units");
    while tenths >= 10_000 {
        tenths /= 1000;
        unit = units.next().expect("64 bits end in exabytes");
    }
    if tenths < 1000 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{} {unit}", tenths / 10) }
}

/// At most so many characters, with a sign that something is missing.
pub(crate) fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// `2026-11-24T04:07:00.123Z` as people read it in a list: `2026-11-24 04:07:00`.
pub(crate) fn when(iso: &str) -> String {
    iso.split('.').next().unwrap_or(iso).trim_end_matches('Z').replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "record")), ["0 records", "1 record", "2 records"]);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöüß", 3), "äö…");
    }

    #[test]
    fn a_time_is_shown_without_its_fraction() {
        assert_eq!(when("2026-11-24T04:07:00.123Z"), "2026-11-24 04:07:00");
        assert_eq!(when("?"), "?");
    }

    #[test]
    fn a_size_has_three_digits_and_a_unit() {
        let check = |size, expect: &str| assert_eq!(bytes(size), expect);
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "1.0 kB");
        check(99_950, "99.9 kB");
        check(123_456, "123 kB");
        check(12_345_678, "12.3 MB");
        check(u64::MAX, "18.4 EB");
    }

    #[test]
    fn colour_is_for_terminals() {
        assert_eq!(paint(Style::Red, "no", false), "no");
    }
}
