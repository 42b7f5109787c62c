//! What every file has and what none has: a first line that says what it is for, a readable length, no loose ends.

use crate::source::{self, File};

/// Past this a file is a question: is it a table, or two things?
const MAX_LINES: usize = 600;

/// Files that may be longer, each with its reason. Shorten this list, do not grow it.
const LONG_FILES: &[(&str, &str)] =
    &[("workflow/src/expression/resolve.rs", "one descent over every form of jq's syntax tree: a table in code")];

/// An entry of that list is no longer needed when its file has become as short as this.
const SHORT_AGAIN: usize = 500;

/// Built from halves so that this file does not find itself.
const LOOSE_ENDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Macros that stand for code nobody wrote.
const UNWRITTEN: &[&str] = &[concat!("to", "do"), concat!("un", "implemented"), concat!("db", "g")];

pub(crate) fn rust_violations(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.lines().next().is_some_and(|first| first.starts_with("//! ") && first.len() > "//! ".len()) {
        found.push(format!("{path}:1 does not begin with `//! what it is for`"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES && !LONG_FILES.iter().any(|(long, _)| *long == path) {
        found.push(format!("{path} has {lines} lines, more than {MAX_LINES}: is it two things?"));
    }
    let code = source::code(text);
    let unwritten = |word: &&source::Word<'_>| UNWRITTEN.contains(&word.text) && word.after.starts_with('!');
    let words = source::words(&code);
    found.extend(words.iter().filter(unwritten).map(|word| format!("{path}:{} calls {}!", word.line, word.text)));
    found
}

pub(crate) fn text_violations(path: &str, text: &str) -> Vec<String> {
    let loose =
        |line: &str| LOOSE_ENDS.iter().find(|end| line.split(|c: char| !c.is_alphanumeric()).any(|w| w == **end));
    let numbered = text.lines().enumerate();
    numbered.filter_map(|(index, line)| loose(line).map(|end| format!("{path}:{} says {end}", index + 1))).collect()
}

/// Entries of the list of long files that are no longer needed.
pub(crate) fn stale_exceptions(files: &[File]) -> Vec<String> {
    let long = |path: &str| files.iter().any(|file| file.path == path && file.text.lines().count() > SHORT_AGAIN);
    LONG_FILES
        .iter()
        .filter(|(path, reason)| !long(path) || reason.is_empty())
        .map(|(path, _)| format!("{path} is on the list of long files without need or reason"))
        .collect()
}

#[test]
fn untidy_files_are_found() {
    let check = |text: &str, expect: usize| {
        let mut found = rust_violations("x.rs", text);
        found.extend(text_violations("x.rs", text));
        assert_eq!(found.len(), expect, "{text:.80}: {found:?}");
    };
    check("//! What it is for.\nfn f() {}\n", 0);
    check("//!\nfn f() {}\n", 1);
    check("fn f() {}\n", 1);
    check("", 1);
    check(&format!("//! What it is for.\n// {}: later\n", LOOSE_ENDS[0]), 1);
    check(&format!("//! What it is for.\nfn f() {{ {}!() }}\n", UNWRITTEN[0]), 1);
    check(&format!("//! What it is for.\n{}", "\n".repeat(MAX_LINES - 1)), 0);
    check(&format!("//! What it is for.\n{}", "\n".repeat(MAX_LINES)), 1);
}
