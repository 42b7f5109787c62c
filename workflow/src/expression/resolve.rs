//! From the text of an expression to resolved terms: every name is looked up here, so that evaluation finds them all.

use std::collections::BTreeSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{self, BinaryOp, Def, Term as Parsed};
use jaq_core::{ops, path};

use super::builtins::{self, Form, Native};
use super::number::Number;
use super::parts::{self, Lifted, PlainPath};
use super::scope::Scope;
use super::syntax::{self, SyntaxError, bad, offset_of};
use super::term::{
    Compare, Definition, DefinitionId, Fold, Format, Key, KeyKind, Math, Parameter, Pattern, Step, Term, TextPart,
};
use super::value::Value;
use super::{prelude, shape};
use crate::escapes::joined_surrogates;
use crate::limits;
use crate::suggest;

/// An expression ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) term: Term,
    pub(crate) definitions: Vec<Definition>,
    /// The variables that it takes from outside, without `$`.
    pub(crate) globals: Vec<String>,
    /// Those of them that it reads as a whole; what it reads of the others are parts.
    pub(crate) whole_globals: Vec<String>,
    /// The plain paths that it reads.
    pub(crate) parts: Vec<PlainPath>,
    /// Whether it uses its input in any other way.
    pub(crate) whole_input: bool,
    /// The fields of its input that it reads without providing for their absence.
    pub(crate) reads: Vec<String>,
}

/// The functions that are written in the language itself.
#[derive(Debug)]
pub(crate) struct Prelude {
    pub(crate) definitions: Vec<Definition>,
    names: Vec<(String, usize, usize)>,
}

pub(crate) fn resolve(source: &str, scope: &Scope) -> Result<Resolved, Vec<SyntaxError>> {
    let source = &*joined_surrogates(source);
    let parsed = syntax::parse(source)?;
    let mut resolver = Resolver::new(source, Some(scope), Some(prelude::prelude()));
    let mut term = resolver.term(parsed);
    if resolver.errors.is_empty() {
        let reads = shape::reads(&term);
        let Lifted { parts, whole_input } = parts::lift(&mut term, &resolver.globals);
        let (mut definitions, globals) = (resolver.definitions, resolver.globals);
        let mut whole = BTreeSet::new();
        parts::whole_variables(&mut term, &mut whole);
        for definition in &mut definitions {
            parts::whole_variables(&mut definition.body, &mut whole);
        }
        let whole_globals = whole.into_iter().map(|at| globals[at].clone()).collect();
        Ok(Resolved { term, definitions, globals, whole_globals, parts, whole_input, reads })
    } else {
        Err(resolver.errors)
    }
}

/// Resolves the prelude's text, which a test keeps correct.
pub(crate) fn prelude(source: &'static str) -> Prelude {
    let parsed = syntax::parse_definitions(source);
    let mut resolver = Resolver::new(source, None, None);
    for definition in parsed {
        resolver.define(definition);
    }
    assert!(resolver.errors.is_empty(), "the prelude is correct: {:?}", resolver.errors);
    let names = resolver.entries.iter().filter_map(|entry| match entry {
        Entry::Definition { name, parameters, id: DefinitionId::Prelude(at), .. } => {
            Some(((*name).to_owned(), parameters.len(), *at))
        }
        Entry::Definition { .. } | Entry::Variable { .. } | Entry::Filter { .. } | Entry::Label { .. } => None,
    });
    Prelude { names: names.collect(), definitions: resolver.definitions }
}

/// Every function that an expression may call, as `name/arity`.
pub(crate) fn functions() -> impl Iterator<Item = (&'static str, usize)> {
    let prelude = prelude::prelude().names.iter().map(|(name, arity, _)| (name.as_str(), *arity));
    prelude.chain(builtins::names()).filter(|(name, _)| !name.starts_with('_'))
}

