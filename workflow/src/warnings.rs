//! What a definition may say but probably does not mean: fields that cannot be there, tasks that never run, texts that
//! look like expressions. Follows what is known of the data from task to task; where nothing is known, it is silent.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::document::Node;
use crate::expression::{Expression, Shape, Template};
use crate::limits;
use crate::problem::Problem;
use crate::program::{BlockId, Flow, Program, Task, TaskKind};
use crate::suggest;

/// Warnings of a program that compiled.
pub(crate) fn of(program: &Program, root: &Node) -> Vec<Problem> {
    let mut check = Check { program, root, found: Vec::new() };
    let start = program.input_from.as_ref().map_or(Shape::Unknown, |from| shape(from, &Shape::Unknown));
    check.block(program.root, &start);
    check.found.sort_by_key(|warning| (warning.line, warning.column));
    check.found.truncate(limits::MAX_PROBLEMS);
    check.found
}

struct Check<'p> {
    program: &'p Program,
    root: &'p Node,
    found: Vec<Problem>,
}

/// What a task hands on, and to whom it does not.
struct Handed {
    shape: Shape,
    by: String,
    onwards: bool,
}

impl Check<'_> {
    fn warn(&mut self, code: &'static str, pointer: &str, message: String, suggestion: Option<String>) {
        let place = self.root.at(pointer).unwrap_or(self.root).place;
        let (line, column) = (place.line, place.column);
        self.found.push(Problem { code, message, line, column, pointer: pointer.to_owned(), suggestion });
    }

    fn block(&mut self, id: BlockId, incoming: &Shape) {
        let program = self.program;
        let tasks: Vec<&Task> = program.block(id).tasks.iter().map(|task| program.task(*task)).collect();
        let targets: BTreeSet<u32> = tasks.iter().flat_map(|task| jumps(task)).collect();
        let mut handed = Handed { shape: incoming.clone(), by: String::new(), onwards: true };
        for task in tasks {
            if targets.contains(&task.index) {
                handed = Handed { shape: Shape::Unknown, by: String::new(), onwards: true };
            } else if !handed.onwards {
                let message = format!("the task `{}` never runs: nothing leads to it", task.name);
                self.warn("unreachable_task", &task.pointer, message, None);
                handed = Handed { shape: Shape::Unknown, by: String::new(), onwards: true };
            }
            handed = self.task(task, &handed);
        }
    }

    fn task(&mut self, task: &Task, before: &Handed) -> Handed {
        let at = |suffix: &str| format!("{}{suffix}", task.pointer);
        let raw = (&before.shape, before.by.as_str());
        if let Some(condition) = &task.condition {
            self.expression(condition, &at("/if"), raw);
        }
        let input = match &task.input_from {
            Some(from) => {
                self.template(from, &at("/input/from"), raw);
                shape(from, &before.shape)
            }
            None => before.shape.clone(),
        };
        let by = if task.input_from.is_some() { "its `input.from`" } else { before.by.as_str() };
        let made = self.kind(task, (&input, by));
        let output = match &task.output_as {
            Some(output) => {
                self.template(output, &at("/output/as"), (&made, &task.name));
                shape(output, &made)
            }
            None => made,
        };
        if let Some(export) = &task.export_as {
            self.template(export, &at("/export/as"), (&output, &task.name));
        }
        let shape = if task.condition.is_some() { Shape::Unknown } else { output };
        let onwards = task.condition.is_some() || goes_on(task);
        Handed { shape, by: format!("the task `{}`", task.name), onwards }
    }

    /// Checks what the kind of task evaluates; the answer is what is known of its raw output.
    fn kind(&mut self, task: &Task, input: (&Shape, &str)) -> Shape {
        let at = |suffix: &str| format!("{}{suffix}", task.pointer);
        match &task.kind {
            TaskKind::Set(data) => {
                self.template(data, &at("/set"), input);
                self.looks_like_expressions(data, &at("/set"));
                shape(data, input.0)
            }
            TaskKind::Call(call) => {
                if let Some(arguments) = &call.arguments {
                    let inner = if self.root.at(&at("/with/task")).is_some() { "/with/input" } else { "/with" };
                    self.template(arguments, &at(inner), input);
                    self.looks_like_expressions(arguments, &at(inner));
                }
                Shape::Unknown
            }
            TaskKind::Switch(cases) => {
                for case in cases {
                    let place = self.case_pointer(task, &case.name);
                    case.when.iter().for_each(|when| self.expression(when, &place, input));
                }
                input.0.clone()
            }
            TaskKind::Do(block) => {
                self.block(*block, input.0);
                Shape::Unknown
            }
            TaskKind::For(for_task) => {
                self.template(&for_task.over, &at("/for/in"), input);
                // The next turn's input is what the one before made of it.
                self.block(for_task.body, &Shape::Unknown);
                Shape::Unknown
            }
            TaskKind::Try(try_task) => {
                self.block(try_task.body, input.0);
                try_task.catch.body.iter().for_each(|body| self.block(*body, &Shape::Unknown));
                Shape::Unknown
            }
            TaskKind::Raise(_) | TaskKind::Wait(_) => input.0.clone(),
        }
    }

    fn case_pointer(&self, task: &Task, name: &str) -> String {
        let cases = self.root.at(&format!("{}/switch", task.pointer)).map(Node::items).unwrap_or_default();
        let index = cases.iter().position(|case| case.field(name).is_some()).unwrap_or(0);
        let token = name.replace('~', "~0").replace('/', "~1");
        format!("{}/switch/{index}/{token}/when", task.pointer)
    }

    fn expression(&mut self, expression: &Expression, pointer: &str, (shape, by): (&Shape, &str)) {
        let Shape::Fields(fields) = shape else { return };
        let by = if by.is_empty() { "what comes before" } else { by };
        for read in expression.reads() {
            if fields.contains(&read) {
                continue;
            }
            let known: Vec<&str> = fields.iter().map(String::as_str).collect();
            let only = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            let message = format!("`.{read}` is always null here: {by} produces only {only}");
            let suggestion = suggest::closest(&read, known.into_iter()).map(|name| format!(".{name}"));
            self.warn("missing_data", pointer, message, suggestion);
        }
    }

    fn template(&mut self, template: &Template, pointer: &str, input: (&Shape, &str)) {
        match template {
            Template::Constant(_) => {}
            Template::Expression(expression) => self.expression(expression, pointer, input),
            Template::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.template(item, &format!("{pointer}/{index}"), input);
                }
            }
            Template::Map(fields) => {
                for (name, field) in fields {
                    let token = name.replace('~', "~0").replace('/', "~1");
                    self.template(field, &format!("{pointer}/{token}"), input);
                }
            }
        }
    }

    /// Texts that are data, but would make sense as expressions.
    fn looks_like_expressions(&mut self, template: &Template, pointer: &str) {
        let token = |name: &str| name.replace('~', "~0").replace('/', "~1");
        match template {
            Template::Constant(Json::String(text)) => self.looks_like_expression(text, pointer),
            Template::Constant(Json::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.looks_like_expressions(&Template::Constant(item.clone()), &format!("{pointer}/{index}"));
                }
            }
            Template::Constant(Json::Object(object)) => {
                for (name, field) in object {
                    let pointer = format!("{pointer}/{}", token(name));
                    self.looks_like_expressions(&Template::Constant(field.clone()), &pointer);
                }
            }
            Template::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.looks_like_expressions(item, &format!("{pointer}/{index}"));
                }
            }
            Template::Map(fields) => {
                for (name, field) in fields {
                    self.looks_like_expressions(field, &format!("{pointer}/{}", token(name)));
                }
            }
            Template::Constant(_) | Template::Expression(_) => {}
        }
    }

    fn looks_like_expression(&mut self, text: &str, pointer: &str) {
        if text.contains("${") {
            let message =
                "this text is not evaluated: `${ … }` must be the whole text; write `${ \"… \\(.field) …\" }`";
            self.warn("literal_expression", pointer, message.to_owned(), None);
        } else if is_path(text) {
            let message = format!("`{text}` is a plain text here, not an expression");
            self.warn("literal_expression", pointer, message, Some(format!("${{ {text} }}")));
        }
    }
}

