//! `lane close`: take lanes down, unless work would be lost.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::Problem;
use laneway_api::request::{CloseForecast, CloseLane, LaneClosed, WouldDo};
use laneway_api::routes;
use laneway_core::findings::Losses;
use laneway_core::os_text::OsText;

use super::several::{Shape, as_it_is, each};
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::losses;
use crate::text::branch;
use laneway_core::duration::{millis, parse};

const EXAMPLES: &str = "\
EXAMPLES:
  lane close fix
  lane close a b c --grace 1s
  lane close fix --merge            merge it into what it was made from, then close it
  lane close fix --dry-run          say what would happen, and change nothing
  lane close fix --discard          close it with work in it; lane restore fix brings all of it back

A lane is closed only if nothing is lost: no uncommitted or untracked files, no commits that nothing else
holds, nobody else's program in its folder. Else it is refused (exit 5), and what would be lost is listed; so is a
merge, with the files in conflict. And
nobody else may use it, whatever is asked: lane leave ends that. Of an
adopted lane only the programs are stopped: its worktree, its branch and git's entry stay as they are. If its
repository is not there, moved or deleted, --discard ends the lane here and touches nothing of it.";

/// Close lanes: stop what runs in them and remove their worktrees; refused if work would be lost
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CloseArgs {
    /// The lanes
    #[arg(required = true, value_name = "LANE", value_parser = NonEmptyStringValueParser::new(), add = complete::lanes())]
    lanes: Vec<String>,
    /// Merge its commits into the branch that it was made from; a conflict changes nothing
    #[arg(long)]
    merge: bool,
    /// Close it also with work in it: all of it is kept for `lane restore`
    #[arg(long)]
    discard: bool,
    /// Leave its branch
    #[arg(long)]
    keep_branch: bool,
    /// Say what would happen, and change nothing
    #[arg(long, conflicts_with = "grace")]
    dry_run: bool,
    /// How long their programs may take to end by themselves [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse)]
    grace: Option<Duration>,
}

pub(crate) fn run(args: &CloseArgs, context: &Context) -> Outcome {
    let body = CloseLane {
        discard: args.discard,
        merge: args.merge,
        keep_branch: args.keep_branch,
        grace_ms: args.grace.map(millis),
    };
    if args.dry_run {
        let request = |lane: &str| {
            let route = routes::with_target(routes::LANE_CLOSE, lane);
            Request::get(format!("looking at {lane}"), route).query(&body)
        };
        return each(context, (&args.lanes, Shape::AsTyped), request, forecast_in_words, as_it_is);
    }
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
    if closed.left_behind {
        return format!(
            "{} is closed, as it is recorded here; its repository is not there, so nothing of it was looked at or \
             removed: branch {} and {} are as they were, wherever it is now",
            lane.name,
            branch(lane),
            lane.path
        );
    }
    let branch = branch(lane);
    let kept = if closed.branch_deleted { "deleted" } else { "kept" };
    let mut parts = vec![format!("{} is closed", lane.name), format!("branch {branch} is {kept}")];
    if let Some(into) = &closed.merged_into {
        parts.push(format!("its commits are in {}", OsText::from(into.as_str())));
    }
    if closed.rescued {
        parts.push(format!("all that was in it is kept: lane restore {}", lane.name));
    }
    match closed.stashes {
        0 => {}
        1 => parts.push("the repository has 1 stash: git stash list".to_owned()),
        n => parts.push(format!("the repository has {n} stashes: git stash list")),
    }
    parts.join("; ")
}

fn forecast_in_words(forecast: &CloseForecast) -> String {
    let lane = &forecast.lane;
    let branch =
        format!("branch {} would be {}", branch(lane), if forecast.branch_goes { "deleted" } else { "kept" });
    let first = match forecast.would {
        WouldDo::Refuse => format!("{} would not be closed: {}", lane.name, forecast.losses),
        WouldDo::Close => format!("{} would be closed, nothing would be lost; {branch}", lane.name),
        WouldDo::Merge => format!(
            "{} would be merged into {} and closed; {branch}",
            lane.name,
            OsText::from(lane.base_ref.as_str())
        ),
        WouldDo::Rescue => {
            format!("{} would be closed with {}, all of it kept; {branch}", lane.name, forecast.losses)
        }
    };
    format!("{first}\n{}", losses::list(&forecast.losses)).trim_end().to_owned()
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
