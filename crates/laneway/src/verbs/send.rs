//! `lane send`: type at a worker's terminal.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::request::{SendInput, SendStep, Sent};
use laneway_api::routes;
use laneway_wire::message::MAX_SEND;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::progress::Progress;
use laneway_core::duration;

const EXAMPLES: &str = "\
EXAMPLES:
  lane send fix --enter make test
  lane send fix --enter -- --a-text-that-begins-with-a-dash
  lane send fix --key ctrl-c              a key instead of a text; several: --key up --key enter
  lane send fix --paste --enter < prompt.txt
  git diff | lane send fix -
  lane send fix --enter < /dev/null       just the return key

Keys: a single character, up, down, left, right, home, end, page-up, page-down, insert, delete, backspace, tab,
enter, escape, space, f1 to f12; before them ctrl-, alt-, shift-. They are typed after the text.

What the terminal would cut (a line over 4 095 bytes) or act upon (ctrl-c in the text) is refused unless --raw.
With --json the output offset is told: what the program answers comes after it.";

/// Type text and keys at a worker's terminal
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SendArgs {
    /// The worker
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::live_workers())]
    target: String,
    /// The text; its words are joined by one space. Without a text and keys, or for "-": standard input, up to
    /// 16 MiB
    text: Vec<OsString>,
    /// Press return at the end
    #[arg(long)]
    enter: bool,
    /// Mark the text as pasted, if the program has asked for that
    #[arg(long)]
    paste: bool,
    /// Send also what the terminal would cut or act upon
    #[arg(long)]
    raw: bool,
    /// A key to press after the text; may be given several times
    #[arg(long = "key", value_name = "NAME", value_parser = key_name, add = complete::keys())]
    keys: Vec<String>,
    /// The pane of this number of a worker in tmux [default: the one that its program runs in]
    #[arg(long, value_name = "N")]
    pane: Option<u32>,
    /// Drop the rest when the program has read nothing for this long
    #[arg(long, value_name = "D", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
}

/// Names are separated by spaces on their way; which are keys is known where they are typed.
fn key_name(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("a key has a name without spaces; the key between words is called space".to_owned());
    }
    Ok(name.to_owned())
}

pub(crate) fn run(args: &SendArgs, context: &Context) -> Outcome {
    let text = match args.text.as_slice() {
        [] if !args.keys.is_empty() => Vec::new(),
        [] => from_stdin(args.enter)?,
        [dash] if dash == "-" => read_stdin()?,
        words => joined(words),
    };
    if text.len() > MAX_SEND {
        let message = format!("the text is longer than {} MiB, and nothing was sent", MAX_SEND >> 20);
        return Err(Failure::new(ErrorKind::Usage, "text_too_long", message));
    }
    let how = SendInput {
        enter: args.enter,
        paste: args.paste,
        raw: args.raw,
        keys: args.keys.join(" "),
        timeout_ms: Some(duration::millis(args.timeout)),
        progress: true,
        pane: args.pane,
    };
    let doing = format!("typing at {}", args.target);
    let path = routes::with_target(routes::WORKER_INPUT, &args.target);
    let request = Request::post(&doing, path).query(&how)?.octets(text);
    let sent = send(&request, &doing, context)?;
    if context.json() {
        context.printer.json(&sent)?;
    }
    Ok(exit_code::OK)
}

fn send(request: &Request, doing: &str, context: &Context) -> Result<Sent, Failure> {
    let progress = Progress::begin(doing);
    let mut sent = None;
    context.client()?.ask_in_steps(request, |step| {
        match step {
            SendStep::Progress { n_written, n_total } => {
                progress.now(&format!("{doing}: {} of {} KiB", n_written >> 10, n_total.div_ceil(1024)));
            }
            SendStep::Sent(done) => sent = Some(done),
            SendStep::Error(problem) => return Err(problem.into()),
        }
        Ok(())
    })?;
    sent.ok_or_else(|| {
        let message = format!("the daemon ended while {doing}: what it had taken is typed all the same");
        Failure::new(ErrorKind::Unreachable, "daemon_went_away", message)
    })
}

fn joined(words: &[OsString]) -> Vec<u8> {
    words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>().join(&b' ')
}

fn from_stdin(enter: bool) -> Result<Vec<u8>, Failure> {
    if std::io::stdin().is_terminal() {
        // A person at a terminal who asks for return wants just that.
        return if enter {
            Ok(Vec::new())
        } else {
            Err(Problem::new(ErrorKind::Usage, "nothing_to_send", "there is no text to send")
                .hint("lane send TARGET TEXT")
                .into())
        };
    }
    read_stdin()
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    // One byte more than allowed, to tell that there is more.
    std::io::stdin().lock().take(MAX_SEND as u64 + 1).read_to_end(&mut text).map_err(|error| {
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
