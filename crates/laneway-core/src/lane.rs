//! Lanes: an isolated track of work, as worktree, branch and workers.
//!
//! ```text
//!  new ──begin──► provisioning ──made──► open ──close──► cleaning ──removed──► closed
//!   │                  │                  ▲                 │
//!   └─────failed───────┴──undone──► closed└──new work found─┘   (or it could not be removed)
//! ```
//!
//! `close` during `new` and `provisioning` is remembered (`close_requested`) and done next.
//! `closed` is final.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attachment::User;
use crate::id::{HostId, LaneId, WorkspaceId};
use crate::name::Name;
use crate::os_text::OsText;
use crate::setup::{LaneSetup, SetupState};
use crate::time::Timestamp;

/// What is stored of a lane's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Recorded; nothing has been made yet.
    New,
    /// Its branch and worktree are being made.
    Provisioning,
    /// It can be worked in.
    Open,
    /// It is being closed.
    Cleaning,
    /// It is over. Final.
    Closed,
}

impl Lifecycle {
    /// All of them, in the order of a lane's life.
    pub const ALL: [Lifecycle; 5] =
        [Lifecycle::New, Lifecycle::Provisioning, Lifecycle::Open, Lifecycle::Cleaning, Lifecycle::Closed];

    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Lifecycle::New => "new",
            Lifecycle::Provisioning => "provisioning",
            Lifecycle::Open => "open",
            Lifecycle::Cleaning => "cleaning",
            Lifecycle::Closed => "closed",
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The branch a lane works on, and whether closing the lane may delete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneBranch {
    /// The branch without `refs/heads/`, in its own spelling.
    pub name: String,
    /// True if the lane's creation made it; a branch that was there before is never deleted.
    pub ours: bool,
}

/// Whose a lane's worktree and branch are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneTree {
    /// The lane's creation made the worktree, and closing the lane removes it.
    Ours {
        /// The branch that is checked out in it.
        branch: LaneBranch,
    },
    /// Somebody made it, and the lane only uses it: closing the lane leaves worktree, branch and git's entry.
    Adopted {
        /// The branch that was checked out when it was adopted, in its own spelling. None: HEAD was detached.
        branch: Option<String>,
    },
}

/// What a close may do beyond taking a clean lane away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloseTerms {
    /// What would be lost is no reason to refuse: it is rescued.
    pub discard: bool,
    /// Its commits are merged into what it was made from, before it goes.
    pub merge: bool,
    /// Its branch stays.
    pub keep_branch: bool,
}

/// A lane, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Its id.
    pub id: LaneId,
    /// The host it is on.
    pub host: HostId,
    /// The repository it belongs to.
    pub workspace: WorkspaceId,
    /// Grows when the lane sets out on something new, so that what was begun before is void.
    pub epoch: u64,
    /// Its name, unique among the open lanes of its workspace.
    pub name: Name,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// A close was asked for while it was being made; it is done next.
    pub close_requested: bool,
    /// How a close was asked for: the one that is remembered, under way, or done.
    pub close_terms: CloseTerms,
    /// Who asked for it, if that is somebody with a name: his own use of the lane is no reason to refuse it.
    pub close_by: Option<User>,
    /// The closed lane that it brings back.
    pub restored_from: Option<LaneId>,
    /// What went wrong last, for people.
    pub failure: Option<String>,
    /// Whose its worktree and branch are.
    pub tree: LaneTree,
    /// What it was made from, as it was told (`main`, `v1.2`, `HEAD`).
    pub base_ref: String,
    /// The commit that was at that moment.
    pub base_commit: String,
    /// Its worktree.
    pub path: OsText,
    /// More than one may use it.
    pub shared: bool,
    /// How far its setup is.
    pub setup: LaneSetup,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
}

/// The one word people see for a lane. Derived from what is recorded, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LaneStatus {
    /// Recorded; nothing has been made yet.
    New,
    /// It is being made or set up.
    Provisioning,
    /// It can be worked in, and nothing runs.
    Ready,
    /// It is marked as shared or several use it, and nothing runs.
    Shared,
    /// At least one program runs in it.
    Running,
    /// It is being closed.
    Cleaning,
    /// It is over.
    Closed,
}

impl LaneStatus {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            LaneStatus::New => "new",
            LaneStatus::Provisioning => "provisioning",
            LaneStatus::Ready => "ready",
            LaneStatus::Shared => "shared",
            LaneStatus::Running => "running",
            LaneStatus::Cleaning => "cleaning",
            LaneStatus::Closed => "closed",
        }
    }
}

impl Lane {
    /// Its branch, without `refs/heads/`. None: an adopted worktree with a detached HEAD.
    pub fn branch(&self) -> Option<&str> {
        match &self.tree {
            LaneTree::Ours { branch } => Some(&branch.name),
            LaneTree::Adopted { branch } => branch.as_deref(),
        }
    }

    /// The branch that goes with the lane: the one its creation made.
    pub fn own_branch(&self) -> Option<&str> {
        match &self.tree {
            LaneTree::Ours { branch } if branch.ours => Some(&branch.name),
            LaneTree::Ours { .. } | LaneTree::Adopted { .. } => None,
        }
    }

    /// Its worktree is somebody's own.
    pub const fn is_adopted(&self) -> bool {
        matches!(self.tree, LaneTree::Adopted { .. })
    }

    /// The word for this lane, given whether any run in it is alive, and how many use it.
    pub const fn status(&self, something_runs: bool, n_attached: usize) -> LaneStatus {
        match self.lifecycle {
            Lifecycle::New => LaneStatus::New,
            Lifecycle::Provisioning => LaneStatus::Provisioning,
            Lifecycle::Open if matches!(self.setup.state, SetupState::Running) => LaneStatus::Provisioning,
            Lifecycle::Open if something_runs => LaneStatus::Running,
            Lifecycle::Open if self.shared || n_attached >= 2 => LaneStatus::Shared,
            Lifecycle::Open => LaneStatus::Ready,
            Lifecycle::Cleaning => LaneStatus::Cleaning,
            Lifecycle::Closed => LaneStatus::Closed,
        }
    }
}
