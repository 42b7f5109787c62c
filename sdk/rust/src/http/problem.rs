//! A refusal as HTTP carries it: problem+json (RFC 9457) with a stable code.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};
use types::Code;

/// Why the node did not do what it was asked over HTTP.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Problem {
    pub status: u16,
    #[serde(default)]
    pub title: String,
    /// A sentence for the one who must act.
    #[serde(default)]
    pub detail: String,
    /// Stable; `None` for one that this version does not know (`code_text` has it).
    #[serde(skip)]
    pub code: Option<Code>,
    #[serde(default, rename = "code")]
    pub code_text: String,
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// What a program may need to go on: a line and column, an expected sequence.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Problem {
    /// Reads an answer that is no success. One without a problem in it still says its status.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let mut problem: Self = serde_json::from_slice(body).unwrap_or_else(|_| Self::plain(status, body));
        problem.status = status;
        problem.code = serde_json::from_value(Value::String(problem.code_text.clone())).ok();
        problem
    }

    fn plain(status: u16, body: &[u8]) -> Self {
        let detail: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
        let detail = if detail.is_empty() { format!("the node answers {status} without a word") } else { detail };
        let (title, code_text) = (String::new(), String::new());
        Self { status, title, detail, code: None, code_text, retry_after_ms: None, more: Map::new() }
    }

    /// A list of sentences among the details, such as every mistake of a definition.
    pub fn sentences(&self, name: &str) -> Vec<String> {
        match self.more.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code_text.is_empty() {
            write!(f, "{} (HTTP {})", self.detail, self.status)
        } else {
            write!(f, "{} ({})", self.detail, self.code_text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_code_and_details() {
        let body = br#"{"type":"x","title":"Invalid definition","status":422,"detail":"2 problems",
            "code":"invalid_definition","problem":["a","b"],"line":"3"}"#;
        let problem = Problem::read(422, body);
        assert_eq!(problem.code, Some(Code::InvalidDefinition));
        assert_eq!(problem.to_string(), "2 problems (invalid_definition)");
        assert_eq!(problem.sentences("problem"), ["a", "b"]);
        assert_eq!(problem.sentences("line"), ["3"]);
    }

    #[test]
    fn what_is_no_problem_still_says_something() {
        assert_eq!(Problem::read(502, b"Bad Gateway").to_string(), "Bad Gateway (HTTP 502)");
        assert_eq!(Problem::read(500, b"").to_string(), "the node answers 500 without a word (HTTP 500)");
        let newer = Problem::read(409, br#"{"status":409,"detail":"no","code":"from_the_future"}"#);
        assert_eq!((newer.code, newer.to_string().as_str()), (None, "no (from_the_future)"));
    }
}
