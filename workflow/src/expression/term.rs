//! An expression after its names are resolved: what `eval` walks. Immutable and shared.

use std::sync::Arc;

use super::builtins::{Form, Native};
use super::value::Value;

/// A term yields any number of values for an input.
#[derive(Debug)]
pub(crate) enum Term {
    /// `.`
    Identity,
    /// `..`
    Descend,
    Literal(Value),
    /// A text with `\(…)` in it, each rendered by the format.
    Text(Format, Vec<TextPart>),
    Array(Option<Box<Term>>),
    Object(Vec<(Term, Term)>),
    Negate(Box<Term>),
    /// `a | b | c`
    Pipe(Vec<Term>),
    /// `a, b, c`
    Comma(Vec<Term>),
    /// `source as pattern | body`
    Bind(Box<Term>, Pattern, Box<Term>),
    /// `a // b`
    Alternative(Box<Term>, Box<Term>),
    And(Box<Term>, Box<Term>),
    Or(Box<Term>, Box<Term>),
    Math(Math, Box<Term>, Box<Term>),
    Compare(Compare, Box<Term>, Box<Term>),
    /// `a = b`
    Assign(Box<Term>, Box<Term>),
    /// `a |= b`
    Update(Box<Term>, Box<Term>),
    /// `a += b` and its like
    UpdateMath(Math, Box<Term>, Box<Term>),
    /// `a //= b`
    UpdateAlternative(Box<Term>, Box<Term>),
    /// `label $x | body`: one frame.
    Label(Box<Term>),
    /// `break $x`, by how many frames up its label is.
    Break(usize),
    Reduce(Box<Fold>),
    Foreach(Box<Fold>),
    /// `try body catch handler`; without a handler, an error is simply the end.
    Try(Box<Term>, Option<Box<Term>>),
    If(Vec<(Term, Term)>, Option<Box<Term>>),
    /// A variable bound in the expression, by how many frames up it is.
    Variable(usize),
    /// A variable given from outside, by its place in `Resolved::globals`.
    Global(usize),
    /// What a plain path leads to, by its place in `Resolved::parts`.
    Part(usize),
    /// A filter parameter, by how many frames up it is.
    Parameter(usize),
    Call(DefinitionId, Vec<Term>, usize),
    Native(Native, Vec<Term>),
    Form(Form, Vec<Term>),
    /// `term.a[0][]?`, all of it known beforehand.
    Path(Box<Term>, Vec<Key>),
    /// The same with steps that are computed, on the input of the whole path.
    ComputedPath(Box<Term>, Vec<Step>),
}

/// One step of a path. `lenient`: an error of this step is silence (`?`).
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) kind: KeyKind,
    pub(crate) lenient: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum KeyKind {
    /// `.name`, `[0]`
    At(Value),
    /// `[]`
    Each,
    /// `[from:until]`
    Slice(Value, Value),
}

/// A step that may still have to be computed.
#[derive(Debug)]
pub(crate) enum Step {
    Known(Key),
    Index(Term, bool),
    Slice(Option<Term>, Option<Term>, bool),
}

#[derive(Debug)]
pub(crate) enum TextPart {
    Plain(Arc<str>),
    Term(Term),
}

/// `reduce` and `foreach`.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) source: Term,
    pub(crate) pattern: Pattern,
    pub(crate) init: Term,
    pub(crate) update: Term,
    /// `foreach` only.
    pub(crate) extract: Option<Term>,
}

