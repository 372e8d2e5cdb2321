//! `lane stop`: end a worker's program and everything it has started.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::request::{StopWorker, WorkerStopped};
use laneway_api::routes;
use laneway_api::view::Workers;
use laneway_core::os_text::OsText;
use laneway_core::worker::WorkerStatus;

use super::attach::WORKER_VARIABLE;
use super::several::{self, Shape, each};
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::text::worker_name;
use laneway_core::duration::{millis, parse};

const EXAMPLES: &str = "\
EXAMPLES:
  lane stop tests
  lane stop fix/tests other --grace 500ms
  lane stop --all                    all that runs in the lanes of this repository

Exit code 1 if something could not be stopped.";

/// Stop workers: their programs and all that these have started
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StopArgs {
    /// The workers
    #[arg(required_unless_present = "all", value_name = "TARGET", value_parser = NonEmptyStringValueParser::new(), add = complete::live_workers())]
    targets: Vec<String>,
    /// All workers and tasks of this repository that are alive
    #[arg(long, conflicts_with = "targets")]
    all: bool,
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
    if !args.all {
        return each(context, (&args.targets, Shape::AsTyped), request, in_words, several::as_it_is);
    }
    let all = all_that_live(context)?;
    if all.is_empty() && !context.json() {
        context.printer.note("nothing runs in the lanes of this repository");
    }
    let worst = each(context, (&all, Shape::List), request, in_words, several::as_it_is)?;
    // What the targets were like is nobody's doing here: something failed, or nothing did.
    Ok(worst.min(exit_code::FAILED))
}

/// The ids of all that have processes here; last the worker that this was typed in, which is not there to ask for
/// the others any more when it is stopped.
fn all_that_live(context: &Context) -> Result<Vec<String>, Failure> {
    let request = Request::get("listing what runs", routes::WORKERS);
    let workers: Workers = context.client()?.ask(&request)?;
    let alive = workers.workers.iter().filter(|worker| {
        worker.exit.is_none() || worker.left_behind || worker.status == WorkerStatus::Backoff
    });
    let mut ids: Vec<String> = alive.map(|worker| worker.id.to_string()).collect();
    if let Ok(own) = std::env::var(WORKER_VARIABLE) {
        ids.sort_by_key(|id| *id == own);
    }
    Ok(ids)
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