/// What is known of a template's value.
fn shape(template: &Template, input: &Shape) -> Shape {
    match template {
        Template::Constant(Json::Object(object)) => Shape::Fields(object.keys().cloned().collect()),
        Template::Map(fields) => Shape::Fields(fields.iter().map(|(name, _)| name.clone()).collect()),
        Template::Expression(expression) => expression.shape(input),
        Template::Constant(_) | Template::List(_) => Shape::Unknown,
    }
}

/// `.order.id`, `$error`, `$context.user` and the like.
fn is_path(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['.', '$']) else { return false };
    rest.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && rest.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.[]".contains(letter))
}

/// The tasks of its own list to which a task may jump.
fn jumps(task: &Task) -> Vec<u32> {
    let mut flows = vec![task.then];
    match &task.kind {
        TaskKind::Switch(cases) => flows.extend(cases.iter().map(|case| case.then)),
        TaskKind::Try(try_task) => flows.extend(try_task.catch.then),
        TaskKind::Do(_)
        | TaskKind::Set(_)
        | TaskKind::For(_)
        | TaskKind::Raise(_)
        | TaskKind::Wait(_)
        | TaskKind::Call(_) => {}
    }
    let target = |flow| match flow {
        Flow::Goto(index) => Some(index),
        Flow::Continue | Flow::Exit | Flow::End => None,
    };
    flows.into_iter().filter_map(target).collect()
}

/// Whether the task after this one may be next.
fn goes_on(task: &Task) -> bool {
    match &task.kind {
        TaskKind::Raise(_) => false,
        TaskKind::Switch(cases) => {
            let decided = cases.iter().any(|case| case.when.is_none());
            cases.iter().any(|case| case.then == Flow::Continue) || (!decided && task.then == Flow::Continue)
        }
        TaskKind::Try(try_task) => task.then == Flow::Continue || try_task.catch.then == Some(Flow::Continue),
        TaskKind::Do(_) | TaskKind::Set(_) | TaskKind::For(_) | TaskKind::Wait(_) | TaskKind::Call(_) => {
            task.then == Flow::Continue
        }
    }
}
