//! The specification's own examples and conformance scenarios: each compiles, or is refused by the name of what is not
//! supported. They are other people's data and stay outside the project; without them this test says so and passes.

use std::fs;
use std::path::{Path, PathBuf};

fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/openworkflow").join(folder);
    if !path.is_dir() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn every_example_compiles_or_is_refused_by_name() {
    let Some(folder) = shared("examples") else { return };
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    for file in &files {
        let source = fs::read_to_string(file).expect("a text");
        let name = file.file_name().expect("a name").to_string_lossy();
        match workflow::compile(&source) {
            Ok(program) => println!("{name}: compiles, {} tasks", program.tasks.len()),
            Err(problems) => {
                for problem in problems {
                    println!("{name}: {}: {problem}", problem.code);
                }
            }
        }
    }
}
