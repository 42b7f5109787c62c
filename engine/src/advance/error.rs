//! Why a task could not go on: a sentence that becomes the detail of an error which a `catch` may see.

use std::fmt;

use workflow::ExpressionError;

use crate::limits;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskError(String);

impl TaskError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        let end = sentence.char_indices().nth(limits::DETAIL_CHARS).map_or(sentence.len(), |(end, _)| end);
        Self(sentence[..end].to_owned())
    }
}

impl From<ExpressionError> for TaskError {
    fn from(error: ExpressionError) -> Self {
        Self::new(error.to_string())
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
