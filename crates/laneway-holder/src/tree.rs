//! The run's process tree: who is in it, and signals that reach exactly those.
//!
//! The holder is a child subreaper, so that everything the program starts stays below the holder, also what
//! has lost its parents or made a session of its own. Other holders and the daemon are never touched, nor what
//! is below them, wherever they stand.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use laneway_wire::message::{ProcessIdentity, ProcessNote};
use laneway_wire::own::is_our_own;
use laneway_wire::process::Process;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::log;

/// How much of a command line is told, in characters.
const COMMAND_LENGTH: usize = 200;

/// The identity of a living or unreaped process.
pub(crate) fn identify(pid: u32) -> Option<ProcessIdentity> {
    Process::read(pid).map(|process| process.identity)
}

/// What a look at the tree has found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Everything below the holder, without other holders, the daemon and what is below them.
    pub(crate) processes: Vec<Process>,
    /// There was another holder, or the daemon.
    pub(crate) met_protected: bool,
    /// The groups that those are in.
    pub(crate) protected_groups: HashSet<u32>,
}

/// Looks at everything below the process `root`. Processes that lose their parents during the look may be
/// missed; so a look that finds nobody is no proof, but `waitpid` saying that there are no children is.
pub(crate) fn below(root: u32) -> Look {
    // A look must take less time than a process that forks and ends: to go from parent to children does,
    // however many processes the machine has. Not every kernel has the lists.
    if Path::new("/proc/thread-self/children").exists() {
        look(root, listed_children)
    } else {
        let mut children = children_of_all();
        look(root, |parent| children.remove(&parent).unwrap_or_default())
    }
}

fn look(root: u32, mut children_of: impl FnMut(u32) -> Vec<Process>) -> Look {
    let mut look = Look::default();
    let mut met = HashSet::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in children_of(parent) {
            // One whose parent has just ended is the root's now.
            let is_below = process.parent == parent || process.parent == root;
            if !is_below || !met.insert(process.identity) {
                continue;
            }
            if is_our_own(process.identity.pid) {
                look.met_protected = true;
                look.protected_groups.insert(process.group);
            } else {
                parents.push(process.identity.pid);
                look.processes.push(process);
            }
        }
    }
    look
}

/// The children of one process, as the kernel lists them for each of its threads.
fn listed_children(parent: u32) -> Vec<Process> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<u32> = lists
        .flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    pids.into_iter().filter_map(Process::read).collect()
}

/// The children of every process of the machine.
fn children_of_all() -> HashMap<u32, Vec<Process>> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(process) = pid.and_then(Process::read) {
            children.entry(process.parent).or_default().push(process);
        }
    }
    children
}

/// An attempt to stop everything below the holder, look by look.
#[derive(Debug, Default)]
pub(crate) struct Freeze {
    met: HashSet<ProcessIdentity>,
}

impl Freeze {
    /// One look below `root`; whoever is met for the first time is sent SIGSTOP. Answers what was seen, and
    /// whether nobody of it was new, not even one who has ended: then there is nobody who can fork, as what was
    /// sent the signal forks no more, also if it has not yet been scheduled to take it.
    pub(crate) fn round(&mut self, root: u32) -> (Look, bool) {
        let look = below(root);
        let new: Vec<Process> =
            look.processes.iter().filter(|process| self.met.insert(process.identity)).copied().collect();
        signal_with_groups(&new, &look, root, Signal::STOP);
        (look, new.is_empty())
    }
}

/// Sends SIGKILL to everything that was met.
pub(crate) fn kill(met: &Look, root: u32) {
    signal_with_groups(&met.processes, met, root, Signal::KILL);
}

/// Sends a signal to each of `processes`, which are below `root`, and to their groups. The system does the latter
/// in one step that no fork can slip through, so that a program which forks faster than anybody can look ends all
/// the same; one that makes a new group for each process has to be met.
fn signal_with_groups(processes: &[Process], look: &Look, root: u32, signal: Signal) {
    let mut groups = HashSet::new();
    for process in processes {
        let was_sent = !process.is_zombie() && send_or_log(process.identity, signal);
        // A group has one session, and each session below the holder was begun there. And the number of the group
        // is nobody else's as long as this member is there: it just got the signal, or has ended and waits for the
        // holder to take notice.
        if (was_sent || process.parent == root) && !look.protected_groups.contains(&process.group) {
            groups.insert(process.group);
        }
    }
    // 1 would be everybody, and the holder's own is not below it.
    for group in groups.into_iter().filter(|group| *group > 1 && *group != root) {
        let Some(group) = Pid::from_raw(group.cast_signed()) else { continue };
        // None left of it is as good as any answer.
        if let Err(errno) = kill_process_group(group, signal)
            && errno != Errno::SRCH
        {
            log(&format!("process group {} did not get a signal: {errno}", group.as_raw_nonzero()));
        }
    }
}

/// Sends a signal to exactly this process. Answers whether it was there to get it.
pub(crate) fn send_or_log(identity: ProcessIdentity, signal: Signal) -> bool {
    send_signal(identity, signal).unwrap_or_else(|errno| {
        log(&format!("process {} did not get a signal: {errno}", identity.pid));
        false
    })
}

/// Sends a signal to exactly this process. Answers whether it was there to get it; an error is one of
/// permission.
fn send_signal(identity: ProcessIdentity, signal: Signal) -> Result<bool, Errno> {
    let Some(pid) = Pid::from_raw(identity.pid as i32) else { return Ok(false) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    // The descriptor is of whoever has the number now; looked at again after it was opened, it is sure.
    if identify(identity.pid) != Some(identity) {
        return Ok(false);
    }
    match pidfd_send_signal(&pidfd, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// What people need to recognise a process.
pub(crate) fn describe(identity: ProcessIdentity) -> ProcessNote {
    let command = fs::read(format!("/proc/{}/cmdline", identity.pid)).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    let mut command: String = command.trim_end().chars().take(COMMAND_LENGTH).collect();
    if command.is_empty() {
        let name = fs::read_to_string(format!("/proc/{}/comm", identity.pid)).unwrap_or_default();
        command = format!("[{}]", name.trim_end());
    }
    ProcessNote { pid: identity.pid, command }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_is_below_its_parent() {
        let me = identify(std::process::id()).unwrap();
        let parent = Process::read(me.pid).unwrap().parent;
        let mut children = children_of_all();
        let scanned = look(parent, |parent| children.remove(&parent).unwrap_or_default());
        for look in [below(parent), look(parent, listed_children), scanned] {
            assert!(look.processes.iter().any(|process| process.identity == me), "{look:?}");
        }
    }

    #[test]
    fn a_signal_for_an_earlier_process_of_the_same_number_goes_nowhere() {
        let me = identify(std::process::id()).unwrap();
        let earlier = ProcessIdentity { start_ticks: me.start_ticks - 1, ..me };
        assert_eq!(send_signal(earlier, Signal::KILL), Ok(false));
    }
}
