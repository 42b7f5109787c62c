//! From a document to a checked program. Reports all problems that it finds; what is not supported is refused by name.

mod call;
mod catch;
mod flow;
mod read;
mod task;
mod uses;

use crate::document::{self, Field, Node};
use crate::expression::Scope;
use crate::limits;
use crate::problem::{Problem, Problems};
use crate::program::{Block, BlockId, DocumentId, Program, Task};
use read::At;
use uses::Uses;

/// Checks a definition and makes a program of it, or says all that is wrong with it (up to 50 problems).
pub fn compile(source: &str) -> Result<Program, Vec<Problem>> {
    compile_with_warnings(source).map(|(program, _)| program)
}

/// Like `compile`, and tells what is allowed but probably not meant.
pub fn compile_with_warnings(source: &str) -> Result<(Program, Vec<Problem>), Vec<Problem>> {
    let root = document::read(source).map_err(|problem| vec![problem])?;
    let mut compiler = Compiler::new(&root);
    let program = compiler.definition(&At::root(&root));
    if !compiler.problems.is_empty() {
        return Err(compiler.problems.into_sorted());
    }
    let program = program.expect("what could not be compiled was reported");
    let warnings = crate::warnings::of(&program, &root);
    Ok((program, warnings))
}

/// What is allowed in a definition but probably not meant. Nothing for a definition that does not compile.
pub fn warnings(source: &str) -> Vec<Problem> {
    compile_with_warnings(source).map(|(_, warnings)| warnings).unwrap_or_default()
}

/// The state of one compilation.
struct Compiler<'d> {
    problems: Problems,
    uses: Uses<'d>,
    blocks: Vec<Block>,
    tasks: Vec<Option<Task>>,
}

const DOCUMENT_FIELDS: &[&str] = &["document", "input", "use", "do", "timeout", "output", "schedule", "evaluate"];

impl<'d> Compiler<'d> {
    fn new(root: &'d Node) -> Self {
        let uses = Uses::of(root);
        Self { problems: Problems::default(), uses, blocks: Vec::new(), tasks: Vec::new() }
    }

    fn definition(&mut self, at: &At<'d>) -> Option<Program> {
        let fields = self.map(at, "a definition")?;
        self.known_fields(at, fields, DOCUMENT_FIELDS, "a definition");
        for (name, advice) in [
            ("schedule", "start its runs over the API, or from a scheduler of your own"),
            ("timeout", "bound a step's attempts with `startToClose` in the `with` of its `call: worker`"),
        ] {
            if let Some(field) = at.field(name) {
                self.unsupported(&field, &format!("`{name}` of a workflow"), advice);
            }
        }
        self.evaluation(at);
        self.check_uses(at);
        let document = self.document(at);
        let scope = Scope::new("the workflow's `input.from`", &["workflow", "runtime"]);
        let input_from = self.data_field(at, "input", "from", &scope);
        let scope = Scope::new("the workflow's `output.as`", &["context", "workflow", "runtime"]);
        let output_as = self.data_field(at, "output", "as", &scope);
        let root = match at.field("do") {
            Some(list) => self.block(&list, &[]),
            None => self.missing(at, "do", "a definition"),
        };
        let tasks = std::mem::take(&mut self.tasks).into_iter().collect::<Option<Vec<_>>>();
        Some(Program {
            document: document?,
            input_from,
            output_as,
            root: root?,
            blocks: std::mem::take(&mut self.blocks),
            tasks: tasks?,
            definition: at.node.to_json(),
        })
    }

    fn document(&mut self, at: &At<'d>) -> Option<DocumentId> {
        const FIELDS: &[&str] = &["dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"];
        let Some(at) = at.field("document") else { return self.missing(at, "document", "a definition") };
        let fields = self.map(&at, "`document`")?;
        self.known_fields(&at, fields, FIELDS, "`document`");
        self.language_version(&at);
        for name in ["title", "summary"] {
            if let Some(field) = at.field(name) {
                self.text(&field, name);
            }
        }
        for name in ["tags", "metadata"] {
            if let Some(field) = at.field(name) {
                self.map(&field, &format!("`{name}`"));
            }
        }
        let namespace = self.required_name(&at, "namespace");
        let name = self.required_name(&at, "name");
        let version = self.required_version(&at, "version");
        Some(DocumentId { namespace: namespace?, name: name?, version: version? })
    }

