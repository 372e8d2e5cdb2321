//! `lane show`: a lane or a worker in detail.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use laneway_api::error::exit_code;
use laneway_api::routes;
use laneway_api::view::{ChannelView, LaneView, PaneView, Resolved, TerminalKind, WorkerView};
use laneway_core::limits::RunLimits;
use laneway_core::os_text::OsText;
use laneway_core::setup::SetupState;

use super::explain::run_in_words;
use crate::client::Request;
use crate::complete;
use crate::context::{Context, Outcome};
use crate::text::{BAD, Lines, NAME, branch, program, user_name, worker_name, worker_status, worker_style};

const EXAMPLES: &str = "\
EXAMPLES:
  lane show fix            what the name means: a worker before a lane
  lane show fix/tests      worker tests of lane fix
  lane show wk_01J… --json";

/// Show a lane or a worker in detail
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    /// A lane or a worker: a name, lane/worker, or an id
    #[arg(value_parser = NonEmptyStringValueParser::new(), add = complete::lanes_and_workers())]
    target: String,
}

pub(crate) fn run(args: &ShowArgs, context: &Context) -> Outcome {
    let doing = format!("looking up {}", args.target);
    let request = Request::get(doing, routes::with_target(routes::RESOLVE, &args.target));
    let resolved: Resolved = context.client()?.ask(&request)?;
    if context.json() {
        context.printer.json(&resolved)?;
        return Ok(exit_code::OK);
    }
    context.printer.text(&match resolved {
        Resolved::Lane(lane) => lane_in_words(&lane, context),
        Resolved::Worker(worker) => worker_in_words(&worker),
    })?;
    Ok(exit_code::OK)
}

/// A title and labelled lines, one per fact.
pub(super) struct Facts(Lines);

impl Facts {
    pub(super) fn of(what: &str, name: &str) -> Self {
        let mut lines = Lines::default();
        lines.add(format_args!("{what} {NAME}{name}{NAME:#}"));
        Self(lines)
    }

    pub(super) fn add(&mut self, label: &str, value: impl std::fmt::Display) {
        self.0.add(format_args!("  {label:<9} {value}"));
    }

    pub(super) fn add_if(&mut self, label: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.add(label, value);
        }
    }

    pub(super) fn into_string(self) -> String {
        self.0.into_string()
    }
}

fn lane_in_words(lane: &LaneView, context: &Context) -> String {
    let mut facts = Facts::of("lane", lane.name.as_str());
    facts.add("id", lane.id);
    let shared = if lane.shared { ", marked as shared" } else { "" };
    facts.add("status", format!("{}{shared}", lane.status.as_str()));
    facts.add_if("failure", lane.failure.as_deref().map(OsText::from));
    if lane.setup != SetupState::None {
        facts.add("setup", lane.setup.as_str());
    }
    let adopted = if lane.adopted { " (adopted: a close leaves it as it is)" } else { "" };
    facts.add("path", format!("{}{adopted}", lane.path));
    let ours = if lane.branch_is_ours { "made for this lane" } else { "was there before" };
    facts.add("branch", format!("{} ({ours})", branch(lane)));
    facts.add("base", format!("{} ({})", OsText::from(lane.base_ref.as_str()), lane.base_commit));
    for user in &lane.attachments {
        facts.add(
            "used by",
            format!("{} ({} until {})", user_name(&user.who, user.worker), user.role, user.until),
        );
    }
    facts.add("created", lane.created_at);
    facts.add_if("closed", lane.closed_at);
    let mut text = facts.0;
    if !lane.workers.is_empty() {
        text.add("");
        text.add_all(&super::ps::table(&lane.workers, context.now));
    }
    text.into_string()
}

/// Its policy, with the exit codes that mean that its work is done.
fn restart(worker: &WorkerView) -> String {
    if worker.done_codes.is_empty() {
        return worker.restart.to_string();
    }
    let codes: Vec<String> = worker.done_codes.iter().map(u8::to_string).collect();
    format!("{} (done with {})", worker.restart, codes.join(", "))
}

/// Its channel, if it has one.
fn channel(worker: &WorkerView) -> Option<String> {
    let ChannelView { kind, ready_at, n_unreadable } = worker.channel.as_ref()?;
    let ready = if ready_at.is_some() { "" } else { ", not ready yet" };
    let unreadable = match n_unreadable {
        0 => String::new(),
        n => format!(", {n} messages could not be read"),
    };
    Some(format!("{kind}{ready}{unreadable}"))
}

/// What its runs are limited to, if they are.
fn limits(worker: &WorkerView) -> Option<String> {
    let shown = |name: &str, ms: Option<NonZeroU64>| {
        ms.map(|ms| format!("{name} {:?}", Duration::from_millis(ms.get())))
    };
    let RunLimits { wall_ms, idle_ms } = worker.limits;
    let limits: Vec<String> =
        [shown("wall", wall_ms), shown("idle", idle_ms)].into_iter().flatten().collect();
    (!limits.is_empty()).then(|| limits.join(", "))
}

/// The pane that a worker's program runs in, if there is one.
fn pane(worker: &WorkerView) -> Option<String> {
    let (session, window, pane) =
        (worker.session.as_ref()?, worker.window_name.as_ref()?, worker.pane_id.as_ref()?);
    Some(format!("tmux {} ({pane})", OsText::from(format!("{session}:{window}").as_str()).shown()))
}

fn worker_in_words(worker: &WorkerView) -> String {
    let what = if worker.name.is_some() { "worker" } else { "task" };
    let mut facts = Facts::of(what, &worker_name(worker));
    facts.add("id", worker.id);
    let style = worker_style(worker.status);
    facts.add("status", format!("{style}{}{style:#}", worker_status(worker)));
    facts.add("lane", format!("{} ({})", worker.lane, worker.lane_id));
    facts.add("command", program(&worker.argv));
    facts.add("folder", &worker.cwd);
    if worker.name.is_some() {
        facts.add("restart", restart(worker));
        facts.add_if("channel", channel(worker));
    }
    facts.add_if("limits", limits(worker));
    facts.add_if("next try", worker.next_try_at);
    facts.add_if("pid", worker.pid);
    if let Some(run) = &worker.run {
        let number = worker.run_number.map(|number| format!(" (number {number})")).unwrap_or_default();
        facts.add("run", format!("{run}{number}"));
    }
    for former in worker.runs.iter().skip(1) {
        facts.add("before", run_in_words(former));
    }
    match (worker.terminal.kind, worker.terminal.columns, worker.terminal.rows) {
        (TerminalKind::Tmux, ..) => {
            facts.add("terminal", pane(worker).unwrap_or_else(|| "tmux, in no pane".to_owned()));
        }
        (TerminalKind::Holder, Some(columns), Some(rows)) => {
            facts.add("terminal", format!("{columns}×{rows} at the start"));
        }
        (TerminalKind::Holder, ..) => facts.add("terminal", "none: on pipes"),
    }
    for pane in &worker.panes {
        let PaneView { number, session, window_name, pane_id, .. } = pane;
        let place = OsText::from(format!("{session}:{window_name}").as_str()).shown();
        facts.add("pane", format!("{number}: {place} ({pane_id})"));
    }
    facts.add("created", worker.created_at);
    facts.add_if("started", worker.started_at);
    facts.add_if("ended", worker.ended_at);
    if let Some(recording) = &worker.recording {
        for file in &recording.files {
            facts.add("recording", file);
        }
        if let Some(reason) = &recording.stopped {
            facts.add("recording", format!("{BAD}stopped{BAD:#}: {}", OsText::from(reason.as_str())));
        }
    }
    facts.0.into_string()
}
