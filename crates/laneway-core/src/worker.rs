//! Workers: the durable identity of one supervised program. A worker without a name is a task.

use serde::{Deserialize, Serialize};

use crate::id::{LaneId, WorkerId, WorkspaceId};
use crate::name::Name;
use crate::run::{Exit, Run, RunState};
use crate::supervise::RestartPolicy;
use crate::time::Timestamp;

/// What a worker is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// Its program is to run.
    Running,
    /// It is to be left alone.
    Stopped,
}

impl Desired {
    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Desired::Running => "running",
            Desired::Stopped => "stopped",
        }
    }
}

/// A worker, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// The repository it belongs to.
    pub workspace: WorkspaceId,
    /// The lane it works in.
    pub lane: LaneId,
    /// Its name, unique among the workers of its workspace until its lane closes. None: a task.
    pub name: Option<Name>,
    /// What it is meant to be.
    pub desired: Desired,
    /// Whether it is started again when its run has ended by itself.
    pub restart: RestartPolicy,
    /// Exit codes that mean that its work is done; 0 always does.
    pub done_codes: Vec<u8>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// The one word people see for a worker. Derived, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// Its program is being started.
    Starting,
    /// Its program runs.
    Running,
    /// It was asked to end.
    Stopping,
    /// It ended as asked, or by itself with code 0.
    Stopped,
    /// It ended by itself with another code or by a signal, was lost, or could not be started.
    Failed,
}

impl WorkerStatus {
    /// Every word there is.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Running, Self::Stopping, Self::Stopped, Self::Failed];

    /// The status that is called so.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            WorkerStatus::Starting => "starting",
            WorkerStatus::Running => "running",
            WorkerStatus::Stopping => "stopping",
            WorkerStatus::Stopped => "stopped",
            WorkerStatus::Failed => "failed",
        }
    }
}

impl Worker {
    /// The word for this worker, given its latest run.
    ///
    /// A stop turns `desired` to stopped while the run is alive, and an end by itself does not: that
    /// is how the two are told apart afterwards.
    pub const fn status(&self, latest: Option<&Run>) -> WorkerStatus {
        let Some(run) = latest else {
            return WorkerStatus::Stopped;
        };
        match (&run.state, self.desired) {
            (RunState::Starting, _) => WorkerStatus::Starting,
            (RunState::Running(_), _) => WorkerStatus::Running,
            (RunState::Stopping(_), _) => WorkerStatus::Stopping,
            (RunState::Exited(Exit::Code { code: 0 }), _) => WorkerStatus::Stopped,
            (RunState::Exited(Exit::Code { .. } | Exit::Signal { .. } | Exit::Lost), Desired::Stopped) => {
                WorkerStatus::Stopped
            }
            (RunState::Exited(Exit::Code { .. } | Exit::Signal { .. } | Exit::Lost), Desired::Running)
            | (RunState::Exited(Exit::NotStarted { .. }), _) => WorkerStatus::Failed,
        }
    }
}
