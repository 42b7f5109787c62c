//! A definition's text as a tree of nodes that know their places. YAML 1.2 (core schema) and JSON, inside limits.

use std::fmt::Write as _;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::Value as Json;

use crate::escapes::joined_surrogates;
use crate::limits;
use crate::problem::Problem;

/// A place in the text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Null, a boolean, a number or a text. `offset` is how far behind the node's place the text's first character
    /// is, where it is written on one line as it is; only then can a place inside the text be told.
    Scalar {
        value: Json,
        offset: Option<u32>,
    },
    List(Vec<Node>),
    Map(Vec<Field>),
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar { value: Json::String(_), .. } => "a text",
            Content::Scalar { value: Json::Number(_), .. } => "a number",
            Content::Scalar { value: Json::Bool(_), .. } => "a boolean",
            Content::Scalar { .. } => "nothing",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { value, .. } => value.as_str(),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            Content::Scalar { .. } | Content::Map(_) => &[],
        }
    }

    pub(crate) fn fields(&self) -> Option<&[Field]> {
        match &self.content {
            Content::Map(fields) => Some(fields),
            Content::Scalar { .. } | Content::List(_) => None,
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Node> {
        self.fields()?.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    pub(crate) fn to_json(&self) -> Json {
        match &self.content {
            Content::Scalar { value, .. } => value.clone(),
            Content::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Content::Map(fields) => {
                Json::Object(fields.iter().map(|field| (field.name.clone(), field.value.to_json())).collect())
            }
        }
    }

    /// Follows a JSON pointer from here.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, |node, token| {
            let token = token.replace("~1", "/").replace("~0", "~");
            match &node.content {
                Content::Map(_) => node.field(&token),
                Content::List(items) => items.get(token.parse::<usize>().ok()?),
                Content::Scalar { .. } => None,
            }
        })
    }
}

/// Reads one document.
pub(crate) fn read(source: &str) -> Result<Node, Problem> {
    if source.len() > limits::MAX_SOURCE_BYTES {
        let message =
            format!("the definition has {} bytes, at most {} are allowed", source.len(), limits::MAX_SOURCE_BYTES);
        return Err(problem("too_large", START, message));
    }
    match source.trim_start().as_bytes().first() {
        Some(b'{') => read_json(source),
        Some(_) => Reader::new(source).document(),
        None => Err(problem("bad_document", START, "the definition is empty".to_owned())),
    }
}

const START: Place = Place { line: 1, column: 1 };

fn problem(code: &'static str, place: Place, message: String) -> Problem {
    Problem { code, message, line: place.line, column: place.column, pointer: String::new(), suggestion: None }
}

/// JSON is YAML but for its escapes of characters beyond the basic plane (`\ud83d\ude00`), which are put right first;
/// what JSON itself refuses (comments, trailing commas) is refused.
fn read_json(source: &str) -> Result<Node, Problem> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(source) {
        // A flow map is also YAML; only if it is neither, JSON's own message is the better one.
        return Reader::new(source).document().map_err(|_| {
            let place = Place { line: clamp(error.line()), column: clamp(error.column()) };
            problem("bad_syntax", place, format!("the definition is not valid JSON: {error}"))
        });
    }
    Reader::new(&joined_surrogates(source)).document()
}

fn clamp(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn place_of(span: &Span) -> Place {
    Place { line: clamp(span.start.line()), column: clamp(span.start.col() + 1) }
}

/// Builds the tree from the parser's events with a stack of its own, so that depth costs no recursion.
struct Reader<'s> {
    source: &'s str,
    read: Size,
    anchors: Vec<(usize, Node, Size)>,
}

/// What a part of the document is, its aliases written out.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    nodes: usize,
    /// Of texts and names.
    bytes: usize,
}

impl Size {
    const EMPTY_NODE: Self = Self { nodes: 1, bytes: 0 };

    fn since(self, before: Self) -> Self {
        Self { nodes: self.nodes - before.nodes, bytes: self.bytes - before.bytes }
    }
}

