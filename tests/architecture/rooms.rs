//! In which files a confined foreign crate may be named. Tests may name anything.

use crate::source;

/// A crate as Rust spells it, and where it may be named: a file, or a folder with its `/`.
const ROOMS: &[(&str, &[&str])] = &[
    ("rocksdb", &["storage/src/rocks.rs", "storage/src/rocks/"]),
    ("crc32c", &["storage/src/wal/"]),
    ("crc32fast", &["storage/src/"]),
    ("tar", &["storage/src/backup/"]),
    ("bincode", &["engine/src/stored/"]),
    ("jaq_core", &["workflow/src/"]),
    ("jaq_std", &["workflow/src/"]),
    ("jaq_json", &["workflow/src/"]),
    ("granit_parser", &["workflow/src/document.rs"]),
    ("regex", &["workflow/src/expression/"]),
    ("jiff", &["workflow/src/expression/builtins/", "cli/src/commands/log/"]),
    ("serde_saphyr", &["node/src/config_file.rs"]),
    ("fastwebsockets", &["gateway/src/socket.rs"]),
    ("axum", &["gateway/src/"]),
    ("hyper", &["gateway/src/"]),
    ("hyper_util", &["gateway/src/"]),
    ("tokio", &["gateway/src/", "node/src/", "cli/src/", "sdk/rust/src/"]),
    ("tokio_tungstenite", &["sdk/rust/src/"]),
    ("tikv_jemallocator", &["cli/src/main.rs"]),
    ("reqwest", &["sdk/rust/src/", "node/src/http_step.rs"]),
];

/// The crate that each plane names in its `metrics.rs` and nowhere else.
const METRICS: &str = "prometheus";

/// Where a file names a crate that lives elsewhere, as sentences.
pub(crate) fn violations(path: &str, text: &str) -> Vec<String> {
    if source::is_test_file(path) {
        return Vec::new();
    }
    let code = source::without_tests(&source::code(text));
    let named = source::words(&code).into_iter().filter(names_a_crate);
    named.filter(|word| !may_name(path, word.text)).map(|word| sentence(path, word.line, word.text)).collect()
}

/// `rocksdb::…`, `use rocksdb;` or `use rocksdb as …`, but not `crate::rocksdb::…`.
fn names_a_crate(word: &source::Word<'_>) -> bool {
    let inner = word.before.ends_with("::") && !word.before.trim_end_matches(':').trim_end().is_empty();
    let path = word.after.starts_with("::") && !inner;
    path || word.before.ends_with("use")
}

fn may_name(path: &str, name: &str) -> bool {
    if name == METRICS {
        return path.ends_with("/metrics.rs") || path.contains("/metrics/");
    }
    let room = ROOMS.iter().find(|(confined, _)| *confined == name);
    room.is_none_or(|(_, places)| {
        places.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
    })
}

fn sentence(path: &str, line: usize, name: &str) -> String {
    format!("{path}:{line} names {name}, which does not live there")
}

#[test]
fn a_crate_named_outside_its_room_is_found() {
    let check = |path: &str, text: &str, expect: usize| {
        let found = violations(path, text);
        assert_eq!(found.len(), expect, "{path}: {text}: {found:?}");
    };
    check("storage/src/rocks.rs", "use rocksdb::DB;", 0);
    check("storage/src/commit.rs", "use rocksdb::DB;", 1);
    check("storage/src/commit.rs", "use rocksdb as db;", 1);
    check("storage/src/commit.rs", "fn f(db: &rocksdb :: DB) {}", 1);
    check("storage/src/commit.rs", "// rocksdb::DB\nfn f() { g(\"rocksdb::DB\") }", 0);
    check("storage/src/commit.rs", "#[cfg(test)]\nmod tests { use rocksdb::DB; }", 0);
    check("storage/src/commit.rs", "use crate::rocksdb::x;", 0);
    check("engine/src/event.rs", "#[derive(bincode::Encode)]", 1);
    check("engine/src/stored/v1.rs", "#[derive(bincode::Encode)]", 0);
    check("workflow/src/document.rs", "use granit_parser::Parser;", 0);
    check("workflow/src/compile/mod.rs", "use granit_parser::Parser;", 1);
    check("engine/src/retry.rs", "let now = jiff::Timestamp::now();", 1);
    check("workflow/src/document.rs", "let pattern = regex::Regex::new(text);", 1);
    check("gateway/src/connection.rs", "use fastwebsockets::Frame;", 1);
    check("storage/src/metrics.rs", "use prometheus::Counter;", 0);
    check("storage/src/commit.rs", "use prometheus::Counter;", 1);
    check("engine/src/run.rs", "tokio::spawn(x)", 1);
    check("tests/story.rs", "use rocksdb::DB;", 0);
}
