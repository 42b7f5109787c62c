//! The specification's own examples and conformance scenarios: each compiles, or is refused by the name of what is not
//! supported. They are other people's data and stay outside the project; without them these tests say so and pass.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file of a folder of the specification, in order; nothing where it is absent.
fn shared(folder: &str, ending: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/openworkflow").join(folder);
    let Ok(entries) = fs::read_dir(&path) else {
        println!("skipped: {} is not there", path.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files.sort();
    let read = |file: PathBuf| {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&file).expect("a text"))
    };
    files.into_iter().map(read).collect()
}

/// What is refused, by the name between the first pair of back quotes, or `ok`.
fn verdict(source: &str) -> String {
    let problems = match workflow::compile(source) {
        Ok(program) => return format!("ok {}", program.tasks.len()),
        Err(problems) => problems,
    };
    let name = |problem: &workflow::Problem| {
        assert_eq!(problem.code, "unsupported_construct", "{problem}");
        assert!(problem.message.contains("is not supported: "), "{problem}");
        problem.message.split(" is not supported").next().unwrap_or_default().replace('`', "")
    };
    let names: BTreeSet<String> = problems.iter().map(name).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[test]
fn every_example_compiles_or_is_refused_by_name() {
    let examples = shared("examples", ".yaml");
    if examples.is_empty() {
        return;
    }
    let rows: Vec<String> = examples.iter().map(|(name, source)| format!("{name}: {}", verdict(source))).collect();
    assert_eq!(rows.len(), 68);
    insta::assert_snapshot!(rows.join("\n"));
}

#[test]
fn every_conformance_scenario_compiles_or_is_refused_by_name() {
    let mut rows = Vec::new();
    for (file, feature) in shared("ctk", ".feature") {
        for (scenario, definition) in scenarios(&feature) {
            rows.push(format!("{file} / {scenario}: {}", verdict(&definition)));
        }
    }
    if rows.is_empty() {
        return;
    }
    assert_eq!(rows.len(), 14);
    insta::assert_snapshot!(rows.join("\n"));
}

/// The name and the definition of each scenario: the first text between triple quotes, without its indentation.
fn scenarios(feature: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in feature.split("Scenario:").skip(1) {
        let name = part.lines().next().unwrap_or_default().trim().to_owned();
        let text = part.split("\"\"\"").nth(1).expect("a definition");
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let indent =
            lines.iter().find(|line| !line.trim().is_empty()).map_or(0, |line| line.len() - line.trim_start().len());
        let definition: Vec<&str> = lines.iter().map(|line| line.get(indent..).unwrap_or("")).collect();
        found.push((name, definition.join("\n")));
    }
    found
}

#[test]
fn every_fixture_compiles_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/workflows");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).expect("the fixtures") {
        let path = entry.expect("an entry").path();
        let source = fs::read_to_string(&path).expect("a text");
        match workflow::compile_with_warnings(&source) {
            Ok((program, warnings)) => {
                assert!(warnings.is_empty(), "{}: {}", path.display(), warnings[0]);
                names.push(program.document.name);
            }
            Err(problems) => panic!("{}: {}", path.display(), problems[0]),
        }
    }
    assert!(names.contains(&"support-triage".to_owned()), "{names:?}");
}
