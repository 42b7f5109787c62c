//! One task: which kind it is, and what every kind has in common.

use super::Compiler;
use super::read::{At, all_or_nothing};
use crate::document::{Content, Field};
use crate::expression::{Scope, Template};
use crate::limits;
use crate::program::{BlockId, ErrorTemplate, Flow, ForTask, SwitchCase, Task, TaskId, TaskKind};

/// The fields that every task may have.
const COMMON: [&str; 7] = ["if", "input", "output", "export", "timeout", "then", "metadata"];

/// The field that says what a task does, and the fields that belong to it.
const KINDS: [(&str, &[&str]); 12] = [
    ("call", &["call", "with"]),
    ("do", &["do"]),
    ("fork", &["fork"]),
    ("emit", &["emit"]),
    ("for", &["for", "while", "do"]),
    ("listen", &["listen", "foreach"]),
    ("raise", &["raise"]),
    ("run", &["run"]),
    ("set", &["set"]),
    ("switch", &["switch"]),
    ("try", &["try", "catch"]),
    ("wait", &["wait"]),
];

/// The kinds that cannot be run, with what to do instead.
const REFUSED: [(&str, &str); 4] = [
    ("fork", "run the branches one after the other with `do`, or let one worker run them at once"),
    ("emit", "let a worker publish the event, or append it to a stream over the API"),
    ("listen", "let a worker wait for the event and complete its step with it"),
    ("run", "put the command or script into a worker and call it with `call: worker`"),
];

/// Variables that exist in all of a task. The data flow table of the DSL says which exist where.
const BEFORE: &[&str] = &["context", "task", "workflow", "runtime"];
const INSIDE: &[&str] = &["context", "input", "task", "workflow", "runtime"];
const AFTER: &[&str] = &["context", "input", "output", "task", "workflow", "runtime"];

/// Names that a variable of the author may not take.
const RESERVED: [&str; 10] =
    ["context", "input", "output", "secrets", "authorization", "task", "workflow", "runtime", "ENV", "__loc__"];

/// A scope with the variables of the loops and handlers around a task.
pub(super) fn scope(place: &'static str, names: &[&str], variables: &[String]) -> Scope {
    variables.iter().fold(Scope::new(place, names), |scope, name| scope.with(name))
}

pub(super) fn inside(variables: &[String]) -> Scope {
    scope("a task", INSIDE, variables)
}

impl<'d> Compiler<'d> {
    /// Compiles a task into its place. `names` are those of all tasks in its list.
    pub(super) fn task(
        &mut self,
        name: &str,
        at: &At<'d>,
        index: usize,
        block: BlockId,
        names: &[&str],
        variables: &[String],
    ) {
        if self.tasks.len() >= limits::MAX_TASKS {
            let message = format!("the definition has more than {} tasks", limits::MAX_TASKS);
            self.problem(at, "too_many_tasks", message);
            return;
        }
        let id = TaskId(u32::try_from(self.tasks.len()).expect("below the limit of tasks"));
        self.tasks.push(None);
        self.blocks[block.0 as usize].tasks.push(id);
        let Some(fields) = self.map(at, "a task") else { return };
        let kind = self.kind_of(at, fields);
        let before = scope("a task's `if`", BEFORE, variables);
        let condition = at.field("if").map(|at| self.condition(&at, "if", &before));
        let input_from = self.data_field(at, "input", "from", &scope("a task's `input.from`", BEFORE, variables));
        let output_as = self.data_field(at, "output", "as", &scope("a task's `output.as`", INSIDE, variables));
        let export_as = self.data_field(at, "export", "as", &scope("a task's `export.as`", AFTER, variables));
        let then = at.field("then").map_or(Some(Flow::Continue), |at| self.flow(&at, names));
        if let Some(metadata) = at.field("metadata") {
            self.map(&metadata, "`metadata`");
        }
        self.refuse_timeout(at);
        let Some(kind) = kind.and_then(|kind| self.body(kind, name, at, names, variables)) else { return };
        let (Some(condition), Some(then)) = (all_or_nothing(condition), then) else { return };
        self.tasks[id.0 as usize] = Some(Task {
            name: name.to_owned(),
            pointer: at.pointer.clone(),
            index: u32::try_from(index).expect("below the limit of nodes"),
            block,
            condition,
            input_from,
            output_as,
            export_as,
            then,
            kind,
        });
    }

