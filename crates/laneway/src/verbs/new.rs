//! `lane new`: make a lane, and start a first worker in it.

use std::ffi::OsString;

use clap::{ArgGroup, ValueHint};
use laneway_api::error::{ErrorKind, exit_code};
use laneway_api::request::{LaneMade, NewLane};
use laneway_api::routes;
use laneway_core::launch::TerminalSpec;
use laneway_core::os_text::OsText;
use laneway_daemon::config::DetachKey;

use super::attach::{attach_to, needs_a_terminal};
use super::making;
use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::launch::{Limiting, Restarting, launch};
use crate::place::Terminal;
use crate::text::{
    BAD, FAINT, Lines, NAME, branch, program, short_commit, worker_name, worker_status, worker_style,
};

const EXAMPLES: &str = "\
EXAMPLES:
  lane new fix                      a lane on a new branch lane/fix
  lane new fix -- claude            with a program in it
  lane new fix --attach -- claude   and use its terminal at once; ctrl-\\ leaves, it goes on
  lane new --branch feature/login   a lane for a branch that is there already
  lane new --pr 12                  a lane at the head of a pull request
  lane new try --base v1.2 -- bash  from another commit";

/// Make a lane: a worktree on a branch of its own, and with a command a worker in it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("something_runs").args(["attach", "command"]).multiple(true)))]
#[command(mut_args(|arg| match arg.get_id().as_str() {
    "restart" | "done_codes" | "channel" | "start_message" | "limit_wall" | "limit_idle" | "terminal"
    | "tmux_socket" => arg.requires("something_runs"),
    _ => arg,
}))]
pub(crate) struct NewArgs {
    /// Its name [default: from the branch or the pull request, or two words]
    name: Option<String>,
    /// The commit to start from [default: what is checked out where you are]
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// The branch to work on, existing or new [default: a new one, lane/NAME unless laneway.toml says otherwise]
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Start from a pull request of the remote, on a branch of its own
    #[arg(long, value_name = "N", conflicts_with_all = ["base", "branch"])]
    pr: Option<u32>,
    /// Record what its program's terminal shows; `lane replay` plays it
    #[arg(long, requires = "something_runs")]
    record: bool,
    #[command(flatten)]
    restarting: Restarting,
    #[command(flatten)]
    limiting: Limiting,
    #[command(flatten)]
    terminal: Terminal,
    /// Attach to its first worker at once: without a command the program of laneway.toml, else your shell
    #[arg(long)]
    attach: bool,
    /// Do not set it up: `lane setup` does it later
    #[arg(long)]
    no_setup: bool,
    /// A program to start in it, with its arguments
    #[arg(last = true, value_hint = ValueHint::AnyPath)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &NewArgs, context: &Context) -> Outcome {
    let leaves_by = if args.attach { Some(can_attach(args, context)?) } else { None };
    let launch = match args.command.as_slice() {
        [] if !args.attach => None,
        command => Some(launch(command, args.terminal.spec(context)?, args.record)?)
            .map(|launch| args.limiting.applied_to(args.restarting.applied_to(launch))),
    };
    let doing = match &args.name {
        Some(name) => format!("making lane {name}"),
        None => "making a lane".to_owned(),
    };
    let NewArgs { name, base, branch, pr, .. } = args;
    let stands = || crate::launch::launch(&[], TerminalSpec::Pipes, false);
    let caller = if launch.is_none() && !args.no_setup { Some(stands()?) } else { None };
    let body = NewLane {
        name: name.clone(),
        base: base.clone(),
        branch: branch.clone(),
        pr: *pr,
        launch,
        no_setup: args.no_setup,
        caller,
    };
    let made: LaneMade = making::ask(Request::post(doing, routes::LANES).json(&body)?, context)?;
    if context.json() {
        context.printer.json(&made)?;
    } else {
        context.printer.text(&in_words(&made, leaves_by))?;
    }
    match &made.worker {
        Some(worker) if args.attach => attach_to(worker.id),
        Some(_) | None => Ok(exit_code::OK),
    }
}

/// Whether the lane can be attached to, asked before anything is made; gives the key that leaves.
fn can_attach(args: &NewArgs, context: &Context) -> Result<DetachKey, Failure> {
    if context.json() {
        let message = "--attach is for a person, and --json for a program: they do not go together";
        return Err(Failure::new(ErrorKind::Usage, "usage", message));
    }
    let name = args.name.as_deref().unwrap_or("a new lane");
    needs_a_terminal(name, "leave --attach out; lane attach comes later")?;
    Ok(context.settings()?.detach_keys)
}

fn in_words(made: &LaneMade, attach: Option<DetachKey>) -> String {
    let lane = &made.lane;
    let shown = |text: &str| OsText::from(text).shown();
    let mut text = Lines::default();
    text.add(format_args!("lane {NAME}{}{NAME:#}", lane.name));
    text.add(format_args!("  path    {}", lane.path));
    text.add(format_args!(
        "  branch  {} {FAINT}from {} ({}){FAINT:#}",
        branch(lane),
        shown(&lane.base_ref),
        short_commit(&lane.base_commit),
    ));
    if let Some(failure) = &lane.failure {
        text.add(format_args!("  failure {BAD}{}{BAD:#}", shown(failure)));
    }
    if let Some(worker) = &made.worker {
        let style = worker_style(worker.status);
        let (name, status) = (worker_name(worker), worker_status(worker));
        text.add(format_args!("  worker  {name}: {}, {style}{status}{style:#}", program(&worker.argv)));
        match attach {
            None => text.add(format_args!("  next    lane attach {name}")),
            // It stands there again when the terminal is given back.
            Some(key) => {
                text.add(format_args!(
                    "  leave   {key}; it goes on, and lane attach {name} comes back to it"
                ));
            }
        }
    } else {
        text.add(format_args!("  next    lane run {} -- COMMAND", lane.name));
    }
    text.into_string()
}
