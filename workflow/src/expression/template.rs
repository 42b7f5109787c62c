//! Data with expressions in it: every text that is wholly `${ … }` is evaluated, all else is as it is written.

use serde_json::{Map, Value as Json};

use super::{Expression, ExpressionError, Fuel, Moment, Scope, SyntaxError};
use crate::program::Variables;

/// A constant, an expression, or data that holds expressions.
#[derive(Debug)]
pub enum Template {
    /// Nothing to evaluate: the result is a copy.
    Constant(Json),
    Expression(Box<Expression>),
    List(Vec<Template>),
    Map(Vec<(String, Template)>),
}

/// An expression inside a template that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Where the text is in the template: a JSON pointer from its root.
    pub pointer: String,
    pub error: SyntaxError,
}

/// What stands between `${` and `}`, and where it begins, if the text is an expression and nothing else.
pub(crate) fn bare(text: &str) -> Option<(&str, usize)> {
    let begin = text.len() - text.trim_start().len();
    let inner = text.trim().strip_prefix("${")?.strip_suffix('}')?;
    Some((inner, begin + 2))
}

impl Template {
    /// Reads data as the strict mode of the DSL does.
    pub fn parse(data: &Json, scope: &Scope) -> Result<Self, Vec<TemplateError>> {
        let mut errors = Vec::new();
        let template = read(data, scope, &mut String::new(), &mut errors);
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    /// A text that is an expression even without `${ … }` around it, as in `input.from` and `output.as`.
    pub fn expression(text: &str, scope: &Scope) -> Result<Self, Vec<SyntaxError>> {
        Expression::parse(text, scope).map(|expression| Self::Expression(Box::new(expression)))
    }

    /// The value, where there is nothing to evaluate.
    pub fn constant(&self) -> Option<&Json> {
        match self {
            Self::Constant(value) => Some(value),
            Self::Expression(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Whether any expression in it reads the variable, named without `$`, or as `name.field` that field of it.
    pub fn uses(&self, variable: &str) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Expression(expression) => expression.uses(variable),
            Self::List(items) => items.iter().any(|item| item.uses(variable)),
            Self::Map(fields) => fields.iter().any(|(_, field)| field.uses(variable)),
        }
    }

    /// The data with every expression replaced by its value. Each expression has the limits of one evaluation, and all
    /// take from `fuel`.
    pub fn evaluate(
        &self,
        input: &Json,
        variables: &Variables,
        at: &Moment,
        fuel: &Fuel,
    ) -> Result<Json, ExpressionError> {
        let mut at = *at;
        self.fill(input, variables, &mut at, fuel)
    }

    /// Each expression gets a seed of its own, else two `uuid`s in one template would be the same.
    fn fill(&self, input: &Json, variables: &Variables, at: &mut Moment, fuel: &Fuel) -> Result<Json, ExpressionError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Expression(expression) => {
                let value = expression.evaluate(input, variables, at, fuel);
                at.seed = at.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                value
            }
            Self::List(items) => items
                .iter()
                .map(|item| item.fill(input, variables, at, fuel))
                .collect::<Result<_, _>>()
                .map(Json::Array),
            Self::Map(fields) => {
                let mut object = Map::new();
                for (name, field) in fields {
                    object.insert(name.clone(), field.fill(input, variables, at, fuel)?);
                }
                Ok(Json::Object(object))
            }
        }
    }
}

/// Depth is bounded by the document's; parts without expressions are kept as they are.
fn read(data: &Json, scope: &Scope, pointer: &mut String, errors: &mut Vec<TemplateError>) -> Template {
    match data {
        Json::Null | Json::Bool(_) | Json::Number(_) => Template::Constant(data.clone()),
        Json::String(text) => match bare(text) {
            None => Template::Constant(data.clone()),
            Some(_) => match Expression::parse(text, scope) {
                Ok(expression) => Template::Expression(Box::new(expression)),
                Err(found) => {
                    errors.extend(found.into_iter().map(|error| TemplateError { pointer: pointer.clone(), error }));
                    Template::Constant(Json::Null)
                }
            },
        },
        Json::Array(items) => {
            let parts: Vec<Template> = items
                .iter()
                .enumerate()
                .map(|(at, item)| below(pointer, &at.to_string(), |pointer| read(item, scope, pointer, errors)))
                .collect();
            let constant = parts.iter().all(|part| part.constant().is_some());
            if constant { Template::Constant(data.clone()) } else { Template::List(parts) }
        }
        Json::Object(object) => {
            let parts: Vec<(String, Template)> = object
                .iter()
                .map(|(name, field)| {
                    let part = below(pointer, name, |pointer| read(field, scope, pointer, errors));
                    (name.clone(), part)
                })
                .collect();
            let constant = parts.iter().all(|(_, part)| part.constant().is_some());
            if constant { Template::Constant(data.clone()) } else { Template::Map(parts) }
        }
    }
}

fn below<T>(pointer: &mut String, token: &str, then: impl FnOnce(&mut String) -> T) -> T {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    let result = then(pointer);
    pointer.truncate(length);
    result
}
