//! A workspace: a git repository that lanes are made in.

use crate::id::{HostId, WorkspaceId};
use crate::os_text::OsText;
use crate::time::Timestamp;

/// A git repository, known by its common directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// The host it is on.
    pub host: HostId,
    /// The git common directory, absolute and resolved.
    pub common_dir: OsText,
    /// The main worktree; for a bare repository the folder it stands in.
    pub root: OsText,
    /// The remote's URL without credentials, if there is one.
    pub remote_url: Option<String>,
    /// The first commit of the history, if there is one.
    pub root_commit: Option<String>,
    /// When it was first seen.
    pub created_at: Timestamp,
}
