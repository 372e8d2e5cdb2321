//! `lane attach`: a worker's terminal on the user's own.

use std::io::IsTerminal;

use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::request::{AccessTerminal, ReadText, Which};
use laneway_api::routes;
use laneway_api::view::{FurtherPane, TerminalAccess, TextView, WorkerView};
use laneway_core::id::{RunId, WorkerId};
use laneway_core::name::Name;
use laneway_core::run::Exit;
use laneway_core::worker::WorkerStatus;
use laneway_daemon::config::DetachKey;
use laneway_wire::client::ClientError;
use laneway_wire::message::Role;
use serde::Serialize;

use super::end_of_run::until_recorded;
use crate::client::{Client, Request};
use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, with_causes};
use crate::output::exit_of;
use crate::place::go_to;
use crate::terminal::attach_pump;
use crate::terminal::guard::{Manner, guard_over, guarded};
use crate::terminal::link::Link;
use crate::terminal::view::Leaving;
use crate::text::{next_run, worker_name};
use crate::waiting::until_begun;

/// The variable with the id of the worker that a command is typed in.
pub(super) const WORKER_VARIABLE: &str = "LANEWAY_WORKER";

const EXAMPLES: &str = "\
EXAMPLES:
  lane attach fix             use its terminal; ctrl-\\ leaves, the program goes on
  lane attach fix --observe   look on while someone else types
  lane attach fix --detach-keys ctrl-a
  lane attach fix:1           a further pane, in tmux; the same: lane attach fix --pane 1

Typed twice, the key that leaves goes to the program once. One attachment types at a time: the last one that
came. A worker in tmux is gone to: its window is switched to, or attached. Exit codes: 0 left, or the program has ended; 1 its holder was lost; 5 refused; 128+n ended by signal n.";

/// Use a worker's terminal full-screen; leaving brings back what was there
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AttachArgs {
    /// The worker, or a lane with one live worker
    #[arg(add = complete::live_workers())]
    target: String,
    /// Look on: nothing typed goes to the program, and its size stays
    #[arg(long)]
    observe: bool,
    /// The key that leaves: ctrl- with a letter or one of \ ] ^ _ @ [ (or set it: `detach_keys`)
    #[arg(long, value_name = "KEY")]
    detach_keys: Option<DetachKey>,
    /// The pane of this number of a worker in tmux [default: the one that its program runs in]
    #[arg(long, value_name = "N", conflicts_with = "detach_keys")]
    pane: Option<u32>,
}

/// What `--json` prints when it is over.
#[derive(Debug, Serialize)]
struct Report<'a> {
    worker: WorkerId,
    name: Option<&'a Name>,
    /// `detached`, `ended` or `lost`.
    left: &'static str,
    exit: Option<Exit>,
}

impl<'a> Report<'a> {
    fn new(worker: &'a WorkerView, left: &'static str, exit: Option<Exit>) -> Self {
        Self { worker: worker.id, name: worker.name.as_ref(), left, exit }
    }
}

pub(crate) fn run(args: &AttachArgs, context: &Context) -> Outcome {
    let target = &args.target;
    needs_a_terminal(target, &format!("lane read {target}\nlane exec LANE -- COMMAND"))?;
    let key = match args.detach_keys {
        Some(key) => key,
        None => context.settings()?.detach_keys,
    };
    guarded(Manner::FullScreen, || attach(args, key, context))
}

/// Refuses to attach where there is no terminal to do it on.
pub(super) fn needs_a_terminal(target: &str, hint: &str) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(());
    }
    let message = format!("attaching to {target} needs a terminal on standard input and output");
    Err(Problem::new(ErrorKind::Usage, "not_a_terminal", message).hint(hint).into())
}

/// Attaches to a worker that another verb has started, as `lane attach` does.
pub(super) fn attach_to(worker: WorkerId) -> Outcome {
    guard_over(Manner::FullScreen, ["attach".into(), worker.to_string().into()])
}