/// A name that is in scope. `frame` counts from the outermost.
enum Entry<'s> {
    /// `parameter`: it may also be called, without `$`.
    Variable {
        name: &'s str,
        frame: usize,
        parameter: bool,
    },
    Filter {
        name: &'s str,
        frame: usize,
    },
    Label {
        name: &'s str,
        frame: usize,
    },
    Definition {
        name: &'s str,
        parameters: Vec<Parameter>,
        id: DefinitionId,
        frames: usize,
    },
}

struct Resolver<'s> {
    source: &'s str,
    scope: Option<&'s Scope>,
    prelude: Option<&'static Prelude>,
    entries: Vec<Entry<'s>>,
    frames: usize,
    depth: usize,
    definitions: Vec<Definition>,
    globals: Vec<String>,
    errors: Vec<SyntaxError>,
}

impl<'s> Resolver<'s> {
    fn new(source: &'s str, scope: Option<&'s Scope>, prelude: Option<&'static Prelude>) -> Self {
        Self {
            source,
            scope,
            prelude,
            entries: Vec::new(),
            frames: 0,
            depth: 0,
            definitions: Vec::new(),
            globals: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn error(&mut self, at: &str, message: impl Into<String>) -> Term {
        let offset = offset_of(self.source, at);
        self.errors.push(bad(offset, message));
        Term::Identity
    }

    fn boxed(&mut self, term: Parsed<&'s str>) -> Box<Term> {
        Box::new(self.term(term))
    }

    fn term(&mut self, term: Parsed<&'s str>) -> Term {
        self.depth += 1;
        let resolved = if self.depth > limits::MAX_EXPRESSION_DEPTH {
            if self.errors.is_empty() {
                let most = limits::MAX_EXPRESSION_DEPTH;
                self.errors.push(bad(0, format!("the expression is more than {most} terms deep: split it up")));
            }
            Term::Identity
        } else {
            self.any_term(term)
        };
        self.depth -= 1;
        resolved
    }

    fn any_term(&mut self, term: Parsed<&'s str>) -> Term {
        match term {
            Parsed::Id => Term::Identity,
            Parsed::Recurse => Term::Descend,
            Parsed::Num(text) => self.number(text),
            Parsed::Str(format, parts) => self.text(format, parts),
            Parsed::Arr(None) => Term::Array(None),
            Parsed::Arr(Some(term)) => Term::Array(Some(self.boxed(*term))),
            Parsed::Obj(fields) => {
                Term::Object(fields.into_iter().map(|(name, value)| self.field(name, value)).collect())
            }
            Parsed::Neg(term) => {
                let term = self.term(*term);
                if let Term::Literal(Value::Number(number)) = term {
                    return Term::Literal(Value::Number(number.negate()));
                }
                Term::Negate(Box::new(term))
            }
            Parsed::BinOp(left, op, right) => self.operator(*left, op, *right),
            Parsed::Label(name, body) => {
                let entries = self.entries.len();
                self.push_frame(|frame| Entry::Label { name, frame });
                let body = self.boxed(*body);
                self.pop_to(entries, 1);
                Term::Label(body)
            }
            Parsed::Break(name) => self.break_to(name),
            Parsed::Fold(word, source, pattern, arguments) => self.fold(word, *source, &pattern, arguments),
            Parsed::TryCatch(body, handler) => {
                let body = self.boxed(*body);
                Term::Try(body, handler.map(|handler| self.boxed(*handler)))
            }
            Parsed::IfThenElse(cases, otherwise) => {
                let cases = cases.into_iter().map(|(when, then)| (self.term(when), self.term(then))).collect();
                Term::If(cases, otherwise.map(|otherwise| self.boxed(*otherwise)))
            }
            Parsed::Def(definitions, body) => {
                let entries = self.entries.len();
                for definition in definitions {
                    self.define(definition);
                }
                let body = self.term(*body);
                self.entries.truncate(entries);
                body
            }
            Parsed::Call(name, arguments) => self.call(name, arguments),
            Parsed::Var(name) => self.variable(name),
            Parsed::Path(term, path) => {
                let term = self.boxed(*term);
                let steps = path.0.into_iter().map(|(part, opt)| self.step(part, matches!(opt, path::Opt::Optional)));
                path_of(term, steps.collect())
            }
        }
    }

    fn number(&mut self, text: &'s str) -> Term {
        if let Ok(whole) = text.parse() {
            return Term::Literal(Value::Number(Number::Int(whole)));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Term::Literal(Value::float(number)),
            Ok(_) | Err(_) => self.error(text, format!("`{text}` is not a number that JSON can hold")),
        }
    }

    fn text(&mut self, format: Option<&'s str>, parts: Vec<StrPart<&'s str, Parsed<&'s str>>>) -> Term {
        let format = match format {
            None => Format::Text,
            Some(name) => match Format::named(name) {
                Some(format) => format,
                None => return self.unknown_format(name),
            },
        };
        let mut resolved: Vec<TextPart> = Vec::new();
        let mut plain = String::new();
        for part in parts {
            match part {
                StrPart::Str(text) => plain.push_str(text),
                StrPart::Char(character) => plain.push(character),
                StrPart::Term(term) => {
                    if !plain.is_empty() {
                        resolved.push(TextPart::Plain(std::mem::take(&mut plain).into()));
                    }
                    resolved.push(TextPart::Term(self.term(term)));
                }
            }
        }
        if resolved.is_empty() {
            return Term::Literal(Value::text(plain));
        }
        if !plain.is_empty() {
            resolved.push(TextPart::Plain(plain.into()));
        }
        Term::Text(format, resolved)
    }

    fn unknown_format(&mut self, name: &'s str) -> Term {
        let suggestion = suggest::closest(name, Format::ALL.iter().map(|(known, _)| *known));
        self.errors.push(SyntaxError {
            code: "unknown_function",
            message: format!("there is no format `{name}`"),
            offset: offset_of(self.source, name),
            suggestion,
        });
        Term::Identity
    }

    fn field(&mut self, name: Parsed<&'s str>, value: Option<Parsed<&'s str>>) -> (Term, Term) {
        match (name, value) {
            (Parsed::Var(variable), None) => {
                let bare = variable.strip_prefix('$').unwrap_or(variable);
                (Term::Literal(Value::text(bare)), self.variable(variable))
            }
            (name, None) => {
                let name = self.term(name);
                let Term::Literal(key @ Value::Text(_)) = &name else {
                    let at = self.source;
                    let value = self.error(at, "a field whose name is computed needs a value: `{(name): value}`");
                    return (name, value);
                };
                let key = Key { kind: KeyKind::At(key.clone()), lenient: false };
                (name, Term::Path(Box::new(Term::Identity), vec![key]))
            }
            (name, Some(value)) => (self.term(name), self.term(value)),
        }
    }

    fn operator(&mut self, left: Parsed<&'s str>, op: BinaryOp<&'s str>, right: Parsed<&'s str>) -> Term {
        match op {
            BinaryOp::Pipe(None) => {
                let mut stages = vec![self.term(left)];
                let mut rest = right;
                while let Parsed::BinOp(next, BinaryOp::Pipe(None), after) = rest {
                    stages.push(self.term(*next));
                    rest = *after;
                }
                stages.push(self.term(rest));
                Term::Pipe(stages)
            }
            BinaryOp::Pipe(Some(pattern)) => {
                let source = self.boxed(left);
                let (entries, frames) = (self.entries.len(), self.frames);
                let pattern = self.pattern(&pattern, frames);
                let body = self.boxed(right);
                self.pop_to(entries, self.frames - frames);
                Term::Bind(source, pattern, body)
            }
            BinaryOp::Comma => {
                let mut terms = vec![right];
                let mut rest = left;
                while let Parsed::BinOp(before, BinaryOp::Comma, last) = rest {
                    terms.push(*last);
                    rest = *before;
                }
                terms.push(rest);
                Term::Comma(terms.into_iter().rev().map(|term| self.term(term)).collect())
            }
            BinaryOp::Alt => Term::Alternative(self.boxed(left), self.boxed(right)),
            BinaryOp::Or => Term::Or(self.boxed(left), self.boxed(right)),
            BinaryOp::And => Term::And(self.boxed(left), self.boxed(right)),
            BinaryOp::Math(op) => Term::Math(math(op), self.boxed(left), self.boxed(right)),
            BinaryOp::Cmp(op) => Term::Compare(compare(op), self.boxed(left), self.boxed(right)),
            BinaryOp::Assign => Term::Assign(self.boxed(left), self.boxed(right)),
            BinaryOp::Update => Term::Update(self.boxed(left), self.boxed(right)),
            BinaryOp::UpdateMath(op) => Term::UpdateMath(math(op), self.boxed(left), self.boxed(right)),
            BinaryOp::UpdateAlt => Term::UpdateAlternative(self.boxed(left), self.boxed(right)),
        }
    }

    /// Binds the pattern's variables. Names that are computed are resolved as if none of them were bound yet.
    fn pattern(&mut self, pattern: &parse::Pattern<&'s str>, outside: usize) -> Pattern {
        self.depth += 1;
        let resolved = match pattern {
            _ if self.depth > limits::MAX_EXPRESSION_DEPTH => {
                let at = self.source;
                self.error(at, "the expression nests too deep");
                Pattern::Variable
            }
            parse::Pattern::Var(name) => {
                self.push_frame(|frame| Entry::Variable { name, frame, parameter: false });
                Pattern::Variable
            }
            parse::Pattern::Arr(parts) => Pattern::List(parts.iter().map(|part| self.pattern(part, outside)).collect()),
            parse::Pattern::Obj(parts) => {
                let parts = parts.iter().map(|(name, part)| {
                    let inner = std::mem::replace(&mut self.frames, outside);
                    let hidden = self.entries.iter().position(|entry| entry.frame_from(outside));
                    let held = hidden.map(|at| self.entries.split_off(at)).unwrap_or_default();
                    let name = self.term(name.clone());
                    self.entries.extend(held);
                    self.frames = inner;
                    (name, self.pattern(part, outside))
                });
                Pattern::Map(parts.collect())
            }
        };
        self.depth -= 1;
        resolved
    }

    fn break_to(&mut self, label: &'s str) -> Term {
        let frame = self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Label { name, frame } if *name == label => Some(*frame),
            Entry::Label { .. } | Entry::Variable { .. } | Entry::Filter { .. } | Entry::Definition { .. } => None,
        });
        match frame {
            Some(frame) => Term::Break(self.frames - frame),
            None => self.error(label, format!("there is no `label {label}` around this `break`")),
        }
    }

