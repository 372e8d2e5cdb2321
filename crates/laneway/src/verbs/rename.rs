//! `lane rename`: another name for a lane or a worker.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::{Rename, Renamed, RenamedWhat};
use laneway_api::routes;

use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::branch;

const EXAMPLES: &str = "\
EXAMPLES:
  lane rename fix login             lane fix, and the worker in it that is called fix too
  lane rename fix/tests checks      worker tests of lane fix

The name of a lane means the lane, also where a worker has it: then lane/worker means the worker. The branch
and the worktree's folder keep their names: programs run in the one, and others know the other.";

/// Give a lane or a worker another name
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RenameArgs {
    /// A lane, or a worker as lane/worker, by its name or by its id
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes_and_workers())]
    target: String,
    /// The name it is to have
    new: String,
}

pub(crate) fn run(args: &RenameArgs, context: &Context) -> Outcome {
    let doing = format!("renaming {}", args.target);
    let request = Request::post(doing, routes::with_target(routes::RENAME, &args.target));
    let renamed: Renamed = context.client()?.ask(&request.json(&Rename { to: args.new.clone() })?)?;
    if context.json() {
        context.printer.json(&renamed)?;
    } else {
        context.printer.line(&in_words(&renamed))?;
    }
    Ok(exit_code::OK)
}

fn in_words(renamed: &Renamed) -> String {
    let Renamed { from, to, lane, worker, .. } = renamed;
    let what = match renamed.renamed {
        RenamedWhat::Lane => "lane",
        RenamedWhat::Worker => "worker",
    };
    if from == to {
        return format!("{what} {to} was called so before");
    }
    match renamed.renamed {
        RenamedWhat::Worker => format!("worker {from} of lane {} is now {to}", lane.name),
        RenamedWhat::Lane => {
            let along = if worker.is_some() { ", and so is its worker" } else { "" };
            let branch = branch(lane);
            format!(
                "lane {from} is now {to}{along}; its branch {branch} and its worktree {} keep theirs",
                lane.path
            )
        }
    }
}