fn attach(args: &AttachArgs, key: DetachKey, context: &Context) -> Outcome {
    let client = context.client()?;
    let mut access = ask_for_access(&client, &args.target, args)?;
    if let Some(pane) = &access.further {
        return attach_further(args, &client, &access, pane, context);
    }
    if access.worker.status == WorkerStatus::Starting {
        until_begun(&client, access.worker.id)?;
        access = ask_for_access(&client, &access.worker.id.to_string(), args)?;
    }
    refuse_what_cannot_be_attached(&access.worker)?;
    if let Some(exit) = &access.worker.exit {
        return show_ended(&client, &access.worker, exit, context);
    }
    if let Some(place) = access.tmux.as_ref().filter(|_| !args.observe) {
        return Err(go_to(place));
    }
    let link = match open(&access)? {
        Ok(link) => link,
        Err(error) => {
            // It may have ended at this very moment.
            let access = ask_for_access(&client, &access.worker.id.to_string(), args)?;
            return match &access.worker.exit {
                Some(exit) => show_ended(&client, &access.worker, exit, context),
                None => Err(holder_unreachable(&access.worker, &error)),
            };
        }
    };
    drop(client);
    let name = worker_name(&access.worker);
    let role = if args.observe { Role::Observer } else { Role::Driver };
    let leaving = attach_pump::run(link, &name, role, key);
    let leaving = leaving.map_err(|error| {
        Failure::new(
            ErrorKind::Failed,
            "attach_failed",
            format!("attached to {name}: {}", with_causes(&error)),
        )
    })?;
    say_how_it_ended(&access.worker, &leaving, context)
}

fn ask_for_access(client: &Client, target: &str, args: &AttachArgs) -> Result<TerminalAccess, Failure> {
    let path = routes::with_target(routes::WORKER_TERMINAL, target);
    let request = Request::get(format!("attaching to {target}"), path);
    client.ask(&request.query(&AccessTerminal { attaching: true, output: args.observe, pane: args.pane })?)
}

/// A further pane is tmux's alone: it is gone to, or shown as it was when its program had ended.
fn attach_further(
    args: &AttachArgs,
    client: &Client,
    access: &TerminalAccess,
    pane: &FurtherPane,
    context: &Context,
) -> Outcome {
    let name = format!("{}:{}", worker_name(&access.worker), pane.number);
    if let Some(exit) = &pane.exit {
        return show_last(client, (&access.worker, &name), Some(pane.number), exit, context);
    }
    if args.observe {
        let message =
            format!("{name} is a further pane, which only tmux shows, and nobody looks on through a holder");
        let problem = Problem::new(ErrorKind::Refused, "pane_not_observed", message);
        return Err(problem.hint(format!("lane attach {name}\nlane read {name}")).into());
    }
    let no_window = || {
        let message = format!("in which window {name} is was never read");
        Failure::new(ErrorKind::Unreachable, "no_window", message)
    };
    Err(go_to(access.tmux.as_ref().ok_or_else(no_window)?))
}

fn refuse_what_cannot_be_attached(worker: &WorkerView) -> Result<(), Failure> {
    let name = worker_name(worker);
    let is_this_one = std::env::var(WORKER_VARIABLE).is_ok_and(|own| own == worker.id.to_string());
    if is_this_one {
        let message = format!("this is {name}: a terminal cannot show itself");
        return Err(Failure::new(ErrorKind::Refused, "attach_to_itself", message));
    }
    if !worker.terminal.tty {
        let message = format!("{name} runs on pipes and has no terminal");
        let problem = Problem::new(ErrorKind::Refused, "no_terminal", message);
        return Err(problem.hint(format!("lane read {name}")).into());
    }
    Ok(())
}

