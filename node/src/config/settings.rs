//! What all sources together say: the strongest text of each key, read, and every problem on the way.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use gateway::{HostName, WebOrigin};
use types::{Durability, TenantId};

use super::keys::{self, KEYS, Key, State};
use super::kind::{NONE, Value};
use super::{ConfigError, Origin, Problem, ProblemCode, suggest};
use crate::config_file::{ConfigFile, Member, Written};
use crate::telemetry::LogLevel;

/// Nobody reads more, and what follows is often a consequence.
const MAX_PROBLEMS: usize = 20;
/// Of a value that is shown in a message.
const MAX_SHOWN: usize = 80;

/// Sources are put in from the weakest to the strongest.
#[derive(Debug)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (Value, Origin)>,
    problems: Vec<Problem>,
}

impl Settings {
    /// The defaults.
    pub(crate) fn new() -> Self {
        let mut settings = Self { values: BTreeMap::new(), problems: Vec::new() };
        for key in KEYS {
            match key.state {
                State::InForce { default } => settings.put(key, default, Origin::Default),
                State::NotYet { .. } => {}
            }
        }
        assert!(settings.problems.is_empty(), "a default is not allowed: {:?}", settings.problems);
        settings
    }

    pub(crate) fn put_file(&mut self, file: ConfigFile) {
        self.put_section("", file.members);
    }

    fn put_section(&mut self, section: &str, members: Vec<Member>) {
        for member in members {
            let path = if section.is_empty() { member.name.clone() } else { format!("{section}.{}", member.name) };
            if let Some(key) = keys::find(&path) {
                self.put_written(key, member);
            } else if keys::is_section(&path) {
                self.put_subsection(&path, member);
            } else {
                let message = unknown(section, &member.name);
                self.refuse(member.name_at, ProblemCode::UnknownKey, message);
            }
        }
    }

    fn put_written(&mut self, key: &'static Key, member: Member) {
        match member.written {
            Written::Value(text) => self.put(key, &text, member.value_at),
            Written::Nothing => self.refuse(member.name_at, ProblemCode::NoValue, no_value(key)),
            Written::List(Some(parts)) if key.kind.is_list() => {
                let text = if parts.is_empty() { NONE.to_owned() } else { parts.join(", ") };
                self.put(key, &text, member.value_at);
            }
            Written::List(_) | Written::Section(_) => {
                let shape = if key.kind.is_list() { "is a list of plain values" } else { "has one value" };
                let message = format!("`{}` {shape}: {} is expected", key.path, key.kind);
                self.refuse(member.value_at, ProblemCode::WrongKind, message);
            }
        }
    }

    fn put_subsection(&mut self, path: &str, member: Member) {
        match member.written {
            Written::Section(members) => self.put_section(path, members),
            Written::Nothing => {}
            Written::Value(_) | Written::List(_) => {
                self.refuse(member.value_at, ProblemCode::WrongKind, is_a_section(path));
            }
        }
    }

    /// For a source that names a key by its whole path.
    pub(crate) fn put_named(&mut self, path: &str, text: &str, origin: Origin) {
        if let Some(key) = keys::find(path) {
            self.put(key, text, origin);
        } else if keys::is_section(path) {
            self.refuse(origin, ProblemCode::WrongKind, is_a_section(path));
        } else {
            let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
            self.refuse(origin, ProblemCode::UnknownKey, unknown(section, name));
        }
    }

    pub(crate) fn put(&mut self, key: &'static Key, text: &str, origin: Origin) {
        if text.is_empty() {
            return self.refuse(origin, ProblemCode::NoValue, no_value(key));
        }
        match key.kind.read(text) {
            Ok(value) => {
                self.values.insert(key.path, (value, origin));
            }
            Err(fault) => {
                let message = format!("`{}` is `{}`, but {}", key.path, shown(text), fault.message);
                self.refuse(origin, fault.code, message);
            }
        }
    }

