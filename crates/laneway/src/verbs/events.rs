//! `lane events`: what has happened, and what happens.

use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_api::request::ReadEvents;
use laneway_api::routes;
use laneway_api::view::{DaemonStatus, EventView};
use laneway_core::event::{Event, Subject};
use laneway_core::id::CorrelationId;
use laneway_core::os_text::OsText;
use laneway_core::pane::PanePlace;

use crate::client::{FollowEnd, NOT_RUNNING, Request, WENT_AWAY};
use crate::context::{Context, Outcome};
use crate::failure::Failure;
use crate::text::{FAINT, NAME, short_commit, user_name};

/// How much of what a program said is shown, in bytes; `--json` has all of it.
const MAX_SAID: usize = 200;

const EXAMPLES: &str = "\
EXAMPLES:
  lane events                the last 50
  lane events --follow       those to come
  lane events --since 120 --follow --json
  lane events --correlation cor_01K9…   all that one request has caused, and who asked";

/// How many connections in a row may end without an event. A new daemon tells at least of its own start; one
/// that is just ending may take a connection or two before it is gone.
const MAX_FRUITLESS: u32 = 10;

/// How wide the column with the names of events is, in characters: the longest are a little wider.
const NAME_WIDTH: usize = 24;

/// Print what has happened: the last 50 events, or those after a number
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EventsArgs {
    /// Go on with those to come
    #[arg(long)]
    follow: bool,
    /// Begin after this number
    #[arg(long, value_name = "N")]
    since: Option<u64>,
    /// Only what this request caused, and who asked (`lane events --json` tells the correlation of each event)
    #[arg(long, value_name = "COR")]
    correlation: Option<CorrelationId>,
}

pub(crate) fn run(args: &EventsArgs, context: &Context) -> Outcome {
    let client = context.client()?;
    if !args.follow {
        let wanted = ReadEvents { since: args.since, follow: false, correlation: args.correlation };
        let mut n_told = 0;
        client.follow(&request(&wanted)?, |line| {
            n_told += 1;
            print(args, context, line)
        })?;
        if let (0, Some(correlation), false) = (n_told, args.correlation, context.json()) {
            context.printer.note(&format!("nothing was caused by {correlation}"));
        }
        return Ok(exit_code::OK);
    }
    let mut after = match args.since {
        Some(since) => since,
        None if args.correlation.is_some() => 0,
        // Told by number from the beginning, so that nothing is missed when the daemon executes itself anew.
        None => client.ask::<DaemonStatus>(&Request::get("asking for its status", routes::DAEMON))?.last_seq,
    };
    let mut client = client;
    let mut n_fruitless = 0;
    while n_fruitless < MAX_FRUITLESS {
        n_fruitless += 1;
        let wanted = ReadEvents { since: Some(after), follow: true, correlation: args.correlation };
        let request = request(&wanted)?;
        let end = client.follow(&request, |line| {
            after = seq(line).unwrap_or(after);
            n_fruitless = 0;
            print(args, context, line)
        });
        match end {
            Ok(FollowEnd::NobodyReads) => return Ok(exit_code::OK),
            // It may have executed itself anew; one that was stopped is left alone.
            Ok(FollowEnd::DaemonEnded) => client = context.client_of_running_daemon()?,
            Err(failure) if failure.is(WENT_AWAY) || failure.is(NOT_RUNNING) => break,
            Err(failure) => return Err(failure),
        }
    }
    Err(ended(after))
}

fn request(query: &ReadEvents) -> Result<Request, Failure> {
    Request::get("reading the events", routes::EVENTS).query(query)
}

fn print(args: &EventsArgs, context: &Context, line: &[u8]) -> Result<(), Failure> {
    if context.json() {
        let mut line = line.to_vec();
        line.push(b'\n');
        return context.printer.bytes(&line);
    }
    let mut words = in_words(line)?;
    if args.correlation.is_some()
        && let Ok(event) = serde_json::from_slice::<EventView>(line)
    {
        words = format!("{words}  {FAINT}by {}{FAINT:#}", event.actor);
    }
    context.printer.line(&words)
}

fn seq(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(line).ok()?["seq"].as_u64()
}

fn ended(after: u64) -> Failure {
    Problem::new(ErrorKind::Unreachable, WENT_AWAY, "the daemon has ended, and nothing more can be told")
        .hint(format!("lane events --follow --since {after}"))
        .into()
}

