//! `lane close`: take lanes down, unless work would be lost.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::Problem;
use laneway_api::request::{CloseLane, LaneClosed};
use laneway_api::routes;
use laneway_core::findings::Losses;

use super::several::{Shape, each};
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::duration::{millis, parse};
use crate::losses;
use crate::text::branch;

const EXAMPLES: &str = "\
EXAMPLES:
  lane close fix
  lane close a b c --grace 1s

A lane is closed only if nothing is lost: no uncommitted or untracked files, no commits that nothing else
holds. Else it is refused (exit 5), and what would be lost is listed. Of an adopted lane only the programs are
stopped: its worktree, its branch and git's entry stay as they are.";

/// Close lanes: stop what runs in them and remove their worktrees; refused if work would be lost
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CloseArgs {
    /// The lanes
    #[arg(required = true, value_name = "LANE", value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lanes: Vec<String>,
    /// How long their programs may take to end by themselves [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse)]
    grace: Option<Duration>,
}

pub(crate) fn run(args: &CloseArgs, context: &Context) -> Outcome {
    let body = CloseLane { grace_ms: args.grace.map(millis) };
    let request = |lane: &str| {
        let route = routes::with_target(routes::LANE_CLOSE, lane);
        Request::post(format!("closing {lane}"), route).json(&body)
    };
    each(context, (&args.lanes, Shape::AsTyped), request, in_words, with_commands)
}

fn in_words(closed: &LaneClosed) -> String {
    let lane = &closed.lane;
    if closed.was_closed {
        return format!("{} had been closed before", lane.name);
    }
    if lane.adopted {
        return format!(
            "{} is closed; its worktree {} and all in it stay as they were",
            lane.name, lane.path
        );
    }
    let branch = branch(lane);
    let kept = if closed.branch_deleted { "deleted" } else { "kept" };
    let stashes = match closed.stashes {
        0 => String::new(),
        1 => "; the repository has 1 stash: git stash list".to_owned(),
        n => format!("; the repository has {n} stashes: git stash list"),
    };
    format!("{} is closed; branch {branch} is {kept}{stashes}", lane.name)
}

/// A refusal with the commands that bring the work to safety.
fn with_commands(mut problem: Problem, lane: &str) -> Problem {
    if problem.code == losses::CODE
        && let Some(details) = problem.details.clone()
        && let Ok(losses) = serde_json::from_value::<Losses>(details)
    {
        let commands = losses::commands(&losses, lane).into_iter().chain(problem.hint);
        problem.hint = Some(commands.collect::<Vec<_>>().join("\n"));
    }
    problem
}
