//! `call`: a step that a worker runs, directly or through a function.

use super::Compiler;
use super::read::{At, all_or_nothing};
use super::task::inside;
use crate::limits;
use crate::program::{RetryPolicy, WorkerCall};
use crate::suggest;

/// What `with` of `call: worker` may say.
const WITH_FIELDS: [&str; 8] =
    ["task", "queue", "stream", "input", "heartbeat", "startToClose", "scheduleToStart", "retry"];

const DEFAULT_QUEUE: &str = "default";

/// Calls that the node does not make itself, with what to do instead.
const REFUSED: [(&str, &str); 7] = [
    ("http", "make the request in a worker"),
    ("openapi", "make the request in a worker"),
    ("grpc", "make the request in a worker"),
    ("asyncapi", "publish or consume in a worker"),
    ("mcp", "call the tool in a worker"),
    ("a2a", "call the agent in a worker"),
    ("each", "loop with `for`, or let one worker take the whole list"),
];

impl<'d> Compiler<'d> {
    pub(super) fn call(&mut self, name: &str, task: &At<'d>, at: &At<'d>, variables: &[String]) -> Option<WorkerCall> {
        let callee = self.text(at, "call")?;
        if callee == "worker" {
            let Some(with) = task.field("with") else { return self.missing(task, "with", "`call: worker`") };
            return self.worker(name, &with, variables);
        }
        if self.refuse_call(at, callee) {
            return None;
        }
        let Some(function) = self.uses.get("functions", callee) else {
            let known = self.uses.names("functions").chain(["worker"]);
            let suggestion = suggest::closest(callee, known);
            let message =
                format!("there is no function `{callee}`: declare it in `use.functions`, or use `call: worker`");
            self.suggest(at, "unknown_function", message, suggestion);
            return None;
        };
        // What is wrong with the function itself is told where it is declared.
        let with = function
            .field("with")
            .filter(|_| function.field("call").is_some_and(|at| at.node.text() == Some("worker")))?;
        let mut call = self.worker(callee, &with, variables)?;
        if let Some(arguments) = task.field("with") {
            self.map(&arguments, "`with`")?;
            call.arguments = Some(self.template(&arguments, &inside(variables))?);
        }
        Some(call)
    }

    /// Whether the call is of a kind that is refused.
    fn refuse_call(&mut self, at: &At<'d>, callee: &str) -> bool {
        if let Some((_, advice)) = REFUSED.iter().find(|(kind, _)| *kind == callee) {
            self.unsupported(at, &format!("`call: {callee}`"), &format!("{advice} and use `call: worker`"));
            return true;
        }
        if callee.contains("://") || callee.contains('@') {
            let advice = "declare the function in `use.functions` with `call: worker`";
            self.unsupported(at, "a function from a catalog", advice);
            return true;
        }
        false
    }

    /// A function is a worker call with a name, and nothing else.
    pub(super) fn check_function(&mut self, at: &At<'d>) {
        let Some(fields) = self.map(at, "a function") else { return };
        let Some(callee) = at.field("call") else {
            let advice = "declare it with `call: worker`";
            self.unsupported(at, "a function that is not a call", advice);
            return;
        };
        let Some(name) = self.text(&callee, "call") else { return };
        if name != "worker" {
            if !self.refuse_call(&callee, name) {
                let advice = "declare each function with `call: worker`";
                self.unsupported(&callee, "a function that calls another function", advice);
            }
            return;
        }
        for field in fields.iter().filter(|field| !["call", "with", "metadata"].contains(&field.name.as_str())) {
            let known = ["if", "input", "output", "export", "timeout", "then"];
            let place = at.below(field).named(field);
            if known.contains(&field.name.as_str()) {
                let advice = "write it at the task that calls the function";
                self.unsupported(&place, &format!("`{}` of a function", field.name), advice);
            } else {
                let suggestion = suggest::closest(&field.name, ["call", "with", "metadata"].into_iter());
                self.suggest(&place, "unknown_field", format!("a function has no field `{}`", field.name), suggestion);
            }
        }
        match at.field("with") {
            Some(with) => drop(self.worker("", &with, &[])),
            None => drop(self.missing::<()>(at, "with", "`call: worker`")),
        }
    }