    fn fold(
        &mut self,
        word: &'s str,
        source: Parsed<&'s str>,
        pattern: &parse::Pattern<&'s str>,
        arguments: Vec<Parsed<&'s str>>,
    ) -> Term {
        let given = arguments.len();
        let mut arguments = arguments.into_iter();
        let (Some(init), Some(update), extract, None) =
            (arguments.next(), arguments.next(), arguments.next(), arguments.next())
        else {
            return self.error(word, format!("`{word}` takes `(start; update)`, not {given} arguments"));
        };
        if word == "reduce" && extract.is_some() {
            return self.error(word, "`reduce` takes `(start; update)` and nothing more");
        }
        let source = self.term(source);
        let init = self.term(init);
        let (entries, frames) = (self.entries.len(), self.frames);
        let pattern = self.pattern(pattern, frames);
        let update = self.term(update);
        let extract = extract.map(|extract| self.term(extract));
        self.pop_to(entries, self.frames - frames);
        let fold = Box::new(Fold { source, pattern, init, update, extract });
        if word == "reduce" { Term::Reduce(fold) } else { Term::Foreach(fold) }
    }

    /// Adds a function to what is in scope. Its body sees itself.
    fn define(&mut self, definition: Def<&'s str>) {
        let Def { name, args, body } = definition;
        let at = self.definitions.len();
        let id = if self.prelude.is_some() { DefinitionId::Own(at) } else { DefinitionId::Prelude(at) };
        let kind = |name: &&str| if name.starts_with('$') { Parameter::Value } else { Parameter::Filter };
        let parameters: Vec<Parameter> = args.iter().map(kind).collect();
        self.definitions.push(Definition { parameters: parameters.clone(), body: Term::Identity });
        self.entries.push(Entry::Definition { name, parameters, id, frames: self.frames });
        let (entries, frames) = (self.entries.len(), self.frames);
        for name in args {
            self.push_frame(|frame| {
                if name.starts_with('$') {
                    Entry::Variable { name, frame, parameter: true }
                } else {
                    Entry::Filter { name, frame }
                }
            });
        }
        let body = self.term(body);
        self.definitions[at].body = body;
        self.pop_to(entries, self.frames - frames);
    }

