//! The run's process tree: who is in it, and signals that reach exactly those.
//!
//! The holder is a child subreaper, so that everything the program starts stays below the holder, also what
//! has lost its parents or made a session of its own. Other holders and the daemon are never touched, nor what
//! is below them, wherever they stand.

use std::collections::HashMap;
use std::fs;

use laneway_wire::message::{ProcessIdentity, ProcessNote};
use laneway_wire::own::is_our_own;
use laneway_wire::process::Process;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How much of a command line is told, in characters.
const COMMAND_LENGTH: usize = 200;

/// The identity of a living or unreaped process.
pub(crate) fn identify(pid: u32) -> Option<ProcessIdentity> {
    Process::read(pid).map(|process| process.identity)
}

/// The id of this boot of the machine.
pub(crate) fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What a look at the tree has found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Everything below the holder, without other holders, the daemon and what is below them.
    pub(crate) processes: Vec<Process>,
    /// There was another holder, or the daemon.
    pub(crate) met_protected: bool,
}

/// Looks at everything below the process `root`. Processes that lose their parents during the look may be
/// missed; so a look that finds nobody is no proof, but `waitpid` saying that there are no children is.
pub(crate) fn below(root: u32) -> Look {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(process) = pid.and_then(Process::read) {
            children.entry(process.parent).or_default().push(process);
        }
    }
    let mut look = Look::default();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            if is_our_own(process.identity.pid) {
                look.met_protected = true;
            } else {
                parents.push(process.identity.pid);
                look.processes.push(process);
            }
        }
    }
    look
}

/// Sends a signal to exactly this process. Answers whether it was there to get it; an error is one of
/// permission.
pub(crate) fn send_signal(identity: ProcessIdentity, signal: Signal) -> Result<bool, Errno> {
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
        assert!(below(parent).processes.iter().any(|process| process.identity == me));
    }

    #[test]
    fn a_signal_for_an_earlier_process_of_the_same_number_goes_nowhere() {
        let me = identify(std::process::id()).unwrap();
        let earlier = ProcessIdentity { start_ticks: me.start_ticks - 1, ..me };
        assert_eq!(send_signal(earlier, Signal::KILL), Ok(false));
    }
}
