//! `lane diff`: what a lane has done.

use std::io::IsTerminal;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::DiffText;
use laneway_api::routes;
use laneway_api::view::LaneDiff;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane diff fix
  lane diff fix --stat
  lane diff fix > fix.patch
  lane diff fix --json | jq -r '.files[].path'

All that the lane has done: commits, changes that are not committed, files that git does not track yet (a
repository of its own in the worktree is told by --json only). It is compared with the last commit that it
shares with its base, as that is now if it is a branch: what was merged or rebased into the lane does not count.";

/// Show what a lane has changed since it left its base, committed or not
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    /// The lane
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lane: String,
    /// Only how much of which file
    #[arg(long)]
    stat: bool,
}

pub(crate) fn run(args: &DiffArgs, context: &Context) -> Outcome {
    let doing = format!("comparing {} with its base", args.lane);
    if context.json() {
        let request = Request::get(doing, routes::with_target(routes::LANE_DIFF, &args.lane));
        context.printer.json(&context.client()?.ask::<LaneDiff>(&request)?)?;
        return Ok(exit_code::OK);
    }
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let has_colours = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
    let how = DiffText {
        stat: args.stat,
        terminal: has_colours.then(|| std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned())),
        columns: crate::launch::callers_size().map(|(columns, _)| columns).filter(|_| is_terminal),
    };
    let request = Request::get(doing, routes::with_target(routes::LANE_DIFF_TEXT, &args.lane)).query(&how)?;
    context.client()?.pass_on(&request, |bytes| context.printer.bytes(bytes))?;
    Ok(exit_code::OK)
}
