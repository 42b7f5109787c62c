//! Frames as bytes: written once, sent to many.

use crate::admission::Close;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// A control frame's payload, and in a close frame two of it are the code.
const CONTROL_BYTES: usize = 125;

/// Appends one text frame whose content `write` appends. The head is fitted in afterwards: nobody needs to know the
/// length before, and the usual content is not moved by more than two bytes.
pub(crate) fn push_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = out.len() - start - 4;
    let (content, head) = (start + 4, head_bytes(length));
    if head > 4 {
        out.resize(out.len() + head - 4, 0);
    }
    out.copy_within(content..content + length, start + head);
    out.truncate(start + head + length);
    out[start] = TEXT;
    put_length(&mut out[start + 1..start + head], length);
}

fn put_length(head: &mut [u8], length: usize) {
    match head {
        [short] => *short = u8::try_from(length).expect("a short head has a short length"),
        [marker, middle @ ..] if middle.len() == 2 => {
            *marker = 126;
            middle.copy_from_slice(&u16::try_from(length).expect("a middle head has a middle length").to_be_bytes());
        }
        [marker, long @ ..] => {
            *marker = 127;
            long.copy_from_slice(&(length as u64).to_be_bytes());
        }
        [] => unreachable!("a head has two bytes or more"),
    }
}

/// How long the head of an unmasked frame with this much content is.
const fn head_bytes(content: usize) -> usize {
    match content {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// How much content a whole unmasked frame of this length has.
pub(crate) const fn content_bytes(frame: usize) -> usize {
    match frame {
        0..=127 => frame - 2,
        128..=0x1_0003 => frame - 4,
        _ => frame - 10,
    }
}

pub(crate) fn push_ping(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PING, 0]);
}

/// Answers a ping, whose payload is at most 125 bytes.
pub(crate) fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push_control(out, PONG, payload);
}

/// The reason is cut to what a close frame holds.
pub(crate) fn push_close(out: &mut Vec<u8>, close: &Close) {
    let mut end = close.reason.len().min(CONTROL_BYTES - 2);
    while !close.reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = close.code.number().to_be_bytes().to_vec();
    payload.extend_from_slice(&close.reason.as_bytes()[..end]);
    push_control(out, CLOSE, &payload);
}

fn push_control(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    debug_assert!(payload.len() <= CONTROL_BYTES, "a control frame is short");
    out.extend_from_slice(&[opcode, u8::try_from(payload.len()).expect("a control frame is short")]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::CloseCode;

    #[test]
    fn a_head_fits_its_content() {
        for length in [0, 1, 125, 126, 127, 128, 0xffff, 0x1_0000, 300_000] {
            let mut out = b"before".to_vec();
            push_text(&mut out, |out| out.extend(std::iter::repeat_n(b'x', length)));
            let frame = &out[6..];
            assert_eq!(frame.len(), head_bytes(length) + length, "{length}");
            assert_eq!(content_bytes(frame.len()), length, "{length}");
            let told = match frame[1] {
                126 => usize::from(u16::from_be_bytes([frame[2], frame[3]])),
                127 => usize::try_from(u64::from_be_bytes(frame[2..10].try_into().expect("8 bytes"))).expect("fits"),
                short => usize::from(short),
            };
            assert_eq!((frame[0], told), (TEXT, length));
            assert!(frame[head_bytes(length)..].iter().all(|&byte| byte == b'x'));
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        push_close(&mut out, &Close::new(CloseCode::BadMessage, "ü".repeat(100)));
        assert_eq!(out.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }
}
