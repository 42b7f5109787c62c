//! The bytes that version 1 wrote, kept in `fixtures/engine-v1`: read for ever, and written the same while version 1
//! is what is written. `WRITE_FIXTURES=1 cargo test -p engine golden` adds the missing ones; none is ever edited.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use types::{Offset, StreamOrdinal};

use super::read;
use super::samples::{self, EventSample, RowSample};
use crate::event::Class;
use crate::stored::{
    Encoded, KERNEL_EVENT, OutputPart, decode_row, encode, encode_row, read_row, row_key, row_name, v1,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/engine-v1")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn unhex(text: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The fixture of this name; `fresh` where it is missing and may be added.
fn kept(name: &str, fresh: &str) -> String {
    let path = folder().join(format!("{name}.hex"));
    if !path.exists() && std::env::var_os("WRITE_FIXTURES").is_some() {
        fs::create_dir_all(folder()).expect("the folder can be made");
        fs::write(&path, fresh).expect("the fixture can be written");
    }
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; WRITE_FIXTURES=1 adds what is missing", path.display()))
}

fn record_text(encoded: &Encoded) -> String {
    let mut text = format!("schema {}\nclass {:?}\n", encoded.schema, encoded.class);
    let place = format!("stream {}\noffset {}\n", encoded.stream, encoded.offset);
    text.push_str(&place);
    if let Some(OutputPart { step, attempt, sequence }) = encoded.output {
        writeln!(text, "output {step} {attempt} {sequence}").expect("a string takes all");
    }
    writeln!(text, "key {}", hex(&encoded.key)).expect("a string takes all");
    for (name, value) in &encoded.headers {
        writeln!(text, "header {} {}", hex(name), hex(value)).expect("a string takes all");
    }
    writeln!(text, "payload {}", hex(&encoded.payload)).expect("a string takes all");
    text
}

fn parse_record(text: &str) -> Encoded {
    let fields = |wanted: &str| -> Vec<Vec<&str>> {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(name, _)| *name == wanted).map(|(_, rest)| rest.split(' ').collect()).collect()
    };
    let one = |wanted: &str| fields(wanted).swap_remove(0)[0].to_owned();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let small = |text: &str| text.parse::<u32>().expect("a number");
    let class = match one("class").as_str() {
        "Fact" => Class::Fact,
        "Attempt" => Class::Attempt,
        "Output" => Class::Output,
        other => panic!("{other} is no class"),
    };
    let output = fields("output").first().map(|part| OutputPart {
        step: small(part[0]),
        attempt: small(part[1]),
        sequence: number(part[2]),
    });
    Encoded {
        schema: one("schema").parse().expect("a number"),
        class,
        stream: StreamOrdinal::new(number(&one("stream"))),
        offset: Offset::new(number(&one("offset"))),
        output,
        key: unhex(&one("key")),
        headers: fields("header").iter().map(|header| (unhex(header[0]), unhex(header[1]))).collect(),
        payload: unhex(&one("payload")),
    }
}

#[test]
fn every_event_is_read_from_the_bytes_of_version_1() {
    for EventSample { name, event, place } in samples::events() {
        let fresh = record_text(&encode(&event, place));
        let text = kept(&format!("event-{name}"), &fresh);
        assert_eq!(read(&parse_record(&text)), Ok(event), "{name}");
        assert_eq!(fresh, text, "{name} is written as ever");
    }
}

#[test]
fn every_row_is_read_from_the_bytes_of_version_1() {
    for RowSample { label, name, image } in samples::rows() {
        let (kind, id) = row_key(&name);
        let fresh = format!("kind {kind}\nid {}\nvalue {}\n", hex(&id), hex(&encode_row(&name, &image)));
        let text = kept(&format!("row-{label}"), &fresh);
        let (kept_id, value) = text.split_once("\nvalue ").expect("two parts");
        let kept_id = unhex(kept_id.split_once("\nid ").expect("an id").1);
        let value = unhex(value.trim_end());
        assert_eq!(decode_row(&name, &value), Ok(image.clone()), "{label}");
        assert_eq!(read_row(kind, &kept_id, &value), Ok((name, image)), "{label}");
        assert_eq!(fresh, text, "{label} is written as ever");
    }
}

#[test]
fn every_kind_has_a_fixture_and_every_fixture_is_checked() {
    let names: BTreeSet<String> = samples::events()
        .iter()
        .map(|sample| format!("event-{}.hex", sample.name))
        .chain(samples::rows().iter().map(|sample| format!("row-{}.hex", sample.label)))
        .collect();
    let output = ["ChunkAppended", "EventAppended", "AttemptSuperseded"].map(|name| format!("event-{name}"));
    let events = v1::event::KINDS.iter().map(|(_, name)| format!("event-{name}"));
    let rows = row_name::KINDS.iter().map(|(_, name)| format!("row-{name}"));
    for kind in events.chain(output).chain(rows) {
        assert!(names.contains(&format!("{kind}.hex")), "{kind} has no sample");
    }
    for entry in fs::read_dir(folder()).expect("the fixtures are there") {
        let file = entry.expect("an entry").file_name().into_string().expect("a plain name");
        assert!(names.contains(&file), "{file} is checked by no sample");
    }
}

/// A sample is named after the event in it, so that the list of kinds is really covered.
#[test]
fn samples_are_what_their_names_say() {
    for EventSample { name, event, place } in samples::events() {
        let encoded = encode(&event, place);
        if encoded.schema == KERNEL_EVENT {
            let kind = v1::event::KINDS.iter().find(|(number, _)| *number == encoded.payload[0]).expect("listed").1;
            assert_eq!(name.split('-').next(), Some(kind));
        }
    }
    let numbers: BTreeSet<u8> = v1::event::KINDS.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), v1::event::KINDS.len(), "every kind has its own number");
    assert!(numbers.iter().all(|number| *number < 0x80), "the upper half is for rows");
}