/// Each variable of a pattern is one frame, in the order in which it is written.
#[derive(Debug)]
pub(crate) enum Pattern {
    Variable,
    List(Vec<Pattern>),
    Map(Vec<(Term, Pattern)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefinitionId {
    Prelude(usize),
    Own(usize),
}

/// `def name(params): body;` — each parameter is one frame.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Term,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    Value,
    Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Math {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// How a value becomes text: `@base64 "…\(x)…"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Csv,
    Tsv,
    Html,
    Uri,
    UriDecode,
    Sh,
    Base64,
    Base64Decode,
}

impl Format {
    pub(crate) const ALL: [(&'static str, Self); 10] = [
        ("@text", Self::Text),
        ("@json", Self::Json),
        ("@csv", Self::Csv),
        ("@tsv", Self::Tsv),
        ("@html", Self::Html),
        ("@uri", Self::Uri),
        ("@urid", Self::UriDecode),
        ("@sh", Self::Sh),
        ("@base64", Self::Base64),
        ("@base64d", Self::Base64Decode),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format)
    }
}

impl Term {
    /// Surely yields exactly one value (or an error), so it can be computed ahead.
    pub(crate) fn yields_one(&self) -> bool {
        match self {
            Self::Identity
            | Self::Literal(_)
            | Self::Variable(_)
            | Self::Global(_)
            | Self::Part(_)
            | Self::Array(_) => true,
            Self::Text(_, parts) => parts.iter().all(|part| match part {
                TextPart::Plain(_) => true,
                TextPart::Term(term) => term.yields_one(),
            }),
            Self::Object(fields) => fields.iter().all(|(name, value)| name.yields_one() && value.yields_one()),
            Self::Negate(term) => term.yields_one(),
            Self::Pipe(stages) => stages.iter().all(Self::yields_one),
            Self::Bind(source, Pattern::Variable, body) => source.yields_one() && body.yields_one(),
            Self::And(a, b) | Self::Or(a, b) | Self::Math(_, a, b) | Self::Compare(_, a, b) => {
                a.yields_one() && b.yields_one()
            }
            Self::If(cases, otherwise) => {
                cases.iter().all(|(when, then)| when.yields_one() && then.yields_one())
                    && otherwise.as_deref().is_none_or(Self::yields_one)
            }
            Self::Native(_, arguments) => arguments.iter().all(Self::yields_one),
            Self::Path(term, keys) => {
                term.yields_one() && keys.iter().all(|key| !key.lenient && !matches!(key.kind, KeyKind::Each))
            }
            Self::Reduce(fold) => fold.init.yields_one(),
            Self::Descend
            | Self::Comma(_)
            | Self::Bind(..)
            | Self::Alternative(..)
            | Self::Assign(..)
            | Self::Update(..)
            | Self::ComputedPath(..)
            | Self::UpdateMath(..)
            | Self::UpdateAlternative(..)
            | Self::Label(_)
            | Self::Break(_)
            | Self::Foreach(_)
            | Self::Try(..)
            | Self::Parameter(_)
            | Self::Call(..)
            | Self::Form(..) => false,
        }
    }

    /// Calls `visit` with every term directly inside this one.
    pub(crate) fn each_child(&mut self, visit: &mut dyn FnMut(&mut Term)) {
        match self {
            Self::Text(_, parts) => parts.iter_mut().for_each(|part| match part {
                TextPart::Plain(_) => {}
                TextPart::Term(term) => visit(term),
            }),
            Self::Array(Some(term)) | Self::Negate(term) | Self::Label(term) | Self::Path(term, _) => visit(term),
            Self::Object(fields) => fields.iter_mut().for_each(|(name, value)| {
                visit(name);
                visit(value);
            }),
            Self::Pipe(terms)
            | Self::Comma(terms)
            | Self::Call(_, terms, _)
            | Self::Native(_, terms)
            | Self::Form(_, terms) => terms.iter_mut().for_each(visit),
            Self::Bind(source, pattern, body) => {
                visit(source);
                pattern.each_name(visit);
                visit(body);
            }
            Self::Alternative(a, b)
            | Self::And(a, b)
            | Self::Or(a, b)
            | Self::Math(_, a, b)
            | Self::Compare(_, a, b)
            | Self::Assign(a, b)
            | Self::Update(a, b)
            | Self::UpdateMath(_, a, b)
            | Self::UpdateAlternative(a, b) => {
                visit(a);
                visit(b);
            }
            Self::Reduce(fold) | Self::Foreach(fold) => {
                let Fold { source, pattern, init, update, extract } = &mut **fold;
                visit(source);
                pattern.each_name(visit);
                visit(init);
                visit(update);
                extract.iter_mut().for_each(visit);
            }
            Self::Try(body, handler) => {
                visit(body);
                if let Some(handler) = handler {
                    visit(handler);
                }
            }
            Self::If(cases, otherwise) => {
                for (when, then) in cases {
                    visit(when);
                    visit(then);
                }
                if let Some(otherwise) = otherwise {
                    visit(otherwise);
                }
            }
            Self::ComputedPath(term, steps) => {
                visit(term);
                for step in steps {
                    match step {
                        Step::Known(_) => {}
                        Step::Index(term, _) => visit(term),
                        Step::Slice(from, until, _) => from.iter_mut().chain(until).for_each(&mut *visit),
                    }
                }
            }
            Self::Identity
            | Self::Descend
            | Self::Literal(_)
            | Self::Array(None)
            | Self::Break(_)
            | Self::Variable(_)
            | Self::Global(_)
            | Self::Part(_)
            | Self::Parameter(_) => {}
        }
    }
}

impl Pattern {
    /// Calls `visit` with every name that is computed.
    fn each_name(&mut self, visit: &mut dyn FnMut(&mut Term)) {
        match self {
            Self::Variable => {}
            Self::List(parts) => parts.iter_mut().for_each(|part| part.each_name(visit)),
            Self::Map(parts) => parts.iter_mut().for_each(|(name, part)| {
                visit(name);
                part.each_name(visit);
            }),
        }
    }
}
