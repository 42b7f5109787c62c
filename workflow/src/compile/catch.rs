//! `try`: what is caught, when it is tried again, and how long apart.

use super::Compiler;
use super::read::{At, all_or_nothing};
use super::task::scope;
use crate::document::Content;
use crate::expression::{Expression, Scope};
use crate::program::{Catch, ErrorFilter, Growth, Jitter, RetryPolicy, TryRetry, TryTask};

const CATCH_FIELDS: [&str; 7] = ["errors", "as", "when", "exceptWhen", "retry", "do", "then"];
const RETRY_FIELDS: [&str; 6] = ["when", "exceptWhen", "delay", "backoff", "limit", "jitter"];

/// A policy that names no delay waits this long: retrying at once and for ever would be an attack on what failed.
const DEFAULT_DELAY_MS: u64 = 1_000;

/// The longest delay of a policy that names none (`backoff.exponential.maxDelay`).
const DEFAULT_CAP_MS: u64 = 3_600_000;

impl<'d> Compiler<'d> {
    pub(super) fn try_task(
        &mut self,
        task: &At<'d>,
        at: &At<'d>,
        names: &[&str],
        variables: &[String],
    ) -> Option<TryTask> {
        let body = self.block(at, variables);
        let catch = match task.field("catch") {
            Some(at) => self.catch(&at, names, variables),
            None => self.missing(task, "catch", "a `try` task"),
        };
        Some(TryTask { body: body?, catch: catch? })
    }

    fn catch(&mut self, at: &At<'d>, names: &[&str], variables: &[String]) -> Option<Catch> {
        let fields = self.map(at, "`catch`")?;
        self.known_fields(at, fields, &CATCH_FIELDS, "`catch`");
        let filter = self.error_filter(at);
        let as_ = self.variable(at, "as", "error");
        let mut inner = variables.to_vec();
        inner.extend(as_.clone());
        let scope = catch_scope(&inner);
        let when = self.optional_condition(at, "when", &scope);
        let except_when = self.optional_condition(at, "exceptWhen", &scope);
        let retry = at.field("retry").map(|at| self.try_retry(&at, &scope));
        let body = at.field("do").map(|at| self.block(&at, &inner));
        let then = at.field("then").map(|at| self.flow(&at, names));
        Some(Catch {
            filter: filter?,
            as_: as_?,
            when: when?,
            except_when: except_when?,
            retry: all_or_nothing(retry)?,
            body: all_or_nothing(body)?,
            then: all_or_nothing(then)?,
        })
    }

    /// `None` for a condition that cannot be read, `Some(None)` for one that is not there.
    #[expect(clippy::option_option, reason = "unreadable, absent and present are three things")]
    fn optional_condition(&mut self, at: &At<'d>, name: &str, scope: &Scope) -> Option<Option<Expression>> {
        all_or_nothing(at.field(name).map(|at| self.condition(&at, name, scope)))
    }

    fn error_filter(&mut self, catch: &At<'d>) -> Option<ErrorFilter> {
        let Some(at) = catch.field("errors") else { return Some(ErrorFilter::default()) };
        let fields = self.map(&at, "`errors`")?;
        self.known_fields(&at, fields, &["with"], "`errors`");
        let Some(at) = at.field("with") else { return Some(ErrorFilter::default()) };
        let fields = self.map(&at, "`with`")?;
        let known = ["type", "status", "instance", "title", "detail"];
        self.known_fields(&at, fields, &known, "the filter of a `catch`");
        if fields.is_empty() {
            let message = "an empty filter catches everything: leave out `errors` to say so".to_owned();
            self.problem(&at, "missing_field", message);
        }
        let status = at.field("status").map(|at| self.count(&at, "status", u64::from(u16::MAX)));
        let [type_, instance, title, detail] = ["type", "instance", "title", "detail"].map(|name| {
            let at = at.field(name)?;
            let text = self.text(&at, name)?;
            if text.trim_start().starts_with("${") {
                let advice = "compare with `when`, which is an expression";
                self.unsupported(&at, "an expression in the filter of a `catch`", advice);
            }
            Some(text.to_owned())
        });
        let status = match status {
            Some(read) => Some(u16::try_from(read?).expect("read with this limit")),
            None => None,
        };
        Some(ErrorFilter { type_, status, instance, title, detail })
    }

    fn try_retry(&mut self, at: &At<'d>, scope: &Scope) -> Option<TryRetry> {
        let at = match at.node.text() {
            Some(_) => self.referred(at, "retries", "retry policy")?,
            None => at.clone(),
        };
        let policy = self.retry_policy(&at, &RETRY_FIELDS);
        let when = self.optional_condition(&at, "when", scope);
        let except_when = self.optional_condition(&at, "exceptWhen", scope);
        Some(TryRetry { when: when?, except_when: except_when?, policy: policy? })
    }

    pub(super) fn check_retry(&mut self, at: &At<'d>) {
        self.retry_policy(at, &RETRY_FIELDS);
    }

