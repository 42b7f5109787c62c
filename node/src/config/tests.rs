//! What people may write, and the sentence they get for what they may not.

use std::path::PathBuf;

use super::*;
use crate::config_file::{Member, Written};

fn from_text(text: &str) -> Result<Config, ConfigError> {
    Config::from_sources(ConfigFile::parse("node.yaml", text)?, std::iter::empty(), &ConfigOverrides::default())
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Config::load(None, variables, &ConfigOverrides::default())
}

fn from_flags(set: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let set = set.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    Config::load(None, std::iter::empty(), &ConfigOverrides { set, ..ConfigOverrides::default() })
}

fn sentences(result: Result<Config, ConfigError>) -> String {
    result.expect_err("this configuration is not allowed").to_string()
}

fn in_repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = from_text("").expect("an empty file is allowed");
    let Config { driver_threads, .. } = config;
    assert!((1..=16).contains(&driver_threads.get()));
    let config = Config { driver_threads: NonZeroUsize::MIN, ..config };
    insta::assert_debug_snapshot!(config, @r#"
    Config {
        data_dir: "headwater-data",
        listen: 127.0.0.1:7400,
        admin_listen: 127.0.0.1:7401,
        partitions: PartitionCount(
            16,
        ),
        driver_threads: 1,
        drain_ms: 30000,
        state_memory_bytes: 67108864,
        log_format: Pretty,
        log_level: LogLevel(
            "info",
        ),
        storage: StorageSettings {
            durability: Commit,
            segment_bytes: 268435456,
            segment_age_ms: 3600000,
            tail_bytes: 16777216,
            floor_bytes: 268435456,
            retention: RetentionSettings {
                run_ms: 604800000,
                stream_ms: 86400000,
                tenants_ms: {},
                tenants_bytes: {},
                tenants_records: {},
                run_bytes: None,
                stream_bytes: None,
                run_records: None,
                stream_records: None,
                check_ms: 60000,
            },
            scrub: ScrubSettings {
                bytes_per_second: 4194304,
                every_ms: 86400000,
            },
        },
        gateway: GatewaySettings {
            hello_ms: 5000,
            heartbeat_ms: 20000,
            pong_ms: 8000,
            slow_ms: 10000,
            max_connections: 50000,
            max_subscriptions: 128,
            max_commands_in_flight: 1024,
            max_message_bytes: 524288,
            allowed_origins: [],
            allowed_hosts: [],
            backpressure_threshold_bytes: 65536,
        },
        reclaim_ms: 10000,
        queue: QueueSettings {
            max_depth: 5000,
            pause: Some(
                PauseSettings {
                    pause_depth: 4000,
                    resume_depth: 2500,
                },
            ),
        },
        idempotency_window_ms: 172800000,
        cancel_grace_ms: 30000,
        default_retry: RetryPolicy {
            max_attempts: 3,
            initial_ms: 1000,
            growth: Exponential(
                2.0,
            ),
            cap_ms: 30000,
            jitter: Factor(
                0.3,
            ),
            max_duration_ms: None,
            non_retryable: [],
        },
        not_in_force: [],
    }
    "#);
}

#[test]
fn the_configuration_of_the_seed_loads_verbatim() {
    let path = in_repository("../shared/data/realtime-pipeline.config.yaml");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let config = Config::load(Some(&path), std::iter::empty(), &ConfigOverrides::default())
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.gateway.backpressure_threshold_bytes, 65_536);
    let pause = PauseSettings { pause_depth: 4000, resume_depth: 2500 };
    assert_eq!(config.queue, QueueSettings { max_depth: 5000, pause: Some(pause) });
    assert_eq!(config.idempotency_window_ms, 48 * 3_600_000);
    assert_eq!(config.storage.retention.stream_ms, 24 * 3_600_000);
    assert_eq!((config.default_retry.max_attempts, config.default_retry.initial_ms), (3, 1000));
    assert_eq!(config.default_retry.jitter, Jitter::Factor(0.3));
    let directory = path.parent().expect("a file has a directory").display().to_string();
    let told = config.not_in_force().join("\n").replace(&directory, "…");
    insta::assert_snapshot!(told, @r"
    connection_plane.gateway_instances (…/realtime-pipeline.config.yaml:3:22) is not yet in force: a node runs one gateway inside itself, whatever the number of connections
    connection_plane.session_ttl_seconds (…/realtime-pipeline.config.yaml:4:24) is not yet in force: no session is kept after a disconnect; a client resumes with its cursors, at any time
    connection_plane.autoscaling (…/realtime-pipeline.config.yaml:7:13) is not yet in force: a node runs one gateway inside itself, whatever the number of connections
    orchestration_plane.dead_letter (…/realtime-pipeline.config.yaml:28:14) is not yet in force: a step whose attempts are used up fails, and its run with it unless the workflow catches it
    ");
}

