//! What can go wrong between Laneway and tmux.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::ids::{PaneId, WindowId};
use crate::program::OLDEST_TMUX;
use crate::protocol::NotTheProtocol;

/// Why there is no usable tmux.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TmuxUnusable {
    /// No executable file of that name on `PATH`.
    #[error(
        "tmux was not found on PATH; install tmux {}.{} or newer (all else works without it)",
        OLDEST_TMUX.0,
        OLDEST_TMUX.1
    )]
    NotFound,
    /// It is there, but too old.
    #[error(
        "{} is tmux {found}; Laneway needs {}.{} or newer",
        program.display(),
        OLDEST_TMUX.0,
        OLDEST_TMUX.1
    )]
    TooOld {
        /// The program that was asked.
        program: PathBuf,
        /// What it said its version is.
        found: String,
    },
    /// `tmux -V` could not be run.
    #[error("{} could not say its version", program.display())]
    Broken {
        /// The program that was asked.
        program: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// Why something was not done by tmux.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TmuxError {
    /// Nothing listens at the socket.
    #[error("no tmux server runs at {}", socket.display())]
    NoServer {
        /// Where it should.
        socket: PathBuf,
    },
    /// The server does not answer: it is stopped, or busy beyond measure.
    #[error("the tmux server at {} did not answer within {} s", socket.display(), limit.as_secs_f32())]
    NotResponding {
        /// Its socket.
        socket: PathBuf,
        /// What it had.
        limit: Duration,
    },
    /// The connection ended while it was waited for; what was asked may have been done or not.
    #[error("the connection to the tmux server at {} ended{}", socket.display(), after(said))]
    Disconnected {
        /// Its socket.
        socket: PathBuf,
        /// The last that was said; empty if that was nothing.
        said: String,
    },
    /// The server was started by a tmux that is too old.
    #[error(
        "the tmux server at {} is version {found}; Laneway needs {}.{} or newer",
        socket.display(),
        OLDEST_TMUX.0,
        OLDEST_TMUX.1
    )]
    ServerTooOld {
        /// Its socket.
        socket: PathBuf,
        /// What it said its version is.
        found: String,
    },
    /// The server that a pane was in still runs, but its socket leads elsewhere by now.
    #[error("the tmux server {pid} cannot be reached: {} leads to another one", socket.display())]
    ServerHidden {
        /// The socket it was found at.
        socket: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// The socket, or the server behind it, is or could be another user's.
    #[error("the tmux socket {} is not to be trusted: {why}", socket.display())]
    Untrusted {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What is typed into a pane goes to all panes of its window.
    #[error("keys for the tmux pane {pane} would go to all panes of its window (synchronize-panes)")]
    Synchronized {
        /// The pane.
        pane: PaneId,
    },
    /// A pane's output goes to a command already, and a pane has one such command.
    #[error("the output of the tmux pane {pane} goes to a command of somebody else's (pipe-pane)")]
    Piped {
        /// The pane.
        pane: PaneId,
    },
    /// A window is too small for another pane.
    #[error("the tmux window {window} has no room for another pane")]
    NoRoom {
        /// The window.
        window: WindowId,
    },
    /// tmux refused a command.
    #[error("tmux refused {command}: {said}")]
    Refused {
        /// The first word of what was asked.
        command: String,
        /// Its words.
        said: String,
    },
    /// tmux said something that this version does not understand.
    #[error("tmux said something unexpected to {command}: {said:?}")]
    NotUnderstood {
        /// What was asked.
        command: &'static str,
        /// What it said (shortened).
        said: String,
    },
    /// tmux said what is not its protocol; the connection was given up.
    #[error("the tmux server at {} said something unexpected", socket.display())]
    BadProtocol {
        /// Its socket.
        socket: PathBuf,
        /// What.
        #[source]
        source: NotTheProtocol,
    },
    /// tmux could not be started, or talked to.
    #[error("tmux could not be run: {said}")]
    NotRun {
        /// What the operating system said.
        said: String,
    },
    /// The pane is not there any more.
    #[error("the tmux pane {pane} is gone")]
    Gone {
        /// The pane.
        pane: PaneId,
    },
    /// The pane of that id is not the one that was meant: nothing was done to it.
    #[error("the tmux pane {pane} is another one by now ({why}); nothing was done to it")]
    Stale {
        /// The pane.
        pane: PaneId,
        /// What differs.
        why: String,
    },
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl From<io::Error> for TmuxError {
    fn from(error: io::Error) -> Self {
        Self::NotRun { said: error.to_string() }
    }
}

impl From<rustix::io::Errno> for TmuxError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}