/// A list or map that is being read.
struct Open {
    place: Place,
    anchor: usize,
    before: Size,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<Field>, Option<(String, Place)>),
}

impl<'s> Reader<'s> {
    fn new(source: &'s str) -> Self {
        Self { source, read: Size::default(), anchors: Vec::new() }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is foreign and open")]
    fn document(mut self) -> Result<Node, Problem> {
        let mut parser = Parser::new_from_str(self.source);
        let mut open: Vec<Open> = Vec::new();
        let mut root = None;
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| {
                let marker = error.marker();
                let place = Place { line: clamp(marker.line()), column: clamp(marker.col() + 1) };
                problem("bad_syntax", place, format!("the definition is not valid YAML: {}", error.info()))
            })?;
            let place = place_of(&span);
            match event {
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(problem(
                        "bad_document",
                        place,
                        "a definition is one document, this is a second one".to_owned(),
                    ));
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let node = self.scalar(&text, style, tag.as_deref(), place, &span)?;
                    let size = Size { nodes: 1, bytes: text.len() };
                    self.done(node, anchor, size, &mut open, &mut root)?;
                }
                Event::SequenceStart(_, anchor, tag) => {
                    self.begin(OpenKind::List(Vec::new()), anchor, tag.as_deref(), place, &mut open)?;
                }
                Event::MappingStart(_, anchor, tag) => {
                    self.begin(OpenKind::Map(Vec::new(), None), anchor, tag.as_deref(), place, &mut open)?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let closed = open.pop().expect("the parser closes what it opened");
                    let content = match closed.kind {
                        OpenKind::List(items) => Content::List(items),
                        OpenKind::Map(fields, _) => Content::Map(fields),
                    };
                    let node = Node { place: closed.place, content };
                    let size = self.read.since(closed.before);
                    self.done(node, closed.anchor, size, &mut open, &mut root)?;
                }
                Event::Alias(anchor) => self.alias(anchor, place, &mut open, &mut root)?,
                // The beginnings and ends of what is read whole, and what is only given when it is asked for.
                _ => {}
            }
        }
        root.ok_or_else(|| problem("bad_document", START, "the definition is empty".to_owned()))
    }

    fn begin(
        &mut self,
        kind: OpenKind,
        anchor: usize,
        tag: Option<&Tag>,
        place: Place,
        open: &mut Vec<Open>,
    ) -> Result<(), Problem> {
        refuse_custom(tag, place)?;
        if open.len() >= limits::MAX_DOCUMENT_DEPTH {
            let most = limits::MAX_DOCUMENT_DEPTH;
            return Err(problem("too_deep", place, format!("the definition nests deeper than {most} levels")));
        }
        let before = self.read;
        self.count(Size::EMPTY_NODE, place)?;
        open.push(Open { place, anchor, before, kind });
        Ok(())
    }

    fn count(&mut self, size: Size, place: Place) -> Result<(), Problem> {
        self.read.nodes = self.read.nodes.saturating_add(size.nodes);
        self.read.bytes = self.read.bytes.saturating_add(size.bytes);
        let too_large = |most: usize, what: &str| {
            let message = format!("the definition has more than {most} {what}, its aliases written out");
            problem("too_large", place, message)
        };
        if self.read.nodes > limits::MAX_DOCUMENT_NODES {
            return Err(too_large(limits::MAX_DOCUMENT_NODES, "values"));
        }
        if self.read.bytes > limits::MAX_DOCUMENT_BYTES {
            return Err(too_large(limits::MAX_DOCUMENT_BYTES, "bytes of text"));
        }
        Ok(())
    }

    /// A node is complete: it goes where it belongs.
    fn done(
        &mut self,
        node: Node,
        anchor: usize,
        size: Size,
        open: &mut [Open],
        root: &mut Option<Node>,
    ) -> Result<(), Problem> {
        if anchor != 0 {
            self.count(size, node.place)?;
            self.anchors.push((anchor, node.clone(), size));
        }
        let Some(holder) = open.last_mut() else {
            *root = Some(node);
            return Ok(());
        };
        match &mut holder.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map(fields, name @ None) => *name = Some(field_name(node, fields)?),
            OpenKind::Map(fields, name) => {
                let (name, place) = name.take().expect("matched above");
                fields.push(Field { name, place, value: node });
            }
        }
        Ok(())
    }

    fn alias(
        &mut self,
        anchor: usize,
        place: Place,
        open: &mut [Open],
        root: &mut Option<Node>,
    ) -> Result<(), Problem> {
        let known = self.anchors.iter().rev().find(|(known, ..)| *known == anchor);
        let Some((_, node, size)) = known else {
            return Err(problem("bad_alias", place, "an alias cannot stand inside what it names".to_owned()));
        };
        let (mut node, size) = (node.clone(), *size);
        node.place = place;
        if open.len() + depth(&node) > limits::MAX_DOCUMENT_DEPTH {
            let most = limits::MAX_DOCUMENT_DEPTH;
            return Err(problem("too_deep", place, format!("the definition nests deeper than {most} levels")));
        }
        self.count(size, place)?;
        self.done(node, 0, size, open, root)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        place: Place,
        span: &Span,
    ) -> Result<Node, Problem> {
        self.count(Size { nodes: 1, bytes: text.len() }, place)?;
        refuse_custom(tag, place)?;
        let quoted = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
        let value = if quoted { Json::String(text.to_owned()) } else { plain(text, place)? };
        let quote = match style {
            ScalarStyle::Plain => Some(0),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Some(1),
            ScalarStyle::Literal | ScalarStyle::Folded => None,
        };
        let length = span.end.index() - span.start.index();
        let offset = quote.filter(|quote| {
            span.start.line() == span.end.line() && text.chars().count() + 2 * *quote as usize == length
        });
        Ok(Node { place, content: Content::Scalar { value, offset } })
    }
}

