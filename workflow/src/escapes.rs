//! Puts right the one escape of JSON that neither YAML nor the expression reader knows: two halves of one character.

use std::borrow::Cow;

/// Replaces each escaped surrogate pair (`\\ud83d\\ude00`) by the character it means. Columns behind one on the same
/// line shift.
pub(crate) fn joined_surrogates(source: &str) -> Cow<'_, str> {
    if !source.contains("\\ud") && !source.contains("\\uD") {
        return Cow::Borrowed(source);
    }
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let (mut joined, mut rest) = (String::with_capacity(source.len()), source);
    while let Some(at) = rest.find('\\') {
        joined.push_str(&rest[..at]);
        rest = &rest[at..];
        let pair = unit(rest).zip(rest.get(6..).and_then(unit));
        let character = pair.and_then(|(high, low)| char::decode_utf16([high, low]).next()?.ok());
        match character {
            Some(character) if u32::from(character) > 0xffff => {
                joined.push(character);
                rest = &rest[12..];
            }
            Some(_) | None => {
                let escape = rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end);
                joined.push_str(&rest[..escape]);
                rest = &rest[escape..];
            }
        }
    }
    joined.push_str(rest);
    Cow::Owned(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_halves_become_one_character_and_all_else_stays() {
        let check = |source: &str, expect: &str| assert_eq!(joined_surrogates(source), expect);
        check(r#""\ud83d\ude00!""#, "\"😀!\"");
        check(r#""\\ud83d\ude00""#, r#""\\ud83d\ude00""#);
        check(r#""\ud83d""#, r#""\ud83d""#);
        check(r#""\ud83d\ud83d\ude00""#, "\"\\ud83d😀\"");
        check(r#""\ud8é""#, r#""\ud8é""#);
        check("\\ud83d\\", "\\ud83d\\");
    }
}
