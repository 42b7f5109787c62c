//! `use`: what a definition declares once and refers to by name.

use std::collections::BTreeMap;

use super::Compiler;
use super::read::At;
use crate::document::{Content, Node};
use crate::suggest;

/// Everything under `use` that may be referred to.
pub(super) struct Uses<'d> {
    named: BTreeMap<(&'static str, &'d str), At<'d>>,
}

/// What may be declared.
const SUPPORTED: [&str; 4] = ["functions", "errors", "retries", "timeouts"];

/// What may not, with what to do instead.
const REFUSED: [(&str, &str); 4] = [
    ("authentications", "the worker that makes a call authenticates it"),
    ("extensions", "put what comes before or after a task into tasks of its own"),
    ("secrets", "let the worker that needs a secret read it itself"),
    ("catalogs", "declare the function in `use.functions` with `call: worker`"),
];

impl<'d> Uses<'d> {
    pub(super) fn of(root: &'d Node) -> Self {
        let mut named = BTreeMap::new();
        if let Some(at) = At::root(root).field("use") {
            for kind in SUPPORTED {
                let Some(at) = at.field(kind) else { continue };
                for field in at.node.fields().unwrap_or_default() {
                    named.insert((kind, field.name.as_str()), at.below(field));
                }
            }
        }
        Self { named }
    }

    pub(super) fn names(&self, kind: &str) -> impl Iterator<Item = &'d str> {
        self.named.keys().filter(move |(known, _)| *known == kind).map(|(_, name)| *name)
    }

    pub(super) fn get(&self, kind: &'static str, name: &'d str) -> Option<At<'d>> {
        self.named.get(&(kind, name)).cloned()
    }
}

impl<'d> Compiler<'d> {
    /// Checks all that is declared, also what nothing refers to.
    pub(super) fn check_uses(&mut self, at: &At<'d>) {
        let Some(at) = at.field("use") else { return };
        let Some(fields) = self.map(&at, "`use`") else { return };
        let known: Vec<&str> = SUPPORTED.into_iter().chain(REFUSED.iter().map(|(name, _)| *name)).collect();
        self.known_fields(&at, fields, &known, "`use`");
        for (name, advice) in REFUSED {
            let Some(field) = at.field(name) else { continue };
            if !is_empty(field.node) {
                self.unsupported(&field, &format!("`use.{name}`"), advice);
            }
        }
        for kind in SUPPORTED {
            let Some(at) = at.field(kind) else { continue };
            let Some(fields) = self.map(&at, &format!("`use.{kind}`")) else { continue };
            for field in fields {
                let at = at.below(field);
                match kind {
                    "functions" => self.check_function(&at),
                    "errors" => self.check_error(&at),
                    "retries" => self.check_retry(&at),
                    _ => drop(self.timeout_after(&at)),
                }
            }
        }
    }

    /// What a name refers to, or a problem with the nearest name that is declared.
    pub(super) fn referred(&mut self, at: &At<'d>, kind: &'static str, what: &str) -> Option<At<'d>> {
        let name = at.node.text()?;
        let found = self.uses.get(kind, name);
        if found.is_none() {
            let suggestion = suggest::closest(name, self.uses.names(kind));
            self.suggest(at, "unknown_reference", format!("`use.{kind}` has no {what} `{name}`"), suggestion);
        }
        found
    }

    /// `{after: duration}`
    pub(super) fn timeout_after(&mut self, at: &At<'d>) -> Option<u64> {
        let fields = self.map(at, "a timeout")?;
        self.known_fields(at, fields, &["after"], "a timeout");
        match at.field("after") {
            Some(after) => self.duration(&after, "after"),
            None => self.missing(at, "after", "a timeout"),
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.content {
        Content::List(items) => items.is_empty(),
        Content::Map(fields) => fields.is_empty(),
        Content::Scalar { value, .. } => value.is_null(),
    }
}