fn depth(node: &Node) -> usize {
    match &node.content {
        Content::Scalar { .. } => 0,
        Content::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Content::Map(fields) => 1 + fields.iter().map(|field| depth(&field.value)).max().unwrap_or(0),
    }
}

fn refuse_custom(tag: Option<&Tag>, place: Place) -> Result<(), Problem> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            let message = format!("the tag `{}` has no meaning in a definition: remove it", tag.original());
            Err(problem("bad_syntax", place, message))
        }
        Some(_) | None => Ok(()),
    }
}

fn field_name(node: Node, fields: &[Field]) -> Result<(String, Place), Problem> {
    let name = match node.content {
        Content::Scalar { value: Json::String(name), .. } => name,
        Content::Scalar { value, .. } => value.to_string(),
        Content::List(_) | Content::Map(_) => {
            return Err(problem("bad_syntax", node.place, "a field's name must be a text".to_owned()));
        }
    };
    if let Some(first) = fields.iter().find(|field| field.name == name) {
        let mut message = format!("the field `{name}` is written twice");
        write!(message, ", first on line {}", first.place.line).expect("a String takes everything");
        return Err(problem("duplicate_field", node.place, message));
    }
    Ok((name, node.place))
}

/// What a plain scalar means in YAML 1.2's core schema.
fn plain(text: &str, place: Place) -> Result<Json, Problem> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" => Json::Bool(true),
        "false" | "False" | "FALSE" => Json::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | "+.Inf" | "-.Inf" | "+.INF"
        | "-.INF" => {
            return Err(problem("bad_value", place, format!("`{text}` is a number that JSON does not have")));
        }
        text => number(text).unwrap_or_else(|| Json::String(text.to_owned())),
    })
}

fn number(text: &str) -> Option<Json> {
    let first = text.bytes().next()?;
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Json::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Json::from);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.bytes().any(|byte| byte.is_ascii_digit())
        || !unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
    {
        return None;
    }
    let signed = text.strip_prefix('+').unwrap_or(text);
    if let Ok(whole) = signed.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = signed.parse::<u64>() {
        return Some(whole.into());
    }
    serde_json::Number::from_f64(signed.parse().ok()?).map(Json::Number)
}
