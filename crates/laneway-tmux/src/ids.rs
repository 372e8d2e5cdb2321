//! tmux's own ids, and who is meant by them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use laneway_wire::process::{Process, boot_id};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Text that is no id of this kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no {1} of tmux's")]
pub struct NotAnId(String, &'static str);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $sigil:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($sigil, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let number = text.strip_prefix($sigil).filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
                let number = number.and_then(|number| number.parse().ok());
                number.map(Self).ok_or_else(|| NotAnId(text.to_owned(), $what))
            }
        }
    };
}

id!(
    /// A session: `$1`.
    SessionId,
    "$",
    "session id"
);
id!(
    /// A window: `@4`.
    WindowId,
    "@",
    "window id"
);
id!(
    /// A pane: `%7`.
    PaneId,
    "%",
    "pane id"
);

/// One server process: its ids mean nothing in another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerIdentity {
    /// Its process id.
    pub pid: u32,
    /// When the kernel started it, in ticks since the boot.
    pub start_ticks: u64,
    /// The boot that it belongs to.
    pub boot_id: String,
    /// The socket that it was found at.
    pub socket: PathBuf,
}

impl ServerIdentity {
    /// The server with this process id, as it is now; none if there is none.
    pub(crate) fn of(pid: u32, socket: PathBuf) -> Option<Self> {
        let start_ticks = Process::read(pid)?.identity.start_ticks;
        Some(Self { pid, start_ticks, boot_id: boot_id().ok()?, socket })
    }

    /// Whether it is one process with this one, wherever its socket stands.
    pub fn is_process(&self, other: &Self) -> bool {
        (self.pid, self.start_ticks, &self.boot_id) == (other.pid, other.start_ticks, &other.boot_id)
    }

    /// Whether it has ended, or does within the limit: one that is on its way out listens no more.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let process =
            Pid::from_raw(self.pid.cast_signed()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // Looked at once it is held: the number may be another's.
        if let Some(process) = process.filter(|_| self.is_alive())
            && let Ok(limit) = Timespec::try_from(limit)
        {
            // Looked at again below, whatever woke it.
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit));
        }
        !self.is_alive()
    }

    /// Whether that process still runs.
    pub fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
            && Process::read(self.pid).is_some_and(|process| {
                process.identity.start_ticks == self.start_ticks && !process.is_zombie()
            })
    }
}

/// Everything by which a pane is known again. An id alone can be a stranger's: ids start again with the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PaneIdentity {
    /// The server it is in.
    pub server: ServerIdentity,
    /// The session it was made in.
    pub session: SessionId,
    /// Its window; panes of old records may have been written down without.
    pub window: Option<WindowId>,
    /// Its window's name when it was made.
    pub window_name: String,
    /// The pane.
    pub pane: PaneId,
    /// The process that was started in it.
    pub pane_pid: u32,
    /// What the pane's option `@laneway` was set to: the id of the run.
    pub tag: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_tmux_writes_them() {
        assert_eq!("$1".parse(), Ok(SessionId(1)));
        assert_eq!("@42".parse::<WindowId>().map(|id| id.to_string()), Ok("@42".to_owned()));
        for bad in ["", "%", "7", "@7", "%7x", "%+7", "% 7", "%99999999999"] {
            assert!(bad.parse::<PaneId>().is_err(), "{bad}");
        }
    }
}
