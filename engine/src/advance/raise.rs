//! What an error does: the nearest `try` that wants it, else the end of the run.

use serde_json::Value;
use workflow::error as error_types;
use workflow::program::{Catch, ErrorTemplate, TaskKind, Variables};
use workflow::{Template, WorkflowError};

use super::Drive;
use super::error::TaskError;
use crate::decide::json_bytes;
use crate::event::{RunEvent, TimerSet};
use crate::limits;
use crate::retry;
use crate::scope::ScopeKind;

impl Drive<'_> {
    /// Carries an error outwards from the scope whose task raised it.
    pub(crate) fn propagate(&mut self, scope: u32, error: &WorkflowError) {
        let mut at = Some(scope);
        while let Some(id) = at {
            match self.caught_by(id, error) {
                Ok(None) => at = self.run.scope(id).parent,
                Ok(Some(retry)) => {
                    return self.derive(RunEvent::ErrorCaught { scope: id, error: error.clone(), retry });
                }
                Err(failed) => {
                    let parent = self.run.scope(id).parent.expect("a try is opened by a task");
                    let error = self.expression_fault(parent, &failed);
                    return self.derive(RunEvent::ErrorRaised {
                        scope: parent,
                        path: self.run.scope(id).path.clone(),
                        error,
                    });
                }
            }
        }
        self.derive(RunEvent::Failed { error: error.clone() });
    }

    /// Whether this scope is a `try` that catches the error: `Some` holds the timer of the retry, if it gets one.
    #[expect(clippy::option_option, reason = "not caught, caught for good and caught to begin again are three things")]
    fn caught_by(&self, scope: u32, error: &WorkflowError) -> Result<Option<Option<TimerSet>>, TaskError> {
        let inner = self.run.scope(scope);
        let ScopeKind::Try { attempt, first } = &inner.kind else { return Ok(None) };
        let parent = inner.parent.expect("a try is opened by a task");
        let task = self.current_task(parent).expect("a scope's opener is the current task of its parent");
        let TaskKind::Try(task) = &task.kind else { unreachable!("a try scope is opened by a try task") };
        let variables = self.catch_variables(parent, &task.catch, error)?;
        if !task.catch.filter.matches(error) || !self.conditions_hold(&task.catch, error, &variables)? {
            return Ok(None);
        }
        let Some(again) = &task.catch.retry else { return Ok(Some(None)) };
        let input = self.value(self.run.scope(parent).input())?;
        let wanted = match (&again.when, &again.except_when) {
            (Some(when), _) if !when.holds(&input, &variables, &self.moment(), &self.fuel)? => false,
            (_, Some(except)) => !except.holds(&input, &variables, &self.moment(), &self.fuel)?,
            (_, None) => true,
        };
        if !wanted {
            return Ok(Some(None));
        }
        let unit = retry::unit(self.run.seed, &inner.path, *attempt);
        let due = retry::try_again(&again.policy, *attempt, *first, unit, self.now);
        Ok(Some(due.map(|due| TimerSet { timer: self.run.next_timer, due })))
    }

    fn catch_variables(&self, parent: u32, catch: &Catch, error: &WorkflowError) -> Result<Variables, TaskError> {
        let input = self.value(self.run.scope(parent).input())?;
        let mut variables = self.variables(parent, Some(&input), &|name| catch.uses(name))?;
        variables.insert(catch.as_.clone(), error.to_json());
        Ok(variables)
    }

    fn conditions_hold(&self, catch: &Catch, error: &WorkflowError, variables: &Variables) -> Result<bool, TaskError> {
        let error = error.to_json();
        if let Some(when) = &catch.when
            && !when.holds(&error, variables, &self.moment(), &self.fuel)?
        {
            return Ok(false);
        }
        match &catch.except_when {
            Some(except) => Ok(!except.holds(&error, variables, &self.moment(), &self.fuel)?),
            None => Ok(true),
        }
    }

    /// `raise`: an error as its author wrote it; `instance` is the task's own place unless given.
    pub(crate) fn raise(
        &mut self,
        scope: u32,
        address: &str,
        template: &ErrorTemplate,
        input: &Value,
    ) -> Result<(), TaskError> {
        let variables = self.variables(scope, Some(input), &|name| template.uses(name))?;
        let text = |template: &Template| {
            let value = template.evaluate(input, &variables, &self.moment(), &self.fuel)?;
            let odd = || TaskError::new(format!("a field of the error is {value}, not a string"));
            value.as_str().map(str::to_owned).ok_or_else(odd)
        };
        let status = template.status.evaluate(input, &variables, &self.moment(), &self.fuel)?;
        let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
        let pointer = self.current_task(scope).map(|task| task.pointer.clone());
        let error = WorkflowError {
            type_: text(&template.type_)?,
            status: status.ok_or_else(|| TaskError::new("the error's status is not a number from 0 to 65535"))?,
            title: template.title.as_ref().map(text).transpose()?,
            detail: template.detail.as_ref().map(text).transpose()?,
            instance: template.instance.as_ref().map(text).transpose()?.or(pointer),
        };
        let texts = [Some(&error.type_), error.title.as_ref(), error.detail.as_ref(), error.instance.as_ref()];
        let (bytes, limit) =
            (texts.into_iter().flatten().map(|text| json_bytes(text)).sum::<usize>(), limits::FAILURE_BYTES);
        if bytes > limit {
            return Err(TaskError::new(format!("the error has {bytes} bytes, the limit is {limit}")));
        }
        self.derive(RunEvent::ErrorRaised { scope, path: address.to_owned(), error });
        Ok(())
    }

    /// A definition that loops without waiting is ended by name; no `catch` may keep it alive.
    pub(crate) fn fault_runaway(&mut self, scope: u32) {
        let detail = format!(
            "{} tasks were entered without a wait, a step or a retry in between (each {} KiB of values that were logged \
             count as one): the definition loops for ever",
            limits::ENTRIES_WITHOUT_WAIT,
            limits::BYTES_PER_ENTRY >> 10
        );
        self.fault(scope, "Runaway Loop", detail);
    }

    /// So is a run that holds more than one may, and no `catch` helps it either.
    pub(crate) fn fault_too_large(&mut self, scope: u32) {
        let detail = format!(
            "the run holds more than {} MiB in its open tasks: keep large data out of it and pass references",
            limits::RUN_BYTES >> 20
        );
        self.fault(scope, "Run Too Large", detail);
    }

    fn fault(&mut self, scope: u32, title: &str, detail: String) {
        let error = self.task_error(scope, error_types::RUNTIME, 500, title, detail);
        self.derive(RunEvent::Failed { error });
    }
}
