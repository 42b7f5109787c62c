//! What can be told of data without having it: which fields an expression reads, and which its result has.

use std::collections::BTreeSet;

use super::term::{KeyKind, Math, Step, Term, TextPart};
use super::value::Value;

/// What is known of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Unknown,
    /// A map with these fields and no others.
    Fields(BTreeSet<String>),
}

/// The result's fields, where the term says them.
pub(crate) fn of(term: &Term, input: &Shape) -> Shape {
    if let Term::Identity = term {
        return input.clone();
    }
    if let Term::Object(fields) = term {
        let name = |(name, _): &(Term, Term)| {
            let Term::Literal(Value::Text(name)) = name else { return None };
            Some(name.to_string())
        };
        return fields.iter().map(name).collect::<Option<_>>().map_or(Shape::Unknown, Shape::Fields);
    }
    if let Term::Math(Math::Add, left, right) = term
        && let (Shape::Fields(mut left), Shape::Fields(right)) = (of(left, input), of(right, input))
    {
        left.extend(right);
        return Shape::Fields(left);
    }
    Shape::Unknown
}

/// The fields of the input that the term reads as a matter of course: not those for whose absence it provides with
/// `//` or `?`, and not what it reads of other values than its input.
pub(crate) fn reads(term: &Term) -> Vec<String> {
    let mut fields = Vec::new();
    collect(term, &mut fields);
    fields
}

fn collect(term: &Term, fields: &mut Vec<String>) {
    let mut all = |terms: &[&Term]| terms.iter().for_each(|term| collect(term, fields));
    match term {
        Term::Path(root, keys) => match (&**root, keys.first()) {
            (Term::Identity, Some(key)) => match &key.kind {
                KeyKind::At(Value::Text(name)) if !key.lenient => fields.push(name.to_string()),
                KeyKind::At(_) | KeyKind::Each | KeyKind::Slice(..) => {}
            },
            (root, _) => collect(root, fields),
        },
        Term::ComputedPath(root, steps) => {
            if let (Term::Identity, Some(Step::Known(key))) = (&**root, steps.first())
                && let (KeyKind::At(Value::Text(name)), false) = (&key.kind, key.lenient)
            {
                fields.push(name.to_string());
            }
            for step in steps {
                match step {
                    Step::Known(_) => {}
                    Step::Index(term, _) => collect(term, fields),
                    Step::Slice(from, until, _) => {
                        for term in from.iter().chain(until) {
                            collect(term, fields);
                        }
                    }
                }
            }
        }
        Term::Array(Some(term)) | Term::Negate(term) => all(&[term]),
        // What follows in a pipe reads the result of what is before it.
        Term::Pipe(stages) => all(&stages.iter().take(1).collect::<Vec<_>>()),
        Term::Comma(terms) => all(&terms.iter().collect::<Vec<_>>()),
        Term::Bind(source, _, body) => all(&[source, body]),
        Term::And(a, b) | Term::Or(a, b) | Term::Math(_, a, b) | Term::Compare(_, a, b) => all(&[a, b]),
        Term::Alternative(_, second) => all(&[second]),
        Term::Assign(_, value) | Term::UpdateMath(_, _, value) | Term::UpdateAlternative(_, value) => all(&[value]),
        Term::If(cases, otherwise) => {
            for (when, then) in cases {
                collect(when, fields);
                collect(then, fields);
            }
            if let Some(otherwise) = otherwise {
                collect(otherwise, fields);
            }
        }
        Term::Object(pairs) => pairs.iter().for_each(|(name, value)| {
            collect(name, fields);
            collect(value, fields);
        }),
        Term::Text(_, parts) => parts.iter().for_each(|part| match part {
            TextPart::Term(term) => collect(term, fields),
            TextPart::Plain(_) => {}
        }),
        Term::Reduce(fold) | Term::Foreach(fold) => all(&[&fold.source, &fold.init]),
        Term::Native(_, arguments) => all(&arguments.iter().collect::<Vec<_>>()),
        Term::Label(body) => all(&[body]),
        Term::Identity
        | Term::Descend
        | Term::Literal(_)
        | Term::Array(None)
        | Term::Update(..)
        | Term::Break(_)
        | Term::Try(..)
        | Term::Variable(_)
        | Term::Global(_)
        | Term::Part(_)
        | Term::Parameter(_)
        | Term::Call(..)
        | Term::Form(..) => {}
    }
}
