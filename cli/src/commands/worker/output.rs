//! Reads what a program writes: every line but the last is a chunk, the last is the result. Bounded.

use std::io::Write;

use headwater_client::Failed;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

/// The longest line: what a node takes as one event.
const LINE_BYTES: usize = 256 * 1024;

/// How much of standard error a failure tells.
const TAIL_BYTES: usize = 4 * 1024;

/// The next line without its end; `None` at the end of the output.
pub(super) async fn next_line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<String>, Failed> {
    let mut line = Vec::new();
    let limit = LINE_BYTES as u64 + 2;
    let read = from.take(limit).read_until(b'\n', &mut line).await;
    read.map_err(|error| Failed::new(format!("the program's output cannot be read: {error}")))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if line.len() > LINE_BYTES {
        let message = format!("the program wrote a line of more than {LINE_BYTES} bytes");
        return Err(Failed::new(message).kind("line_too_long").for_good());
    }
    let text = String::from_utf8(line)
        .map_err(|_| Failed::new("the program wrote a line that is not UTF-8").kind("bad_output").for_good())?;
    Ok(Some(text))
}

/// The last line as the result.
pub(super) fn result(last: Option<String>) -> Result<Box<RawValue>, Failed> {
    let last = last.unwrap_or_else(|| "null".to_owned());
    serde_json::from_str(&last).map_err(|error| {
        let shown: String = last.chars().take(80).collect();
        let message =
            format!("the last line of the program's output is the result and must be JSON: {shown:?}: {error}");
        Failed::new(message).kind("bad_output").for_good()
    })
}

/// Passes standard error on and keeps its end.
pub(super) async fn tail(mut from: impl AsyncRead + Unpin, mut to: impl Write) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        // Nobody may be there to read it; the tail is what counts.
        let _ = to.write_all(&piece[..read]);
        kept.extend_from_slice(&piece[..read]);
        kept.drain(..kept.len().saturating_sub(TAIL_BYTES));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8]) -> Result<Vec<String>, Failed> {
        let mut from = text;
        let mut all = Vec::new();
        while let Some(line) = next_line(&mut from).await? {
            all.push(line);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn lines_end_with_their_break_or_with_the_output() {
        assert_eq!(lines(b"a\r\nb\n\nc").await.expect("text"), ["a", "b", "", "c"]);
        assert_eq!(lines(b"").await.expect("text"), [""; 0]);
    }

    #[tokio::test]
    async fn a_line_without_end_and_bytes_that_are_no_text_are_failures() {
        let long = vec![b'x'; LINE_BYTES + 1];
        assert_eq!(lines(&long).await.expect_err("too long").failure.kind, "line_too_long");
        assert!(lines(&long[1..]).await.is_ok());
        assert_eq!(lines(b"\xff\n").await.expect_err("no text").failure.kind, "bad_output");
    }

    #[test]
    fn the_last_line_is_json() {
        assert_eq!(result(None).expect("nothing is null").get(), "null");
        assert_eq!(result(Some("{\"a\":1}".into())).expect("JSON").get(), "{\"a\":1}");
        let failed = result(Some("done".into())).expect_err("no JSON");
        assert!(failed.failure.non_retryable && failed.failure.message.contains("\"done\""));
    }

    #[tokio::test]
    async fn only_the_end_of_standard_error_is_kept() {
        let text = [vec![b'a'; 10_000], b"the end".to_vec()].concat();
        let mut passed_on = Vec::new();
        let kept = tail(&text[..], &mut passed_on).await;
        assert_eq!(passed_on, text);
        assert_eq!(kept.len(), TAIL_BYTES);
        assert!(kept.ends_with("the end"));
    }
}
