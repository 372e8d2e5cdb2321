//! `lane resolve`: what a target means.

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::view::{ResolvedTarget, TerminalKind};
use laneway_core::os_text::OsText;

use super::show::Facts;
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};

const EXAMPLES: &str = "\
EXAMPLES:
  lane resolve fix        the worker or lane of that name
  lane resolve fix:1      a further pane of it, in tmux
  lane resolve %7         whose pane of tmux that is; @4: whose window
  lane resolve dev:build  the window \"build\" of the session \"dev\"
  lane resolve .          inside a worker: itself; ..: its parent
  lane resolve -          what was attached to last
  lane resolve @4 --json | jq -r .worker

Every command that takes a TARGET takes all of these, in this order: an id, a pane or window of tmux by its id,
worker:N, lane/worker, a worker, a lane, a window or session of tmux by its name. Names are exact; only here the
beginning of one will do if no other begins so, since what was found is printed. The id of a run that is over means that
run: lane read and lane logs print what it has left, and what acts refuses it. A window that shows a worker (lane tmux
sync) is found by viewer.";

/// Say what a target means, and do nothing with it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ResolveArgs {
    /// An id, a name, lane/worker, worker:N, a pane, window or session of tmux; . .. -
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::workers_of_any_kind())]
    target: String,
}

pub(crate) fn run(args: &ResolveArgs, context: &Context) -> Outcome {
    let doing = format!("looking up {}", args.target);
    let request = Request::get(doing, routes::with_target(routes::TARGET, &args.target));
    let resolved: ResolvedTarget = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&resolved)?;
    } else {
        context.printer.text(&in_words(&resolved))?;
    }
    Ok(exit_code::OK)
}

fn in_words(resolved: &ResolvedTarget) -> String {
    let shown = |text: &str| OsText::from(text).shown();
    let mut facts = match (&resolved.worker, resolved.worker_id, &resolved.lane) {
        (Some(name), ..) => Facts::of("worker", name.as_str()),
        (None, Some(id), _) => Facts::of("task", &id.to_string()),
        (None, None, Some(lane)) => Facts::of("lane", lane.as_str()),
        (None, None, None) => Facts::of("pane", &shown(resolved.pane_id.as_deref().unwrap_or_default())),
    };
    facts.add("found by", resolved.method.replace('_', " "));
    if resolved.worker_id.is_some() {
        facts.add_if("lane", resolved.lane.as_ref());
    }
    facts.add_if(
        "id",
        resolved.worker_id.map(|id| id.to_string()).or(resolved.lane_id.map(|id| id.to_string())),
    );
    facts.add_if("terminal", resolved.terminal.map(TerminalKind::as_str));
    if let (Some(session), Some(window)) = (&resolved.session, &resolved.window_name) {
        let id = resolved.window_id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
        facts.add("window", shown(&format!("{session}:{window}{id}")));
    }
    if let (Some(pane), true) = (&resolved.pane_id, resolved.lane.is_some()) {
        let number = resolved.pane_index.unwrap_or_default();
        facts.add("pane", shown(&format!("{number} ({pane})")));
    }
    facts.add("alive", if resolved.alive { "yes" } else { "no" });
    if let (false, Some(run)) = (resolved.alive, resolved.run) {
        facts.add("run", run);
    }
    facts.into_string()
}
