//! Leaving a task: `output.as`, `export.as`, then where to go; and the end of the run.

use serde_json::Value;
use types::Payload;
use workflow::Program;
use workflow::program::{Flow, Task, TaskKind};

use super::Drive;
use super::error::TaskError;
use super::view::payload;
use crate::event::{Next, RunEvent};
use crate::run::ROOT;

/// What `output.as` and `export.as` made.
struct Shaped {
    /// `None`: the raw output as it is.
    output: Option<Value>,
    /// `None`: the context as it is.
    context: Option<Payload>,
}

impl Drive<'_> {
    /// The program outlives the drive, so its tasks can be held while events are derived.
    pub(crate) fn task_of<'p>(&self, program: &'p Program, scope: u32) -> &'p Task {
        let block = self.block(scope).expect("there is a task in progress");
        let task = program.task_at(block, self.run.scope(scope).index).expect("there is a task in progress");
        program.task(task)
    }

    /// A task whose raw output came back: from a step, a timer or a scope.
    pub(crate) fn leave(&mut self, scope: u32, raw: &Payload, caught: bool) {
        let program = self.program;
        let task = self.task_of(program, scope);
        let then = match &task.kind {
            TaskKind::Try(inner) if caught => inner.catch.then.unwrap_or(task.then),
            TaskKind::Do(_)
            | TaskKind::Set(_)
            | TaskKind::Switch(_)
            | TaskKind::For(_)
            | TaskKind::Try(_)
            | TaskKind::Raise(_)
            | TaskKind::Wait(_)
            | TaskKind::Call(_) => task.then,
        };
        match self.shape_returned(scope, task, raw) {
            Ok((output, context)) => {
                let next = self.next_of(scope, then);
                self.derive(RunEvent::TaskExited { scope, path: None, skipped: false, output, context, next });
            }
            Err(error) => {
                let path = self.run.scope(scope).address(&task.name, true);
                let error = self.expression_fault(scope, &error);
                self.derive(RunEvent::ErrorRaised { scope, path, error });
            }
        }
    }

    fn shape_returned(
        &self,
        scope: u32,
        task: &Task,
        raw: &Payload,
    ) -> Result<(Option<Payload>, Option<Payload>), TaskError> {
        if task.output_as.is_none() && task.export_as.is_none() {
            return Ok((None, None));
        }
        let input = self.value(self.run.scope(scope).input())?;
        let shaped = self.shape(scope, task, &input, &self.value(raw)?)?;
        let output = shaped.output.as_ref().map(payload).transpose()?;
        Ok((output.filter(|output| output.data != raw.data), shaped.context))
    }

    fn shape(&self, scope: u32, task: &Task, input: &Value, raw: &Value) -> Result<Shaped, TaskError> {
        let uses = |name: &str| [&task.output_as, &task.export_as].into_iter().flatten().any(|shape| shape.uses(name));
        let mut variables = self.variables(scope, Some(input), &uses)?;
        variables.insert("output".to_owned(), raw.clone());
        if uses("task.output")
            && let Some(descriptor) = variables.get_mut("task")
        {
            // As it came, before `output.as`.
            descriptor["output"] = raw.clone();
        }
        let output = match &task.output_as {
            Some(template) => Some(template.evaluate(raw, &variables, &self.moment(), &self.fuel)?),
            None => None,
        };
        let context = match &task.export_as {
            Some(template) => {
                let output = output.as_ref().unwrap_or(raw);
                variables.insert("output".to_owned(), output.clone());
                let context = payload(&template.evaluate(output, &variables, &self.moment(), &self.fuel)?)?;
                let known = self.run.context.as_ref().is_some_and(|known| known.data == context.data);
                (!known).then_some(context)
            }
            None => None,
        };
        Ok(Shaped { output, context })
    }

    /// A task that begins and ends in one event.
    pub(crate) fn finish_at_once(
        &mut self,
        scope: u32,
        address: &str,
        input: &Value,
        raw: Value,
        then: Flow,
    ) -> Result<(), TaskError> {
        let program = self.program;
        let task = self.task_of(program, scope);
        let (output, context) = if task.output_as.is_none() && task.export_as.is_none() {
            (raw, None)
        } else {
            let shaped = self.shape(scope, task, input, &raw)?;
            (shaped.output.unwrap_or(raw), shaped.context)
        };
        let unchanged =
            output == *input && self.run.scope(scope).data.data == serde_json::to_vec(input).unwrap_or_default();
        let output = if unchanged { None } else { Some(payload(&output)?) };
        let (path, next) = (Some(address.to_owned()), self.next_of(scope, then));
        self.derive(RunEvent::TaskExited { scope, path, skipped: false, output, context, next });
        Ok(())
    }

    pub(crate) fn next_of(&self, scope: u32, flow: Flow) -> Next {
        match flow {
            Flow::Continue => Next::Index(self.run.scope(scope).index + 1),
            Flow::Goto(index) => Next::Index(index),
            Flow::Exit => Next::Exit,
            Flow::End => Next::End,
        }
    }

    /// The run is over, with this scope's data as its raw output.
    pub(crate) fn complete(&mut self, scope: u32) {
        match self.run_output(scope) {
            Ok(output) => self.derive(RunEvent::Completed { output }),
            Err(error) => {
                let error = self.expression_fault(ROOT, &error);
                self.derive(RunEvent::Failed { error });
            }
        }
    }

    fn run_output(&self, scope: u32) -> Result<Option<Payload>, TaskError> {
        let raw = &self.run.scope(scope).data;
        match &self.program.output_as {
            Some(template) => {
                let mut variables =
                    self.variables(scope, Some(&self.value(&self.run.input)?), &|name| template.uses(name))?;
                let raw = self.value(raw)?;
                variables.insert("output".to_owned(), raw.clone());
                let output = payload(&template.evaluate(&raw, &variables, &self.moment(), &self.fuel)?)?;
                let unchanged = output.data == self.run.scope(ROOT).data.data;
                Ok((!unchanged).then_some(output))
            }
            None if scope == ROOT => Ok(None),
            None => Ok(Some(raw.clone())),
        }
    }
}
