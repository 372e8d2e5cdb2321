//! `lane leave`: use a lane no longer.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::{LaneLeft, LeaveLane};
use laneway_api::routes;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::{user_name, users};

const EXAMPLES: &str = "\
EXAMPLES:
  lane leave fix                as yourself
  lane leave fix --as reviewer

When the last one leaves, the lane is no longer marked as shared.";

/// Use a lane no longer: what lane join began
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LeaveArgs {
    /// The lane
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lane: String,
    /// Who [default: your login name; inside a run, its worker's name]
    #[arg(long = "as", value_name = "WHO")]
    who: Option<String>,
}

pub(crate) fn run(args: &LeaveArgs, context: &Context) -> Outcome {
    let route = routes::with_target(routes::LANE_LEAVE, &args.lane);
    let request = Request::post(format!("leaving {}", args.lane), route);
    let left: LaneLeft = context.client()?.ask(&request.json(&LeaveLane { who: args.who.clone() })?)?;
    if context.json() {
        context.printer.json(&left)?;
    } else {
        context.printer.line(&in_words(&left))?;
    }
    Ok(exit_code::OK)
}

fn in_words(left: &LaneLeft) -> String {
    let LaneLeft { who, worker, was_attached, lane } = left;
    let who = user_name(who, *worker);
    let rest = match lane.attachments.as_slice() {
        [] => "nobody uses it".to_owned(),
        [_] => format!("{} uses it", users(&lane.attachments)),
        _ => format!("{} use it", users(&lane.attachments)),
    };
    let said = if *was_attached { "has left" } else { "did not use" };
    format!("{who} {said} lane {}; {rest}", lane.name)
}
