//! Panes: where in tmux the terminals of a worker are.
//!
//! An id of tmux is worth nothing alone: ids begin at 0 again with every server, so that one that is recorded can be a
//! stranger's by now. What is recorded is enough to tell.

use serde::{Deserialize, Serialize};

use crate::id::{RunId, WorkerId};
use crate::os_text::OsText;

/// The number of a worker's first pane, the one that its program runs in.
pub const PRIMARY: u32 = 0;

/// A server of tmux that cannot be mistaken for a later one on the same socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmuxServer {
    /// Its socket, absolute.
    pub socket: OsText,
    /// Its process id.
    pub pid: u32,
    /// When that began, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
    /// The kernel's boot id.
    pub boot_id: String,
}

/// Where a pane is. People move and rename; the pane stays the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PanePlace {
    /// The session's id (`$1`).
    pub session_id: String,
    /// The session's name.
    pub session: String,
    /// The window's id (`@4`). None: it was never read.
    pub window_id: Option<String>,
    /// The window's name.
    pub window_name: String,
}

/// A pane that cannot be mistaken for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaneIdentity {
    /// Its server.
    pub server: TmuxServer,
    /// Where it was seen last.
    pub place: PanePlace,
    /// Its id (`%7`).
    pub pane_id: String,
    /// The process that tmux started in it.
    pub pane_pid: u32,
    /// The value of its option `@laneway`, by which it is ours: the run of a primary pane; of another the
    /// worker, and what no other pane ever had.
    pub tag: String,
}

impl PaneIdentity {
    /// True for the same pane of the same server, wherever it is and whatever runs in it.
    pub fn is_pane(&self, server: &TmuxServer, pane_id: &str) -> bool {
        self.server == *server && self.pane_id == pane_id
    }
}

/// A pane of a worker, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pane {
    /// The worker.
    pub worker: WorkerId,
    /// [`PRIMARY`] for the one its program runs in; others count from 1, and no number is given twice.
    pub number: u32,
    /// The latest run that was started in it; none in a further pane.
    pub run: Option<RunId>,
    /// Which pane it is.
    pub identity: PaneIdentity,
    /// It is closed.
    pub gone: bool,
}
