//! `lane share` and `lane unshare`: the mark that a lane is for several.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::{LaneShared, ShareLane};
use laneway_api::routes;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::users;

const SHARE_EXAMPLES: &str = "\
EXAMPLES:
  lane share fix
  lane join fix --as anna

A lane that is marked as shared, or that two or more have joined, shows as shared while nothing runs in it. The
mark goes when the last of those who joined leaves, or with lane unshare.";

const UNSHARE_EXAMPLES: &str = "\
EXAMPLES:
  lane unshare fix

Those who have joined it go on using it.";

/// Mark a lane as shared: it is meant for several
#[derive(Debug, clap::Args)]
#[command(after_help = SHARE_EXAMPLES)]
pub(crate) struct ShareArgs {
    /// The lane
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lane: String,
}

/// Take the mark away that lane share has set
#[derive(Debug, clap::Args)]
#[command(after_help = UNSHARE_EXAMPLES)]
pub(crate) struct UnshareArgs {
    /// The lane
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lane: String,
}

pub(crate) fn share(args: &ShareArgs, context: &Context) -> Outcome {
    mark(&args.lane, true, context)
}

pub(crate) fn unshare(args: &UnshareArgs, context: &Context) -> Outcome {
    mark(&args.lane, false, context)
}

fn mark(lane: &str, shared: bool, context: &Context) -> Outcome {
    let route = routes::with_target(routes::LANE_SHARE, lane);
    let request = Request::post(format!("marking {lane}"), route).json(&ShareLane { shared })?;
    let answer: LaneShared = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&answer)?;
    } else {
        context.printer.line(&in_words(&answer))?;
    }
    Ok(exit_code::OK)
}

fn in_words(answer: &LaneShared) -> String {
    let LaneShared { changed, lane } = answer;
    let mut text = match (lane.shared, changed) {
        (true, true) => format!("lane {} is marked as shared", lane.name),
        (true, false) => format!("lane {} was marked as shared before", lane.name),
        (false, true) => format!("lane {} is no longer marked as shared", lane.name),
        (false, false) => format!("lane {} was not marked as shared", lane.name),
    };
    if !lane.shared && !lane.attachments.is_empty() {
        let use_it = if lane.attachments.len() == 1 { "uses it" } else { "use it" };
        text = format!("{text}; {} still {use_it}", users(&lane.attachments));
    }
    text
}
