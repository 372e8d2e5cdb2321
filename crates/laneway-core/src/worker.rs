//! Workers: the durable identity of one supervised program. A worker without a name is a task.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::channel::ChannelKind;
use crate::id::{LaneId, WorkerId, WorkspaceId};
use crate::limits::RunLimits;
use crate::name::Name;
use crate::run::{Run, RunState};
use crate::supervise::{Outlook, RestartPolicy, Supervision, is_failure};
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
    /// The channel that its program is given.
    pub channel: Option<ChannelKind>,
    /// What its program is told to do at each start, over its channel.
    pub start_message: Option<Map<String, Value>>,
    /// What each of its runs is limited to.
    pub limits: RunLimits,
    /// The number of the launch spec that its next run is started with.
    pub spec: u32,
    /// What supervision remembers of it.
    pub supervision: Supervision,
    /// The worker whose program asked for it. None: a person did.
    pub parent: Option<WorkerId>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// The one word people see for a worker. Derived, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// Its program is being started; or it runs, and has yet to say over its channel that it is ready.
    Starting,
    /// Its program runs.
    Running,
    /// It was asked to end.
    Stopping,
    /// It ended as asked, or by itself with code 0 or another that means that its work is done.
    Stopped,
    /// It has ended by itself, and is started again at a moment that is set.
    Backoff,
    /// It ended by itself with another code or by a signal, was lost, or could not be started; and it is not
    /// started again by itself.
    Failed,
}

impl WorkerStatus {
    /// Every word there is.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Running, Self::Stopping, Self::Stopped, Self::Backoff, Self::Failed];

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
            WorkerStatus::Backoff => "backoff",
            WorkerStatus::Failed => "failed",
        }
    }
}

impl Worker {
    /// The word for this worker, given its latest run.
    ///
    /// A stop turns `desired` to stopped while the run is alive, and an end by itself does not: that
    /// is how the two are told apart afterwards.
    pub fn status(&self, latest: Option<&Run>) -> WorkerStatus {
        let Some(run) = latest else {
            return WorkerStatus::Stopped;
        };
        match (&run.state, &self.supervision.outlook) {
            (RunState::Starting, _) => WorkerStatus::Starting,
            (RunState::Running(_), _) if run.is_getting_ready() => WorkerStatus::Starting,
            (RunState::Running(_), _) => WorkerStatus::Running,
            (RunState::Stopping(_), _) => WorkerStatus::Stopping,
            (RunState::Exited(_), Outlook::Retries { .. }) => WorkerStatus::Backoff,
            (RunState::Exited(_), Outlook::GivenUp { .. }) => WorkerStatus::Failed,
            (RunState::Exited(exit), Outlook::Rests) => match self.desired {
                Desired::Running if is_failure(exit, &self.done_codes) => WorkerStatus::Failed,
                Desired::Running | Desired::Stopped => WorkerStatus::Stopped,
            },
        }
    }
}
