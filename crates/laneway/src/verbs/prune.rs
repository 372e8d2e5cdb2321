//! `lane prune`: delete for good what is kept of closed lanes, and what their programs said.

use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::request::Prune;
use laneway_api::routes;
use laneway_api::view::Rescues;

use super::rescued;
use crate::client::Request;
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::text::{byte_count, counted};
use laneway_core::duration::{millis, parse};

const EXAMPLES: &str = "\
EXAMPLES:
  lane prune                      shows what would be deleted, and asks
  lane prune --older-than 7d --yes
  lane prune --dry-run

What the programs of closed lanes said, and their recordings, is kept for 30 days ([runs] keep_days in config.toml); it
is deleted here too.";

/// Delete for good what is kept of closed lanes, after showing what that frees
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PruneArgs {
    /// Only of lanes that were closed longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = parse)]
    older_than: Option<Duration>,
    /// Only show what would be deleted
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(args: &PruneArgs, context: &Context) -> Outcome {
    let client = context.client()?;
    let ask = |really, only| -> Result<Rescues, Failure> {
        let body = Prune { older_than_ms: args.older_than.map_or(0, millis), really, only };
        client.ask(&Request::post("deleting what is kept", routes::PRUNE).json(&body)?)
    };
    if args.yes {
        return told(&ask(true, None)?, "deleted", context);
    }
    let would = ask(false, None)?;
    if args.dry_run || (would.rescues.is_empty() && would.runs.is_empty()) {
        return told(&would, "would be deleted", context);
    }
    if context.json() || !io::stdin().is_terminal() {
        let message = "what is kept of closed lanes is deleted only where that is said";
        return Err(Problem::new(ErrorKind::Refused, "consent", message)
            .hint("lane prune --dry-run shows it; lane prune --yes deletes it")
            .into());
    }
    told(&would, "would be deleted", context)?;
    context.printer.note("delete it for good? [y/N]");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| {
        Failure::new(ErrorKind::Failed, "not_read", format!("the answer could not be read: {error}"))
    })?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        context.printer.note("nothing was deleted");
        return Ok(exit_code::OK);
    }
    // Only what was shown: meanwhile another lane may have been closed.
    let shown = would.rescues.iter().map(|rescue| rescue.lane);
    let shown = shown.chain(would.runs.iter().map(|runs| runs.lane)).collect();
    told(&ask(true, Some(shown))?, "deleted", context)
}

fn told(rescues: &Rescues, done: &str, context: &Context) -> Outcome {
    if context.json() {
        context.printer.json(rescues)?;
    } else if rescues.rescues.is_empty() && rescues.runs.is_empty() {
        if rescues.failed.is_empty() {
            context.printer.note("nothing is kept of closed lanes");
        }
    } else {
        let of_runs: u64 = rescues.runs.iter().map(|runs| runs.bytes).sum();
        let bytes: u64 = rescues.rescues.iter().map(|rescue| rescue.bytes).sum();
        if !rescues.rescues.is_empty() {
            context.printer.text(&rescued::table(&rescues.rescues, context.now))?;
        }
        if !rescues.runs.is_empty() {
            let n_runs: u64 = rescues.runs.iter().map(|runs| runs.n_runs).sum();
            let (runs, lanes) = (counted(n_runs, "run"), counted(rescues.runs.len() as u64, "closed lane"));
            let taken = byte_count(of_runs);
            context.printer.line(&format!("what {runs} of {lanes} said, with recordings: {taken}"))?;
        }
        context.printer.line(&format!("{} in all, {done}", byte_count(bytes + of_runs)))?;
    }
    for failed in rescues.failed.iter().filter(|_| !context.json()) {
        context
            .printer
            .note(&format!("{} ({}) is not deleted: {}", failed.name, failed.lane, failed.message));
    }
    Ok(if rescues.failed.is_empty() { exit_code::OK } else { exit_code::FAILED })
}
