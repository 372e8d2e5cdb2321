//! `lane restore`: bring a closed lane back.

use laneway_api::error::exit_code;
use laneway_api::request::{LaneRestored, RestoreLane};
use laneway_api::routes;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::{Lines, NAME, branch};

const EXAMPLES: &str = "\
EXAMPLES:
  lane restore fix
  lane restore fix --name fix-again
  lane restore ln_01K0000000000000000000000A   one of several that had the same name

It comes back as a new lane: its files as they were, byte for byte, with index, branch, reflog and an unfinished
merge or rebase, while its tree is in the trash; after that, what its commits hold.";

/// Bring back a lane that was closed with work in it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The name that it had, or its id (lane rescued lists them)
    #[arg(value_name = "LANE|ID", add = complete::rescued())]
    lane: String,
    /// The new lane's name [default: the one it had, or the next free one after it]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn run(args: &RestoreArgs, context: &Context) -> Outcome {
    let route = routes::with_target(routes::RESTORE, &args.lane);
    let body = RestoreLane { name: args.name.clone() };
    let request = Request::post(format!("restoring {}", args.lane), route).json(&body)?;
    let restored: LaneRestored = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&restored)?;
        return Ok(exit_code::OK);
    }
    let lane = &restored.lane;
    let mut text = Lines::default();
    text.add(format_args!("lane {NAME}{}{NAME:#} is back", lane.name));
    text.add(format_args!("  path    {}", lane.path));
    text.add(format_args!("  branch  {}", branch(lane)));
    if let Some(warning) = &restored.warning {
        text.add(format_args!("  note    {warning}"));
    }
    text.add(format_args!("  next    lane run {} -- COMMAND", lane.name));
    context.printer.text(&text.into_string())?;
    Ok(exit_code::OK)
}