    fn call(&mut self, name: &'s str, arguments: Vec<Parsed<&'s str>>) -> Term {
        let arity = arguments.len();
        let arguments: Vec<Term> = arguments.into_iter().map(|argument| self.term(argument)).collect();
        if let Some(term) = self.local_call(name, arguments.len()) {
            return term.with(arguments);
        }
        match (name, arity) {
            ("true", 0) => return Term::Literal(Value::Bool(true)),
            ("false", 0) => return Term::Literal(Value::Bool(false)),
            ("null", 0) => return Term::Literal(Value::Null),
            _ => {}
        }
        if let Some(prelude) = self.prelude {
            let found = prelude.names.iter().rev().find(|(known, takes, _)| known == name && *takes == arity);
            if let Some((_, _, at)) = found {
                return Term::Call(DefinitionId::Prelude(*at), arguments, self.frames);
            }
        }
        if let Some(form) = Form::named(name, arity) {
            return Term::Form(form, arguments);
        }
        if let Some(native) = Native::named(name, arity) {
            return Term::Native(native, arguments);
        }
        self.unknown(name, arity)
    }

    /// A call of something that is bound in the expression.
    fn local_call(&self, called: &str, arity: usize) -> Option<LocalCall> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Filter { name, frame } if *name == called && arity == 0 => {
                Some(LocalCall::Parameter(self.frames - frame))
            }
            Entry::Variable { name, frame, parameter: true }
                if arity == 0 && name.strip_prefix('$') == Some(called) =>
            {
                Some(LocalCall::Variable(self.frames - frame))
            }
            Entry::Definition { name, parameters, id, frames } if *name == called && parameters.len() == arity => {
                Some(LocalCall::Definition(*id, self.frames - frames))
            }
            Entry::Filter { .. } | Entry::Variable { .. } | Entry::Definition { .. } | Entry::Label { .. } => None,
        })
    }

    fn variable(&mut self, name: &'s str) -> Term {
        let frame = self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Variable { name: known, frame, .. } if *known == name => Some(*frame),
            Entry::Variable { .. } | Entry::Filter { .. } | Entry::Label { .. } | Entry::Definition { .. } => None,
        });
        if let Some(frame) = frame {
            return Term::Variable(self.frames - frame);
        }
        let bare = name.strip_prefix('$').unwrap_or(name);
        let Some(scope) = self.scope else { return self.error(name, "unknown variable") };
        if scope.contains(bare) {
            let known = self.globals.iter().position(|global| global == bare);
            return Term::Global(known.unwrap_or_else(|| {
                self.globals.push(bare.to_owned());
                self.globals.len() - 1
            }));
        }
        let local = self.entries.iter().filter_map(|entry| match entry {
            Entry::Variable { name, .. } => name.strip_prefix('$'),
            Entry::Filter { .. } | Entry::Label { .. } | Entry::Definition { .. } => None,
        });
        let suggestion = suggest::closest(bare, local.chain(scope.names())).map(|name| format!("${name}"));
        let offset = offset_of(self.source, name);
        self.errors.push(SyntaxError { code: "unknown_variable", message: scope.refusal(bare), offset, suggestion });
        Term::Identity
    }

    fn step(&mut self, part: path::Part<Parsed<&'s str>>, lenient: bool) -> Step {
        let known = |kind| Step::Known(Key { kind, lenient });
        match part {
            path::Part::Index(term) => {
                let term = self.term(term);
                if let Term::Literal(key) = term { known(KeyKind::At(key)) } else { Step::Index(term, lenient) }
            }
            path::Part::Range(None, None) => known(KeyKind::Each),
            path::Part::Range(from, until) => {
                let from = from.map(|from| self.term(from));
                let until = until.map(|until| self.term(until));
                match (constant(from.as_ref()), constant(until.as_ref())) {
                    (Some(from), Some(until)) => known(KeyKind::Slice(from, until)),
                    (_, _) => Step::Slice(from, until, lenient),
                }
            }
        }
    }

    fn unknown(&mut self, name: &'s str, arity: usize) -> Term {
        let offset = offset_of(self.source, name);
        let (message, suggestion) = match builtins::refusal(name) {
            Some(reason) => (format!("`{name}` is not available: {reason}"), None),
            None => unknown_function(name, arity),
        };
        self.errors.push(SyntaxError { code: "unknown_function", message, offset, suggestion });
        Term::Identity
    }

    fn push_frame(&mut self, entry: impl FnOnce(usize) -> Entry<'s>) {
        self.frames += 1;
        self.entries.push(entry(self.frames));
    }

    fn pop_to(&mut self, entries: usize, frames: usize) {
        self.entries.truncate(entries);
        self.frames -= frames;
    }
}