    /// The `with` of `call: worker`.
    fn worker(&mut self, function: &str, at: &At<'d>, variables: &[String]) -> Option<WorkerCall> {
        let fields = self.map(at, "`with`")?;
        self.known_fields(at, fields, &WITH_FIELDS, "`with` of `call: worker`");
        let task = match at.field("task") {
            Some(at) => self.worker_name(&at, "task"),
            None => self.missing(at, "task", "`with` of `call: worker`"),
        };
        let queue = at.field("queue").map_or(Some(DEFAULT_QUEUE.to_owned()), |at| self.worker_name(&at, "queue"));
        let stream = at.field("stream").map_or(Some(false), |at| self.boolean(&at, "stream"));
        let arguments = at.field("input").map(|at| self.data(&at, &inside(variables)));
        let [heartbeat_ms, start_to_close_ms, schedule_to_start_ms] =
            ["heartbeat", "startToClose", "scheduleToStart"].map(|name| at.field(name).map(|at| self.bound(&at, name)));
        let retry = at.field("retry").map(|at| self.worker_retry(&at));
        Some(WorkerCall {
            function: function.to_owned(),
            task: task?,
            queue: queue?,
            stream: stream?,
            arguments: all_or_nothing(arguments)?,
            retry: all_or_nothing(retry)?,
            start_to_close_ms: all_or_nothing(start_to_close_ms)?,
            schedule_to_start_ms: all_or_nothing(schedule_to_start_ms)?,
            heartbeat_ms: all_or_nothing(heartbeat_ms)?,
        })
    }

    /// What workers register for: 1 to 128 visible characters of ASCII.
    fn worker_name(&mut self, at: &At<'d>, field: &str) -> Option<String> {
        let name = self.text(at, field)?;
        if (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()) && !name.contains("${") {
            return Some(name.to_owned());
        }
        let message = format!("`{field}` is a constant name of 1 to 128 visible ASCII characters without blanks");
        self.problem(at, "bad_name", message);
        None
    }

    /// A positive duration, or the name of one of `use.timeouts`.
    fn bound(&mut self, at: &At<'d>, name: &str) -> Option<u64> {
        let millis = match at.node.text() {
            Some(text) if !text.starts_with('P') && !text.trim_start().starts_with("${") => {
                let declared = self.referred(at, "timeouts", "timeout")?;
                self.timeout_after(&declared)
            }
            Some(_) | None => self.duration(at, name),
        }?;
        if millis == 0 {
            self.problem(at, "bad_duration", format!("`{name}` must be longer than nothing"));
            return None;
        }
        Some(millis)
    }

    /// A policy of `use.retries`, or one in place, which may also name failure types that are final.
    fn worker_retry(&mut self, at: &At<'d>) -> Option<RetryPolicy> {
        let at = match at.node.text() {
            Some(_) => self.referred(at, "retries", "retry policy")?,
            None => at.clone(),
        };
        for name in ["when", "exceptWhen"] {
            if let Some(field) = at.field(name) {
                let advice = "name final failure types in `nonRetryable`, or retry with a `try` task";
                self.unsupported(&field, &format!("`{name}` in the retry policy of a worker call"), advice);
            }
        }
        let known = ["when", "exceptWhen", "delay", "backoff", "limit", "jitter", "nonRetryable"];
        let mut policy = self.retry_policy(&at, &known)?;
        if let Some(types) = at.field("nonRetryable") {
            let items = self.list(&types, "`nonRetryable`")?;
            let (count, most) = (items.len(), limits::MAX_NON_RETRYABLE);
            if count > most {
                self.problem(
                    &types,
                    "too_large",
                    format!("`nonRetryable` names {count} types, at most {most} are allowed"),
                );
                return None;
            }
            for index in 0..count {
                let item = types.item(index);
                let text = self.text(&item, "nonRetryable")?;
                if text.len() > limits::MAX_NAME_BYTES {
                    let most = limits::MAX_NAME_BYTES;
                    self.problem(&item, "bad_name", format!("a failure type has at most {most} bytes"));
                    return None;
                }
                policy.non_retryable.push(text.to_owned());
            }
        }
        Some(policy)
    }
}
