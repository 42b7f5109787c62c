//! A definition becomes a checked program; expressions are evaluated inside limits.
//! Pure: knows no clock, no chance, no I/O, no runs and no events.

mod compile;
mod document;
mod duration;
pub mod error;
mod escapes;
pub mod expression;
pub mod limits;
mod problem;
pub mod program;
mod retry;
mod suggest;
mod warnings;

pub use compile::{compile, compile_with_warnings, warnings};
pub use error::{WorkflowError, canonical_error_type};
pub use expression::{Expression, ExpressionError, ExpressionErrorKind, Fuel, Moment, Scope, Template};
pub use problem::Problem;
pub use program::{Growth, Jitter, Program, RetryPolicy};