    /// All of a policy but its conditions.
    pub(super) fn retry_policy(&mut self, at: &At<'d>, known: &[&str]) -> Option<RetryPolicy> {
        let fields = self.map(at, "a retry policy")?;
        self.known_fields(at, fields, known, "a retry policy");
        let initial_ms = at.field("delay").map_or(Some(DEFAULT_DELAY_MS), |at| self.duration(&at, "delay"));
        let backoff = self.backoff(at);
        let limit = self.retry_limit(at);
        let jitter = self.jitter(at);
        let (initial_ms, (growth, cap_ms), (max_attempts, max_duration_ms), jitter) =
            (initial_ms?, backoff?, limit?, jitter?);
        let spread_ms = match jitter {
            Jitter::None | Jitter::Factor(_) => 0,
            Jitter::Between { to_ms, .. } => to_ms,
        };
        // A cap that the author did not write never shortens what the author did write.
        let cap_ms = cap_ms.unwrap_or_else(|| DEFAULT_CAP_MS.max(initial_ms.saturating_add(spread_ms)));
        Some(RetryPolicy {
            max_attempts,
            initial_ms,
            growth,
            cap_ms,
            jitter,
            max_duration_ms,
            non_retryable: Vec::new(),
        })
    }

    /// The growth, and the longest delay if it is given.
    fn backoff(&mut self, at: &At<'d>) -> Option<(Growth, Option<u64>)> {
        let Some(at) = at.field("backoff") else { return Some((Growth::Constant, None)) };
        let fields = self.map(&at, "`backoff`")?;
        self.known_fields(&at, fields, &["constant", "linear", "exponential"], "`backoff`");
        let [field] = fields else {
            let message = "`backoff` is one of `constant: {}`, `linear: {}`, `exponential: {}`".to_owned();
            self.problem(&at, "wrong_type", message);
            return None;
        };
        let at = at.below(field);
        let inner = match &at.node.content {
            Content::Map(inner) => inner.as_slice(),
            Content::Scalar { value, .. } if value.is_null() => &[],
            Content::Scalar { .. } | Content::List(_) => self.map(&at, &format!("`{}`", field.name))?,
        };
        let known: &[&str] = match field.name.as_str() {
            "linear" => &["maxDelay"],
            "exponential" => &["factor", "maxDelay"],
            _ => &[],
        };
        self.known_fields(&at, inner, known, &format!("`{}`", field.name));
        let cap_ms = match at.field("maxDelay") {
            Some(at) => Some(self.duration(&at, "maxDelay")?),
            None => None,
        };
        let growth = match field.name.as_str() {
            "linear" => Growth::Linear,
            "exponential" => Growth::Exponential(self.factor(&at)?),
            _ => Growth::Constant,
        };
        Some((growth, cap_ms))
    }

    fn factor(&mut self, at: &At<'d>) -> Option<f64> {
        let Some(at) = at.field("factor") else { return Some(2.0) };
        let factor = at.node.to_json().as_f64().filter(|factor| (1.0..=1000.0).contains(factor));
        if factor.is_none() {
            self.problem(&at, "wrong_type", "`factor` must be a number from 1 to 1000".to_owned());
        }
        factor
    }

    /// All attempts together (0: no limit) and the time for all of them.
    fn retry_limit(&mut self, at: &At<'d>) -> Option<(u32, Option<u64>)> {
        let Some(at) = at.field("limit") else { return Some((0, None)) };
        let fields = self.map(&at, "`limit`")?;
        self.known_fields(&at, fields, &["attempt", "duration"], "`limit`");
        let max_duration_ms = match at.field("duration") {
            Some(at) => Some(self.duration(&at, "duration")?),
            None => None,
        };
        let Some(at) = at.field("attempt") else { return Some((0, max_duration_ms)) };
        let fields = self.map(&at, "`attempt`")?;
        self.known_fields(&at, fields, &["count", "duration"], "`attempt`");
        if let Some(duration) = at.field("duration") {
            let advice = "bound a worker's attempts with `startToClose`, or all retries together with `limit.duration`";
            self.unsupported(&duration, "`limit.attempt.duration`", advice);
        }
        let Some(at) = at.field("count") else { return Some((0, max_duration_ms)) };
        let retries = self.count(&at, "count", 1_000_000)?;
        // The count is of retries, the policy's of all attempts.
        let attempts = u32::try_from(retries + 1).expect("within the limit just checked");
        Some((attempts, max_duration_ms))
    }

    fn jitter(&mut self, at: &At<'d>) -> Option<Jitter> {
        let Some(at) = at.field("jitter") else { return Some(Jitter::None) };
        let fields = self.map(&at, "`jitter`")?;
        self.known_fields(&at, fields, &["from", "to"], "`jitter`");
        let [from_ms, to_ms] = ["from", "to"].map(|name| match at.field(name) {
            Some(at) => self.duration(&at, name),
            None => self.missing(&at, name, "`jitter`"),
        });
        let (from_ms, to_ms) = (from_ms?, to_ms?);
        if from_ms > to_ms {
            self.problem(&at, "bad_duration", "`jitter.from` is longer than `jitter.to`".to_owned());
            return None;
        }
        Some(Jitter::Between { from_ms, to_ms })
    }
}

fn catch_scope(variables: &[String]) -> Scope {
    scope("a `catch`", &["context", "input", "task", "workflow", "runtime"], variables)
}
