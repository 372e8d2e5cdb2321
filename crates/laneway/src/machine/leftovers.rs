//! What is there of runs: what lives, what the next daemon has to record, and what nothing needs any more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use laneway_api::version::VERSION;
use laneway_daemon::home::Home;
use laneway_wire::RECORD_NAME;
use laneway_wire::process::Process;
use laneway_wire::record::{self, RecordState};

use super::{About, Check, Daemon, Machine, State};
use crate::text::counted;

/// All of them.
pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    let Ok(home) = &machine.home else { return Vec::new() };
    let mut checks = runs(machine, home);
    checks.extend(socket(machine, home));
    checks.extend(starts(home));
    checks
}

fn check(name: &'static str, state: State, found: impl Into<String>) -> Check {
    Check::new(About::Leftovers, name, state, found)
}

/// What run folders say.
#[derive(Debug, Default)]
struct Runs {
    n_folders: u64,
    /// Live holders, by their version.
    live: BTreeMap<String, u64>,
    /// Holders that went without a word: killed, or with the machine.
    n_lost: u64,
    n_damaged: u64,
}

impl Runs {
    fn look(folder: &Path) -> Self {
        let mut runs = Self::default();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            runs.n_folders += 1;
            match record::read(&entry.path().join(RECORD_NAME)) {
                Ok(record) => {
                    if record.holder_runs() {
                        let version = record.holder_version.trim_start_matches("lane-holder ").to_owned();
                        *runs.live.entry(version).or_default() += 1;
                    } else if matches!(record.state, RecordState::Starting | RecordState::Running { .. }) {
                        runs.n_lost += 1;
                    }
                }
                Err(record::RecordError::Damaged) => runs.n_damaged += 1,
                // It is just being made, or never was.
                Err(_) => {}
            }
        }
        runs
    }
}

fn runs(machine: &Machine, home: &Home) -> Vec<Check> {
    let Runs { n_folders, live, n_lost, n_damaged } = Runs::look(&home.runs());
    let n_live: u64 = live.values().sum();
    let mut checks =
        vec![check("runs", State::Ok, format!("{} alive, {} kept", n_live, counted(n_folders, "run")))];
    let others: Vec<String> = live
        .iter()
        .filter(|(version, _)| *version != VERSION)
        .map(|(version, n)| format!("{} of version {version}", counted(*n, "holder")))
        .collect();
    if !others.is_empty() {
        let found = format!("{}: they go on as they are until their programs end", others.join(", "));
        checks.push(check("other versions", State::Ok, found));
    }
    if n_lost > 0 && !matches!(machine.daemon, Daemon::Answers(_)) {
        let ended =
            if n_lost == 1 { "1 run has ended".to_owned() } else { format!("{n_lost} runs have ended") };
        let found = format!("{ended} while no daemon was there; the next one records that");
        checks.push(check("not recorded", State::Ok, found));
    }
    if n_damaged > 0 {
        let found = format!("{} cannot be read: those runs count as lost", counted(n_damaged, "run record"));
        checks.push(check("damaged", State::Warning, found).advice("see whether the disk is sound"));
    }
    checks
}

/// The socket of a daemon that was killed.
fn socket(machine: &Machine, home: &Home) -> Option<Check> {
    let is_dead = matches!(machine.daemon, Daemon::None) && home.socket().exists();
    let found =
        format!("{} is of a daemon that was killed; the next one replaces it", home.socket().display());
    is_dead.then(|| check("socket", State::Ok, found))
}

/// The pipes of starts whose command was killed.
fn starts(home: &Home) -> Option<Check> {
    let entries = fs::read_dir(home.root()).into_iter().flatten().flatten();
    let left: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| starter_in(name).is_some_and(|pid| Process::read(pid).is_none()))
        .collect();
    let found = format!("{}: of starts that were broken off", left.join(", "));
    let advice = || format!("nothing needs them: rm {}/start-*.fifo", home.root().display());
    (!left.is_empty()).then(|| check("pipes", State::Warning, found).advice(advice()))
}

/// The process that made such a pipe.
fn starter_in(name: &str) -> Option<u32> {
    name.strip_prefix("start-")?.strip_suffix(".fifo")?.parse().ok()
}