/// One event on one line. One that this build does not know is shown by its name.
fn in_words(line: &[u8]) -> Result<String, Failure> {
    if let Ok(event) = serde_json::from_slice::<EventView>(line) {
        return Ok(event_in_words(&event, &about(&event.subject)));
    }
    let value: serde_json::Value = serde_json::from_slice(line).map_err(|error| {
        Failure::new(ErrorKind::Failed, "event_not_understood", format!("an event cannot be read: {error}"))
    })?;
    let text = |key: &str| OsText::from(value[key].as_str().unwrap_or("?")).shown();
    Ok(words(value["seq"].as_u64().unwrap_or_default(), &text("at"), &text("event"), "", ""))
}

/// An event on one line; `about` stands at its end.
pub(super) fn event_in_words(event: &EventView, about: &str) -> String {
    let name = serde_json::to_value(&event.event).ok();
    let name = name.as_ref().and_then(|value| value["event"].as_str()).unwrap_or_default();
    words(event.seq, &event.at.to_string(), name, about, &what(&event.event))
}

fn words(seq: u64, at: &str, name: &str, about: &str, what: &str) -> String {
    // Down to seconds: the microseconds are in --json.
    let at = at.get(..19).map_or_else(|| at.to_owned(), |seconds| format!("{seconds}Z"));
    let mut line = format!("{seq:>6}  {FAINT}{at}{FAINT:#}  {NAME}{name}{NAME:#}");
    if !what.is_empty() || !about.is_empty() {
        line = format!("{line}{:1$}{what}", "  ", (NAME_WIDTH + 2).saturating_sub(name.len()));
    }
    let gap = if what.is_empty() { "" } else { "  " };
    if about.is_empty() { line } else { format!("{line}{gap}{FAINT}{about}{FAINT:#}") }
}

/// The id of the narrowest thing that an event is about.
fn about(subject: &Subject) -> String {
    let worker = subject.worker.map(|id| id.to_string());
    let lane = subject.lane.map(|id| id.to_string());
    let workspace = subject.workspace.map(|id| id.to_string());
    worker.or(lane).or(workspace).unwrap_or_default()
}