    pub(crate) fn refuse(&mut self, origin: Origin, code: ProblemCode, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { origin, code, message });
        }
    }

    /// Refuses two values that are allowed by themselves but not together. The place is that of one that was written.
    pub(crate) fn contradiction(&mut self, paths: [&str; 2], message: &str) {
        let origins = paths.map(|path| self.get(path).1.clone());
        let [first, second] = origins;
        let origin = if first == Origin::Default { second } else { first };
        self.refuse(origin, ProblemCode::Contradiction, message.to_owned());
    }

    /// Gives up what was put in, unless there was no problem at all.
    pub(crate) fn check(&mut self) -> Result<(), ConfigError> {
        ConfigError::unless_none(std::mem::take(&mut self.problems))
    }

    /// A sentence for each group of keys that someone wrote and that nothing follows from yet.
    pub(crate) fn not_in_force(&self) -> Vec<String> {
        let mut named_before = Vec::new();
        let mut sentences = Vec::new();
        for key in KEYS {
            let State::NotYet { named, instead } = key.state else { continue };
            let Some((_, origin)) = self.values.get(key.path) else { continue };
            if !named_before.contains(&named) {
                named_before.push(named);
                sentences.push(format!("{named} ({origin}) is not yet in force: {instead}"));
            }
        }
        sentences
    }

    fn get(&self, path: &str) -> &(Value, Origin) {
        self.values.get(path).expect("every key in force has a default in the table")
    }

    pub(crate) fn whole(&self, path: &str) -> u64 {
        self.whole_or_auto(path).expect("a plain whole number is never `auto`")
    }

    /// `None`: `auto`.
    pub(crate) fn whole_or_auto(&self, path: &str) -> Option<u64> {
        match &self.get(path).0 {
            Value::Whole(number) => Some(*number),
            Value::Auto => None,
            other @ (Value::Decimal(_)
            | Value::Flag(_)
            | Value::Text(_)
            | Value::Address(_)
            | Value::LogLevel(_)
            | Value::Origins(_)
            | Value::Hosts(_)
            | Value::ByTenant(_)
            | Value::Durability(_)) => mistaken(path, other),
        }
    }

    pub(crate) fn decimal(&self, path: &str) -> f64 {
        let value = &self.get(path).0;
        let Value::Decimal(number) = value else { mistaken(path, value) };
        *number
    }

    pub(crate) fn flag(&self, path: &str) -> bool {
        let value = &self.get(path).0;
        let Value::Flag(flag) = value else { mistaken(path, value) };
        *flag
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        let value = &self.get(path).0;
        let Value::Text(text) = value else { mistaken(path, value) };
        text
    }

    pub(crate) fn address(&self, path: &str) -> SocketAddr {
        let value = &self.get(path).0;
        let Value::Address(address) = value else { mistaken(path, value) };
        *address
    }

    pub(crate) fn origins(&self, path: &str) -> Vec<WebOrigin> {
        let value = &self.get(path).0;
        let Value::Origins(origins) = value else { mistaken(path, value) };
        origins.clone()
    }

    pub(crate) fn hosts(&self, path: &str) -> Vec<HostName> {
        let value = &self.get(path).0;
        let Value::Hosts(hosts) = value else { mistaken(path, value) };
        hosts.clone()
    }

    pub(crate) fn by_tenant(&self, path: &str) -> &BTreeMap<TenantId, u64> {
        let value = &self.get(path).0;
        let Value::ByTenant(numbers) = value else { mistaken(path, value) };
        numbers
    }

    pub(crate) fn durability(&self, path: &str) -> Durability {
        let value = &self.get(path).0;
        let Value::Durability(level) = value else { mistaken(path, value) };
        *level
    }

    pub(crate) fn log_level(&self, path: &str) -> LogLevel {
        let value = &self.get(path).0;
        let Value::LogLevel(level) = value else { mistaken(path, value) };
        level.clone()
    }
}

/// A mistake of ours: the table gives the key another kind than `Config` asks for.
fn mistaken(path: &str, value: &Value) -> ! {
    panic!("`{path}` is {value:?}, which is not what the table of keys makes of it")
}

fn unknown(section: &str, name: &str) -> String {
    let place = if section.is_empty() { "at the top".to_owned() } else { format!("in `{section}`") };
    match suggest::key(section, name) {
        Some(near) => format!("there is no `{}` {place}; did you mean `{near}`?", shown(name)),
        None if keys::is_section(section) || section.is_empty() => {
            format!("there is no `{}` {place}; there may stand {}", shown(name), list(&suggest::members(section)))
        }
        None => format!("there is no `{}` {place}; docs/configuration.md lists all settings", shown(name)),
    }
}

fn is_a_section(path: &str) -> String {
    format!("`{path}` is a section; below it may stand {}", list(&suggest::members(path)))
}

fn no_value(key: &Key) -> String {
    format!("`{}` has no value; {} is expected, or leave it out", key.path, key.kind)
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A text from outside, cut and without control characters.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
