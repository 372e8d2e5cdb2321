//! `lane replay`: a recording, played.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::OsStringValueParser;
use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::routes;
use laneway_api::view::WorkerView;
use laneway_core::os_text::OsText;
use rustix::termios::tcgetwinsize;

use crate::cast::{CastError, Header, Recording};
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, with_causes};
use crate::terminal::guard::{Manner, guarded};
use crate::terminal::play_pump::{self, Ended, PlayError};
use crate::terminal::player::Pace;
use crate::text::worker_name;
use laneway_core::duration;

/// Output is printed in pieces of about this length: 256 KiB.
const PIECE_LENGTH: usize = 256 << 10;

const EXAMPLES: &str = "\
EXAMPLES:
  lane replay fix                  what worker fix has shown, as it came
  lane replay fix --speed 4 --idle-limit 1s
  lane replay ./demo.cast          any asciicast v2 file: it ends in .cast, or begins with / or ./
  lane replay fix | less -R        not on a terminal: all of it at once

Keys: space holds it and lets it go on, . shows the next output while it is held, q leaves.
lane run --record, lane new --record and lane exec --tty --record make recordings, or `record = true` in the settings.";

/// Play what a recorded worker's terminal has shown, also while it runs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// The worker, or a file
    #[arg(
        value_name = "TARGET|FILE",
        value_parser = OsStringValueParser::new(),
        add = complete::recordings()
    )]
    target: OsString,
    /// So many times as fast
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Cut longer pauses to this (500ms, 5s) [default: what the file says]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    idle_limit: Option<Duration>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| format!("{text:?} is no speed; speeds are like 0.5, 2 or 10"))
}

pub(crate) fn run(args: &ReplayArgs, context: &Context) -> Outcome {
    if context.json() {
        let message = "a recording is played and not told: --json has nothing to print";
        let problem = Problem::new(ErrorKind::Usage, "usage", message);
        return Err(problem.hint("its files: lane show TARGET --json").into());
    }
    if !std::io::stdout().is_terminal() {
        return print(&mut open(args, context)?, context);
    }
    if !std::io::stdin().is_terminal() {
        let message = "playing on a terminal needs it on standard input too, for its keys";
        let problem = Problem::new(ErrorKind::Usage, "not_a_terminal", message);
        return Err(problem
            .hint(format!("lane replay {} | cat", OsText::from(args.target.as_os_str())))
            .into());
    }
    guarded(Manner::Played, || play(args, context))
}

fn play(args: &ReplayArgs, context: &Context) -> Outcome {
    let mut recording = open(args, context)?;
    let said = recording.header.idle_time_limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok());
    let pace = Pace { speed: args.speed, idle_limit: args.idle_limit.or(said) };
    let ended = play_pump::run(&mut recording, pace).map_err(|error| match error {
        PlayError::Recording(error) => unplayable(&error),
        PlayError::Terminal(_) => {
            Failure::new(ErrorKind::Failed, "replay_failed", format!("playing: {}", with_causes(&error)))
        }
    })?;
    match ended {
        Ended::AtTheEnd | Ended::Quit => {
            say_if_too_large(&recording.header, context);
            Ok(exit_code::OK)
        }
        Ended::Signalled(signal) => Ok(exit_code::SIGNAL_BASE.saturating_add(signal.as_raw() as u8)),
        // Nobody is there to read anything.
        Ended::TerminalGone => Ok(exit_code::FAILED),
    }
}

/// All output, as it is.
fn print(recording: &mut Recording, context: &Context) -> Outcome {
    let mut piece = String::new();
    while let Some(output) = recording.next().map_err(|error| unplayable(&error))? {
        piece.push_str(&output.text);
        if piece.len() >= PIECE_LENGTH {
            context.printer.bytes(piece.as_bytes())?;
            piece.clear();
        }
    }
    context.printer.bytes(piece.as_bytes())?;
    Ok(exit_code::OK)
}

