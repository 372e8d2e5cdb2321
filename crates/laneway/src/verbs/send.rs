//! `lane send`: type at a worker's terminal.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::request::{SendInput, Sent};
use laneway_api::routes;
use laneway_wire::message::MAX_SEND;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::failure::Failure;

const EXAMPLES: &str = "\
EXAMPLES:
  lane send fix --enter make test
  lane send fix --enter -- --a-text-that-begins-with-a-dash
  lane send fix < prompt.txt
  lane send fix --enter < /dev/null      just the return key";

/// Type text at a worker's terminal
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SendArgs {
    /// The worker
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    target: String,
    /// The text; its words are joined by one space [default: standard input, up to 16 MiB]
    text: Vec<OsString>,
    /// Press return at the end
    #[arg(long)]
    enter: bool,
    /// Send also what the terminal would cut or act upon
    #[arg(long)]
    raw: bool,
}

pub(crate) fn run(args: &SendArgs, context: &Context) -> Outcome {
    let text = if args.text.is_empty() { from_stdin(args.enter)? } else { joined(&args.text) };
    if text.len() > MAX_SEND {
        let message = format!("the text is longer than {} MiB, and nothing was sent", MAX_SEND >> 20);
        return Err(Failure::new(ErrorKind::Usage, "text_too_long", message));
    }
    let query = SendInput { enter: args.enter, raw: args.raw };
    let doing = format!("typing at {}", args.target);
    let request = Request::post(doing, routes::with_target(routes::WORKER_INPUT, &args.target));
    let sent: Sent = context.client()?.ask(&request.query(&query)?.octets(text))?;
    if context.json() {
        context.printer.json(&sent)?;
    }
    Ok(exit_code::OK)
}

fn joined(words: &[OsString]) -> Vec<u8> {
    words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>().join(&b' ')
}

fn from_stdin(enter: bool) -> Result<Vec<u8>, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // A person at a terminal who asks for return wants just that.
        return if enter {
            Ok(Vec::new())
        } else {
            Err(Problem::new(ErrorKind::Usage, "nothing_to_send", "there is no text to send")
                .hint("lane send TARGET TEXT")
                .into())
        };
    }
    let mut text = Vec::new();
    // One byte more than allowed, to tell that there is more.
    stdin.lock().take(MAX_SEND as u64 + 1).read_to_end(&mut text).map_err(|error| {
        Failure::new(ErrorKind::Failed, "stdin_unreadable", format!("cannot read standard input: {error}"))
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn words_are_joined_by_one_space_and_kept_as_bytes() {
        let words = ["a  b", "", "'c'"].map(OsString::from);
        assert_eq!(joined(&words), b"a  b  'c'");
        assert_eq!(joined(&[OsString::from_vec(b"\xff;".to_vec())]), b"\xff;");
    }
}
