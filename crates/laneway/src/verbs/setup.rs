//! `lane setup`: do in a lane what laneway.toml wants done in each.

use laneway_api::error::exit_code;
use laneway_api::request::SetUpLane;
use laneway_api::routes;
use laneway_api::view::LaneView;
use laneway_core::launch::TerminalSpec;

use super::making;
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::launch::launch;
use crate::text::NAME;

const EXAMPLES: &str = "\
EXAMPLES:
  lane setup fix     after lane trust, or after a step has failed

What laneway.toml copies, links and runs: lane new does it in each new lane. A setup that failed or was interrupted goes
on where it stopped, unless laneway.toml has changed since; one that is done is done again from the start.";

/// Set a lane up by laneway.toml, or go on with that
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SetupArgs {
    /// The lane
    #[arg(add = complete::lanes())]
    lane: String,
}

pub(crate) fn run(args: &SetupArgs, context: &Context) -> Outcome {
    let body = SetUpLane { caller: launch(&[], TerminalSpec::Pipes, false)? };
    let path = routes::with_target(routes::LANE_SETUP, &args.lane);
    let request = Request::post(format!("setting up {}", args.lane), path).json(&body)?;
    let lane: LaneView = making::ask(request, context)?;
    if context.json() {
        context.printer.json(&lane)?;
    } else {
        context.printer.line(&format!("lane {NAME}{}{NAME:#} is set up", lane.name))?;
    }
    Ok(exit_code::OK)
}
