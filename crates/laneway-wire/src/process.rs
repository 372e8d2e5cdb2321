//! What the kernel says of a process: who it is and what it does, from `/proc/PID/stat`.

use std::fs;
use std::io;

use crate::message::ProcessIdentity;

/// A process at the moment of the look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Who it is.
    pub identity: ProcessIdentity,
    /// The kernel's state letter.
    pub state: u8,
    /// Its parent's process id; 0 if that is outside of this process's namespace.
    pub parent: u32,
    /// Its process group's id; 0 if that came from outside of this process's namespace.
    pub group: u32,
}

impl Process {
    /// Looks at a process; one that has ended is found until it is reaped. None if there is none.
    pub fn read(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(pid: u32, line: &[u8]) -> Option<Self> {
        // The name is in parentheses and may hold anything, also parentheses: the last one ends it.
        let name_end = line.iter().rposition(|byte| *byte == b')')?;
        let rest = str::from_utf8(line.get(name_end + 2..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // Of the fields as proc(5) numbers them, state is 3, ppid 4, pgrp 5, starttime 22.
        let start_ticks = fields.nth(16)?.parse().ok()?;
        Some(Self { identity: ProcessIdentity { pid, start_ticks }, state, parent, group })
    }

    /// It has ended and waits for its parent to take notice.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// It is stopped by a signal or a debugger.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// It can run, that is, also fork.
    pub fn is_running(&self) -> bool {
        !self.is_zombie() && !self.is_stopped()
    }

    /// It waits for something that may take as long as it likes: input, a child, time.
    pub fn is_waiting(&self) -> bool {
        self.state == b'S' || self.is_stopped()
    }
}

/// The id of this boot of the machine: what ran in another one does not run any more.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Whether this very process is there and has not ended: the number alone may be another's by now.
pub fn is_alive(identity: ProcessIdentity) -> bool {
    Process::read(identity.pid).is_some_and(|process| process.identity == identity && !process.is_zombie())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_confuse_the_reading_of_a_process() {
        let line = b"7 (a) R 1 (b c) S 42 6 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";
        let identity = ProcessIdentity { pid: 7, start_ticks: 98765 };
        assert_eq!(Process::parse(7, line), Some(Process { identity, state: b'S', parent: 42, group: 6 }));
        assert_eq!(Process::parse(7, b"7 (a"), None);
        assert_eq!(Process::parse(7, b"7 (a) S 1"), None);
    }

    #[test]
    fn an_earlier_process_of_the_same_number_is_not_alive() {
        let me = Process::read(std::process::id()).unwrap().identity;
        assert!(is_alive(me));
        assert!(!is_alive(ProcessIdentity { start_ticks: me.start_ticks - 1, ..me }));
    }
}
