//! Holds the house to its plan: which crate may know which, which foreign crate lives where, which crates are pure,
//! and what every file looks like. ARCHITECTURE.md says why; each checker here is also shown a planted violation.

mod edges;
mod purity;
mod rooms;
mod source;
mod tidy;

use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::edges::{Dependency, Package};

#[test]
fn planes_know_only_whom_they_may() {
    let found: Vec<String> = workspace().iter().flat_map(edges::violations).collect();
    expect_none("edges between crates that ARCHITECTURE.md does not allow", &found);
}

#[test]
fn confined_crates_stay_in_their_room() {
    let found: Vec<String> =
        source::rust_files(root()).iter().flat_map(|file| rooms::violations(&file.path, &file.text)).collect();
    expect_none("foreign crates named outside their room", &found);
}

#[test]
fn engine_and_workflow_are_pure() {
    let sources = source::rust_files(root());
    let mut found: Vec<String> = sources.iter().flat_map(|file| purity::violations(&file.path, &file.text)).collect();
    found.extend(workspace().iter().flat_map(purity::impure_dependencies));
    expect_none("clocks, chance, I/O or tasks in a pure crate", &found);
}

#[test]
fn every_file_is_tidy() {
    let rust = source::rust_files(root());
    let mut found: Vec<String> = rust.iter().flat_map(|file| tidy::rust_violations(&file.path, &file.text)).collect();
    found.extend(source::text_files(root()).iter().flat_map(|file| tidy::text_violations(&file.path, &file.text)));
    found.extend(tidy::stale_exceptions(&rust));
    expect_none("untidy files", &found);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `cargo metadata` says of the workspace's own packages, and which of their dependencies are our own.
fn workspace() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace it builds");
    let ours: Vec<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let dependency = |found: &cargo_metadata::Dependency| Dependency {
        name: found.name.clone(),
        ours: ours.contains(&found.name),
        dev: found.kind == DependencyKind::Development,
    };
    metadata
        .packages
        .iter()
        .map(|package| Package {
            name: package.name.to_string(),
            dependencies: package.dependencies.iter().map(dependency).collect(),
        })
        .collect()
}

fn expect_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}
