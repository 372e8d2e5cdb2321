//! What the shell is told when a person presses tab: the words of the command line, and the names of lanes and
//! workers as the daemon that runs knows them.
//!
//! A prompt must not hang and must not be written over. So this starts nothing, says nothing but candidates, and a
//! daemon that does not answer within [`LIMIT`] has none.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _};
use clap_complete::env::Shells;
use laneway_api::routes;
use laneway_api::view::{LaneView, Lanes, Rescues, WorkerView};
use laneway_core::os_text::OsText;
use laneway_core::worker::WorkerStatus;
use laneway_wire::keys::KEY_NAMES;
use serde::de::DeserializeOwned;

use crate::cli;
use crate::client::{Client, Request, Start};
use crate::text;

/// The variable that says for which shell the rest of the command line is to be completed.
pub(crate) const VARIABLE: &str = "LANEWAY_COMPLETE";

/// How long the daemon has to answer: what a person at a prompt does not yet take for a hang.
const LIMIT: Duration = Duration::from_millis(200);

/// Which workers make sense where a target is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Workers {
    Live,
    All,
}

/// Completes with the names of open lanes.
pub(crate) fn lanes() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let names = ask().lanes.into_iter().map(|lane| (lane.name.to_string(), about_lane(&lane)));
        candidates(typed, names.collect())
    })
}

/// Completes with what means a worker that runs.
pub(crate) fn live_workers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed, workers(&ask(), Workers::Live, typed)))
}

/// Completes with what means a worker, also one that has ended.
pub(crate) fn workers_of_any_kind() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed, workers(&ask(), Workers::All, typed)))
}

/// Completes with what means a worker; where a path begins, with files of recordings.
pub(crate) fn recordings() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let is_path = [".", "/"].iter().any(|begin| typed.as_encoded_bytes().starts_with(begin.as_bytes()));
        if is_path {
            let is_recording = |path: &Path| path.extension() == Some(OsStr::new("cast"));
            return PathCompleter::file().filter(is_recording).complete(typed);
        }
        candidates(typed, workers(&ask(), Workers::All, typed))
    })
}

/// Completes with lanes, and with what means a worker.
pub(crate) fn lanes_and_workers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let known = ask();
        let mut names: BTreeMap<_, _> =
            known.lanes.iter().map(|lane| (lane.name.to_string(), about_lane(lane))).collect();
        names.extend(workers(&known, Workers::All, typed));
        candidates(typed, names)
    })
}

/// Completes with the names of closed lanes of which something is kept.
pub(crate) fn rescued() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let kept = ask_for::<Rescues>(routes::RESCUES).unwrap_or_default().rescues;
        candidates(
            typed,
            kept.into_iter().map(|kept| (kept.name.to_string(), kept.lane.to_string())).collect(),
        )
    })
}

/// Completes with what can be waited for.
pub(crate) fn conditions() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let states = WorkerStatus::ALL.map(|status| format!("state={}", status.as_str()));
        let words = ["exit", "idle", "output="].map(str::to_owned).into_iter().chain(states);
        candidates(typed, words.map(|word| (word, String::new())).collect())
    })
}

/// Completes with the names of keys; after a modifier also with letters.
pub(crate) fn keys() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let typed = typed.to_string_lossy().to_lowercase();
        let mut key = typed.as_str();
        while let Some(rest) =
            ["ctrl-", "alt-", "shift-"].iter().find_map(|modifier| key.strip_prefix(modifier))
        {
            key = rest;
        }
        let modifiers = &typed[..typed.len() - key.len()];
        // Control with a letter is what is looked for most: it is offered before its dash is typed.
        let modifiers = if modifiers.is_empty() && typed.starts_with('c') { "ctrl-" } else { modifiers };
        let letters = ('a'..='z').filter(|_| !modifiers.is_empty()).map(String::from);
        let names = KEY_NAMES.iter().map(ToString::to_string).chain(letters);
        let names = names.map(|name| (format!("{modifiers}{name}"), String::new()));
        candidates(OsStr::new(&typed), names.collect())
    })
}

/// If the shell has asked for candidates: prints them and gives true. `arguments`: all of this process, with a `--`
/// before the words to complete.
pub(crate) fn was_asked(arguments: &[OsString]) -> bool {
    let Some(shell) = std::env::var_os(VARIABLE) else { return false };
    let shells = Shells::builtins();
    let Some(shell) = shell.to_str().and_then(|name| shells.completer(name)) else { return false };
    let Some((dashes, words)) = arguments.get(1..).and_then(<[OsString]>::split_first) else { return false };
    if dashes != "--" {
        return false;
    }
    let cwd = std::env::current_dir().ok();
    let mut answer = Vec::new();
    // A word that cannot be completed is no error at a prompt.
    if shell.write_complete(&mut command(), words.to_vec(), cwd.as_deref(), &mut answer).is_ok() {
        let _ = std::io::stdout().write_all(&answer);
    }
    true
}

/// The command line, with options offered only where nothing else fits or a dash was typed.
fn command() -> clap::Command {
    fn with_options_last(command: clap::Command) -> clap::Command {
        command
            .mut_args(|argument| if argument.is_positional() { argument } else { argument.hide(true) })
            .mut_subcommands(with_options_last)
    }
    let mut command = cli::command();
    command.build();
    with_options_last(command)
}

/// The lanes of this repository as the daemon that runs knows them; none if none does, or if it is busy.
fn ask() -> Lanes {
    ask_for(routes::LANES).unwrap_or(Lanes { lanes: Vec::new() })
}

/// What the daemon that runs says of this repository, if it does soon.
fn ask_for<T: DeserializeOwned>(route: &str) -> Option<T> {
    let home = laneway_daemon::home::Home::from_environment().ok()?;
    let cwd = std::env::current_dir().ok().map(OsText::from);
    let client = Client::new(home, cwd, Start::Never).ok()?;
    client.ask_within(&Request::get("completing", route), LIMIT).ok()
}

/// What can be typed for workers, with what is said beside it. A lane's name means its only worker.
fn workers(known: &Lanes, which: Workers, typed: &OsStr) -> BTreeMap<String, String> {
    let fits = |worker: &&WorkerView| which == Workers::All || worker.exit.is_none();
    let typed = typed.to_string_lossy();
    let mut names = BTreeMap::new();
    for lane in &known.lanes {
        let of_lane: Vec<_> = lane.workers.iter().filter(fits).collect();
        if let [only] = of_lane[..] {
            names.insert(lane.name.to_string(), about_worker(only));
        }
        for worker in of_lane {
            let name = match &worker.name {
                Some(name) if typed.contains('/') => format!("{}/{name}", lane.name),
                Some(name) => name.to_string(),
                // A task has only its id, which nobody looks for unless he has begun it.
                None if typed.starts_with("wk_") => worker.id.to_string(),
                None => continue,
            };
            names.insert(name, about_worker(worker));
        }
    }
    names
}

fn about_lane(lane: &LaneView) -> String {
    format!("{}, {}", lane.status.as_str(), text::branch(lane))
}

fn about_worker(worker: &WorkerView) -> String {
    format!("{}: {}", text::worker_status(worker), text::short_program(&worker.argv))
}

fn candidates(typed: &OsStr, names: BTreeMap<String, String>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let fitting = names.into_iter().filter(|(name, _)| name.starts_with(&*typed));
    fitting
        .map(|(name, about)| CompletionCandidate::new(name).help((!about.is_empty()).then(|| about.into())))
        .collect()
}
