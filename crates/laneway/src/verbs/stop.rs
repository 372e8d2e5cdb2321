//! `lane stop`: end a worker's program and everything it has started.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::request::{StopWorker, WorkerStopped};
use laneway_api::routes;
use laneway_core::os_text::OsText;

use super::several::{self, each};
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::duration::{millis, parse};
use crate::text::worker_name;

const EXAMPLES: &str = "\
EXAMPLES:
  lane stop tests
  lane stop fix/tests other --grace 500ms";

/// Stop workers: their programs and all that these have started
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StopArgs {
    /// The workers
    #[arg(required = true, value_name = "TARGET", value_parser = NonEmptyStringValueParser::new(), add = complete::live_workers())]
    targets: Vec<String>,
    /// How long they may take to end by themselves [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse)]
    grace: Option<Duration>,
}

pub(crate) fn run(args: &StopArgs, context: &Context) -> Outcome {
    let body = StopWorker { grace_ms: args.grace.map(millis) };
    let request = |target: &str| {
        let route = routes::with_target(routes::WORKER_STOP, target);
        Request::post(format!("stopping {target}"), route).json(&body)
    };
    each(context, &args.targets, request, in_words, several::as_it_is)
}

fn in_words(stopped: &WorkerStopped) -> String {
    let name = worker_name(&stopped.worker);
    let exit = match &stopped.exit {
        Some(exit) => format!(" ({})", OsText::from(exit.to_string().as_str())),
        None => String::new(),
    };
    if stopped.was_ended {
        format!("{name} had ended before{exit}")
    } else {
        format!("{name} is stopped{exit}")
    }
}
