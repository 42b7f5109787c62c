//! The configuration file as written: names and texts with their places. Knows YAML, but no setting and no default.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Spanned, UserMessageFormatter};

use crate::config::{ConfigError, Origin, ProblemCode};

/// A configuration has some dozens of lines; whoever names another file by mistake is told so before it is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Settings are two or three sections deep; the reader recurses over them.
const MAX_DEPTH: usize = 16;
/// Names and values after YAML's aliases are expanded: far above all there is to set.
const MAX_NODES: usize = 4096;

/// What a file says, in its order. Nothing is checked but that it is YAML.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    pub(crate) members: Vec<Member>,
}

/// `name: …`, with where each of the two stands.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) name_at: Origin,
    pub(crate) written: Written,
    pub(crate) value_at: Origin,
}

/// What stands behind a name.
#[derive(Debug)]
pub(crate) enum Written {
    Value(String),
    Nothing,
    /// Its values; `None` where one of them is not plain.
    List(Option<Vec<String>>),
    Section(Vec<Member>),
}

impl ConfigFile {
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let unreadable = |why: String| {
            let at = Origin::file(&name);
            ConfigError::one(at, ProblemCode::Unreadable, format!("the configuration file could not be read: {why}"))
        };
        let mut text = String::new();
        let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
        file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(&name, &text)
    }

    /// `name` is what messages call the file.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        if text.len() as u64 > MAX_FILE_BYTES {
            let message = "the file is larger than 1 MiB, so it can hardly be a configuration";
            return Err(ConfigError::one(Origin::file(name), ProblemCode::TooLarge, message));
        }
        let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, options()).map_err(|e| syntax(name, &e))?;
        let at = place(name, &root);
        match (Source { name, text }).written(root) {
            Written::Section(members) => Ok(Self { members }),
            Written::Nothing => Ok(Self::default()),
            Written::Value(_) | Written::List(_) => {
                let message = "a configuration consists of sections, such as `node:` with `listen: …` below it";
                Err(ConfigError::one(at, ProblemCode::WrongKind, message))
            }
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES, max_documents: 1 },
        // `log_level: off` is a level, not a `false`.
        strict_booleans: true,
        with_snippet: false,
    }
}

fn syntax(name: &str, error: &serde_saphyr::Error) -> ConfigError {
    let message = if let serde_saphyr::Error::Budget { breach, .. } = error {
        over_budget(breach).to_owned()
    } else {
        error.render_with_formatter(&UserMessageFormatter)
    };
    let Some(location) = error.location() else {
        return ConfigError::one(Origin::file(name), ProblemCode::Syntax, message);
    };
    let (line, column) = (location.line(), location.column());
    let message = message.strip_suffix(&format!(" at line {line}, column {column}")).unwrap_or(&message).to_owned();
    ConfigError::one(Origin::place(name, line, column), ProblemCode::Syntax, message)
}

fn over_budget(breach: &BudgetBreach) -> &'static str {
    if matches!(breach, BudgetBreach::Documents { .. }) {
        "a configuration is one document, but a second one begins here"
    } else {
        "this is nested deeper, or is more, than a configuration can be"
    }
}

fn place<T>(name: &str, spanned: &Spanned<T>) -> Origin {
    Origin::place(name, spanned.referenced.line(), spanned.referenced.column())
}

/// A file's name and text: what is needed to say where something stands and how it was spelled.
struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

impl Source<'_> {
    fn written(&self, node: Spanned<Node>) -> Written {
        match node.value {
            Node::Text(text) => Written::Value(text),
            Node::Plain(read) => Written::Value(self.spelling(&node.defined).unwrap_or(read)),
            Node::Nothing => Written::Nothing,
            Node::List(nodes) => Written::List(self.values(nodes)),
            Node::Section(members) => {
                Written::Section(members.into_iter().map(|(name, value)| self.member(name, value)).collect())
            }
        }
    }

    fn values(&self, nodes: Vec<Spanned<Node>>) -> Option<Vec<String>> {
        let value = |node| match self.written(node) {
            Written::Value(text) => Some(text),
            Written::Nothing | Written::List(_) | Written::Section(_) => None,
        };
        nodes.into_iter().map(value).collect()
    }

    fn member(&self, name: Spanned<String>, value: Spanned<Node>) -> Member {
        let (name_at, value_at) = (place(self.name, &name), place(self.name, &value));
        Member { name: name.value, name_at, written: self.written(value), value_at }
    }

    /// The characters as they stand in the file, so that a directory named `1.10` is not read as the number 1.1.
    fn spelling(&self, location: &serde_saphyr::Location) -> Option<String> {
        let span = location.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let length = usize::try_from(span.byte_len()?).ok()?;
        Some(self.text.get(start..start.checked_add(length)?)?.to_owned())
    }
}

/// A node of the document before its place is worked out.
#[derive(Debug)]
enum Node {
    /// A text.
    Text(String),
    /// A number, `true` or `false`, as YAML reads it.
    Plain(String),
    Nothing,
    List(Vec<Spanned<Node>>),
    Section(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a section")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = elements.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            members.push(entry);
        }
        Ok(Node::Section(members))
    }
}
