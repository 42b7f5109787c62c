//! What language models stream, as text: the recorded streams where they are, else some of the project's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::exit::Failure;

/// An answer in the pieces in which a model gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The recording's name.
    pub(super) source: String,
    pub(super) pieces: Vec<String>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }
}

/// Fewer pieces are no stream to interrupt.
const FEWEST_PIECES: usize = 40;

/// Recordings of real models beside the checkout, and the project's own fixtures.
const RECORDED: &str = "../shared/data/llm-streams";
const OWN: &str = "fixtures/tokens";

/// A length that is pleasant to watch: the answer nearest to it is the one that is shown.
const PLEASANT_PIECES: usize = 300;

/// Streams long enough to be interrupted, the pleasantest first.
pub(super) fn answers() -> Result<Vec<Answer>, Failure> {
    for folder in [RECORDED, OWN].iter().flat_map(|folder| candidates(folder)) {
        let answers = read(&folder)?;
        if !answers.is_empty() {
            return Ok(answers);
        }
    }
    Err(Failure::local("find token streams", format!("neither {RECORDED} nor {OWN} is there"))
        .advise("run it from the project's folder, or through `make demo`"))
}

/// Below the working directory, or where the program was built.
fn candidates(folder: &str) -> Vec<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    vec![PathBuf::from(folder), built]
}

fn read(folder: &Path) -> Result<Vec<Answer>, Failure> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let mut answers = Vec::new();
    for path in paths {
        let text =
            fs::read_to_string(&path).map_err(|error| Failure::local(format!("read {}", path.display()), error))?;
        let source = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        answers.push(Answer { source, pieces: pieces(&text) });
    }
    answers.retain(|answer| answer.pieces.len() >= FEWEST_PIECES);
    answers.sort_by_key(|answer| answer.pieces.len().abs_diff(PLEASANT_PIECES));
    Ok(answers)
}

/// The text of a recording of one JSON event a line, piece by piece. Lines that are no JSON have none.
fn pieces(recording: &str) -> Vec<String> {
    let events = recording.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter_map(|event| text_of(&event)).filter(|text| !text.is_empty()).collect()
}

/// The visible text that an event adds to the answer; reasoning, tools and bookkeeping add none.
fn text_of(event: &Value) -> Option<String> {
    let at = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let named = |pointer: &str, name: &str| at(pointer) == Some(name);
    let text = if let Some(content) = at("/choices/0/delta/content") {
        // OpenAI's chat completions, and those who speak them: Groq, DeepSeek, Mistral, xAI, Alibaba.
        Some(content)
    } else if named("/type", "response.output_text.delta") {
        // OpenAI's responses, also at Azure and xAI.
        at("/delta")
    } else if named("/type", "content_block_delta") && named("/delta/type", "text_delta") {
        // Anthropic.
        at("/delta/text")
    } else if named("/type", "content-delta") {
        // Cohere.
        at("/delta/message/content/text")
    } else if named("/delta/type", "text") && at("/event_type").is_some() {
        // Google's interactions.
        at("/delta/text")
    } else {
        // Amazon Bedrock, Google's live sessions.
        at("/contentBlockDelta/delta/text").or_else(|| at("/serverContent/outputTranscription/text"))
    };
    text.map(str::to_owned).or_else(|| parts(event))
}

/// Google's candidates: parts, of which some are thoughts.
fn parts(event: &Value) -> Option<String> {
    let parts = event.pointer("/candidates/0/content/parts")?.as_array()?;
    let spoken = parts.iter().filter(|part| part.get("thought") != Some(&Value::Bool(true)));
    Some(spoken.filter_map(|part| part.get("text")?.as_str()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(event: &str, expect: Option<&str>) {
        let event = serde_json::from_str(event).expect("JSON");
        assert_eq!(text_of(&event).as_deref(), expect, "{event}");
    }

    #[test]
    fn every_providers_text_is_found() {
        check(r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hel"}}]}"#, Some("Hel"));
        check(r#"{"type":"response.output_text.delta","delta":"lo","sequence_number":4}"#, Some("lo"));
        check(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" wo"}}"#, Some(" wo"));
        check(r#"{"candidates":[{"content":{"parts":[{"text":"r"},{"text":"ld"}]}}]}"#, Some("rld"));
        check(r#"{"event_type":"step.delta","index":1,"delta":{"type":"text","text":"!"}}"#, Some("!"));
        check(r#"{"type":"content-delta","delta":{"message":{"content":{"text":"a"}}}}"#, Some("a"));
        check(r#"{"contentBlockDelta":{"delta":{"text":"b"},"contentBlockIndex":0}}"#, Some("b"));
        check(r#"{"serverContent":{"outputTranscription":{"text":"c"}}}"#, Some("c"));
    }

    #[test]
    fn reasoning_tools_and_bookkeeping_are_no_text() {
        check(r#"{"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]}"#, None);
        check(r#"{"choices":[],"usage":{"total_tokens":3}}"#, None);
        check(r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}"#, None);
        check(r#"{"type":"response.reasoning_text.delta","delta":"hm"}"#, None);
        check(r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true}]}}]}"#, Some(""));
        check(r#"{"setupComplete":{}}"#, None);
    }

    #[test]
    fn a_recording_becomes_its_pieces() {
        let recording = "{\"contentBlockDelta\":{\"delta\":{\"text\":\"a\"}}}\nbroken\n\n{\"messageStop\":{}}\n\
                         {\"contentBlockDelta\":{\"delta\":{\"text\":\"ü\\n\"}}}\n";
        assert_eq!(pieces(recording), ["a", "ü\n"]);
    }

    #[test]
    fn the_projects_own_streams_are_long_enough_to_interrupt() {
        let own = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(OWN)).expect("readable");
        assert!(own.len() >= 3, "{}", own.len());
    }

    #[test]
    fn the_recorded_streams_are_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(RECORDED);
        if !folder.is_dir() {
            println!("skipped: {RECORDED} is not there");
            return;
        }
        let answers = read(&folder).expect("readable");
        assert!(answers.len() >= 25, "only {} of the recordings have text", answers.len());
        assert!(answers.iter().any(|answer| answer.source.starts_with("anthropic")));
        assert!(answers.iter().any(|answer| answer.source.starts_with("openai")));
    }
}
