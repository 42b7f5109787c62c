//! Finds the workspace's files and reduces Rust to the code in it: no comments, no texts, on request no tests.

use std::fs;
use std::path::{Path, PathBuf};

/// A file by its path from the workspace root, with `/` between the parts.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn rust_files(root: &Path) -> Vec<File> {
    files(root, |path| extension(path) == Some("rs"))
}

/// Everything a person reads: code, documents, scripts, definitions.
pub(crate) fn text_files(root: &Path) -> Vec<File> {
    files(root, |path| match extension(path) {
        Some(extension) => ["rs", "md", "toml", "yaml", "yml", "sh"].contains(&extension),
        None => path == "Makefile" || path == ".ci/run",
    })
}

fn extension(path: &str) -> Option<&str> {
    Path::new(path).extension()?.to_str()
}

fn files(root: &Path, wanted: impl Fn(&str) -> bool) -> Vec<File> {
    let mut paths = Vec::new();
    collect(root, &mut paths);
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(root).expect("collected below the root").to_string_lossy().replace('\\', "/");
        if wanted(&relative) {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{relative} is not readable: {error}"));
            found.push(File { path: relative, text });
        }
    }
    found
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the workspace is readable") {
        let entry = entry.expect("a directory's entries are readable");
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().expect("an entry has a type");
        let skipped = (name.starts_with('.') && name != ".ci") || name == "target" || name == "node_modules";
        if kind.is_dir() && !skipped {
            collect(&path, into);
        } else if kind.is_file() {
            into.push(path);
        }
    }
}

/// The code of a Rust file: comments, texts and characters are blank, line breaks stay.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let skip = comment(&bytes[at..]).or_else(|| raw_text(bytes, at)).or_else(|| quoted(&bytes[at..]));
        let Some(length) = skip else {
            code.push(if bytes[at].is_ascii() { bytes[at] as char } else { ' ' });
            at += 1;
            continue;
        };
        let end = (at + length).min(bytes.len());
        code.extend(bytes[at..end].iter().map(|&byte| if byte == b'\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// The length of the comment that begins here; block comments nest.
fn comment(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    Some(rest.len())
}

/// The length of a raw text such as `r#"…"#` that begins here.
fn raw_text(bytes: &[u8], at: usize) -> Option<usize> {
    let inside_a_word = at > 0 && is_word(bytes[at - 1]);
    let rest = &bytes[at..];
    let prefix = [&b"br"[..], b"cr", b"r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].iter().take_while(|&&byte| byte == b'#').count();
    let open = prefix.len() + hashes;
    if inside_a_word || rest.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// The length of a text or a character that begins here; a lifetime is neither.
fn quoted(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'"', ..] => Some(closing(rest, b'"')),
        [b'\'', b'\\', ..] => Some(closing(rest, b'\'')),
        [b'\'', ..] => {
            let text = std::str::from_utf8(&rest[1..rest.len().min(6)]).unwrap_or_else(|error| {
                std::str::from_utf8(&rest[1..=error.valid_up_to()]).expect("valid up to there")
            });
            let width = text.chars().next()?.len_utf8();
            (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
        }
        _ => None,
    }
}

fn closing(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The words of a piece of code with the line each stands on, and what directly precedes and follows it.
pub(crate) fn words(code: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut at = 0;
        for part in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if !part.is_empty() {
                let (before, after) = (line[..at].trim_end(), line[at + part.len()..].trim_start());
                found.push(Word { text: part, line: index + 1, before, after });
            }
            at += part.len() + 1;
        }
    }
    found
}

pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
    pub(crate) before: &'a str,
    pub(crate) after: &'a str,
}

/// Code without the items marked `#[cfg(test)]`.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        kept.push_str(&rest[..start]);
        let item = &rest[start..];
        let length = item_length(item);
        kept.extend(item[..length].chars().filter(|&c| c == '\n'));
        rest = &item[length..];
    }
    kept.push_str(rest);
    kept
}

/// Up to the `;` or the closing brace that ends the item.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    item.len()
}

/// Files that are no part of what ships: `tests/…`, `benches/…`, `examples/…`, `…/tests.rs`, `…_tests.rs`.
pub(crate) fn is_test_file(path: &str) -> bool {
    let in_tests = path.split('/').any(|part| ["tests", "benches", "examples", "fuzz"].contains(&part));
    in_tests || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

#[test]
fn comments_and_texts_are_not_code() {
    let check = |text: &str, expect: &str| {
        assert_eq!(code(text).split_whitespace().collect::<Vec<_>>().join(" "), expect, "{text}");
    };
    check("a // rocksdb::x\nb", "a b");
    check("a /* one /* two */ three */ b", "a b");
    check(r#"f("rocksdb::\"x") g"#, "f( ) g");
    check("f(r#\"one \" two\"#) g", "f( ) g");
    check("fn f<'a>(x: &'a str) { ('\\'', '{', 'ü') }", "fn f<'a>(x: &'a str) { ( , , ) }");
}

#[test]
fn test_modules_can_be_left_out() {
    let kept = without_tests("fn a() {}\n#[cfg(test)]\nmod tests { fn b() { if x { } } }\nfn c() {}");
    assert_eq!(kept, "fn a() {}\n\n\nfn c() {}");
    assert_eq!(without_tests("#[cfg(test)]\nmod tests;\nfn c() {}"), "\n\nfn c() {}");
}