#[test]
fn a_file_with_every_default_changes_nothing() {
    let path = in_repository("fixtures/config/every-key.yaml");
    let written = Config::load(Some(&path), std::iter::empty(), &ConfigOverrides::default());
    let written = written.unwrap_or_else(|error| panic!("{error}"));
    let default = from_text("").expect("an empty file is allowed");
    assert_eq!(format!("{written:#?}"), format!("{default:#?}"));

    let mut paths = Vec::new();
    collect_paths("", &ConfigFile::read(&path).expect("it was just read").members, &mut paths);
    let in_force = keys::KEYS.iter().filter(|key| matches!(key.state, keys::State::InForce { .. }));
    assert_eq!(paths, in_force.map(|key| key.path).collect::<Vec<_>>());
}

fn collect_paths(section: &str, members: &[Member], paths: &mut Vec<String>) {
    for member in members {
        let path = if section.is_empty() { member.name.clone() } else { format!("{section}.{}", member.name) };
        match &member.written {
            Written::Section(members) => collect_paths(&path, members, paths),
            Written::Value(_) | Written::Nothing | Written::List(_) => paths.push(path),
        }
    }
}

#[test]
fn every_mistake_gets_a_sentence_that_says_where_and_what_instead() {
    let path = in_repository("fixtures/config/every-mistake.yaml");
    let file = std::fs::read_to_string(path).expect("the fixture is there");
    insta::assert_snapshot!(sentences(from_text(&file)), @r"
    node.yaml:3:3: there is no `data_dri` in `node`; did you mean `data_dir`? (unknown_key)
    node.yaml:4:11: `node.listen` is `0.0.0.0:7400`, but this version has neither authentication nor TLS, so it listens only on this machine itself: 127.0.0.1 or [::1]; let a proxy that has both stand before it (not_loopback)
    node.yaml:5:17: `node.admin_listen` is `localhost`, but an address of this machine itself with a port, such as 127.0.0.1:7400 is expected (wrong_kind)
    node.yaml:6:15: `node.partitions` is `4096`, but only a whole number from 1 to 1024 is allowed (out_of_bounds)
    node.yaml:7:19: `node.driver_threads` is `many`, but `auto` or a whole number from 1 to 256 is expected (wrong_kind)
    node.yaml:8:13: `node.drain_ms` is `-1`, but only a whole number from 0 to 3600000 is allowed (out_of_bounds)
    node.yaml:9:15: `node.log_format` has one value: `pretty` or `json` is expected (wrong_kind)
    node.yaml:10:14: `node.log_level` is `verbose`, but `verbose` in it is not a level; a level (off, error, warn, info, debug, trace) or levels by module is expected (wrong_kind)
    node.yaml:11:3: there is no `reclaim_ms` in `node`; did you mean `workers.reclaim_ms`? (unknown_key)
    node.yaml:13:15: `storage.durability` is `interval=0`, but only `commit`, `os` or `interval=` and a whole number of milliseconds from 1 to 3600000 is allowed (out_of_bounds)
    node.yaml:14:3: `storage.segment_mib` has no value; a whole number from 1 to 4096 is expected, or leave it out (no_value)
    node.yaml:15:1: there is no `gatway` at the top; did you mean `gateway`? (unknown_key)
    node.yaml:17:10: `workers` is a section; below it may stand `reclaim_ms` (wrong_kind)
    node.yaml:19:23: `event_plane.partition_strategy` is `round_robin`, but only `tenant_agent_hash` is allowed (out_of_bounds)
    node.yaml:21:14: `event_plane.backpressure.enabled` is `yes`, but `true` or `false` is expected (wrong_kind)
    node.yaml:22:31: `event_plane.backpressure.pause_producer_threshold` is `80`, but only a number from 0.01 to 1 is allowed (out_of_bounds)
    node.yaml:25:19: `orchestration_plane.retry_policy.max_attempts` is `0`, but only a whole number from 1 to 1000 is allowed (out_of_bounds)
    node.yaml:26:5: there is no `jitter` in `orchestration_plane.retry_policy`; did you mean `jitter_factor`? (unknown_key)
    node.yaml:27:3: there is no `circuit_breaker` in `orchestration_plane`; there may stand `idempotency_window_hours`, `cancel_grace_ms`, `retry_policy`, `dead_letter` (unknown_key)
    ");
}

#[test]
fn what_is_not_yaml_is_refused_with_its_place() {
    let check = |text: &str| sentences(from_text(text));
    insta::assert_snapshot!(check("node: {listen: 1"), @"node.yaml:1:7: unclosed bracket '{' (syntax)");
    insta::assert_snapshot!(check("node:\n\tlisten: 1\n"), @"node.yaml:2:2: tabs disallowed within this context (block indentation) (syntax)");
    insta::assert_snapshot!(check("workers: {}\nworkers: {}\n"), @"node.yaml:2:1: duplicate mapping key `workers` is not allowed here (syntax)");
    insta::assert_snapshot!(check("a: 1\n---\nb: 2\n"), @"node.yaml:2:1: a configuration is one document, but a second one begins here (syntax)");
    insta::assert_snapshot!(check("- node\n"), @"node.yaml:1:1: a configuration consists of sections, such as `node:` with `listen: …` below it (wrong_kind)");
    insta::assert_snapshot!(check("headwater"), @"node.yaml:1:1: a configuration consists of sections, such as `node:` with `listen: …` below it (wrong_kind)");
    insta::assert_snapshot!(check("~: 1\n"), @"node.yaml:1:1: null is not allowed here (syntax)");
}

#[test]
fn pages_and_names_are_lists() {
    let listed =
        from_text("gateway: {allowed_origins: ['https://a.example', 'http://b:8080'], allowed_hosts: [Node]}\n");
    let one_text = from_flags(&[
        ("gateway.allowed_origins", "https://a.example:443,http://b:8080"),
        ("gateway.allowed_hosts", "node"),
    ]);
    let gateways = [listed, one_text].map(|config| config.unwrap_or_else(|error| panic!("{error}")).gateway);
    assert_eq!(gateways[0], gateways[1]);
    assert_eq!((gateways[0].allowed_origins.len(), gateways[0].allowed_hosts.len()), (2, 1));
    let none = from_text("gateway: {allowed_origins: [], allowed_hosts: none}\n").expect("nobody else");
    assert_eq!(none.gateway, from_text("").expect("the same").gateway);
    let check = |text: &str| sentences(from_text(text));
    insta::assert_snapshot!(check("gateway: {allowed_origins: ['*']}\n"), @r#"node.yaml:1:28: `gateway.allowed_origins` is `*`, but "*" is not the site of a web page: write it as https://name or http://name:port, and nothing behind it (wrong_kind)"#);
    insta::assert_snapshot!(check("gateway: {allowed_origins: [{a: b}]}\n"), @"node.yaml:1:28: `gateway.allowed_origins` is a list of plain values: `none` or sites such as https://app.example.com is expected (wrong_kind)");
    insta::assert_snapshot!(check("gateway: {allowed_hosts: ['https://node.example.com']}\n"), @r#"node.yaml:1:26: `gateway.allowed_hosts` is `https://node.example.com`, but "https://node.example.com" is not a host: write a name or an address, without scheme and port (wrong_kind)"#);
}

#[test]
fn hostile_files_are_refused_early() {
    let check = |text: &str, expect: ProblemCode| {
        let error = from_text(text).expect_err("this file is not allowed");
        assert_eq!(error.problems()[0].code, expect, "{error}");
    };
    check(&"#".repeat(1024 * 1024 + 1), ProblemCode::TooLarge);
    check(&format!("{}{}", "{a: ".repeat(10_000), "}".repeat(10_000)), ProblemCode::Syntax);
    check(&"a:\n- b\n".repeat(5_000).replace("a:", "? a\n:"), ProblemCode::Syntax);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
        d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let error = from_text(bomb).expect_err("there are no such keys");
    assert!(error.to_string().len() < 4096, "{error}");
    let many: String = (0..1_000).flat_map(|n| [format!("unknown_{n}"), ": 1\n".to_owned()]).collect();
    let error = from_text(&many).expect_err("there are no such keys");
    assert_eq!(error.problems().len(), 20);
}

#[test]
fn a_long_or_strange_value_is_shown_short_and_plain() {
    let text = format!("node:\n  log_format: \"{}\\e[31m\\n{}\"\n", "x".repeat(10), "y".repeat(10_000));
    let sentence = sentences(from_text(&text));
    assert!(sentence.len() < 300 && !sentence.contains(char::is_control), "{sentence:?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let missing = directory.path().join("node.yaml");
    let load = |path: &Path| sentences(Config::load(Some(path), std::iter::empty(), &ConfigOverrides::default()));
    let shown = directory.path().display().to_string();
    insta::assert_snapshot!(load(&missing).replace(&shown, "…"), @"…/node.yaml: the configuration file could not be read: No such file or directory (os error 2) (unreadable)");
    insta::assert_snapshot!(load(directory.path()).replace(&shown, "…"), @"…: the configuration file could not be read: Is a directory (os error 21) (unreadable)");
    std::fs::write(&missing, b"node: \xff").expect("the directory is writable");
    insta::assert_snapshot!(load(&missing).replace(&shown, "…"), @"…/node.yaml: the configuration file could not be read: stream did not contain valid UTF-8 (unreadable)");
}

#[test]
fn a_name_is_read_as_it_is_spelled() {
    let directory = |text: &str| from_text(&format!("node:\n  data_dir: {text}\n")).expect("a directory").data_dir;
    assert_eq!(directory("1.10"), PathBuf::from("1.10"));
    assert_eq!(directory("0x10"), PathBuf::from("0x10"));
    assert_eq!(directory("\"0x10\""), PathBuf::from("0x10"));
    assert_eq!(directory("true"), PathBuf::from("true"));
    assert_eq!(directory("off # not a boolean"), PathBuf::from("off"));
    assert_eq!(directory("größe"), PathBuf::from("größe"));
    let level = from_text("# ä\nnode: {log_level: off, partitions: 7}\n").expect("both are allowed");
    assert_eq!((level.log_level.to_string().as_str(), level.partitions.get()), ("off", 7));
    let aliased = from_text("node: {partitions: &p 7}\ngateway: {max_subscriptions: *p}\n").expect("aliases are YAML");
    assert_eq!(aliased.gateway.max_subscriptions, 7);
}

#[test]
fn bounds_are_inclusive() {
    let check = |key: &str, text: &str, allowed: bool| {
        let result = from_flags(&[(key, text)]);
        assert_eq!(result.is_ok(), allowed, "{key} = {text}: {result:?}");
    };
    for key in keys::KEYS {
        let (min, max) = match key.kind {
            kind::Kind::Whole { min, max } | kind::Kind::WholeOrAuto { min, max } => (min, max),
            kind::Kind::Decimal { .. }
            | kind::Kind::Flag
            | kind::Kind::Directory
            | kind::Kind::LoopbackAddress
            | kind::Kind::LogLevel
            | kind::Kind::Origins
            | kind::Kind::Hosts
            | kind::Kind::ByTenant { .. }
            | kind::Kind::Durability
            | kind::Kind::Choice(_) => continue,
        };
        check(key.path, &(max + 1).to_string(), false);
        check(key.path, &min.checked_sub(1).map_or("-1".to_owned(), |below| below.to_string()), false);
        check(key.path, &format!("{min}.5"), false);
        check(key.path, "99999999999999999999999", false);
    }
    check("storage.durability", "os", true);
    check("storage.durability", "interval=3600000", true);
    check("storage.durability", "interval=3600001", false);
    check("node.partitions", "1", true);
    check("node.partitions", "1024", true);
    check("event_plane.backpressure.pause_producer_threshold", "1", true);
    check("event_plane.backpressure.pause_producer_threshold", "1.01", false);
    check("event_plane.backpressure.pause_producer_threshold", "NaN", false);
    check("event_plane.backpressure.resume_threshold", "0", true);
}

#[test]
fn flags_are_stronger_than_the_environment_and_that_than_the_file() {
    let file = "node: {partitions: 2, drain_ms: 2, log_level: warn}\n";
    let load = |env: &[(&str, &str)], overrides: &ConfigOverrides| {
        let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let file = ConfigFile::parse("node.yaml", file).expect("it is YAML");
        Config::from_sources(file, env, overrides).expect("all of it is allowed")
    };
    let env = [("HEADWATER_NODE__PARTITIONS", "3"), ("HEADWATER_NODE__DRAIN_MS", "3")];
    let set = [("node.listen", "127.0.0.1:5"), ("node.partitions", "4"), ("workers.reclaim_ms", "5")];
    let overrides = ConfigOverrides {
        listen: Some("127.0.0.1:6".to_owned()),
        set: set.map(|(key, text)| (key.to_owned(), text.to_owned())).into(),
        ..ConfigOverrides::default()
    };
    let config = load(&env, &overrides);
    assert_eq!((config.partitions.get(), config.drain_ms, config.reclaim_ms), (4, 3, 5));
    assert_eq!(config.listen.port(), 6);
    assert_eq!(config.log_level.to_string(), "warn");
}

#[test]
fn a_wrong_value_is_refused_even_where_a_stronger_source_replaces_it() {
    let overrides = ConfigOverrides { listen: Some("127.0.0.1:1".to_owned()), ..ConfigOverrides::default() };
    let file = ConfigFile::parse("node.yaml", "node: {listen: everywhere}").expect("it is YAML");
    let result = Config::from_sources(file, std::iter::empty(), &overrides);
    insta::assert_snapshot!(sentences(result), @"node.yaml:1:16: `node.listen` is `everywhere`, but an address of this machine itself with a port, such as 127.0.0.1:7400 is expected (wrong_kind)");
}

#[test]
fn variables_that_look_like_settings_must_be_settings() {
    let check = |name: &str, text: &str| sentences(from_environment(&[(name, text)]));
    insta::assert_snapshot!(check("HEADWATER_NODE__PARTITIONS", "0"), @"HEADWATER_NODE__PARTITIONS: `node.partitions` is `0`, but only a whole number from 1 to 1024 is allowed (out_of_bounds)");
    insta::assert_snapshot!(check("HEADWATER_NODE__DATA_DIR", ""), @"HEADWATER_NODE__DATA_DIR: `node.data_dir` has no value; a directory is expected, or leave it out (no_value)");
    insta::assert_snapshot!(check("HEADWATER_NODE_DATA_DIR", "data"), @"HEADWATER_NODE_DATA_DIR: there is no setting of this name; did you mean `HEADWATER_NODE__DATA_DIR`? (unknown_key)");
    insta::assert_snapshot!(check("HEADWATER_NODE__LISTNE", "data"), @"HEADWATER_NODE__LISTNE: there is no setting of this name; did you mean `HEADWATER_NODE__LISTEN`? (unknown_key)");
    insta::assert_snapshot!(check("HEADWATER_LISTEN", "127.0.0.1:1"), @"HEADWATER_LISTEN: there is no setting of this name; did you mean `HEADWATER_NODE__LISTEN`? (unknown_key)");
    insta::assert_snapshot!(check("HEADWATER_WORKERS__CIRCUIT_BREAKER", "5"), @"HEADWATER_WORKERS__CIRCUIT_BREAKER: there is no setting of this name; docs/configuration.md lists all (unknown_key)");
}

#[test]
fn variables_of_others_are_passed_over() {
    let others = [
        ("HEADWATER_PORT", "tcp://10.0.0.1:7400"),
        ("HEADWATER_SERVICE_HOST", "10.0.0.1"),
        ("HEADWATER_PORT_7400_TCP_ADDR", "10.0.0.1"),
        ("HEADWATER_URL", "http://127.0.0.1:7400"),
        ("HEADWATER_CONFIG", "node.yaml"),
        ("HEADWATER_NODE", "http://127.0.0.1:7400"),
        ("HEADWATER_CACHE", "/var/cache"),
        ("HEADWATER_TASK", "summarize"),
        ("HEADWATER_PATH", "/do/0/summarize"),
        ("NODE__LISTEN", "0.0.0.0:1"),
        ("PATH", "/bin"),
    ];
    let config = from_environment(&others).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7400");
}

#[test]
fn only_addresses_of_this_machine_itself_are_listened_on() {
    let check = |address: &str, allowed: bool| {
        let result = from_flags(&[("node.listen", address)]);
        assert_eq!(result.is_ok(), allowed, "{address}: {result:?}");
    };
    check("127.0.0.1:0", true);
    check("127.8.9.10:80", true);
    check("[::1]:7400", true);
    check("0.0.0.0:7400", false);
    check("[::]:7400", false);
    check("[::ffff:127.0.0.1]:7400", false);
    check("192.168.1.2:7400", false);
    check("127.0.0.1", false);
    check(":7400", false);
    check("127.0.0.1:65536", false);
    insta::assert_snapshot!(sentences(from_flags(&[("node.admin_listen", "192.168.1.2:1")])), @"--set node.admin_listen: `node.admin_listen` is `192.168.1.2:1`, but this version has neither authentication nor TLS, so it listens only on this machine itself: 127.0.0.1 or [::1]; let a proxy that has both stand before it (not_loopback)");
    let listen = "10.0.0.1:7400".parse().expect("an address");
    assert!(Config::for_dev(PathBuf::from("d"), listen).is_err());
}

#[test]
fn settings_that_cannot_hold_together_are_refused() {
    let check = |set: &[(&str, &str)]| sentences(from_flags(set));
    insta::assert_snapshot!(check(&[("node.listen", "127.0.0.1:7401")]), @"--set node.listen: `node.admin_listen` and `node.listen` are the same address; give one of them another port (contradiction)");
    insta::assert_snapshot!(check(&[("event_plane.backpressure.resume_threshold", "0.8")]), @"--set event_plane.backpressure.resume_threshold: `event_plane.backpressure.resume_threshold` must be below `event_plane.backpressure.pause_producer_threshold`, or producers would pause and go on with every step (contradiction)");
    insta::assert_snapshot!(check(&[("gateway.heartbeat_ms", "8000")]), @"--set gateway.heartbeat_ms: `gateway.pong_ms` must be below `gateway.heartbeat_ms`: each ping is answered before the next (contradiction)");
    insta::assert_snapshot!(check(&[("orchestration_plane.retry_policy.backoff_base_ms", "60000")]), @"--set orchestration_plane.retry_policy.backoff_base_ms: `orchestration_plane.retry_policy.backoff_base_ms` must not be above `orchestration_plane.retry_policy.backoff_cap_ms`, the longest delay (contradiction)");
    assert!(from_flags(&[("node.listen", "127.0.0.1:0"), ("node.admin_listen", "127.0.0.1:0")]).is_ok());
}

#[test]
fn flags_name_what_they_do_not_know() {
    let check = |key: &str| sentences(from_flags(&[(key, "1")]));
    insta::assert_snapshot!(check("node.partition"), @"--set node.partition: there is no `partition` in `node`; did you mean `partitions`? (unknown_key)");
    insta::assert_snapshot!(check("partitions"), @"--set partitions: there is no `partitions` at the top; did you mean `node.partitions`? (unknown_key)");
    insta::assert_snapshot!(check("node"), @"--set node: `node` is a section; below it may stand `data_dir`, `listen`, `admin_listen`, `partitions`, `driver_threads`, `drain_ms`, `state_memory_mib`, `log_format`, `log_level` (wrong_kind)");
    insta::assert_snapshot!(check("nothing.like.it"), @"--set nothing.like.it: there is no `it` in `nothing.like`; docs/configuration.md lists all settings (unknown_key)");
}

#[test]
fn without_back_pressure_producers_are_not_paused() {
    let config = from_flags(&[("event_plane.backpressure.enabled", "false")]).expect("it may be off");
    assert_eq!(config.queue, QueueSettings { max_depth: 5000, pause: None });
}

#[test]
fn the_smallest_queue_still_pauses_above_where_it_resumes() {
    let config = from_flags(&[("event_plane.max_queue_depth_per_partition", "1")]).expect("1 is allowed");
    let pause = config.queue.pause.expect("back pressure is on by default");
    assert_eq!((pause.pause_depth, pause.resume_depth), (1, 0));
}

#[test]
fn there_are_no_more_drivers_than_partitions() {
    let config = from_flags(&[("node.driver_threads", "8"), ("node.partitions", "3")]).expect("both are allowed");
    assert_eq!(config.driver_threads.get(), 3);
}

#[test]
fn a_development_node_needs_a_directory_and_an_address() {
    let check = |listen: &str, admin: &str| {
        let listen = listen.parse().expect("an address");
        let config = Config::for_dev(PathBuf::from("d"), listen).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((config.data_dir, config.listen), (PathBuf::from("d"), listen));
        assert_eq!(config.admin_listen.to_string(), admin);
    };
    check("127.0.0.1:0", "127.0.0.1:0");
    check("127.0.0.1:7400", "127.0.0.1:7401");
    check("[::1]:65535", "[::1]:65534");
}

#[test]
fn the_documentation_has_a_row_for_every_setting() {
    let document = std::fs::read_to_string(in_repository("docs/configuration.md")).expect("docs/configuration.md");
    let rows = reference();
    let missing: Vec<_> = rows.iter().filter(|row| !document.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks these rows:\n{missing:#?}");
    let table_rows = document.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(table_rows, rows.len(), "docs/configuration.md has rows of settings that are not there");
}
