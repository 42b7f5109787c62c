//! `then`: where to go after a task.

use super::Compiler;
use super::read::At;
use crate::program::Flow;
use crate::suggest;

impl<'d> Compiler<'d> {
    /// `names` are the tasks of the list in which the task stands.
    pub(super) fn flow(&mut self, at: &At<'d>, names: &[&str]) -> Option<Flow> {
        let target = self.text(at, "then")?;
        match target {
            "continue" => return Some(Flow::Continue),
            "exit" => return Some(Flow::Exit),
            "end" => return Some(Flow::End),
            _ => {}
        }
        if let Some(index) = names.iter().position(|name| *name == target) {
            return Some(Flow::Goto(u32::try_from(index).expect("a list is shorter than the limit of nodes")));
        }
        let known = names.iter().copied().chain(["continue", "exit", "end"]);
        let suggestion = suggest::closest(target, known);
        let message = format!(
            "there is no task `{target}` in the same list: `then` takes a task beside this one, `continue`, `exit` or `end`"
        );
        self.suggest(at, "unknown_task_name", message, suggestion);
        None
    }
}
