//! `lane adopt`: take in a worktree that somebody made.

use std::path::PathBuf;

use clap::ValueHint;
use laneway_api::error::exit_code;
use laneway_api::request::AdoptWorktree;
use laneway_api::routes;
use laneway_api::view::LaneView;
use laneway_core::os_text::OsText;

use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::text::{FAINT, Lines, NAME, branch, short_commit};

const EXAMPLES: &str = "\
EXAMPLES:
  lane adopt ../review             a worktree made with git worktree add, as lane review
  lane adopt ../review --name fix
  lane close fix                   stops what runs in it, and leaves the worktree as it is

It stays yours: closing the lane removes neither the worktree nor its branch.";

/// Take in a worktree that is there already: a lane that a close does not remove
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AdoptArgs {
    /// The root of a worktree of this repository
    #[arg(value_hint = ValueHint::DirPath)]
    path: PathBuf,
    /// The lane's name [default: after its folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn run(args: &AdoptArgs, context: &Context) -> Outcome {
    let body = AdoptWorktree { path: args.path.as_path().into(), name: args.name.clone() };
    let doing = format!("adopting {}", OsText::from(args.path.as_path()));
    let lane: LaneView = context.client()?.ask(&Request::post(doing, routes::ADOPT).json(&body)?)?;
    if context.json() {
        context.printer.json(&lane)?;
        return Ok(exit_code::OK);
    }
    let mut text = Lines::default();
    text.add(format_args!("lane {NAME}{}{NAME:#} {FAINT}(adopted){FAINT:#}", lane.name));
    text.add(format_args!("  path    {}", lane.path));
    text.add(format_args!(
        "  branch  {} {FAINT}since {} ({}){FAINT:#}",
        branch(&lane),
        OsText::from(lane.base_ref.as_str()),
        short_commit(&lane.base_commit),
    ));
    text.add(format_args!("  next    lane run {} -- COMMAND", lane.name));
    context.printer.text(&text.into_string())?;
    Ok(exit_code::OK)
}
