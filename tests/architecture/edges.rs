//! Which crate of ours may depend on which, and which crate may depend on a confined foreign one.

pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

pub(crate) struct Dependency {
    pub(crate) name: String,
    /// A package of this workspace.
    pub(crate) ours: bool,
    /// Needed by tests only.
    pub(crate) dev: bool,
}

/// The whole map: a crate and the crates of ours that it may know.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("protocol", &["types"]),
    ("workflow", &["types"]),
    ("engine", &["types", "workflow"]),
    ("storage", &["types"]),
    ("gateway", &["types", "protocol"]),
    ("node", &["types", "engine", "storage", "gateway", "workflow"]),
    ("headwater-client", &["types", "protocol"]),
    ("cli", &["node", "headwater-client", "storage", "engine", "workflow", "types"]),
];

/// The package of the stories and benches, which see everything.
const STORIES: &str = "headwater";

/// Foreign crates that only these packages of ours may depend on.
const CONFINED: &[(&str, &[&str])] = &[
    ("rocksdb", &["storage"]),
    ("crc32c", &["storage"]),
    ("crc32fast", &["storage"]),
    ("tar", &["storage"]),
    ("bincode", &["engine"]),
    ("jaq-core", &["workflow"]),
    ("jaq-std", &["workflow"]),
    ("jaq-json", &["workflow"]),
    ("granit-parser", &["workflow"]),
    ("regex", &["workflow"]),
    ("jiff", &["workflow", "cli"]),
    ("serde-saphyr", &["node"]),
    ("fastwebsockets", &["gateway"]),
    ("axum", &["gateway"]),
    ("hyper", &["gateway"]),
    ("hyper-util", &["gateway"]),
    ("prometheus", &["storage", "gateway", "node"]),
    ("tokio", &["gateway", "node", "cli", "headwater-client"]),
    ("tokio-tungstenite", &["headwater-client"]),
    ("tikv-jemallocator", &["cli"]),
    ("reqwest", &["headwater-client", "node"]),
];

/// What a package depends on and should not, as sentences.
pub(crate) fn violations(package: &Package) -> Vec<String> {
    if package.name == STORIES {
        return Vec::new();
    }
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!("{} is not on the map: add it to ARCHITECTURE.md and to {}", package.name, file!())];
    };
    package.dependencies.iter().filter_map(|dependency| violation(&package.name, allowed, dependency)).collect()
}

fn violation(package: &str, allowed: &[&str], dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if dependency.ours {
        let fine = allowed.contains(&name);
        return (!fine).then(|| format!("{package} depends on {name}; it may know {allowed:?}"));
    }
    let (_, homes) = CONFINED.iter().find(|(confined, _)| *confined == name)?;
    let fine = homes.contains(&package) || dependency.dev;
    (!fine).then(|| format!("{package} depends on {name}, which lives in {homes:?}"))
}

#[test]
fn a_forbidden_edge_is_found() {
    let check = |package: &str, dependency: &str, ours, dev, expect: usize| {
        let dependencies = vec![Dependency { name: dependency.to_owned(), ours, dev }];
        let found = violations(&Package { name: package.to_owned(), dependencies });
        assert_eq!(found.len(), expect, "{package} -> {dependency}: {found:?}");
    };
    check("engine", "workflow", true, false, 0);
    check("engine", "storage", true, false, 1);
    check("engine", "storage", true, true, 1);
    check("gateway", "engine", true, false, 1);
    check("headwater-client", "node", true, false, 1);
    check("headwater", "storage", true, true, 0);
    check("storage", "rocksdb", false, false, 0);
    check("node", "rocksdb", false, false, 1);
    check("storage", "tokio", false, false, 1);
    check("storage", "tokio", false, true, 0);
    check("workflow", "jiff", false, false, 0);
    check("engine", "jiff", false, false, 1);
    check("newcomer", "types", true, false, 1);
}
