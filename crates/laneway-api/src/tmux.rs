//! Windows of tmux that show workers.

use laneway_core::id::WorkerId;
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which tmux is meant, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TmuxPlace {
    /// The server's socket, absolute.
    pub socket: OsText,
    /// The pane that the caller is in (`%7`): its session is meant. None: the session `laneway`, made if there is none.
    #[serde(default)]
    pub pane: Option<String>,
}

/// A pane that shows a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewerView {
    /// The worker.
    pub worker: WorkerId,
    /// Its name.
    pub name: Name,
    /// The window (`@4`).
    pub window_id: String,
    /// The window's name: the worker's, unless somebody has given it another.
    pub window_name: String,
    /// The pane (`%7`).
    pub pane_id: String,
}

/// `lane tmux sync --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Synced {
    /// The server's socket.
    pub socket: OsText,
    /// The session with the windows.
    pub session: String,
    /// Workers that have a window from now on.
    pub opened: Vec<ViewerView>,
    /// Workers that had one.
    pub kept: Vec<ViewerView>,
    /// Workers whose window was closed, wherever it was: they have ended.
    pub closed: Vec<ViewerView>,
}

/// `lane tmux spread --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Spread {
    /// The server's socket.
    pub socket: OsText,
    /// The window's session.
    pub session: String,
    /// The window (`@4`).
    pub window_id: String,
    /// Its name: the lane's, unless somebody has given it another.
    pub window_name: String,
    /// Workers that are shown in it from now on.
    pub opened: Vec<ViewerView>,
    /// Workers that were shown in it before.
    pub kept: Vec<ViewerView>,
    /// Workers that the window has no room for.
    pub left_out: Vec<Name>,
}
