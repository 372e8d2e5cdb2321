//! Rows of `workspaces`.

use laneway_core::os_text::OsText;
use laneway_core::time::Timestamp;
use laneway_core::workspace::Workspace;

use super::{BadCell, Cells, TableRow, parsed};

macro_rules! workspace_columns {
    () => {
        "workspaces.id, workspaces.host, workspaces.common_dir, workspaces.root, workspaces.remote_url, \
         workspaces.root_commit, workspaces.created_at"
    };
}
pub(crate) use workspace_columns;

pub(crate) struct WorkspaceRecord {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) common_dir: Vec<u8>,
    pub(crate) root: Vec<u8>,
    pub(crate) remote_url: Option<String>,
    pub(crate) root_commit: Option<String>,
    pub(crate) created_at: i64,
}

impl TableRow for WorkspaceRecord {
    type Record = Workspace;
    const TABLE: &'static str = "workspaces";
    const WIDTH: usize = 7;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: cells.take()?,
            host: cells.take()?,
            common_dir: cells.take()?,
            root: cells.take()?,
            remote_url: cells.take()?,
            root_commit: cells.take()?,
            created_at: cells.take()?,
        })
    }
}

impl From<&Workspace> for WorkspaceRecord {
    fn from(workspace: &Workspace) -> Self {
        Self {
            id: workspace.id.to_string(),
            host: workspace.host.to_string(),
            common_dir: workspace.common_dir.as_bytes().to_vec(),
            root: workspace.root.as_bytes().to_vec(),
            remote_url: workspace.remote_url.clone(),
            root_commit: workspace.root_commit.clone(),
            created_at: workspace.created_at.0,
        }
    }
}

impl TryFrom<WorkspaceRecord> for Workspace {
    type Error = BadCell;
    fn try_from(row: WorkspaceRecord) -> Result<Self, BadCell> {
        Ok(Self {
            id: parsed("id", &row.id)?,
            host: parsed("host", &row.host)?,
            common_dir: OsText::from_bytes(row.common_dir),
            root: OsText::from_bytes(row.root),
            remote_url: row.remote_url,
            root_commit: row.root_commit,
            created_at: Timestamp(row.created_at),
        })
    }
}
