//! What a task sees: where it stands in the program, and the variables of its expressions.

use serde_json::{Value, json};
use types::{Payload, RunId, Timestamp};
use workflow::program::{BlockId, Task, TaskKind, Variables};
use workflow::{Moment, Program, WorkflowError};

use super::Drive;
use super::error::TaskError;
use crate::limits;
use crate::run::Run;
use crate::scope::{Activity, ScopeKind};

impl Drive<'_> {
    /// The list of tasks that a scope runs.
    pub(crate) fn block(&self, scope: u32) -> Option<BlockId> {
        block(self.program, &self.run, scope)
    }

    /// The task at a scope's index; `None` past the end of its list.
    pub(crate) fn current_task(&self, scope: u32) -> Option<&Task> {
        task_in_progress(self.program, &self.run, scope)
    }

    /// The variables in sight of a scope's current task, as far as an expression `uses` them. `input` is the task's
    /// own, once it has one.
    pub(crate) fn variables(
        &self,
        scope: u32,
        input: Option<&Value>,
        uses: &dyn Fn(&str) -> bool,
    ) -> Result<Variables, TaskError> {
        let mut variables = Variables::new();
        if uses("context") {
            variables.insert(
                "context".to_owned(),
                self.run.context.as_ref().map_or(Ok(Value::Null), |context| self.value(context))?,
            );
        }
        let run = &self.run;
        add_run_variables(&mut variables, self.program, run.id, &run.input, run.started, uses)?;
        if uses("task")
            && let Some(task) = self.current_task(scope)
        {
            variables.insert("task".to_owned(), self.task_variable(scope, task, uses)?);
        }
        if uses("input")
            && let Some(input) = input
        {
            variables.insert("input".to_owned(), input.clone());
        }
        self.add_scope_variables(scope, uses, &mut variables)?;
        Ok(variables)
    }

    /// `$task`, without its output, which only a task that is left has.
    fn task_variable(&self, scope: u32, task: &Task, uses: &dyn Fn(&str) -> bool) -> Result<Value, TaskError> {
        let mut variable = json!({ "name": task.name, "reference": task.pointer });
        variable["startedAt"] = self.task_started(scope).map_or(Value::Null, date_time);
        if uses("task.definition") {
            variable["definition"] = self.program.definition.pointer(&task.pointer).cloned().unwrap_or_default();
        }
        if uses("task.input") {
            // As it came, before `input.from`.
            variable["input"] = self.value(&self.run.scope(scope).data)?;
        }
        Ok(variable)
    }

    /// When the current task began: where it is about to, that is now.
    fn task_started(&self, scope: u32) -> Option<Timestamp> {
        let scope = self.run.scope(scope);
        scope.began.or_else(|| (scope.activity == Activity::Ready).then_some(self.now))
    }

    /// Loop variables and caught errors, from the outside in, so that an inner name hides an outer one.
    fn add_scope_variables(
        &self,
        scope: u32,
        uses: &dyn Fn(&str) -> bool,
        variables: &mut Variables,
    ) -> Result<(), TaskError> {
        let scope = self.run.scope(scope);
        let Some(parent) = scope.parent else { return Ok(()) };
        self.add_scope_variables(parent, uses, variables)?;
        let Some(opener) = self.current_task(parent) else { return Ok(()) };
        match (&opener.kind, &scope.kind) {
            (TaskKind::For(task), ScopeKind::For { items, iteration }) if uses(&task.each) || uses(&task.at) => {
                if let Some(item) = items.get(*iteration as usize) {
                    variables.insert(task.each.clone(), self.value(item)?);
                    variables.insert(task.at.clone(), json!(iteration));
                }
            }
            (TaskKind::Try(task), ScopeKind::Catch { error }) if uses(&task.catch.as_) => {
                variables.insert(task.catch.as_.clone(), error.to_json());
            }
            (_, _) => {}
        }
        Ok(())
    }

    /// Reads a JSON payload; the work of that is the task's.
    pub(crate) fn value(&self, payload: &Payload) -> Result<Value, TaskError> {
        if !self.fuel.burn(payload.len() as u64 / limits::BYTES_READ_PER_FUEL) {
            return Err(TaskError::new("the task reads too much data again and again: do less in one task"));
        }
        value(payload)
    }

    /// The time and the seed of this command: the same whenever it is derived again.
    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.now, seed: self.run.seed ^ (u64::from(self.run.next_step) << 32 | self.run.head.value()) }
    }

    /// An error of the task in progress, at its place in the document.
    pub(crate) fn task_error(
        &self,
        scope: u32,
        type_: &str,
        status: u16,
        title: &str,
        detail: String,
    ) -> WorkflowError {
        let instance = self.current_task(scope).map(|task| task.pointer.clone());
        WorkflowError { type_: type_.to_owned(), status, title: Some(title.to_owned()), detail: Some(detail), instance }
    }
}

