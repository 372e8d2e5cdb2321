//! `lane explain`: why a worker is in the state that it is in.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::view::{Explanation, RunView};
use laneway_core::os_text::OsText;
use laneway_core::supervise::RestartPolicy;

use super::events::event_in_words;
use super::show::Facts;
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::{counted, worker_name, worker_status, worker_style};

const EXAMPLES: &str = "\
EXAMPLES:
  lane explain fix              why it is running, in back-off, failed
  lane explain fix --json | jq -r .why";

/// Say why a worker is in the state that it is in: its policy, its last runs, what happened to it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// The worker or task
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::workers_of_any_kind())]
    target: String,
}

pub(crate) fn run(args: &ExplainArgs, context: &Context) -> Outcome {
    let doing = format!("looking up {}", args.target);
    let path = routes::with_target(routes::WORKER_EXPLANATION, &args.target);
    let explanation: Explanation = context.client()?.ask(&Request::get(doing, path))?;
    if context.json() {
        context.printer.json(&explanation)?;
    } else {
        context.printer.text(&in_words(&explanation))?;
    }
    Ok(exit_code::OK)
}

fn in_words(explanation: &Explanation) -> String {
    let worker = &explanation.worker;
    let mut facts = Facts::of(if worker.name.is_some() { "worker" } else { "task" }, &worker_name(worker));
    let style = worker_style(worker.status);
    facts.add("status", format!("{style}{}{style:#}", worker_status(worker)));
    facts.add("because", OsText::from(explanation.why.as_str()));
    facts.add_if("next try", worker.next_try_at);
    if worker.restart != RestartPolicy::Never {
        let counted = counted(explanation.n_failures, "failure");
        let Explanation { max_failures, window_ms, .. } = explanation;
        let borne = format!("{max_failures} within {} s are borne", window_ms / 1_000);
        facts.add("counted", format!("{counted}; {borne}"));
    }
    for run in &explanation.runs {
        facts.add("run", run_in_words(run));
    }
    for event in &explanation.events {
        facts.add("event", event_in_words(event, "").trim_start());
    }
    facts.into_string()
}

/// `3: exited 1, 2026-… to 2026-…`.
pub(super) fn run_in_words(run: &RunView) -> String {
    let end = run
        .exit
        .as_ref()
        .map_or_else(|| run.state.clone(), |exit| OsText::from(exit.to_string().as_str()).shown());
    let begin = run.started_at.unwrap_or(run.created_at);
    match run.ended_at {
        Some(ended_at) => format!("{}: {end}, {begin} to {ended_at}", run.number),
        None => format!("{}: {end} since {begin}", run.number),
    }
}
