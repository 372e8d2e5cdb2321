//! Rows of `lanes`.

use laneway_core::attachment::User;
use laneway_core::lane::{CloseTerms, Lane, LaneBranch, LaneTree, Lifecycle};
use laneway_core::os_text::OsText;
use laneway_core::secret::masked;
use laneway_core::setup::{LaneSetup, SetupState};
use laneway_core::time::Timestamp;

use super::{BadCell, Cells, TableRow, parsed, parsed_if_any};

macro_rules! lane_columns {
    () => {
        "lanes.id, lanes.host, lanes.workspace, lanes.epoch, lanes.name, lanes.lifecycle, \
         lanes.close_requested, lanes.failure, lanes.branch, lanes.branch_ours, lanes.adopted, lanes.base_ref, \
         lanes.base_commit, lanes.path, lanes.shared, lanes.created_at, lanes.closed_at, \
         lanes.close_discard, lanes.close_merge, lanes.close_keep_branch, lanes.restored_from, lanes.close_by, \
         lanes.setup, lanes.setup_content, lanes.setup_done, lanes.setup_all, lanes.setup_worker, \
         lanes.close_by_worker"
    };
}
pub(crate) use lane_columns;

pub(crate) struct LaneRecord {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) workspace: String,
    pub(crate) epoch: i64,
    pub(crate) name: String,
    pub(crate) lifecycle: String,
    pub(crate) close_requested: bool,
    pub(crate) failure: Option<String>,
    /// Empty: an adopted worktree's detached HEAD.
    pub(crate) branch: String,
    pub(crate) branch_ours: bool,
    pub(crate) adopted: bool,
    pub(crate) base_ref: String,
    pub(crate) base_commit: String,
    pub(crate) path: Vec<u8>,
    pub(crate) shared: bool,
    pub(crate) created_at: i64,
    pub(crate) closed_at: Option<i64>,
    pub(crate) close_discard: bool,
    pub(crate) close_merge: bool,
    pub(crate) close_keep_branch: bool,
    pub(crate) restored_from: Option<String>,
    pub(crate) close_by: Option<String>,
    pub(crate) setup: String,
    pub(crate) setup_content: String,
    pub(crate) setup_done: u32,
    pub(crate) setup_all: u32,
    pub(crate) setup_worker: Option<String>,
    pub(crate) close_by_worker: Option<String>,
}

impl TableRow for LaneRecord {
    type Record = Lane;
    const TABLE: &'static str = "lanes";
    const WIDTH: usize = 28;

    fn read(cells: &mut Cells<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: cells.take()?,
            host: cells.take()?,
            workspace: cells.take()?,
            epoch: cells.take()?,
            name: cells.take()?,
            lifecycle: cells.take()?,
            close_requested: cells.take()?,
            failure: cells.take()?,
            branch: cells.take()?,
            branch_ours: cells.take()?,
            adopted: cells.take()?,
            base_ref: cells.take()?,
            base_commit: cells.take()?,
            path: cells.take()?,
            shared: cells.take()?,
            created_at: cells.take()?,
            closed_at: cells.take()?,
            close_discard: cells.take()?,
            close_merge: cells.take()?,
            close_keep_branch: cells.take()?,
            restored_from: cells.take()?,
            close_by: cells.take()?,
            setup: cells.take()?,
            setup_content: cells.take()?,
            setup_done: cells.take()?,
            setup_all: cells.take()?,
            setup_worker: cells.take()?,
            close_by_worker: cells.take()?,
        })
    }
}

impl From<&Lane> for LaneRecord {
    fn from(lane: &Lane) -> Self {
        Self {
            id: lane.id.to_string(),
            host: lane.host.to_string(),
            workspace: lane.workspace.to_string(),
            epoch: lane.epoch.cast_signed(),
            name: lane.name.to_string(),
            lifecycle: lane.lifecycle.as_str().to_owned(),
            close_requested: lane.close_requested,
            failure: lane.failure.as_deref().map(|failure| masked(failure).into_owned()),
            branch: lane.branch().unwrap_or_default().to_owned(),
            branch_ours: lane.own_branch().is_some(),
            adopted: lane.is_adopted(),
            base_ref: lane.base_ref.clone(),
            base_commit: lane.base_commit.clone(),
            path: lane.path.as_bytes().to_vec(),
            shared: lane.shared,
            created_at: lane.created_at.0,
            closed_at: lane.closed_at.map(|at| at.0),
            close_discard: lane.close_terms.discard,
            close_merge: lane.close_terms.merge,
            close_keep_branch: lane.close_terms.keep_branch,
            restored_from: lane.restored_from.map(|from| from.to_string()),
            close_by: lane.close_by.as_ref().map(|by| by.name.to_string()),
            setup: lane.setup.state.as_str().to_owned(),
            setup_content: lane.setup.content.clone(),
            setup_done: lane.setup.n_done,
            setup_all: lane.setup.n_all,
            setup_worker: lane.setup.worker.map(|worker| worker.to_string()),
            close_by_worker: lane.close_by.as_ref().and_then(|by| by.worker).map(|worker| worker.to_string()),
        }
    }
}

impl TryFrom<LaneRecord> for Lane {
    type Error = BadCell;
    fn try_from(row: LaneRecord) -> Result<Self, BadCell> {
        Ok(Self {
            id: parsed("id", &row.id)?,
            host: parsed("host", &row.host)?,
            workspace: parsed("workspace", &row.workspace)?,
            epoch: row.epoch.cast_unsigned(),
            name: parsed("name", &row.name)?,
            lifecycle: lifecycle(&row.lifecycle)?,
            close_requested: row.close_requested,
            failure: row.failure,
            tree: if row.adopted {
                LaneTree::Adopted { branch: Some(row.branch).filter(|branch| !branch.is_empty()) }
            } else {
                LaneTree::Ours { branch: LaneBranch { name: row.branch, ours: row.branch_ours } }
            },
            base_ref: row.base_ref,
            base_commit: row.base_commit,
            path: OsText::from_bytes(row.path),
            shared: row.shared,
            created_at: Timestamp(row.created_at),
            closed_at: row.closed_at.map(Timestamp),
            close_terms: CloseTerms {
                discard: row.close_discard,
                merge: row.close_merge,
                keep_branch: row.close_keep_branch,
            },
            restored_from: row.restored_from.map(|from| parsed("restored_from", &from)).transpose()?,
            close_by: match parsed_if_any("close_by", row.close_by.as_deref())? {
                Some(name) => {
                    let worker = parsed_if_any("close_by_worker", row.close_by_worker.as_deref())?;
                    Some(User { name, worker })
                }
                None => None,
            },
            setup: LaneSetup {
                state: setup_state(&row.setup)?,
                content: row.setup_content,
                n_done: row.setup_done,
                n_all: row.setup_all,
                worker: parsed_if_any("setup_worker", row.setup_worker.as_deref())?,
            },
        })
    }
}

/// The lifecycle of that word.
pub(crate) fn lifecycle(word: &str) -> Result<Lifecycle, BadCell> {
    Lifecycle::ALL
        .into_iter()
        .find(|lifecycle| lifecycle.as_str() == word)
        .ok_or_else(|| BadCell::new("lifecycle", format_args!("{word:?} is none")))
}

fn setup_state(word: &str) -> Result<SetupState, BadCell> {
    SetupState::ALL
        .into_iter()
        .find(|state| state.as_str() == word)
        .ok_or_else(|| BadCell::new("setup", format_args!("{word:?} is none")))
}
