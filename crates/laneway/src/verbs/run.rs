//! `lane run`: start a worker in a lane.

use std::ffi::OsString;

use clap::ValueHint;
use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::{RunWorker, WorkerStarted};
use laneway_api::routes;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::launch::{Limiting, Restarting, launch};
use crate::place::Terminal;
use crate::text::{NAME, program, worker_name, worker_status, worker_style};

const EXAMPLES: &str = "\
EXAMPLES:
  lane run fix                         the program of laneway.toml, or your shell
  lane run fix --name tests -- make watch
  lane run fix --restart on-failure -- ./serve   started again when it fails
  lane run fix --channel jsonl -- ./agent   talks to its supervisor: docs/channels.md
  lane run fix --limit-idle 1h --limit-wall 8h -- claude   ended when it hangs, or takes too long
  lane run fix --record -- claude      what it shows is kept: lane replay fix-2
  lane run fix --terminal tmux -- vim  in a window of tmux of its own
  lane attach tests";

/// Start a worker in a lane: a program on a terminal that goes on when you leave
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// The lane
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lane: String,
    /// The worker's name [default: the lane's, or the next free one after it]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Record what its terminal shows; `lane replay` plays it
    #[arg(long)]
    record: bool,
    #[command(flatten)]
    restarting: Restarting,
    #[command(flatten)]
    limiting: Limiting,
    #[command(flatten)]
    terminal: Terminal,
    /// Start it also where the setup of the lane has failed
    #[arg(long)]
    force: bool,
    /// The program with its arguments [default: the one of laneway.toml, else your shell]
    #[arg(last = true, value_hint = ValueHint::AnyPath)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &RunArgs, context: &Context) -> Outcome {
    let launch = launch(&args.command, args.terminal.spec(context)?, args.record)?;
    let launch = args.limiting.applied_to(args.restarting.applied_to(launch));
    let body = RunWorker { name: args.name.clone(), launch, force: args.force };
    let doing = format!("starting a worker in {}", args.lane);
    let request = Request::post(doing, routes::with_target(routes::LANE_WORKERS, &args.lane)).json(&body)?;
    let started: WorkerStarted = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&started)?;
        return Ok(exit_code::OK);
    }
    let worker = &started.worker;
    let style = worker_style(worker.status);
    context.printer.text(&format!(
        "worker {NAME}{name}{NAME:#} in lane {}: {}, {style}{}{style:#}\n  next    lane attach {name}\n",
        worker.lane,
        program(&worker.argv),
        worker_status(worker),
        name = worker_name(worker),
    ))?;
    Ok(exit_code::OK)
}
