//! `lane restart`: a worker's program ended, and started again.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::request::RestartWorker;
use laneway_api::routes;
use laneway_core::duration::{millis, parse};

use super::several::{self, Shape, each};
use super::start::begun_in_words;
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane restart fix
  lane restart api web --grace 500ms

Its next run has the command, folder, environment and size of the one before. One that does not run is started.";

/// End workers' programs, with all that these have started, and start them again
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestartArgs {
    /// The workers
    #[arg(required = true, value_name = "TARGET", value_parser = NonEmptyStringValueParser::new(), add = complete::workers_of_any_kind())]
    targets: Vec<String>,
    /// How long they may take to end by themselves [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse)]
    grace: Option<Duration>,
    /// Start it also where the setup of its lane has failed
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &RestartArgs, context: &Context) -> Outcome {
    let body = RestartWorker { grace_ms: args.grace.map(millis), force: args.force };
    let request = |target: &str| {
        let route = routes::with_target(routes::WORKER_RESTART, target);
        Request::post(format!("restarting {target}"), route).json(&body)
    };
    each(context, (&args.targets, Shape::AsTyped), request, begun_in_words, several::as_it_is)
}
