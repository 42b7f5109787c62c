//! A command line that cannot be read: told to people by the parser, to programs like every other failure.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::exit::{Exit, Failure};

/// Whether the command line, as far as it can be read, asks for JSON. What follows `--` is somebody else's.
pub(crate) fn asks_for_json(words: impl IntoIterator<Item = OsString>) -> bool {
    words.into_iter().skip(1).take_while(|word| word != "--").any(|word| word == "--json")
}

/// Help and version are no mistakes, though the parser gives them as such.
pub(crate) fn tell(error: &clap::Error, json: bool) -> ExitCode {
    if error.use_stderr() && json {
        let failure = failure(error);
        failure.tell(true);
        return failure.exit.into();
    }
    // Nobody may be there to read it.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}

fn failure(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("a command is missing").advise("`--help` lists the commands");
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(one_line);
    let message = paragraphs.next().unwrap_or_default();
    let advice: Vec<_> = paragraphs.filter(|text| !text.is_empty() && !text.starts_with("For more")).collect();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    Failure::usage(message).advise(advice.join("; "))
}

fn one_line(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    fn json(words: &[&str]) -> serde_json::Value {
        let error = Arguments::try_parse_from(words).expect_err("it is wrong");
        failure(&error).as_json()["error"].clone()
    }

    #[test]
    fn a_mistake_has_a_code_a_sentence_and_a_tip() {
        let error = json(&["headwater", "--json", "run", "strt"]);
        assert_eq!((&error["code"], &error["exit"]), (&"usage".into(), &2.into()));
        assert_eq!(error["message"], "unrecognized subcommand 'strt'");
        assert!(error["advice"].as_str().is_some_and(|advice| advice.contains("'start'")), "{error}");
        let error = json(&["headwater", "run", "list", "--limit", "0"]);
        assert!(error["message"].as_str().is_some_and(|message| message.contains("1..=1000")), "{error}");
        let error = json(&["headwater", "worker"]);
        assert!(error["message"].as_str().is_some_and(|message| message.contains("--task <NAME>")), "{error}");
        assert_eq!(json(&["headwater", "run"])["message"], "a command is missing");
    }

    #[test]
    fn json_is_asked_for_before_the_words_of_another_program() {
        let asks = |words: &[&str]| asks_for_json(words.iter().map(OsString::from));
        assert!(asks(&["headwater", "--json", "run", "strt"]) && asks(&["headwater", "run", "strt", "--json"]));
        assert!(!asks(&["headwater", "run", "strt"]) && !asks(&["headwater", "worker", "--", "x", "--json"]));
    }
}