fn unknown_function(name: &str, arity: usize) -> (String, Option<String>) {
    let mut arities: Vec<usize> = functions().filter(|(known, _)| *known == name).map(|(_, arity)| arity).collect();
    arities.sort_unstable();
    if arities.is_empty() {
        let suggestion = suggest::closest(name, functions().map(|(name, _)| name));
        return (format!("there is no function `{name}`"), suggestion);
    }
    let takes: Vec<String> = arities.iter().map(usize::to_string).collect();
    let plural = if arities == [1] { "" } else { "s" };
    (format!("`{name}` takes {} argument{plural}, not {arity}; they are parted by `;`", takes.join(" or ")), None)
}

enum LocalCall {
    Parameter(usize),
    Variable(usize),
    Definition(DefinitionId, usize),
}

impl LocalCall {
    fn with(self, arguments: Vec<Term>) -> Term {
        match self {
            Self::Parameter(up) => Term::Parameter(up),
            Self::Variable(up) => Term::Variable(up),
            Self::Definition(id, up) => Term::Call(id, arguments, up),
        }
    }
}

impl Entry<'_> {
    /// Whether it binds a frame beyond the first `outside` ones.
    fn frame_from(&self, outside: usize) -> bool {
        match self {
            Self::Variable { frame, .. } | Self::Filter { frame, .. } | Self::Label { frame, .. } => *frame > outside,
            Self::Definition { .. } => false,
        }
    }
}

