//! Scenario files as Gherkin reads them: names, phrases and their texts. Knows no workflow.

use std::fs;
use std::path::Path;

use gherkin::{Feature, GherkinEnv};

/// One scenario as it is written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) phrases: Vec<Phrase>,
}

/// A line of a scenario without its keyword, and the text below it.
#[derive(Debug)]
pub(crate) struct Phrase {
    pub(crate) words: String,
    pub(crate) text: Option<String>,
}

/// All scenarios of a folder's files, in the order of their names.
pub(crate) fn read(folder: &Path) -> Vec<Written> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "feature"));
    files.sort();
    files.iter().flat_map(|file| parse(file, &fs::read_to_string(file).expect("a text"))).collect()
}

fn parse(file: &Path, text: &str) -> Vec<Written> {
    let file = file.file_name().expect("a name").to_string_lossy().into_owned();
    let feature = Feature::parse(text, GherkinEnv::default()).unwrap_or_else(|error| panic!("{file}: {error}"));
    let phrase = |step: gherkin::Step| Phrase { words: step.value, text: step.docstring.as_deref().map(plain) };
    let written = |scenario: gherkin::Scenario| Written {
        file: file.clone(),
        name: scenario.name,
        phrases: scenario.steps.into_iter().map(phrase).collect(),
    };
    feature.scenarios.into_iter().map(written).collect()
}

/// A text without the name of its language, which the parser leaves in its first line, and without the indentation
/// that its lines share.
fn plain(text: &str) -> String {
    let (_, body) = text.split_once('\n').unwrap_or_default();
    let indented = |line: &str| line.len() - line.trim_start().len();
    let filled = |line: &&str| !line.trim().is_empty();
    let shared = body.lines().filter(filled).map(indented).min().unwrap_or(0);
    body.lines().map(|line| line.get(shared..).unwrap_or("")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_text_loses_its_language_and_its_indentation() {
    assert_eq!(plain("yaml\n      do:\n\n        - a: 1\n    "), "do:\n\n  - a: 1\n");
    assert_eq!(plain("yaml\n    1\n    "), "1\n");
}
