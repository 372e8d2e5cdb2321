//! `lane new`: make a lane, and start a first worker in it.

use std::ffi::OsString;

use clap::ValueHint;
use laneway_api::error::exit_code;
use laneway_api::request::{LaneMade, NewLane};
use laneway_api::routes;
use laneway_core::os_text::OsText;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::launch::{launch, terminal_like_the_callers};
use crate::text::{
    BAD, FAINT, Lines, NAME, branch, program, short_commit, worker_name, worker_status, worker_style,
};

const EXAMPLES: &str = "\
EXAMPLES:
  lane new fix                      a lane on a new branch lane/fix
  lane new fix -- claude            with a program in it
  lane new --branch feature/login   a lane for a branch that is there already
  lane new --pr 12                  a lane at the head of a pull request
  lane new try --base v1.2 -- bash  from another commit";

/// Make a lane: a worktree on a branch of its own, and with a command a worker in it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NewArgs {
    /// Its name [default: from the branch or the pull request, or two words]
    name: Option<String>,
    /// The commit to start from [default: what is checked out where you are]
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// The branch to work on, existing or new [default: a new one, lane/NAME]
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Start from a pull request of the remote, on a branch of its own
    #[arg(long, value_name = "N", conflicts_with_all = ["base", "branch"])]
    pr: Option<u32>,
    /// Record what its program's terminal shows; `lane replay` plays it
    #[arg(long, requires = "command")]
    record: bool,
    /// A program to start in it, with its arguments
    #[arg(last = true, value_hint = ValueHint::AnyPath)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &NewArgs, context: &Context) -> Outcome {
    let launch = match args.command.as_slice() {
        [] => None,
        command => Some(launch(command, terminal_like_the_callers(), args.record)?),
    };
    let doing = match &args.name {
        Some(name) => format!("making lane {name}"),
        None => "making a lane".to_owned(),
    };
    let NewArgs { name, base, branch, pr, .. } = args;
    let body = NewLane { name: name.clone(), base: base.clone(), branch: branch.clone(), pr: *pr, launch };
    let made: LaneMade = context.client()?.ask(&Request::post(doing, routes::LANES).json(&body)?)?;
    if context.json() {
        context.printer.json(&made)?;
    } else {
        context.printer.text(&in_words(&made))?;
    }
    Ok(exit_code::OK)
}

fn in_words(made: &LaneMade) -> String {
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
        text.add(format_args!("  next    lane attach {name}"));
    } else {
        text.add(format_args!("  next    lane run {} -- COMMAND", lane.name));
    }
    text.into_string()
}
