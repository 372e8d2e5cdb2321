//! `lane path`: where a lane's worktree is.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::view::LaneView;
use laneway_core::os_text::OsText;
use serde::Serialize;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  cd \"$(lane path fix)\"";

/// Print the path of a lane's worktree, and nothing else
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PathArgs {
    /// The lane
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lane: String,
}

#[derive(Serialize)]
struct Path {
    path: OsText,
}

pub(crate) fn run(args: &PathArgs, context: &Context) -> Outcome {
    let doing = format!("looking up {}", args.lane);
    let request = Request::get(doing, routes::with_target(routes::LANE, &args.lane));
    let lane: LaneView = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&Path { path: lane.path })?;
    } else {
        // For `$(…)`: the bytes as they are.
        let mut bytes = lane.path.as_bytes().to_vec();
        bytes.push(b'\n');
        context.printer.bytes(&bytes)?;
    }
    Ok(exit_code::OK)
}
