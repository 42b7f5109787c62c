//! What the demo shows while it runs: steps of the story, and one run's tokens as they arrive.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard};

use crate::render::{self, Style};

/// Where a line of text is broken.
const WIDTH: usize = 92;

#[derive(Debug)]
pub(super) struct Screen {
    /// Nothing but the report is wanted.
    quiet: bool,
    terminal: bool,
    text: Mutex<Text>,
}

/// The text that is being shown.
#[derive(Debug, Default)]
struct Text {
    column: usize,
    inside: bool,
}

impl Screen {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stdout().is_terminal(), text: Mutex::default() }
    }

    /// A step of the story.
    pub(super) fn step(&self, sign: &str, style: Style, sentence: &str) {
        let mut text = self.text();
        self.end_text(&mut text);
        self.show(&format!("{} {sentence}\n", render::paint(style, sign, self.terminal)));
    }

    pub(super) fn done(&self, sentence: &str) {
        self.step("✓", Style::Green, sentence);
    }

    /// The next token, inside of a margin.
    pub(super) fn token(&self, token: &str) {
        let mut text = self.text();
        for piece in token.split_inclusive(['\n', ' ']) {
            self.piece(&mut text, piece);
        }
    }

    fn piece(&self, text: &mut Text, piece: &str) {
        let word = piece.trim_end_matches('\n');
        let length = word.chars().count();
        if !text.inside || text.column + length > WIDTH {
            self.begin_line(text);
            if word == " " {
                // The space that a line is broken at.
                return;
            }
        }
        self.show(word);
        text.column += length;
        if piece.ends_with('\n') {
            self.begin_line(text);
        }
    }

    fn begin_line(&self, text: &mut Text) {
        let margin = render::paint(Style::Dim, "  │ ", self.terminal);
        self.show(&if text.inside { format!("\n{margin}") } else { margin });
        *text = Text { column: 0, inside: true };
    }

    fn end_text(&self, text: &mut Text) {
        if std::mem::take(&mut text.inside) {
            self.show("\n");
        }
    }

    fn show(&self, what: &str) {
        if !self.quiet {
            // A demo whose reader has gone still tells by its exit code how it ended.
            let _ = render::text_now(what);
        }
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().expect("nothing panics while it holds the screen")
    }
}
