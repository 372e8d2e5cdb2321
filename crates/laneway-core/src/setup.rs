//! Setup: what is done in a lane between the making of its worktree and the work in it. Pieces, one after the other.
//!
//! ```text
//!  waiting ──begin──► running ──last piece──► done
//!                      │   ▲                   │
//!                   failed └──────begin────────┘
//! ```
//!
//! A setup that failed goes on with the piece that failed, unless the settings have changed since; one that is done
//! begins anew. `none`: there was nothing to do.

use serde::{Deserialize, Serialize};

use crate::id::WorkerId;

/// How far a lane's setup is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SetupState {
    /// There was nothing to do.
    #[default]
    None,
    /// It was not begun: nobody wanted it yet, or nobody has agreed to it.
    Waiting,
    /// Its pieces are being done.
    Running,
    /// A piece failed, or was interrupted.
    Failed,
    /// All of it is done.
    Done,
}

impl SetupState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Waiting, Self::Running, Self::Failed, Self::Done];

    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            SetupState::None => "none",
            SetupState::Waiting => "waiting",
            SetupState::Running => "running",
            SetupState::Failed => "failed",
            SetupState::Done => "done",
        }
    }
}

/// What is recorded of a lane's setup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneSetup {
    /// How far it is.
    pub state: SetupState,
    /// What says which settings it was begun with; empty before that.
    pub content: String,
    /// Pieces that are done.
    pub n_done: u32,
    /// Pieces in all.
    pub n_all: u32,
    /// The task of the piece that is being done, if it is one.
    pub worker: Option<WorkerId>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupPlan {
    /// What says which settings it comes from: another text, another plan.
    pub content: String,
    /// How many pieces it has; at least one.
    pub n_pieces: u32,
}

/// What comes of the setup once a lane's worktree is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupStart {
    /// There is nothing to do.
    Nothing,
    /// It is not begun.
    Wait {
        /// Why, for people; none if its caller wanted it so.
        why: Option<String>,
    },
    /// It begins.
    Begin(SetupPlan),
}

impl LaneSetup {
    /// With this plan, from its first piece on.
    pub fn from_the_start(plan: &SetupPlan) -> Self {
        Self {
            state: SetupState::Running,
            content: plan.content.clone(),
            n_done: 0,
            n_all: plan.n_pieces,
            worker: None,
        }
    }

    /// With this plan, from where the last attempt stopped if that was with the same settings.
    #[must_use]
    pub fn begun(&self, plan: &SetupPlan) -> Self {
        let goes_on = self.state == SetupState::Failed && self.content == plan.content;
        let n_done = if goes_on && self.n_done < plan.n_pieces { self.n_done } else { 0 };
        Self { n_done, ..Self::from_the_start(plan) }
    }

    /// In another state, with no task.
    #[must_use]
    pub fn become_state(&self, state: SetupState) -> Self {
        Self { state, worker: None, ..self.clone() }
    }

    /// What is left of it when the lane is closed while it runs.
    #[must_use]
    pub fn broken_off(&self) -> Self {
        match self.state {
            SetupState::Running => self.become_state(SetupState::Failed),
            SetupState::None | SetupState::Waiting | SetupState::Failed | SetupState::Done => self.clone(),
        }
    }
}
