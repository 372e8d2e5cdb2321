//! What is left of a run whose holder was killed: processes that had detached themselves.
//!
//! The program itself dies with its holder. What had left its session is found by the two marks of the run: its
//! id in the environment, and the soft `RLIMIT_LOCKS` value made from it ([`laneway_wire::mark`]). Nothing is
//! ever searched by name. A process that erased both marks is not found.

use std::fs;

use laneway_core::id::RunId;
use laneway_wire::mark::{RUN_VARIABLE, is_lock_limit_of_a_run, lock_limit};
use laneway_wire::own::is_our_own;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::blocking;

/// Scans before what is left counts as not to be ended: each finds the children of those just killed.
const MAX_SCANS: usize = 20;

/// Ends what carries the marks of these runs.
pub(super) async fn end(runs: Vec<RunId>) {
    if runs.is_empty() {
        return;
    }
    match blocking(move || end_marked(&runs)).await {
        Ok(0) => {}
        Ok(n_ended) => tracing::info!(n_ended, "processes of lost runs were ended"),
        Err(problem) => tracing::warn!(problem = problem.message, "lost runs were not searched"),
    }
}

/// What the processes of a run can be known by.
pub(super) struct Marks {
    in_environment: Vec<u8>,
    limit: String,
}

impl Marks {
    pub(super) fn of(run: RunId) -> Self {
        let run = run.to_string();
        Self {
            in_environment: format!("{RUN_VARIABLE}={run}").into_bytes(),
            limit: lock_limit(&run).to_string(),
        }
    }
}

fn end_marked(runs: &[RunId]) -> usize {
    let marks: Vec<Marks> = runs.iter().copied().map(Marks::of).collect();
    let mut n_ended = 0;
    for _ in 0..MAX_SCANS {
        let marked: Vec<Pid> = processes().filter(|pid| is_marked(number(*pid), &marks)).collect();
        if marked.is_empty() {
            break;
        }
        for pid in marked {
            // Opened first, looked at again, then signalled: the number may be another's by now.
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if is_marked(number(pid), &marks) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
                n_ended += 1;
                wait(&process);
            }
        }
    }
    n_ended
}

/// Waits until a killed process has ended; one in an uninterruptible wait is looked at by the next scan.
fn wait(process: &impl std::os::fd::AsFd) {
    let mut polled = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    // An error here only means that the next scan finds it again.
    let _ = rustix::event::poll(&mut polled, Some(&limit));
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?))
}

/// Whether a process carries the mark of one of these runs.
pub(super) fn is_marked(number: u32, marks: &[Marks]) -> bool {
    if is_our_own(number) {
        return false;
    }
    let limit = locks_limit(number);
    let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
    marks.iter().any(|mark| {
        limit.as_deref() == Some(mark.limit.as_str())
            || environment.split(|byte| *byte == 0).any(|variable| variable == mark.in_environment)
    })
}

/// Whether a process carries the mark of any run.
pub(super) fn has_any_mark(number: u32) -> bool {
    locks_limit(number).and_then(|limit| limit.parse().ok()).is_some_and(is_lock_limit_of_a_run)
}

/// The soft `RLIMIT_LOCKS` value, as `/proc` has it.
fn locks_limit(number: u32) -> Option<String> {
    let limits = fs::read_to_string(format!("/proc/{number}/limits")).unwrap_or_default();
    let values = limits.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
    values.split_whitespace().next().map(str::to_owned)
}