fn what(event: &Event) -> String {
    let shown = |text: &str| OsText::from(text).shown();
    match event {
        Event::DaemonStarted { version, pid } => format!("version {} as process {pid}", shown(version)),
        Event::DaemonStopped { pid } => format!("process {pid}"),
        Event::ReconcileCompleted { looked_at, done, reported } => {
            format!("looked at {looked_at}, done {done}, reported {reported}")
        }
        Event::WorkspaceRegistered { common_dir } => common_dir.shown(),
        Event::LaneCreated { name, branch, base_ref, .. } => {
            format!("{name} on {} from {}", shown(branch), shown(base_ref))
        }
        Event::LaneAdopted { name, branch, path, .. } => {
            let branch = branch.as_deref().map_or_else(|| "a detached HEAD".to_owned(), shown);
            format!("{name} on {branch} at {path}")
        }
        Event::LaneMerged { into, commit } => {
            format!("into {} at {}", OsText::from(into.as_str()), short_commit(commit))
        }
        Event::LaneLeftBehind { path, .. } => format!("what there is of it is where {} is now", path.shown()),
        Event::LaneRescued { in_trash, n_refs, n_only_in_trash } => {
            let tree = if *in_trash { "its worktree is in the trash, " } else { "" };
            let only = match n_only_in_trash {
                0 => String::new(),
                n => format!(", {n} things in no commit"),
            };
            format!("{tree}{n_refs} refs hold its commits{only}")
        }
        Event::LaneRestored { from } => format!("from {from}"),
        Event::LaneRenamed { from, to } | Event::WorkerRenamed { from, to } => format!("{from} → {to}"),
        Event::LaneStateChanged { from, to, failure: None } => format!("{from} → {to}"),
        Event::LaneStateChanged { from, to, failure: Some(failure) } => {
            format!("{from} → {to}: {}", shown(failure))
        }
        Event::LaneAttachmentJoined { who, worker, role, ttl_ms, .. }
        | Event::LaneAttachmentRenewed { who, worker, role, ttl_ms, .. } => {
            let who = user_name(who, *worker);
            format!("{who} as {role} for {} s", ttl_ms / 1_000)
        }
        Event::LaneAttachmentLeft { who, worker, .. } | Event::LaneAttachmentExpired { who, worker, .. } => {
            user_name(who, *worker)
        }
        Event::LaneSharedChanged { shared: true } => "marked as shared".to_owned(),
        Event::LaneSharedChanged { shared: false } => "no longer marked as shared".to_owned(),
        Event::PoolTreeChanged { tree, state } => format!("{tree} {}", shown(state)),
        Event::LaneSetupStarted { n_done, n_all } => format!("{} of {n_all}", n_done + 1),
        Event::LaneSetupStep { name, number, n_all } => format!("{}, {number} of {n_all}", shown(name)),
        Event::LaneSetupFinished { failure: None } => "done".to_owned(),
        Event::LaneSetupFinished { failure: Some(failure) } => shown(failure),
        Event::LaneCloseRemembered {} => String::new(),
        Event::LaneCloseRefused { losses } => shown(&losses.to_string()),
        Event::WorkerCreated { name: Some(name), program } => format!("{name}: {program}"),
        Event::WorkerCreated { name: None, program } => format!("task: {program}"),
        Event::WorkerWithdrawn { name: Some(name), reason } => format!("{name}: {}", shown(reason)),
        Event::WorkerWithdrawn { name: None, reason } => format!("task: {}", shown(reason)),
        Event::RestartPlanned { number, delay_ms } => format!("run {number} in {delay_ms} ms"),
        Event::RestartCancelled {} | Event::StartRemembered {} => String::new(),
        Event::WorkerGivenUp { why } => shown(why),
        Event::WorkerRestarted { number } => format!("run {number}"),
        Event::RunStarted { number, pid } => format!("run {number} as process {pid}"),
        Event::RunStopping { number } => format!("run {number}"),
        Event::WorkerReady { number } | Event::WorkerChannelClosed { number } => format!("run {number}"),
        Event::WorkerUnhealthy { number, why } => format!("run {number}: {}", shown(why)),
        Event::WorkerStatusSaid { status } => said(status),
        Event::WorkerErrorSaid { message } => shown(&cut(message)),
        Event::WorkerSaid { name, data } => format!("{} {}", shown(name), said(data)),
        Event::RunStopFailed { left } => {
            let left: Vec<String> = left.iter().map(ToString::to_string).collect();
            format!("left: {}", left.join(", "))
        }
        Event::PaneOpened { number, pane_id, at } => {
            format!("pane {number} ({}) in {}", shown(pane_id), place(at))
        }
        Event::PaneMoved { number, pane_id, from, to } => {
            format!("pane {number} ({}): {} → {}", shown(pane_id), place(from), place(to))
        }
        Event::PaneClosed { number, pane_id } => format!("pane {number} ({})", shown(pane_id)),
        Event::WorkerExited { number, exit, duration_ms, asked } => {
            let asked = if *asked { ", as asked" } else { "" };
            format!("run {number} {} after {duration_ms} ms{asked}", shown(&exit.to_string()))
        }
        Event::InstanceStarting { program, instance }
        | Event::InstanceStopping { program, instance }
        | Event::InstanceRemoved { program, instance } => format!("{instance} of {}", shown(program)),
        Event::InstanceFailed { program, instance, why } => {
            format!("{instance} of {}: {}", shown(program), shown(why))
        }
        Event::InstanceRunStarted { program, instance, number } => {
            format!("{instance} of {}, {number}", shown(program))
        }
        Event::InstanceRunEnded { program, instance, number, outcome } => {
            format!("{instance} of {}, {number}: {}", shown(program), outcome.as_str())
        }
        Event::InstanceConfigured { program, instance, .. } => format!("{instance} of {}", shown(program)),
    }
}

/// What a program said, in a line of bounded length.
fn said(value: &serde_json::Value) -> String {
    OsText::from(cut(&value.to_string()).as_str()).shown()
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_SAID);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// Where a pane is, as it is typed.
fn place(place: &PanePlace) -> String {
    OsText::from(format!("{}:{}", place.session, place.window_name).as_str()).shown()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_also_if_it_is_not_known() {
        let plain =
            |line: &str| anstream::adapter::strip_str(&in_words(line.as_bytes()).unwrap()).to_string();
        let known = r#"{"host":"ho_00000000000000000000000000","seq":7,"at":"2026-11-20T06:14:00.000000Z",
            "event":"run.started","data":{"number":1,"pid":42},"worker":"wk_00000000000000000000000000",
            "correlation":"cor_00000000000000000000000000","actor":{"kind":"daemon"}}"#;
        assert_eq!(
            plain(known),
            "     7  2026-11-20T06:14:00Z  run.started               run 1 as process 42  \
             wk_00000000000000000000000000"
        );
        let unknown = r#"{"seq":8,"at":"2026-11-20T06:14:00.000000Z","event":"moon.rose"}"#;
        assert_eq!(plain(unknown), "     8  2026-11-20T06:14:00Z  moon.rose");
        assert!(in_words(b"nonsense").is_err());
    }
}
