//! All output: data on standard output, talk on standard error.
//!
//! Colours are kept or taken out by `anstream`: it knows `NO_COLOR`, `CLICOLOR` and whether a terminal reads.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use laneway_api::error::{ErrorBody, Problem};
use laneway_core::findings::Losses;
use serde::Serialize;

use crate::failure::Failure;
use crate::losses;
use crate::progress::aside;
use crate::text::Lines;

/// What an error begins with.
const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What a command to type next begins with.
const TRY: Style = AnsiColor::Cyan.on_default();

/// Prints for people, or one JSON document for programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
}

#[expect(clippy::unused_self, reason = "whoever prints has to be given the printer")]
impl Printer {
    /// With `json`, standard output gets JSON and nothing else.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// True if JSON was asked for.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// One JSON document on a line of its own, flushed: also for JSON lines.
    pub(crate) fn json(self, document: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(document).map_err(|error| Failure::Output(error.into()))?;
        text.push(b'\n');
        self.bytes(&text)
    }

    /// Text for people, which may carry colours; it ends with a line end of its own.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        aside(|| {
            let mut out = anstream::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
        })
    }

    /// One line for people, which may carry colours.
    pub(crate) fn line(self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        aside(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::Output)
        })
    }

    /// Talk: one line on standard error. Nothing is done about a reader that went away.
    pub(crate) fn note(self, line: &str) {
        let _ = aside(|| writeln!(anstream::stderr().lock(), "{line}"));
    }

    /// An error: with JSON the document, else words on standard error.
    pub(crate) fn problem(self, problem: &Problem) -> Result<(), Failure> {
        if self.json {
            return self.json(&ErrorBody { error: problem.clone() });
        }
        self.problem_in_words(problem);
        Ok(())
    }

    /// An error in words on standard error, also with JSON.
    pub(crate) fn problem_in_words(self, problem: &Problem) {
        let _ = aside(|| anstream::stderr().lock().write_all(in_words(problem).as_bytes()));
    }
}

/// An error as people read it: the message, what would be lost, what to type next.
fn in_words(problem: &Problem) -> String {
    let mut text = Lines::default();
    text.add(format_args!("{ERROR}error:{ERROR:#} {}", harmless(&problem.message)));
    let details = problem.details.clone().filter(|_| problem.code == losses::CODE);
    if let Some(losses) = details.and_then(|details| serde_json::from_value::<Losses>(details).ok()) {
        text.add_all(&losses::list(&losses));
    }
    for hint in problem.hint.iter().flat_map(|hint| hint.lines()) {
        text.add(format_args!("  {TRY}try:{TRY:#} {}", harmless(hint)));
    }
    text.into_string()
}

/// What is named in an error may come from anywhere: it must not move the cursor of who reads it.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_api::error::ErrorKind;

    #[test]
    fn an_error_says_what_is_wrong_and_what_to_type() {
        let problem =
            Problem::new(ErrorKind::NotFound, "x", "there is no lane b").hint("lane ls\nlane new b");
        let plain = anstream::adapter::strip_str(&in_words(&problem)).to_string();
        assert_eq!(plain, "error: there is no lane b\n  try: lane ls\n  try: lane new b\n");
        let hostile = Problem::new(ErrorKind::NotFound, "x", "/a\u{1b}[2J is not there\nor is it");
        assert!(in_words(&hostile).ends_with(" /a\\u{1b}[2J is not there\nor is it\n"));
    }
}
