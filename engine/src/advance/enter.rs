//! Entering a task: `if`, `input.from`, then what the task does.

use serde_json::Value;
use types::Payload;
use workflow::error as error_types;
use workflow::program::{Flow, ForTask, SwitchCase, TaskKind, WorkerCall};
use workflow::{Expression, Template};

use super::Drive;
use super::error::TaskError;
use super::view::payload;
use crate::event::{RunEvent, TimerSet};
use crate::limits;
use crate::scope::{Scope, ScopeKind};
use crate::step::Function;
use crate::timer::Purpose;

/// A task's input: as read, and as kept where it differs from the scope's data.
struct Input {
    value: Value,
    changed: Option<Payload>,
}

impl Drive<'_> {
    pub(crate) fn enter(&mut self, scope: u32) {
        let address = self.address(scope);
        if let Err(error) = self.try_enter(scope, &address) {
            let error = self.expression_fault(scope, &error);
            self.derive(RunEvent::ErrorRaised { scope, path: address, error });
        }
    }

    fn address(&self, scope: u32) -> String {
        let task = self.current_task(scope).expect("there is a task to enter");
        self.run.scope(scope).address(&task.name, false)
    }

    fn try_enter(&mut self, scope: u32, address: &str) -> Result<(), TaskError> {
        let program = self.program;
        let task = self.task_of(program, scope);
        let raw = self.value(&self.run.scope(scope).data)?;
        if let Some(condition) = &task.condition
            && !self.holds(condition, scope, &raw)?
        {
            self.skip(scope, address);
            return Ok(());
        }
        let input = self.input(scope, task.input_from.as_ref(), raw)?;
        match &task.kind {
            TaskKind::Set(template) => {
                let output = self.evaluate(template, scope, &input.value)?;
                self.finish_at_once(scope, address, &input.value, output, task.then)
            }
            TaskKind::Switch(cases) => {
                let then = self.matching_case(cases, scope, &input.value)?.unwrap_or(task.then);
                self.finish_at_once(scope, address, &input.value, input.value.clone(), then)
            }
            TaskKind::Raise(template) => self.raise(scope, address, template, &input.value),
            TaskKind::Wait(wait_ms) => {
                let timer = TimerSet { timer: self.run.next_timer, due: self.now.plus_millis(*wait_ms) };
                let (purpose, path) = (Purpose::Wait { scope }, address.to_owned());
                self.derive(RunEvent::TimerStarted { timer, purpose, path, task_input: input.changed });
                Ok(())
            }
            TaskKind::Call(call) => self.schedule(scope, address, call, input),
            TaskKind::Do(_) => self.open(scope, address, ScopeKind::Do, input.changed),
            TaskKind::Try(_) => {
                self.open(scope, address, ScopeKind::Try { attempt: 1, first: self.now }, input.changed)
            }
            TaskKind::For(task_for) => {
                let items = self.items(scope, task_for, &input.value)?;
                if items.is_empty() || !self.turn_holds(scope, task_for, &input.value, &items[0], 0)? {
                    return self.finish_at_once(scope, address, &input.value, input.value.clone(), task.then);
                }
                let kind = ScopeKind::For { items: items.into_iter().collect(), iteration: 0 };
                self.open(scope, address, kind, input.changed)
            }
        }
    }

    fn skip(&mut self, scope: u32, address: &str) {
        let next = self.next_of(scope, Flow::Continue);
        let path = Some(address.to_owned());
        self.derive(RunEvent::TaskExited { scope, path, skipped: true, output: None, context: None, next });
    }

    fn input(&self, scope: u32, from: Option<&Template>, raw: Value) -> Result<Input, TaskError> {
        match from {
            None => Ok(Input { value: raw, changed: None }),
            Some(from) => {
                let value = from.evaluate(
                    &raw,
                    &self.variables(scope, None, &|name| from.uses(name))?,
                    &self.moment(),
                    &self.fuel,
                )?;
                let written = payload(&value)?;
                // A value is logged once: what did not change is the scope's data.
                let changed = (written.data != self.run.scope(scope).data.data).then_some(written);
                Ok(Input { value, changed })
            }
        }
    }

    fn open(&mut self, parent: u32, address: &str, kind: ScopeKind, data: Option<Payload>) -> Result<(), TaskError> {
        if self.run.scopes.len() >= limits::SCOPE_DEPTH {
            return Err(TaskError::new(format!("tasks are nested deeper than {}", limits::SCOPE_DEPTH)));
        }
        let (scope, path) = (self.run.next_scope, address.to_owned());
        self.derive(RunEvent::ScopeOpened { scope, parent, path, kind, data });
        Ok(())
    }

    fn schedule(&mut self, scope: u32, address: &str, call: &WorkerCall, input: Input) -> Result<(), TaskError> {
        let arguments = match &call.arguments {
            None => None,
            Some(template) => Some(payload(&self.evaluate(template, scope, &input.value)?)?),
        };
        let task_input = input.changed;
        // A value is logged once: arguments that are the task's input are not written beside it.
        let known = task_input.as_ref().unwrap_or(&self.run.scope(scope).data);
        let step_input = arguments.filter(|arguments| arguments.data != known.data);
        let function = self.bind(call);
        let (step, path) = (self.run.next_step, address.to_owned());
        self.derive(RunEvent::StepScheduled { step, scope, path, function, input: step_input, task_input });
        Ok(())
    }

    /// The run's number for a function, given on first use.
    fn bind(&mut self, call: &WorkerCall) -> u32 {
        let function = Function {
            name: call.function.clone(),
            task: call.task.clone(),
            queue: call.queue.clone(),
            stream: call.stream,
            retry: call.retry.clone().unwrap_or_else(|| self.config.default_retry.clone()),
            start_to_close_ms: call.start_to_close_ms.unwrap_or(limits::START_TO_CLOSE_MS),
            schedule_to_start_ms: call.schedule_to_start_ms,
            heartbeat_ms: call.heartbeat_ms,
        };
        // Without a policy of its own it keeps the default that it was first bound with, whatever the default is now.
        let same = |bound: &Function| match &call.retry {
            Some(_) => *bound == function,
            None => bound.is_same_call(&function),
        };
        let known = self.run.functions.iter().position(same);
        let number = u32::try_from(known.unwrap_or(self.run.functions.len())).expect("a program has few functions");
        if known.is_none() {
            self.derive(RunEvent::FunctionBound { function: number, definition: Box::new(function) });
        }
        number
    }

    fn matching_case(&self, cases: &[SwitchCase], scope: u32, input: &Value) -> Result<Option<Flow>, TaskError> {
        let uses = |name: &str| cases.iter().filter_map(|case| case.when.as_ref()).any(|when| when.uses(name));
        let variables = self.variables(scope, Some(input), &uses)?;
        for case in cases {
            match &case.when {
                Some(when) if !when.holds(input, &variables, &self.moment(), &self.fuel)? => {}
                Some(_) | None => return Ok(Some(case.then)),
            }
        }
        Ok(None)
    }

    fn items(&self, scope: u32, task: &ForTask, input: &Value) -> Result<Vec<Payload>, TaskError> {
        let items: Vec<Payload> = match self.evaluate(&task.over, scope, input)? {
            Value::Array(items) => items.iter().map(payload).collect::<Result<_, _>>()?,
            Value::Null => Vec::new(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                return Err(TaskError::new(format!("for.in yields {}, not an array", kind_of(&other))));
            }
        };
        let (kept, limit) = (items.len() + self.open_items(), limits::FOR_ITEMS);
        if kept > limit {
            return Err(TaskError::new(format!(
                "for.in yields {} items, which makes {kept} in all open loops, the limit is {limit}",
                items.len()
            )));
        }
        let (bytes, limit) = (items.iter().map(Payload::len).sum::<usize>(), limits::VALUE_BYTES);
        if bytes > limit {
            return Err(TaskError::new(format!("for.in yields {bytes} bytes, the limit is {limit}")));
        }
        Ok(items)
    }

    /// Items that the run keeps already.
    fn open_items(&self) -> usize {
        let kept = |scope: &Scope| if let ScopeKind::For { items, .. } = &scope.kind { items.len() } else { 0 };
        self.run.scopes.values().map(kept).sum()
    }

    /// Whether the `while` of a `for` allows this turn.
    fn turn_holds(
        &self,
        scope: u32,
        task: &ForTask,
        data: &Value,
        item: &Payload,
        turn: u32,
    ) -> Result<bool, TaskError> {
        let Some(condition) = &task.while_ else { return Ok(true) };
        let mut variables = self.variables(scope, Some(data), &|name| condition.uses(name))?;
        variables.insert(task.each.clone(), self.value(item)?);
        variables.insert(task.at.clone(), Value::from(turn));
        Ok(condition.holds(data, &variables, &self.moment(), &self.fuel)?)
    }

    /// The next turn of a `for`, or its end where `while` says so.
    pub(crate) fn next_iteration(&mut self, scope: u32, iteration: u32) {
        match self.next_turn_holds(scope, iteration) {
            Ok(true) => self.derive(RunEvent::IterationStarted { scope, iteration }),
            Ok(false) => self.derive(RunEvent::ScopeClosed { scope }),
            Err(error) => {
                let parent = self.run.scope(scope).parent.expect("a for is opened by a task");
                let (error, path) = (self.expression_fault(parent, &error), self.run.scope(scope).path.clone());
                self.derive(RunEvent::ErrorRaised { scope, path, error });
            }
        }
    }

    fn next_turn_holds(&self, scope: u32, iteration: u32) -> Result<bool, TaskError> {
        let inner = self.run.scope(scope);
        let parent = inner.parent.expect("a for is opened by a task");
        let opener = self.current_task(parent).expect("a scope's opener is the current task of its parent");
        match (&opener.kind, &inner.kind) {
            (TaskKind::For(task), ScopeKind::For { items, .. }) => {
                let data = self.value(&inner.data)?;
                self.turn_holds(parent, task, &data, &items[iteration as usize], iteration)
            }
            (_, _) => unreachable!("only a for has turns"),
        }
    }

    fn holds(&self, condition: &Expression, scope: u32, raw: &Value) -> Result<bool, TaskError> {
        Ok(condition.holds(
            raw,
            &self.variables(scope, None, &|name| condition.uses(name))?,
            &self.moment(),
            &self.fuel,
        )?)
    }

    fn evaluate(&self, template: &Template, scope: u32, input: &Value) -> Result<Value, TaskError> {
        if let Some(constant) = template.constant() {
            return Ok(constant.clone());
        }
        let variables = self.variables(scope, Some(input), &|name| template.uses(name))?;
        Ok(template.evaluate(input, &variables, &self.moment(), &self.fuel)?)
    }

    /// An expression's failure as the error that a `catch` may see.
    pub(crate) fn expression_fault(&self, scope: u32, error: &TaskError) -> workflow::WorkflowError {
        self.task_error(scope, error_types::EXPRESSION, 400, "Expression Error", error.to_string())
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