fn open(args: &ReplayArgs, context: &Context) -> Result<Recording, Failure> {
    let paths = if is_path(&args.target) {
        vec![PathBuf::from(&args.target)]
    } else {
        files_of_worker(&args.target, context)?
    };
    Recording::open(&paths).map_err(|error| unplayable(&error))
}

/// Names and ids neither begin like that nor, but for odd ones, end so.
fn is_path(target: &OsStr) -> bool {
    let target = target.as_bytes();
    let begins: [&[u8]; 3] = [b"/", b"./", b"../"];
    begins.iter().any(|begin| target.starts_with(begin)) || target.ends_with(b".cast")
}

fn files_of_worker(target: &OsStr, context: &Context) -> Result<Vec<PathBuf>, Failure> {
    let Some(target) = target.to_str() else {
        let shown = OsText::from(target);
        let message = format!("{shown} is not UTF-8, which all names are");
        let problem = Problem::new(ErrorKind::Usage, "usage", message);
        return Err(problem.hint(format!("for a file: lane replay ./{shown}")).into());
    };
    let doing = format!("looking for the recording of {target}");
    let asked = context.client()?.ask(&Request::get(doing, routes::with_target(routes::WORKER, target)));
    let worker: WorkerView = asked.map_err(|failure| with_file_in_mind(failure, target))?;
    let name = worker_name(&worker);
    let Some(recording) = worker.recording else {
        let problem = Problem::new(ErrorKind::NotFound, "not_recorded", format!("{name} is not recorded"));
        let again = format!("lane run {} --record -- COMMAND", worker.lane);
        return Err(problem.hint(format!("lane read {name} --all\n{again}")).into());
    };
    if recording.files.is_empty() {
        let why = recording
            .stopped
            .map_or_else(String::new, |reason| format!(": {}", OsText::from(reason.as_str())));
        let message = format!("there is nothing of the recording of {name}{why}");
        return Err(Problem::new(ErrorKind::NotFound, "no_recording", message)
            .hint(format!("lane show {name}"))
            .into());
    }
    if let Some(reason) = &recording.stopped {
        context
            .printer
            .note(&format!("the recording ends before its program: {}", OsText::from(reason.as_str())));
    }
    Ok(recording.files.iter().map(|file| file.as_path().to_owned()).collect())
}

/// A file of that name may have been meant.
fn with_file_in_mind(failure: Failure, target: &str) -> Failure {
    match failure {
        Failure::Problem { mut problem, code }
            if problem.kind == ErrorKind::NotFound && Path::new(target).is_file() =>
        {
            let hint = format!("lane replay ./{target}");
            problem.hint =
                Some(problem.hint.map_or_else(|| hint.clone(), |other| format!("{hint}\n{other}")));
            Failure::Problem { problem, code }
        }
        failure => failure,
    }
}

fn unplayable(error: &CastError) -> Failure {
    let (kind, code) = match error {
        CastError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            (ErrorKind::NotFound, "no_such_file")
        }
        CastError::File { .. } => (ErrorKind::Failed, "unreadable"),
        CastError::OtherVersion { .. } => (ErrorKind::Failed, "other_version"),
        CastError::NotACast { .. } => (ErrorKind::Failed, "not_a_recording"),
        CastError::BrokenLine { .. } => (ErrorKind::Failed, "broken_recording"),
    };
    let problem = Problem::new(kind, code, with_causes(error));
    match error {
        CastError::OtherVersion { .. } => {
            problem.hint("asciinema convert -f asciicast-v2 FILE NEW-FILE makes it one").into()
        }
        _ => problem.into(),
    }
}

fn say_if_too_large(header: &Header, context: &Context) {
    let Ok(size) = tcgetwinsize(std::io::stdout()) else { return };
    let (columns, rows) = (u32::from(size.ws_col), u32::from(size.ws_row));
    if header.width > columns || header.height > rows {
        context.printer.note(&format!(
            "it was recorded at {}×{}, and this terminal has {columns}×{rows}: lines may have been broken",
            header.width, header.height
        ));
    }
}
