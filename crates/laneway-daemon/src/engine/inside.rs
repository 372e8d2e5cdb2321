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
use laneway_wire::own::is_our_own;
use laneway_wire::process::Process;

use super::leftovers::Marks;

/// Processes that are named; more are counted.
const SHOWN: usize = 10;

/// Characters of a command line that are shown.
const COMMAND_SHOWN: usize = 120;

/// A process and all above it.
pub(super) fn with_ancestors(pid: u32) -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut next = pid;
    while next > 1
        && found.insert(next)
        && let Some(process) = Process::read(next)
    {
        next = process.parent;
    }
    found
}

/// Processes with their working directory in `tree` that neither belong to these runs, nor are excused, nor were
/// started by this daemon.
pub(super) fn foreign_processes(tree: &Path, own: &[RunId], excused: &HashSet<u32>) -> Listed<ProcessLine> {
    let mut found = Listed::default();
    let Ok(tree) = tree.canonicalize() else { return found };
    let marks: Vec<Marks> = own.iter().copied().map(Marks::of).collect();
    let daemon = std::process::id();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stands_inside = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&tree));
        if !stands_inside || excused.contains(&pid) || is_our_own(pid) {
            continue;
        }
        let of_daemon = with_ancestors(pid).contains(&daemon);
        let is_zombie = Process::read(pid).is_none_or(|process| process.is_zombie());
        if of_daemon || is_zombie || super::leftovers::is_marked(pid, &marks) {
            continue;
        }
        found.count += 1;
        if found.first.len() < SHOWN {
            found.first.push(ProcessLine { pid, command: command_of(&entry.path()) });
        }
    }
    found
}

/// Whether a process belongs to a run, of whichever lane: it or one above it carries the mark that every process of
/// a run inherits.
pub(crate) fn is_of_a_run(pid: u32) -> bool {
    with_ancestors(pid).into_iter().any(|pid| !is_our_own(pid) && super::leftovers::has_any_mark(pid))
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
