//! `lane exec`: a command in a lane, waited for as if it ran here.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::ValueHint;
use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::request::{RunTask, WorkerStarted};
use laneway_api::routes;
use laneway_core::launch::TerminalSpec;
use laneway_core::os_text::OsText;
use laneway_wire::message::Exited;
use serde::Serialize;

use super::end_of_run::until_recorded;
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, with_causes};
use crate::launch::{Limiting, launch, terminal_like_the_callers};
use crate::output::exit_of;
use crate::terminal::exec_pump::{self, Finished, Terms};
use crate::terminal::guard::{Manner, guarded};
use crate::terminal::link::Link;
use crate::terminal::task::Ending;
use laneway_core::duration;

const EXAMPLES: &str = "\
EXAMPLES:
  lane exec fix -- make test
  lane exec fix -- git diff | less
  lane exec fix --tty -- vim notes.txt
  lane exec fix --timeout 10m --json -- cargo test
  lane exec fix --detach --limit-wall 2h -- make world

Exit codes: the command's own, 128+n if signal n ended it; 124 it took longer than --timeout, or was ended at a
limit; 125 a failure of lane's own; 126 the command cannot be run; 127 it was not found; 141 nobody reads the output any more.";

/// Run a command in a lane and wait for it: input, output, signals and exit code are passed on
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExecArgs {
    /// The lane
    #[arg(add = complete::lanes())]
    lane: String,
    /// Give it a terminal: this one, in its size
    #[arg(short, long)]
    tty: bool,
    /// Do not wait: print the task's id; it goes on by itself
    #[arg(short, long)]
    detach: bool,
    /// Record what its terminal shows; `lane replay` plays it
    #[arg(long, requires = "tty")]
    record: bool,
    /// Stop it after so long (500ms, 5s, 2m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "detach")]
    timeout: Option<Duration>,
    #[command(flatten)]
    limiting: Limiting,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::AnyPath)]
    command: Vec<OsString>,
}

/// What `--json` prints at the end.
#[derive(Debug, Serialize)]
struct Report {
    exit_code: Option<i32>,
    signal: Option<i32>,
    duration_ms: u64,
    stdout: OsText,
    stderr: OsText,
    /// More was written than the first 1 MiB of each stream.
    truncated: bool,
}

pub(crate) fn run(args: &ExecArgs, context: &Context) -> Outcome {
    if !args.tty || args.detach {
        return exec(args, context).map_err(with_own_code);
    }
    if context.json() {
        let message = "--json keeps the output and --tty shows it: take one of them";
        return Err(Failure::new(ErrorKind::Usage, "usage", message));
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        let message = "--tty needs a terminal on standard input and output";
        let problem = Problem::new(ErrorKind::Usage, "not_a_terminal", message);
        return Err(problem.hint(format!("lane exec {} -- COMMAND", args.lane)).into());
    }
    guarded(Manner::InPlace, || exec(args, context).map_err(with_own_code))
}

/// The codes that tell a failure of ours from one of the command.
fn with_own_code(failure: Failure) -> Failure {
    let code = match failure.problem().map(|problem| problem.kind) {
        Some(ErrorKind::CommandNotFound) => exit_code::COMMAND_NOT_FOUND,
        Some(ErrorKind::NotRunnable) => exit_code::NOT_RUNNABLE,
        Some(_) | None => exit_code::EXEC_FAILED,
    };
    failure.with_code(code)
}

fn exec(args: &ExecArgs, context: &Context) -> Outcome {
    let terminal = if args.tty { terminal_like_the_callers() } else { TerminalSpec::Pipes };
    let launch = args.limiting.applied_to(launch(&args.command, terminal, args.record)?);
    let task = RunTask { launch, detach: args.detach };
    let path = routes::with_target(routes::LANE_TASKS, &args.lane);
    let request = Request::post(format!("starting a task in {}", args.lane), path).json(&task)?;
    let started: WorkerStarted = context.client()?.ask(&request)?;
    if args.detach {
        return say_detached(&started, context);
    }
    // From here on the daemon has no part in it.
    let holder_folder = started.holder_folder.to_path_buf();
    let link = Link::open(&holder_folder).map_err(|error| lost(&with_causes(&error)))?;
    let deadline = args.timeout.and_then(|limit| Instant::now().checked_add(limit));
    let terms = Terms { holder_folder, tty: args.tty, keep_output: context.json(), deadline };
    let finished = exec_pump::run(link, terms).map_err(|error| {
        Failure::new(
            ErrorKind::Failed,
            "exec_failed",
            format!("waiting for the command: {}", with_causes(&error)),
        )
    })?;
    end(&started, finished, args, context)
}

fn say_detached(started: &WorkerStarted, context: &Context) -> Outcome {
    let id = started.worker.id;
    if context.json() {
        context.printer.json(started)?;
    } else {
        context.printer.line(&id.to_string())?;
        context.printer.note(&format!("it goes on by itself; read what it writes: lane read {id}"));
    }
    Ok(exit_code::OK)
}

fn end(started: &WorkerStarted, finished: Finished, args: &ExecArgs, context: &Context) -> Outcome {
    let code = finished.ending.exit_code();
    let exited = match &finished.ending {
        Ending::Exited(exited) => {
            if exited.limit.is_some() {
                context.printer.note(&format!("the command was ended: {}", exit_of(exited)));
            }
            *exited
        }
        Ending::TimedOut { exited, left } => {
            let shown = args.timeout.unwrap_or_default();
            context.printer.note(&format!("timed out after {shown:?}: the command was stopped"));
            for process in left {
                let command = OsText::from(process.command.as_str());
                context.printer.note(&format!("  still there: process {} ({command})", process.pid));
            }
            *exited
        }
        Ending::Lost => return Err(lost("it went away")),
        Ending::Refused(message) => return Err(lost(&format!("it refused: {message}"))),
        Ending::OutputGone => return Ok(code),
    };
    if context.json() {
        context.printer.json(&report(started, exited, finished))?;
    }
    until_recorded(started.worker.id, started.worker.run, context);
    Ok(code)
}

fn report(started: &WorkerStarted, exited: Exited, finished: Finished) -> Report {
    let started_micros = started.worker.started_at.map_or(0, |time| time.0.0 as u64);
    Report {
        exit_code: exited.code,
        signal: exited.signal,
        duration_ms: exited.at_micros.saturating_sub(started_micros) / 1_000,
        truncated: finished.stdout.truncated || finished.stderr.truncated,
        stdout: OsText::from_bytes(finished.stdout.bytes),
        stderr: OsText::from_bytes(finished.stderr.bytes),
    }
}

fn lost(why: &str) -> Failure {
    let message = format!("how the command ended is not known: its holder cannot be asked: {why}");
    Failure::new(ErrorKind::Unreachable, "holder_lost", message)
}