/// The value of a bound that is left out or constant.
fn constant(bound: Option<&Term>) -> Option<Value> {
    match bound {
        None => Some(Value::Null),
        Some(Term::Literal(value)) => Some(value.clone()),
        Some(_) => None,
    }
}

fn path_of(term: Box<Term>, steps: Vec<Step>) -> Term {
    let known = |step: &Step| match step {
        Step::Known(key) => Some(key.clone()),
        Step::Index(..) | Step::Slice(..) => None,
    };
    match steps.iter().map(known).collect() {
        Some(keys) => Term::Path(term, keys),
        None => Term::ComputedPath(term, steps),
    }
}

fn math(op: ops::Math) -> Math {
    match op {
        ops::Math::Add => Math::Add,
        ops::Math::Sub => Math::Subtract,
        ops::Math::Mul => Math::Multiply,
        ops::Math::Div => Math::Divide,
        ops::Math::Rem => Math::Remainder,
    }
}

fn compare(op: ops::Cmp) -> Compare {
    match op {
        ops::Cmp::Lt => Compare::Less,
        ops::Cmp::Le => Compare::LessOrEqual,
        ops::Cmp::Gt => Compare::Greater,
        ops::Cmp::Ge => Compare::GreaterOrEqual,
        ops::Cmp::Eq => Compare::Equal,
        ops::Cmp::Ne => Compare::NotEqual,
    }
}
