//! `lane start`: a worker that does not run, once more.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::request::{StartWorker, WorkerBegun};
use laneway_api::routes;

use super::several::{self, Shape, each};
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::worker_name;

const EXAMPLES: &str = "\
EXAMPLES:
  lane start fix                with the command, folder, environment and size that it had
  lane start api web
  lane start fix --json | jq .worker.run_number

One that has failed too often to be started again by itself is started, and nothing is counted against it any more.";

/// Start workers that do not run, as they were started before
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StartArgs {
    /// The workers
    #[arg(required = true, value_name = "TARGET", value_parser = NonEmptyStringValueParser::new(), add = complete::workers_of_any_kind())]
    targets: Vec<String>,
    /// Start it also where the setup of its lane has failed
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &StartArgs, context: &Context) -> Outcome {
    let request = |target: &str| {
        let route = routes::with_target(routes::WORKER_START, target);
        Request::post(format!("starting {target}"), route).json(&StartWorker { force: args.force })
    };
    each(context, (&args.targets, Shape::AsTyped), request, in_words, several::as_it_is)
}

fn in_words(begun: &WorkerBegun) -> String {
    let name = worker_name(&begun.worker);
    if begun.was_running { format!("{name} runs already") } else { begun_in_words(begun) }
}

/// `fix is running (run 3)`.
pub(super) fn begun_in_words(begun: &WorkerBegun) -> String {
    let name = worker_name(&begun.worker);
    let number = begun.worker.run_number.unwrap_or_default();
    format!("{name} is {} (run {number})", begun.worker.status.as_str())
}
