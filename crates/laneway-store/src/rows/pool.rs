//! Rows of `pool_trees`.

use laneway_core::os_text::OsText;
use laneway_core::pool::{PoolState, PoolTree};
use laneway_core::time::Timestamp;

use super::{BadCell, Cells, TableRow, parsed, parsed_if_any, there};

macro_rules! pool_columns {
    () => {
        "pool_trees.id, pool_trees.workspace, pool_trees.path, pool_trees.base_commit, pool_trees.state, \
         pool_trees.lane, pool_trees.created_at"
    };
}
pub(crate) use pool_columns;

pub(crate) struct PoolRecord {
    pub(crate) id: String,
    pub(crate) workspace: String,
    pub(crate) path: Vec<u8>,
    pub(crate) base_commit: String,
    pub(crate) state: String,
    pub(crate) lane: Option<String>,
    pub(crate) created_at: i64,
}

impl TableRow for PoolRecord {
    type Record = PoolTree;
    const TABLE: &'static str = "pool_trees";
    const WIDTH: usize = 7;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: cells.take()?,
            workspace: cells.take()?,
            path: cells.take()?,
            base_commit: cells.take()?,
            state: cells.take()?,
            lane: cells.take()?,
            created_at: cells.take()?,
        })
    }
}

impl From<&PoolTree> for PoolRecord {
    fn from(tree: &PoolTree) -> Self {
        Self {
            id: tree.id.to_string(),
            workspace: tree.workspace.to_string(),
            path: tree.path.as_bytes().to_vec(),
            base_commit: tree.commit.clone(),
            state: tree.state.as_str().to_owned(),
            lane: tree.state.lane().map(|lane| lane.to_string()),
            created_at: tree.created_at.0,
        }
    }
}

impl TryFrom<PoolRecord> for PoolTree {
    type Error = BadCell;
    fn try_from(row: PoolRecord) -> Result<Self, BadCell> {
        let lane = parsed_if_any("lane", row.lane.as_deref())?;
        let state = match row.state.as_str() {
            "making" => PoolState::Making,
            "ready" => PoolState::Ready,
            "claimed" => PoolState::Claimed { lane: there("lane", lane)? },
            "going" => PoolState::Going { lane },
            other => return Err(BadCell::new("state", format_args!("{other:?} is none"))),
        };
        Ok(Self {
            id: parsed("id", &row.id)?,
            workspace: parsed("workspace", &row.workspace)?,
            path: OsText::from_bytes(row.path),
            commit: row.base_commit,
            state,
            created_at: Timestamp(row.created_at),
        })
    }
}
