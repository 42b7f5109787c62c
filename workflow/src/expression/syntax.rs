//! Reads the text of an expression with `jaq-core`, inside limits that keep its recursive reader from the end of the
//! stack. Says what is wrong, and refuses what `jaq-core` would group otherwise than jq.

use jaq_core::load::lex::{self, Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{self, Def, Parser, Term};

use crate::limits;

/// What is wrong with an expression, and where in its text (in bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// `bad_expression`, `unknown_function` or `unknown_variable`.
    pub code: &'static str,
    pub message: String,
    pub offset: usize,
    pub suggestion: Option<String>,
}

/// Reads one expression.
pub(crate) fn parse(source: &str) -> Result<Term<&str>, Vec<SyntaxError>> {
    let tokens = tokens(source)?;
    if let Some(refused) = ambiguous(source, &tokens) {
        return Err(vec![refused]);
    }
    Parser::new(&tokens)
        .parse(Parser::term)
        .map_err(|errors| errors.into_iter().map(|(expected, found)| unexpected(source, &expected, found)).collect())
}

/// Reads the definitions of the prelude, whose text a test keeps correct.
pub(crate) fn parse_definitions(source: &'static str) -> Vec<Def<&'static str>> {
    let tokens = Lexer::new(source).lex().expect("the prelude is correct");
    Parser::new(&tokens).parse(Parser::defs).expect("the prelude is correct")
}

pub(super) fn bad(offset: usize, message: impl Into<String>) -> SyntaxError {
    SyntaxError { code: "bad_expression", message: message.into(), offset, suggestion: None }
}

/// Where `part`, a piece of `source`, begins in it.
pub(super) fn offset_of(source: &str, part: &str) -> usize {
    (part.as_ptr() as usize).checked_sub(source.as_ptr() as usize).filter(|at| *at <= source.len()).unwrap_or(0)
}

/// Lexes inside the limits that keep lexer and parser from recursing too deep.
fn tokens(source: &str) -> Result<Vec<Token<&str>>, Vec<SyntaxError>> {
    if source.len() > limits::MAX_EXPRESSION_BYTES {
        let most = limits::MAX_EXPRESSION_BYTES;
        return Err(vec![bad(0, format!("the expression has {} bytes, at most {most} are allowed", source.len()))]);
    }
    if let Some(at) = too_nested(source) {
        let most = limits::MAX_EXPRESSION_NESTING;
        return Err(vec![bad(at, format!("the expression nests deeper than {most} brackets"))]);
    }
    let tokens = Lexer::new(source).lex().map_err(|errors| {
        errors.into_iter().map(|(expected, at)| unreadable(source, &expected, at)).collect::<Vec<_>>()
    })?;
    let mut left = limits::MAX_EXPRESSION_TOKENS;
    match nesting(&tokens, 0, &mut left) {
        Some(deepest) if deepest <= limits::MAX_EXPRESSION_NESTING => Ok(tokens),
        Some(_) => {
            let most = limits::MAX_EXPRESSION_NESTING;
            Err(vec![bad(0, format!("the expression nests deeper than {most} brackets and prefix words"))])
        }
        None => {
            let most = limits::MAX_EXPRESSION_TOKENS;
            Err(vec![bad(0, format!("the expression has more than {most} words and signs"))])
        }
    }
}

/// Where more brackets and quotes are open than may be. Counts what only looks like one too, which errs on the safe
/// side: the lexer recurses over brackets, and over quotes inside brackets inside quotes.
fn too_nested(source: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, byte) in source.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > limits::MAX_EXPRESSION_NESTING {
            return Some(at);
        }
    }
    None
}

