//! Programs of others that stand in a lane's worktree: a person's shell or editor, a build of another lane. What
//! they write there after the last look would go with the tree.
//!
//! A look at every process's working directory in `/proc`; those of other users cannot be seen and are not
//! mentioned.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use laneway_core::findings::{Listed, ProcessLine};
use laneway_core::id::RunId;
use laneway_core::pane::PaneIdentity;
use laneway_wire::own::{is_holder, is_our_own};
use laneway_wire::process::Process;

use super::leftovers::Marks;

/// Processes that are named; more are counted.
const SHOWN: usize = 10;

/// Characters of a command line that are shown.
const COMMAND_SHOWN: usize = 120;

/// A process and all above it, from below.
fn upwards(pid: u32) -> impl Iterator<Item = u32> {
    let mut seen = HashSet::new();
    let above = |pid: u32| Process::read(pid).map(|process| process.parent);
    std::iter::successors(Some(pid), move |pid| above(*pid))
        .take_while(move |pid| *pid > 1 && seen.insert(*pid))
}

/// A process and all above it.
pub(super) fn with_ancestors(pid: u32) -> HashSet<u32> {
    upwards(pid).collect()
}

/// Of these panes the processes that tmux has started in them: by their server, and nobody else's by now.
pub(super) fn processes_of_panes(panes: &[PaneIdentity]) -> HashSet<u32> {
    let is_its = |pane: &&PaneIdentity| {
        let server = Process::read(pane.server.pid);
        server.is_some_and(|server| server.identity.start_ticks == pane.server.start_time)
            && Process::read(pane.pane_pid).is_some_and(|process| process.parent == pane.server.pid)
    };
    panes.iter().filter(is_its).map(|pane| pane.pane_pid).collect()
}

/// Processes with their working directory in `tree` that neither belong to these runs, nor are below one of `panes`, nor
/// are excused, nor were started by this daemon for itself.
pub(super) fn foreign_processes(
    tree: &Path,
    own: &[RunId],
    panes: &HashSet<u32>,
    excused: &HashSet<u32>,
) -> Listed<ProcessLine> {
    let mut found = Listed::default();
    let Ok(tree) = tree.canonicalize() else { return found };
    let marks: Vec<Marks> = own.iter().copied().map(Marks::of).collect();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stands_inside = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&tree));
        if !stands_inside || excused.contains(&pid) || is_our_own(pid) {
            continue;
        }
        let is_zombie = Process::read(pid).is_none_or(|process| process.is_zombie());
        let is_in_pane = || !panes.is_empty() && upwards(pid).any(|pid| panes.contains(&pid));
        if is_zombie || is_started_for(pid, own) || is_in_pane() || super::leftovers::is_marked(pid, &marks) {
            continue;
        }
        found.count += 1;
        if found.first.len() < SHOWN {
            found.first.push(ProcessLine { pid, command: command_of(&entry.path()) });
        }
    }
    found
}

/// Whether a process is below the holder of one of these runs, or below this daemon with no holder in between: what
/// is below another holder belongs to another run, though its holder is below this daemon.
fn is_started_for(pid: u32, own: &[RunId]) -> bool {
    let daemon = std::process::id();
    let starter = upwards(pid).find(|pid| *pid == daemon || is_holder(*pid));
    starter.is_some_and(|starter| {
        starter == daemon || run_of_holder(starter).is_some_and(|run| own.contains(&run))
    })
}

/// The run of a holder: its folder, which is among its arguments, is called like it.
pub(crate) fn run_of_holder(holder: u32) -> Option<RunId> {
    let words = fs::read(format!("/proc/{holder}/cmdline")).ok()?;
    let mut words = words.split(|byte| *byte == 0);
    let folder = words.find(|word| *word == b"--dir").and_then(|_| words.next())?;
    Path::new(std::ffi::OsStr::from_bytes(folder)).file_name()?.to_str()?.parse().ok()
}

/// On whose behalf a process asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// It is in no run.
    Outside,
    /// It belongs to a run, of whichever lane.
    InRun,
    /// It is gone, or cannot be seen.
    Unknown,
}

/// Whether a process belongs to a run: it or one above it is a holder, or carries the mark that every process of a
/// run inherits.
pub(crate) fn who_asks(pid: Option<u32>) -> Asking {
    let Some(pid) = pid.filter(|pid| Process::read(*pid).is_some_and(|process| !process.is_zombie())) else {
        return Asking::Unknown;
    };
    let of_a_run = |pid| is_holder(pid) || !is_our_own(pid) && super::leftovers::has_any_mark(pid);
    if upwards(pid).any(of_a_run) { Asking::InRun } else { Asking::Outside }
}

fn command_of(process: &Path) -> String {
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    let line: Vec<String> = words
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| Path::new(std::ffi::OsStr::from_bytes(word)).display().to_string())
        .collect();
    line.join(" ").chars().take(COMMAND_SHOWN).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests start processes to be looked at")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn who_cannot_be_seen_is_not_taken_for_a_person() {
        assert_eq!(who_asks(None), Asking::Unknown);
        let mut ended = Command::new("true").spawn().unwrap();
        let pid = ended.id();
        // It has ended once its output has, and is not reaped yet; then there is nobody of that number.
        let waited = rustix::process::waitid(
            rustix::process::WaitId::Pid(rustix::process::Pid::from_child(&ended)),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        );
        assert!(waited.is_ok());
        assert_eq!(who_asks(Some(pid)), Asking::Unknown);
        ended.wait().unwrap();
        assert_eq!(who_asks(Some(pid)), Asking::Unknown);
    }

    #[test]
    fn what_a_holder_of_another_run_started_is_not_excused_for_being_below_this_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let own = RunId::from_ulid(ulid::Ulid::from(1_u128));
        let others = RunId::from_ulid(ulid::Ulid::from(2_u128));
        // A shell under the holder's name, which this test, in the daemon's place, has started.
        let holder = folder.path().join(laneway_wire::own::HOLDER_PROGRAM);
        fs::copy(fs::canonicalize("/bin/sh").unwrap(), &holder).unwrap();
        let below = |run: RunId| {
            let mut shell = Command::new(&holder)
                .args(["-c", "cat; true", "run", "--dir"])
                .arg(folder.path().join(run.to_string()))
                .current_dir(folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            // When its child has answered, it is there.
            std::io::Write::write_all(shell.stdin.as_mut().unwrap(), b"x").unwrap();
            std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            shell
        };
        let (mut ours, mut theirs) = (below(own), below(others));
        let found = foreign_processes(folder.path(), &[own], &HashSet::new(), &HashSet::new());
        let seen: Vec<&str> = found.first.iter().map(|line| line.command.as_str()).collect();
        assert_eq!(seen, ["cat"], "only what the other holder has started: {found:?}");
        for shell in [&mut ours, &mut theirs] {
            drop(shell.stdin.take());
            shell.wait().unwrap();
        }
    }
}