/// The way to its holder; the inner error says that nobody answers there.
fn open(access: &TerminalAccess) -> Result<Result<Link, ClientError>, Failure> {
    if let Some(folder) = &access.holder_folder {
        return Ok(Link::open(folder.as_path()));
    }
    let name = worker_name(&access.worker);
    let status = access.worker.status.as_str();
    let message = format!("{name} is {status}, and no holder is there to attach to");
    Err(Problem::new(ErrorKind::Unreachable, "no_holder", message).hint(format!("lane show {name}")).into())
}

fn holder_unreachable(worker: &WorkerView, error: &ClientError) -> Failure {
    let name = worker_name(worker);
    let message = format!("the holder of {name} cannot be reached: {}", with_causes(error));
    Problem::new(ErrorKind::Unreachable, "holder_unreachable", message)
        .hint(format!("lane show {name}"))
        .into()
}

/// The last screen of a run that is over, among the lines of the user's own terminal.
fn show_ended(client: &Client, worker: &WorkerView, exit: &Exit, context: &Context) -> Outcome {
    show_last(client, (worker, &worker_name(worker)), None, exit, context)?;
    if !context.json() {
        say_what_follows(worker, worker.run, context)?;
    }
    Ok(exit_code::OK)
}

fn show_last(
    client: &Client,
    (worker, name): (&WorkerView, &str),
    pane: Option<u32>,
    exit: &Exit,
    context: &Context,
) -> Outcome {
    if context.json() {
        context.printer.json(&Report::new(worker, "ended", Some(exit.clone())))?;
        return Ok(exit_code::OK);
    }
    let query = ReadText { which: Some(Which::Screen), ansi: true, pane, ..ReadText::default() };
    let path = routes::with_target(routes::WORKER_TEXT, &worker.id.to_string());
    let request = Request::get(format!("reading the last screen of {name}"), path).query(&query)?;
    // A run that was lost, or never ran, has left no screen.
    if let Ok(mut text) = client.ask::<TextView>(&request) {
        while text.lines.last().is_some_and(|line| line.trim().is_empty()) {
            text.lines.pop();
        }
        let lines: String = text.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        context.printer.bytes(lines.as_bytes())?;
    }
    context.printer.line(&format!("{name} has ended: {exit}"))?;
    Ok(exit_code::OK)
}

/// That it is not the end, if another run follows, and how to use that one.
fn say_what_follows(worker: &WorkerView, ended: Option<RunId>, context: &Context) -> Result<(), Failure> {
    match next_run(worker, ended) {
        Some(next) => context.printer.line(&format!("{next}: lane attach {}", worker_name(worker))),
        None => Ok(()),
    }
}

fn say_how_it_ended(worker: &WorkerView, leaving: &Leaving, context: &Context) -> Outcome {
    let name = worker_name(worker);
    let (left, exit, line, code) = match leaving {
        Leaving::Detached => {
            ("detached", None, format!("detached from {name} (still running)"), exit_code::OK)
        }
        Leaving::Exited(exited) => {
            let exit = exit_of(exited);
            let line = format!("{name} has ended: {exit}");
            ("ended", Some(exit), line, exit_code::OK)
        }
        Leaving::Lost => {
            let line = format!("{name} is lost: its holder went away");
            ("lost", Some(Exit::Lost), line, exit_code::FAILED)
        }
        // Nobody is there to read anything.
        Leaving::TerminalGone => return Ok(exit_code::FAILED),
        Leaving::Signalled(signal) => {
            let line = format!("detached from {name} (still running)");
            ("detached", None, line, exit_code::SIGNAL_BASE.saturating_add(signal.as_raw() as u8))
        }
        Leaving::Refused(message) => {
            let message = format!("the holder of {name} refused: {message}");
            return Err(Failure::new(ErrorKind::Refused, "attach_refused", message));
        }
    };
    if context.json() {
        context.printer.json(&Report::new(worker, left, exit))?;
    } else {
        context.printer.line(&line)?;
        if let Leaving::Exited(_) | Leaving::Lost = leaving
            && let Some(now) = until_recorded(worker.id, worker.run, context)
        {
            say_what_follows(&now, worker.run, context)?;
        }
    }
    Ok(code)
}
