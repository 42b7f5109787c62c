//! How deep a JSON text may nest: readers of events recurse, so the bound is set where a text comes in.

/// The deepest nesting of arrays and objects taken in one message. Common JSON readers stop at 128; an event is wrapped
/// a few levels more on its way to one.
pub const MAX_NESTING: usize = 100;

/// Whether a JSON text nests deeper than [`MAX_NESTING`]. Malformed texts get an answer too, a meaningless one.
pub fn is_too_nested(text: &[u8]) -> bool {
    // Nearly every message has fewer brackets than the bound in all, which a plain count finds out fastest.
    let opening = text.iter().filter(|&&byte| byte | 0x20 == b'{').count();
    opening > MAX_NESTING && deepest(text) > MAX_NESTING
}

fn deepest(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(!is_too_nested(nested(MAX_NESTING).as_bytes()));
        assert!(is_too_nested(nested(MAX_NESTING + 1).as_bytes()));
        assert!(!is_too_nested("[],".repeat(500).as_bytes()));
        assert!(!is_too_nested(format!(r#"["\"{}"]"#, "{".repeat(500)).as_bytes()));
    }
}