    /// The one field that says what a task does; reports fields that do not go with it.
    fn kind_of(&mut self, at: &At<'d>, fields: &'d [Field]) -> Option<&'static str> {
        let has = |name: &str| fields.iter().any(|field| field.name == name);
        let found: Vec<&(&str, &[&str])> =
            KINDS.iter().filter(|(kind, _)| has(kind) && !(*kind == "do" && has("for"))).collect();
        let kinds = KINDS.map(|(kind, _)| kind);
        match found.as_slice() {
            [(kind, own)] => {
                let known: Vec<&str> = own.iter().copied().chain(COMMON).collect();
                self.known_fields(at, fields, &known, &format!("a `{kind}` task"));
                Some(kind)
            }
            [] => {
                let known: Vec<&str> = kinds.into_iter().chain(COMMON).collect();
                let stray = fields.iter().find(|field| !COMMON.contains(&field.name.as_str()));
                let suggestion = stray.and_then(|field| crate::suggest::closest(&field.name, known.into_iter()));
                let message = format!("the task does nothing: it needs one of {}", kinds.join(", "));
                let at = stray.map_or_else(|| at.clone(), |field| at.below(field).named(field));
                self.suggest(&at, "unknown_task_kind", message, suggestion);
                None
            }
            several => {
                let names: Vec<String> = several.iter().map(|(kind, _)| format!("`{kind}`")).collect();
                let message = format!("a task does one thing, this one has {}: part it", names.join(" and "));
                self.problem(at, "ambiguous_task", message);
                None
            }
        }
    }

    /// A timeout that covers all attempts and the time in the queue cannot be kept yet.
    fn refuse_timeout(&mut self, at: &At<'d>) {
        if let Some(timeout) = at.field("timeout") {
            let advice = "bound each attempt with `startToClose` and the time in the queue with `scheduleToStart`, both in the `with` of `call: worker`";
            self.unsupported(&timeout, "`timeout` of a task", advice);
        }
    }

    fn body(
        &mut self,
        kind: &'static str,
        name: &str,
        at: &At<'d>,
        names: &[&str],
        variables: &[String],
    ) -> Option<TaskKind> {
        let own = at.field(kind).expect("the kind was found by this field");
        match kind {
            "call" => self.call(name, at, &own, variables).map(TaskKind::Call),
            "do" => self.block(&own, variables).map(TaskKind::Do),
            "for" => self.for_task(at, &own, variables).map(TaskKind::For),
            "raise" => self.raise(&own, variables).map(TaskKind::Raise),
            "set" => self.set(&own, variables).map(TaskKind::Set),
            "switch" => self.switch(&own, names, variables).map(TaskKind::Switch),
            "try" => self.try_task(at, &own, names, variables).map(TaskKind::Try),
            "wait" => self.duration(&own, "wait").map(TaskKind::Wait),
            refused => {
                let (_, advice) = REFUSED.iter().find(|(kind, _)| *kind == refused).expect("all kinds are covered");
                self.unsupported(&own, &format!("`{refused}`"), advice);
                None
            }
        }
    }

    fn set(&mut self, at: &At<'d>, variables: &[String]) -> Option<Template> {
        match &at.node.content {
            Content::Map(fields) if !fields.is_empty() => self.template(at, &inside(variables)),
            Content::Scalar { value, .. } if value.as_str().is_some_and(|text| text.trim_start().starts_with("${")) => {
                self.template(at, &inside(variables))
            }
            Content::Scalar { .. } | Content::List(_) | Content::Map(_) => {
                let message = "`set` takes a map with at least one field, or one expression `${ … }`".to_owned();
                self.problem(at, "wrong_type", message);
                None
            }
        }
    }

    fn switch(&mut self, at: &At<'d>, names: &[&str], variables: &[String]) -> Option<Vec<SwitchCase>> {
        let items = self.list(at, "`switch`")?;
        if items.is_empty() {
            self.problem(at, "missing_field", "`switch` needs at least one case".to_owned());
        }
        let mut cases = Vec::new();
        let mut default = None;
        for index in 0..items.len() {
            let Some((field, at)) = self.single(&at.item(index), "a case", "- name: { when: …, then: … }") else {
                continue;
            };
            let Some(case) = self.case(&field.name, &at, names, variables) else { continue };
            if case.when.is_some() {
                cases.push(case);
            } else if let Some(first) = default.replace(case) {
                let message = format!("only one case may have no `when`, `{}` already has none", first.name);
                self.problem(&at.named(field), "duplicate_default", message);
            }
        }
        // The case without a condition is for what no other case matches, wherever it is written.
        cases.extend(default);
        Some(cases)
    }

    fn case(&mut self, name: &str, at: &At<'d>, names: &[&str], variables: &[String]) -> Option<SwitchCase> {
        let fields = self.map(at, "a case")?;
        self.known_fields(at, fields, &["when", "then"], "a case");
        let when = at.field("when").map(|at| self.condition(&at, "when", &inside(variables)));
        let then = match at.field("then") {
            Some(at) => self.flow(&at, names),
            None => self.missing(at, "then", "a case"),
        };
        Some(SwitchCase { name: name.to_owned(), when: all_or_nothing(when)?, then: then? })
    }

    fn for_task(&mut self, task: &At<'d>, at: &At<'d>, variables: &[String]) -> Option<ForTask> {
        let fields = self.map(at, "`for`")?;
        self.known_fields(at, fields, &["each", "in", "at"], "`for`");
        let each = self.variable(at, "each", "item");
        let index = self.variable(at, "at", "index");
        if each.is_some() && each == index {
            self.problem(at, "bad_name", "`each` and `at` cannot be one variable".to_owned());
        }
        let over = match at.field("in") {
            Some(at) => match &at.node.content {
                Content::List(_) => self.template(&at, &inside(variables)),
                Content::Scalar { value, .. } if value.is_string() => self.data(&at, &inside(variables)),
                Content::Scalar { .. } | Content::Map(_) => {
                    let message = format!("`in` must be an expression or a list, not {}", at.node.kind());
                    self.problem(&at, "wrong_type", message);
                    None
                }
            },
            None => self.missing(at, "in", "`for`"),
        };
        let mut inner = variables.to_vec();
        inner.extend([each.clone(), index.clone()].into_iter().flatten());
        let while_ = task.field("while").map(|at| self.condition(&at, "while", &inside(&inner)));
        let body = match task.field("do") {
            Some(at) => self.block(&at, &inner),
            None => self.missing(task, "do", "a `for` task"),
        };
        Some(ForTask { each: each?, over: over?, at: index?, while_: all_or_nothing(while_)?, body: body? })
    }

    /// The name of a variable that a task introduces.
    pub(super) fn variable(&mut self, at: &At<'d>, field: &str, default: &str) -> Option<String> {
        let Some(at) = at.field(field) else { return Some(default.to_owned()) };
        let name = self.text(&at, field)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !starts || !name.bytes().all(plain) || name.len() > limits::MAX_NAME_BYTES {
            let bare = name.strip_prefix('$').map(str::to_owned);
            let message = format!("`{field}` is a variable's name without `$`: letters, digits and `_`");
            self.suggest(&at, "bad_name", message, bare);
            return None;
        }
        if RESERVED.contains(&name) {
            self.problem(&at, "bad_name", format!("`{field}` cannot be `{name}`: `${name}` already has a meaning"));
            return None;
        }
        Some(name.to_owned())
    }

    fn raise(&mut self, at: &At<'d>, variables: &[String]) -> Option<ErrorTemplate> {
        let fields = self.map(at, "`raise`")?;
        self.known_fields(at, fields, &["error"], "`raise`");
        let Some(error) = at.field("error") else { return self.missing(at, "error", "`raise`") };
        if error.node.text().is_some() {
            let declared = self.referred(&error, "errors", "error")?;
            return self.error(&declared, variables);
        }
        self.error(&error, variables)
    }

    pub(super) fn check_error(&mut self, at: &At<'d>) {
        // Where it is raised, it may use the variables that exist there; only what is wrong everywhere is told here.
        self.error(at, &[]);
    }

    fn error(&mut self, at: &At<'d>, variables: &[String]) -> Option<ErrorTemplate> {
        let fields = self.map(at, "an error")?;
        self.known_fields(at, fields, &["type", "status", "title", "detail", "instance"], "an error");
        let scope = inside(variables);
        let type_ = match at.field("type") {
            Some(at) => self.text(&at, "type").and_then(|_| self.template(&at, &scope)),
            None => self.missing(at, "type", "an error"),
        };
        let status = match at.field("status") {
            Some(at) => self.status(&at, &scope),
            None => self.missing(at, "status", "an error"),
        };
        let mut texts = ["title", "detail", "instance"].map(|name| {
            let at = at.field(name)?;
            self.text(&at, name)?;
            self.template(&at, &scope)
        });
        let [title, detail, instance] = &mut texts;
        Some(ErrorTemplate {
            type_: type_?,
            status: status?,
            title: title.take(),
            detail: detail.take(),
            instance: instance.take(),
        })
    }

    fn status(&mut self, at: &At<'d>, scope: &Scope) -> Option<Template> {
        match at.node.text() {
            Some(text) if text.trim_start().starts_with("${") => self.template(at, scope),
            Some(_) | None => {
                self.count(at, "status", u64::from(u16::MAX))?;
                self.template(at, scope)
            }
        }
    }
}