    /// `dsl`: 1.0.x.
    fn language_version(&mut self, at: &At<'d>) {
        let Some(version) = self.required_version(at, "dsl") else { return };
        if !version.starts_with("1.0.") {
            let field = at.field("dsl").expect("it was read");
            let message =
                format!("version {version} of the language is not supported, only 1.0.x (1.0.3 is the latest)");
            self.problem(&field, "unsupported_version", message);
        }
    }

    /// A name that may stand in an address: letters, digits and hyphens.
    fn required_name(&mut self, at: &At<'d>, name: &str) -> Option<String> {
        let Some(field) = at.field(name) else { return self.missing(at, name, "`document`") };
        let text = self.text(&field, name)?;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let edges = text.bytes().next().into_iter().chain(text.bytes().last()).all(|byte| byte != b'-');
        if (1..=63).contains(&text.len()) && text.as_bytes().iter().all(plain) && edges {
            return Some(text.to_owned());
        }
        let message = format!("`{name}` has 1 to 63 letters, digits and hyphens, and no hyphen at its ends");
        self.problem(&field, "bad_name", message);
        None
    }

    fn required_version(&mut self, at: &At<'d>, name: &str) -> Option<String> {
        let Some(field) = at.field(name) else { return self.missing(at, name, "`document`") };
        let text = self.text(&field, name)?;
        if text.len() > limits::MAX_VERSION_BYTES {
            let most = limits::MAX_VERSION_BYTES;
            self.problem(
                &field,
                "bad_version",
                format!("`{name}` has {} bytes, at most {most} are allowed", text.len()),
            );
            return None;
        }
        if semver::Version::parse(text).is_ok() {
            return Some(text.to_owned());
        }
        self.problem(&field, "bad_version", format!("`{name}` is a semantic version such as '1.0.0'"));
        None
    }

    fn evaluation(&mut self, at: &At<'d>) {
        let Some(at) = at.field("evaluate") else { return };
        let Some(fields) = self.map(&at, "`evaluate`") else { return };
        self.known_fields(&at, fields, &["language", "mode"], "`evaluate`");
        for (name, only, advice) in [
            ("language", "jq", "write the expressions in jq"),
            ("mode", "strict", "put every expression inside `${ … }`"),
        ] {
            let Some(field) = at.field(name) else { continue };
            let Some(text) = self.text(&field, name) else { continue };
            if text != only {
                let what = format!("`{name}: {text}`");
                self.unsupported(&field, &what, &format!("{advice}; only `{only}` is supported"));
            }
        }
    }

    /// A list of tasks as a block of its own.
    fn block(&mut self, at: &At<'d>, variables: &[String]) -> Option<BlockId> {
        let items = self.list(at, "the tasks")?;
        if items.is_empty() {
            self.problem(at, "missing_field", "a list of tasks needs at least one task".to_owned());
            return None;
        }
        let id = BlockId(u32::try_from(self.blocks.len()).expect("there are fewer blocks than nodes"));
        self.blocks.push(Block { tasks: Vec::new() });
        let entries: Vec<Option<(&'d Field, At<'d>)>> =
            (0..items.len()).map(|index| self.single(&at.item(index), "a task", "- name: { … }")).collect();
        self.check_task_names(&entries);
        let names: Vec<&str> = entries.iter().map(|task| task.as_ref().map_or("", |(field, _)| &field.name)).collect();
        for (index, task) in entries.into_iter().enumerate() {
            let Some((field, at)) = task else { continue };
            self.task(&field.name, &at, index, id, &names, variables);
        }
        Some(id)
    }

    fn check_task_names(&mut self, entries: &[Option<(&'d Field, At<'d>)>]) {
        let mut seen = std::collections::BTreeMap::new();
        for (field, at) in entries.iter().flatten() {
            let name = field.name.as_str();
            if name.is_empty() || name.len() > limits::MAX_NAME_BYTES {
                let message = format!("a task's name has 1 to {} bytes", limits::MAX_NAME_BYTES);
                self.problem(&at.named(field), "bad_name", message);
            } else if ["continue", "exit", "end"].contains(&name) {
                let message = format!("a task cannot be named `{name}`: `then: {name}` means something else");
                self.problem(&at.named(field), "bad_name", message);
            } else if let Some(line) = seen.insert(name, field.place.line) {
                let message = format!("there are two tasks named `{name}` in this list, the first on line {line}");
                self.problem(&at.named(field), "duplicate_task", message);
            }
        }
    }
}

#[cfg(test)]
mod tests;