/// `$workflow` and `$runtime`, as far as an expression `uses` them. `input` is the run's own, `started` its start.
pub(crate) fn add_run_variables(
    variables: &mut Variables,
    program: &Program,
    run: RunId,
    input: &Payload,
    started: Timestamp,
    uses: &dyn Fn(&str) -> bool,
) -> Result<(), TaskError> {
    if uses("workflow") {
        let mut variable = json!({ "id": run.to_string(), "startedAt": date_time(started) });
        // These two may be large.
        if uses("workflow.input") {
            variable["input"] = value(input)?;
        }
        if uses("workflow.definition") {
            variable["definition"] = program.definition.clone();
        }
        variables.insert("workflow".to_owned(), variable);
    }
    if uses("runtime") {
        variables.insert("runtime".to_owned(), json!({ "name": "headwater", "version": env!("CARGO_PKG_VERSION") }));
    }
    Ok(())
}

/// As the specification describes a point in time.
fn date_time(time: Timestamp) -> Value {
    let epoch = json!({ "seconds": time.as_millis() / 1_000, "milliseconds": time.as_millis() });
    json!({ "iso8601": time.to_string(), "epoch": epoch })
}

/// The list of tasks that a scope runs, found through the tasks that opened it and those around it: names and indices
/// of the document, so that a compiler that numbers otherwise still finds its way.
fn block(program: &Program, run: &Run, scope: u32) -> Option<BlockId> {
    let scope = run.scope(scope);
    let Some(parent) = scope.parent else { return Some(program.root) };
    match (&task_in_progress(program, run, parent)?.kind, &scope.kind) {
        (TaskKind::Do(body), ScopeKind::Do) => Some(*body),
        (TaskKind::For(task), ScopeKind::For { .. }) => Some(task.body),
        (TaskKind::Try(task), ScopeKind::Try { .. }) => Some(task.body),
        (TaskKind::Try(task), ScopeKind::Catch { .. }) => task.catch.body,
        (_, _) => unreachable!("a scope is opened by a task of its kind"),
    }
}

/// The task at a scope's index, entered or next; `None` past the end of its list.
pub(crate) fn task_in_progress<'p>(program: &'p Program, run: &Run, scope: u32) -> Option<&'p Task> {
    let task = program.task_at(block(program, run, scope)?, run.scope(scope).index)?;
    Some(program.task(task))
}

/// Reads a JSON payload.
pub(crate) fn value(payload: &Payload) -> Result<Value, TaskError> {
    serde_json::from_slice(&payload.data).map_err(|error| TaskError::new(format!("a value is not valid JSON: {error}")))
}

/// Writes a JSON payload, inside the limit of a value.
pub(crate) fn payload(value: &Value) -> Result<Payload, TaskError> {
    let depth = depth(value);
    if depth > limits::VALUE_DEPTH {
        return Err(TaskError::new(format!(
            "a value nested {depth} deep came out, the limit is {}",
            limits::VALUE_DEPTH
        )));
    }
    let text = serde_json::to_vec(value).expect("a JSON value can be written");
    if text.len() > limits::VALUE_BYTES {
        return Err(TaskError::new(format!(
            "a value of {} bytes came out, the limit is {}",
            text.len(),
            limits::VALUE_BYTES
        )));
    }
    Ok(Payload::json(text))
}

/// 0 for a scalar. A template's own nesting and that of an expression's result are bounded, so this recursion is.
fn depth(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
    }
}
