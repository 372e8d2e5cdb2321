//! `lane split`: a further pane beside a worker in tmux.

use std::ffi::OsString;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::{PaneAdded, PaneSide, SplitWorker};
use laneway_api::routes;
use laneway_core::os_text::OsText;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::worker_name;

const EXAMPLES: &str = "\
EXAMPLES:
  lane split fix                      a shell below it, in the lane's folder
  lane split fix -h -- vim README.md  an editor to the right of it
  lane read fix:1                     what the new pane shows; lane send fix:1 types at it

The panes of a worker have numbers: 0 is the one that its program runs in, and none of the others is given twice. They
go when the worker is stopped or its lane is closed. Only a worker in tmux has them: lane run LANE --terminal tmux.";

/// Add a pane to a worker's window of tmux
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, disable_help_flag = true)]
pub(crate) struct SplitArgs {
    /// The worker, or one of its panes
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::live_workers())]
    target: String,
    /// To the right of it
    #[arg(short = 'h', long, conflicts_with = "vertical")]
    horizontal: bool,
    /// Below it (the default)
    #[arg(short = 'v', long)]
    vertical: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Program and arguments [default: the shell of that tmux]
    #[arg(last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &SplitArgs, context: &Context) -> Outcome {
    let doing = format!("adding a pane to {}", args.target);
    let side = if args.horizontal { PaneSide::Right } else { PaneSide::Below };
    let command = args.command.iter().map(|word| OsText::from(word.as_os_str()));
    let wanted = SplitWorker { side, argv: command.collect() };
    let path = routes::with_target(routes::WORKER_SPLIT, &args.target);
    let request = Request::post(doing, path).json(&wanted)?;
    let added: PaneAdded = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&added)?;
    } else {
        let (worker, pane) = (worker_name(&added.worker), &added.pane);
        context.printer.line(&format!("{worker}:{} is {}", pane.number, pane.pane_id))?;
    }
    Ok(exit_code::OK)
}
