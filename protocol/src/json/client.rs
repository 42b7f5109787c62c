//! Reads and writes what a client says.

use std::cell::Cell;

use serde::{Deserialize, Serialize};
use types::{Code, StreamName, StreamStart};

use super::envelope::{Envelope, Fields};
use super::nesting::{MAX_NESTING, is_too_nested};
use super::{FrameError, splice};
use crate::client_frame::{ClientFrame, Cmd, Command};

/// Every frame a client may send, for the answer to one that is none of them.
const OPS: &str = "hello, sub, unsub, credit, cmd, work, result, chunk, beat, ping";
/// Every command, likewise.
const TYPES: &str = "append, start, signal, cancel";

impl ClientFrame {
    /// Reads one message. Unknown frames, unknown fields, duplicate fields and deep nesting are refused by name.
    pub fn decode(text: &str) -> Result<Self, FrameError> {
        let envelope = Envelope::of(text)?;
        let frame = if is_too_nested(text.as_bytes()) {
            Err(FrameError::bad_message(format_args!("the message nests deeper than {MAX_NESTING} levels")))
        } else {
            read_frame(&envelope, text)
        };
        frame.map_err(|error| explain(&envelope.op, text, error))
    }

    /// The same from bytes that may not be UTF-8.
    pub fn decode_bytes(message: &[u8]) -> Result<Self, FrameError> {
        let text = std::str::from_utf8(message)
            .map_err(|error| FrameError::bad_message(format_args!("the message is not UTF-8: {error}")))?;
        Self::decode(text)
    }

    /// The message, `op` first.
    pub fn encode(&self) -> String {
        let mut out = Vec::with_capacity(256);
        self.encode_into(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    /// Appends the message to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(frame) => write(out, r#"{"op":"hello""#, frame),
            Self::Sub(frame) => write(out, r#"{"op":"sub""#, frame),
            Self::Unsub(frame) => write(out, r#"{"op":"unsub""#, frame),
            Self::Credit(frame) => write(out, r#"{"op":"credit""#, frame),
            Self::Cmd(Cmd { n, command }) => write_command(out, *n, command),
            Self::Work(frame) => write(out, r#"{"op":"work""#, frame),
            Self::Result(frame) => write(out, r#"{"op":"result""#, frame),
            Self::Chunk(frame) => write(out, r#"{"op":"chunk""#, frame),
            Self::Beat(frame) => write(out, r#"{"op":"beat""#, frame),
            Self::Ping(frame) => write(out, r#"{"op":"ping""#, frame),
        }
    }
}

fn write(out: &mut Vec<u8>, open: &str, fields: &impl Serialize) {
    out.extend_from_slice(open.as_bytes());
    let start = out.len();
    serde_json::to_writer(&mut *out, fields).expect("frames have string keys and a Vec takes every byte");
    splice(out, start);
}

fn write_command(out: &mut Vec<u8>, n: u64, command: &Command) {
    let open = |name: &str| format!(r#"{{"op":"cmd","n":{n},"type":"{name}""#);
    match command {
        Command::Append(fields) => write(out, &open("append"), fields),
        Command::Start(fields) => write(out, &open("start"), fields),
        Command::Signal(fields) => write(out, &open("signal"), fields),
        Command::Cancel(fields) => write(out, &open("cancel"), fields),
    }
}

fn read_frame(envelope: &Envelope<'_>, text: &str) -> Result<ClientFrame, FrameError> {
    match &*envelope.op {
        "hello" => read(text).map(ClientFrame::Hello),
        "sub" => read(text).map(ClientFrame::Sub),
        "unsub" => read(text).map(ClientFrame::Unsub),
        "credit" => read(text).map(ClientFrame::Credit),
        "cmd" => read_command(envelope.kind.as_deref(), text).map(ClientFrame::Cmd),
        "work" => read(text).map(ClientFrame::Work),
        "result" => read(text).map(ClientFrame::Result),
        "chunk" => read(text).map(ClientFrame::Chunk),
        "beat" => read(text).map(ClientFrame::Beat),
        "ping" => read(text).map(ClientFrame::Ping),
        unknown => {
            Err(FrameError::bad_message(format_args!("{:?} is not an op: expected one of {OPS}", clip(unknown))))
        }
    }
}

fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, FrameError> {
    Fields { number: None }.read(text).map_err(FrameError::bad_message)
}

fn read_command(kind: Option<&str>, text: &str) -> Result<Cmd, FrameError> {
    let number = Cell::new(None);
    let command = match kind {
        Some("append") => read_numbered(&number, text).map(Command::Append),
        Some("start") => read_numbered(&number, text).map(Command::Start),
        Some("signal") => read_numbered(&number, text).map(Command::Signal),
        Some("cancel") => read_numbered(&number, text).map(Command::Cancel),
        Some(unknown) => {
            let unknown = clip(unknown);
            Err(FrameError::bad_message(format_args!("{unknown:?} is not a type of command: expected one of {TYPES}")))
        }
        None => Err(FrameError::bad_message(format_args!("a command has no `type`: expected one of {TYPES}"))),
    }?;
    let n = number.get().ok_or_else(|| FrameError::bad_message("a command has no `n`: its answer carries it"))?;
    Ok(Cmd { n, command })
}

fn read_numbered<'de, T: Deserialize<'de>>(number: &Cell<Option<u64>>, text: &'de str) -> Result<T, FrameError> {
    Fields { number: Some(number) }.read(text).map_err(FrameError::bad_message)
}

/// Finds out what a refused frame was about, so that only that is refused, and names the cause where a client may act
/// on it. Only ever run on a frame that failed, so it may read the message again.
fn explain(op: &str, text: &str, error: FrameError) -> FrameError {
    #[derive(Deserialize)]
    struct About {
        n: Option<u64>,
        id: Option<u32>,
        stream: Option<String>,
        from: Option<String>,
    }
    let Ok(about) = serde_json::from_str::<About>(text) else { return error };
    let bad_stream = about.stream.is_some_and(|name| StreamName::new(&name).is_err());
    let bad_cursor = about.from.is_some_and(|from| from.parse::<StreamStart>().is_err());
    let code = match (bad_stream, bad_cursor) {
        (true, _) => Code::InvalidName,
        (false, true) => Code::InvalidCursor,
        (false, false) => error.code,
    };
    let command = if op == "cmd" { about.n } else { None };
    let subscription = if matches!(op, "sub" | "unsub" | "credit") { about.id } else { None };
    FrameError { code, command, subscription, ..error }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}
