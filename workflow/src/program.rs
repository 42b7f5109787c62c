//! The compiled form of a definition: what the engine walks. Immutable, shared, checked before it exists.
//! Knows tasks and where they stand in the document; knows no runs, events or time.

use std::collections::BTreeMap;

use crate::expression::{Expression, Template};

/// A task of a program, by its place in `Program::tasks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId(pub u32);

/// A list of tasks that run one after the other, by its place in `Program::blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// What a definition says about itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentId {
    pub namespace: String,
    pub name: String,
    pub version: String,
}

/// A checked definition. `root` is its top-level `do`.
#[derive(Debug)]
pub struct Program {
    pub document: DocumentId,
    pub input_from: Option<Template>,
    pub output_as: Option<Template>,
    pub root: BlockId,
    pub blocks: Vec<Block>,
    pub tasks: Vec<Task>,
    /// The whole definition as data: `$workflow.definition`, and at a task's pointer `$task.definition`.
    pub definition: serde_json::Value,
}

/// The tasks of one list, in order.
#[derive(Debug)]
pub struct Block {
    pub tasks: Vec<TaskId>,
}

/// One task with all that its base allows.
#[derive(Debug)]
pub struct Task {
    pub name: String,
    /// A JSON pointer into the document, such as `/do/2/review/do/0/callModel`. The `instance` of its errors.
    pub pointer: String,
    /// Its index in its block.
    pub index: u32,
    pub block: BlockId,
    pub condition: Option<Expression>,
    pub input_from: Option<Template>,
    pub output_as: Option<Template>,
    pub export_as: Option<Template>,
    pub then: Flow,
    pub kind: TaskKind,
}

/// Where to go after a task. A name is resolved to its index in the same block at registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Exit,
    End,
    Goto(u32),
}

/// What a task does.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few tasks, each is made once and read often")]
pub enum TaskKind {
    Do(BlockId),
    /// The output replaces the data.
    Set(Template),
    /// The first case whose `when` holds (or has none) decides; no match: the task's own `then`. Output = input.
    Switch(Vec<SwitchCase>),
    For(ForTask),
    Try(TryTask),
    Raise(ErrorTemplate),
    /// Constant length, in milliseconds.
    Wait(u64),
    Call(WorkerCall),
}

#[derive(Debug)]
pub struct SwitchCase {
    pub name: String,
    pub when: Option<Expression>,
    pub then: Flow,
}

#[derive(Debug)]
pub struct ForTask {
    /// The name of the item's variable, without `$`; `item` by default.
    pub each: String,
    /// Must yield an array.
    pub over: Template,
    /// The name of the index's variable, without `$`; `index` by default.
    pub at: String,
    /// Checked before each iteration, with the item's variables in scope.
    pub while_: Option<Expression>,
    pub body: BlockId,
}

#[derive(Debug)]
pub struct TryTask {
    pub body: BlockId,
    pub catch: Catch,
}

#[derive(Debug)]
pub struct Catch {
    pub filter: ErrorFilter,
    /// The name of the error's variable, without `$`; `error` by default.
    pub as_: String,
    pub when: Option<Expression>,
    pub except_when: Option<Expression>,
    pub retry: Option<TryRetry>,
    pub body: Option<BlockId>,
    /// Overrides the try task's own `then` when an error was caught.
    pub then: Option<Flow>,
}

impl Catch {
    /// Whether what decides over an error reads the variable, named as for `Expression::uses`.
    pub fn uses(&self, name: &str) -> bool {
        let retry = self.retry.as_ref().map(|retry| [&retry.when, &retry.except_when]);
        let all = [&self.when, &self.except_when].into_iter().chain(retry.into_iter().flatten());
        all.flatten().any(|expression| expression.uses(name))
    }
}

/// `catch.errors.with`: a field that is absent matches all. Types are compared in their canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFilter {
    pub type_: Option<String>,
    pub status: Option<u16>,
    pub instance: Option<String>,
    pub title: Option<String>,
    pub detail: Option<String>,
}

/// `catch.retry`: the whole `try` block again.
#[derive(Debug)]
pub struct TryRetry {
    pub when: Option<Expression>,
    pub except_when: Option<Expression>,
    pub policy: RetryPolicy,
}

/// When to try again, and how often. All milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// All attempts together, the first included; 0 means no limit by count.
    pub max_attempts: u32,
    pub initial_ms: u64,
    /// The delay of retry n is `initial × multiplier^(n-1)` (1.0: constant).
    pub growth: Growth,
    pub cap_ms: u64,
    pub jitter: Jitter,
    /// No retry is started later than this after the first attempt began; `None`: no limit.
    pub max_duration_ms: Option<u64>,
    /// Failure types that are final at once.
    pub non_retryable: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Growth {
    Constant,
    /// `initial × n`
    Linear,
    Exponential(f64),
}

/// How a delay is spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    None,
    /// delay × (1 ± factor)
    Factor(f64),
    /// delay + between `from_ms` and `to_ms`
    Between {
        from_ms: u64,
        to_ms: u64,
    },
}

/// `raise`: the fields of the error; strings may be expressions.
#[derive(Debug)]
pub struct ErrorTemplate {
    pub type_: Template,
    pub status: Template,
    pub title: Option<Template>,
    pub detail: Option<Template>,
    pub instance: Option<Template>,
}

impl ErrorTemplate {
    /// Whether any field of it reads the variable, named as for `Expression::uses`.
    pub fn uses(&self, name: &str) -> bool {
        let written = [&self.title, &self.detail, &self.instance].into_iter().flatten();
        written.chain([&self.type_, &self.status]).any(|field| field.uses(name))
    }
}

/// `call: worker`, directly or through a function of `use.functions`.
#[derive(Debug)]
pub struct WorkerCall {
    /// The function's name where the call went through one, else the task's.
    pub function: String,
    /// What a worker registers for.
    pub task: String,
    pub queue: String,
    /// The worker streams chunks on the run's stream.
    pub stream: bool,
    /// The input of the step; `None`: the task's input as it is.
    pub arguments: Option<Template>,
    /// `None`: the node's default policy.
    pub retry: Option<RetryPolicy>,
    pub start_to_close_ms: Option<u64>,
    pub schedule_to_start_ms: Option<u64>,
    pub heartbeat_ms: Option<u64>,
}

/// Names and values that an expression may use besides its input: `$context`, `$item`, `$error` and so on, without `$`.
pub type Variables = BTreeMap<String, serde_json::Value>;

impl Program {
    pub fn task(&self, id: TaskId) -> &Task {
        &self.tasks[id.0 as usize]
    }

    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0 as usize]
    }

    /// The task at `index` of a block, or `None` past its end.
    pub fn task_at(&self, block: BlockId, index: u32) -> Option<TaskId> {
        self.block(block).tasks.get(index as usize).copied()
    }
}
