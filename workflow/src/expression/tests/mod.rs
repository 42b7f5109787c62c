//! What expressions mean, what they refuse, and what they may never do.

mod agreement;
mod hostile;
mod meaning;
mod messages;

use serde_json::{Value as Json, json};

use super::*;

/// The record's time in all of these tests.
const NOW: u64 = 1_795_493_220_123;

fn scope() -> Scope {
    Scope::new("a test", &["context", "item"])
}

fn variables() -> Variables {
    Variables::from([("context".to_owned(), json!({"user": {"name": "Ada"}})), ("item".to_owned(), json!([1, 2]))])
}

fn moment() -> Moment {
    Moment { now: Timestamp::from_millis(NOW), seed: 7 }
}

/// As much as several evaluations can use.
fn plenty() -> Fuel {
    Fuel::new(10 * crate::limits::MAX_FUEL)
}

fn parse(source: &str) -> Expression {
    Expression::parse(source, &scope()).unwrap_or_else(|errors| panic!("{source}: {errors:?}"))
}

fn evaluate(source: &str, input: &Json) -> Result<Json, ExpressionError> {
    parse(source).evaluate(input, &variables(), &moment(), &plenty())
}

/// Runs on a thread with a stack of that many KiB, as a stack overflow cannot be caught.
fn on_stack<T: Send>(kib: usize, test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(kib * 1024).spawn_scoped(scope, test);
        thread.expect("a thread").join().expect("the test passes")
    })
}

#[test]
fn expressions_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + std::fmt::Debug>() {}
    shared::<Expression>();
    shared::<Template>();
    shared::<ExpressionError>();
}