/// How deep the parser may have to recurse, or `None` when there are too many tokens.
fn nesting(tokens: &[Token<&str>], above: usize, left: &mut usize) -> Option<usize> {
    let mut here = above;
    let mut deepest = above;
    for Token(text, kind) in tokens {
        *left = left.checked_sub(1)?;
        let prefix = ["-", "if", "elif", "try", "catch", "def", "reduce", "foreach", "label", "as"];
        if prefix.contains(text) {
            here += 1;
        }
        let inside = match kind {
            Tok::Block(tokens) => nesting(tokens, here + 1, left)?,
            Tok::Str(parts) => parts.iter().try_fold(here, |deepest, part| match part {
                StrPart::Term(token) => Some(deepest.max(nesting(std::slice::from_ref(token), here + 1, left)?)),
                StrPart::Str(_) | StrPart::Char(_) => Some(deepest),
            })?,
            Tok::Word | Tok::Var | Tok::Fmt | Tok::Num | Tok::Sym => here,
        };
        deepest = deepest.max(inside);
    }
    Some(deepest)
}

fn unreadable(source: &str, expected: &lex::Expect<&str>, at: &str) -> SyntaxError {
    let shown: String = at.chars().take(20).collect();
    let message = match expected.as_str() {
        "identifier" => format!("a name is missing at `{shown}`"),
        "token" => format!("`{shown}` is not part of the expression language"),
        wanted if shown.is_empty() => format!("the expression ends where a {wanted} is missing"),
        wanted => format!("a {wanted} is missing at `{shown}`"),
    };
    bad(offset_of(source, at), message)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is foreign and open")]
fn unexpected(source: &str, expected: &parse::Expect<&str>, found: Option<&Token<&str>>) -> SyntaxError {
    let wanted = match expected {
        parse::Expect::Just("") | parse::Expect::Nothing => "the end of the expression".to_owned(),
        parse::Expect::Just(word) => format!("`{word}`"),
        parse::Expect::Term => "a value or a path".to_owned(),
        parse::Expect::ElseOrEnd => "`else` or `end`".to_owned(),
        parse::Expect::Ident | parse::Expect::Arg => "a name".to_owned(),
        other => format!("a {}", other.as_str()),
    };
    match found {
        None => bad(source.len(), format!("the expression ends where {wanted} is expected")),
        Some(Token(text, _)) => {
            let shown: String = text.chars().take(20).collect();
            bad(offset_of(source, text), format!("`{shown}` stands where {wanted} is expected"))
        }
    }
}

/// Where `jaq-core` and jq would group operators differently, and only parentheses say what is meant: jq lets `=` and
/// its like bind tighter than `//`, and gives `%` no precedence over `*` and `/`.
fn ambiguous(source: &str, tokens: &[Token<&str>]) -> Option<SyntaxError> {
    let refused = |at: &str, message: &str| Some(bad(offset_of(source, at), message));
    let (mut assigns, mut defaults, mut multiplies, mut after_operator) = (false, false, false, true);
    for Token(text, kind) in tokens {
        let inside = match kind {
            Tok::Block(tokens) => ambiguous(source, tokens),
            Tok::Str(parts) => parts.iter().find_map(|part| match part {
                StrPart::Term(token) => ambiguous(source, std::slice::from_ref(token)),
                StrPart::Str(_) | StrPart::Char(_) => None,
            }),
            Tok::Word | Tok::Var | Tok::Fmt | Tok::Num | Tok::Sym => None,
        };
        if inside.is_some() {
            return inside;
        }
        let mut operator = true;
        match *text {
            "|" | "," | ";" | ":" | "as" | "if" | "then" | "elif" | "else" | "end" | "try" | "catch" | "def" => {
                (assigns, defaults, multiplies) = (false, false, false);
            }
            "=" | "|=" | "+=" | "-=" | "*=" | "/=" | "%=" | "//=" => (assigns, multiplies) = (true, false),
            "//" => (defaults, multiplies) = (true, false),
            "*" | "/" => multiplies = true,
            "%" if multiplies => {
                return refused(text, "put parentheses around what `%` applies to: jq reads `a * b % c` from the left");
            }
            "%" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or" => multiplies = false,
            "+" | "-" if !after_operator => multiplies = false,
            "-" => {}
            _ => operator = false,
        }
        if assigns && defaults {
            return refused(
                text,
                "put parentheses around `//` beside an assignment: jq reads `a = b // c` as `(a = b) // c`",
            );
        }
        after_operator = operator;
    }
    None
}
