//! What a definition may say but probably does not mean.

use crate::document::Node;
use crate::problem::Problem;
use crate::program::Program;

/// Warnings of a program that compiled.
pub(crate) fn of(_program: &Program, _root: &Node) -> Vec<Problem> {
    Vec::new()
}
