//! What is left of a run whose holder was killed: processes that had detached themselves.
//!
//! The program itself dies with its holder. What had left its session is found by the two marks of the run: its
//! id in the environment, and the soft `RLIMIT_LOCKS` value made from it ([`laneway_wire::mark`]). Nothing is
//! ever searched by name. A process that erased both marks is not found.

use std::fs;
use std::io;

use laneway_core::id::RunId;
use laneway_wire::mark::{RUN_VARIABLE, lock_limit};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::blocking;

/// Scans before what is left counts as not to be ended: each finds the children of those just killed.
const MAX_SCANS: usize = 20;

/// Ends what carries the marks of this run.
pub(super) async fn end(run: RunId) {
    match blocking(move || end_marked(&run.to_string())).await {
        Ok(0) => {}
        Ok(n_ended) => tracing::info!(%run, n_ended, "processes of a lost run were ended"),
        Err(problem) => tracing::warn!(%run, problem = problem.message, "a lost run was not searched"),
    }
}

fn end_marked(run: &str) -> usize {
    let in_environment = format!("{RUN_VARIABLE}={run}").into_bytes();
    let limit = lock_limit(run).to_string();
    let is_marked = |pid: i32| has_limit(pid, &limit) || has_variable(pid, &in_environment);
    let mut n_ended = 0;
    for _ in 0..MAX_SCANS {
        let marked: Vec<i32> = processes().into_iter().filter(|pid| is_marked(*pid)).collect();
        if marked.is_empty() {
            break;
        }
        for pid in marked {
            let Some(pid) = Pid::from_raw(pid) else { continue };
            // Opened first, looked at again, then signalled: the number may be another's by now.
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if is_marked(pid.as_raw_nonzero().get()) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
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

fn processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Holders and daemons carry no mark of a run they do not belong to; they are passed over all the same.
fn is_our_own(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
        exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lane-holder"))
    }) || pid.cast_unsigned() == std::process::id()
}

fn has_limit(pid: i32, limit: &str) -> bool {
    !is_our_own(pid)
        && fs::read_to_string(format!("/proc/{pid}/limits")).is_ok_and(|limits| {
            limits
                .lines()
                .find_map(|line| line.strip_prefix("Max file locks"))
                .and_then(|values| values.split_whitespace().next())
                == Some(limit)
        })
}

fn has_variable(pid: i32, wanted: &[u8]) -> bool {
    !is_our_own(pid)
        && read_environment(pid)
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|v| v == wanted))
}

fn read_environment(pid: i32) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{pid}/environ"))
}
