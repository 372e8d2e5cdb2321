//! Decisions: what a command becomes. Changes and events are written together; effects come after.

use crate::attachment::Attachment;
use crate::event::{Event, Subject};
use crate::id::{AttachmentId, InstanceId, LaneId, PoolTreeId, RunId, WorkerId};
use crate::instance::{Instance, InstanceRun};
use crate::lane::{Lane, Lifecycle};
use crate::launch::LaunchSpec;
use crate::pane::Pane;
use crate::pool::PoolTree;
use crate::run::Run;
use crate::time::Timestamp;
use crate::worker::Worker;
use crate::workspace::Workspace;

/// One change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A repository is known from now on.
    InsertWorkspace(Workspace),
    /// A lane is recorded.
    InsertLane(Lane),
    /// A lane becomes this, provided it still is what the decision saw.
    UpdateLane {
        /// Where it stood.
        was: Lifecycle,
        /// The epoch it had.
        was_epoch: u64,
        /// What it becomes.
        lane: Lane,
    },
    /// Somebody uses a lane from now on.
    InsertAttachment(Attachment),
    /// An attachment becomes this, provided its lease still ends when the decision saw it end.
    UpdateAttachment {
        /// When it would have ended.
        was_until: Timestamp,
        /// What it becomes.
        attachment: Attachment,
    },
    /// An attachment is over.
    DeleteAttachment(AttachmentId),
    /// A tree of the pool is recorded.
    InsertPoolTree(PoolTree),
    /// A tree of the pool becomes this, provided it still is in this state.
    UpdatePoolTree {
        /// The word of the state it was in.
        was: &'static str,
        /// What it becomes.
        tree: PoolTree,
    },
    /// A tree is in the pool no longer.
    DeletePoolTree(PoolTreeId),
    /// A worker is recorded.
    InsertWorker(Worker),
    /// A worker becomes this.
    UpdateWorker(Worker),
    /// A worker goes with its specs and runs: its program could never be started.
    DeleteWorker(WorkerId),
    /// A launch spec is recorded.
    InsertSpec(LaunchSpec),
    /// A run is recorded.
    InsertRun(Run),
    /// A run becomes this, provided it still is in this state.
    UpdateRun {
        /// The word of the state it was in.
        was: &'static str,
        /// What it becomes.
        run: Run,
    },
    /// A pane of a worker is this from now on; a former one of that number is forgotten.
    PutPane(Pane),
    /// This worker was attached to last.
    SetLastAttached(WorkerId),
    /// An instance is recorded.
    InsertInstance(Instance),
    /// An instance becomes this, provided that it still has this epoch.
    UpdateInstance {
        /// The epoch it had.
        was_epoch: u64,
        /// What it becomes.
        instance: Instance,
    },
    /// An instance is forgotten.
    DeleteInstance(InstanceId),
    /// A run of an instance is this from now on.
    PutInstanceRun(InstanceRun),
}

/// What is to be done in the world once the decision is durable. Each is safe to do again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the lane's branch and worktree.
    Provision {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
    /// Do a piece of the lane's setup.
    SetUp {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
        /// The number of the piece, from 0.
        piece: u32,
    },
    /// Start the run's program under a holder.
    StartRun {
        /// The run.
        run: RunId,
    },
    /// Have the worker started again at a moment. Void if its plan has changed.
    Retry {
        /// The worker.
        worker: WorkerId,
        /// The epoch of the plan.
        epoch: u64,
        /// When.
        at: Timestamp,
    },
    /// End the run's processes.
    StopRun {
        /// The run.
        run: RunId,
        /// Milliseconds they have to end by themselves.
        grace_ms: u64,
    },
    /// The run's end is durable: its holder may go.
    ReleaseHolder {
        /// The run.
        run: RunId,
    },
    /// The lane is ready, and a close was asked for meanwhile: close it now.
    CloseRemembered {
        /// The lane.
        lane: LaneId,
    },
    /// Make what an instance needs, and start it. Void if it has moved on.
    BringUp {
        /// The instance.
        instance: InstanceId,
        /// Its epoch.
        epoch: u64,
    },
    /// Have git's entry of the lane's worktree name the lane as it is called now.
    LabelTree {
        /// The lane.
        lane: LaneId,
    },
    /// The ends of leases are others now: wait for the first of them.
    AwaitLeases,
    /// End everything that runs in the lane.
    QuietLane {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
        /// Milliseconds its programs have to end by themselves.
        grace_ms: u64,
    },
    /// Look at the lane's worktree once more.
    Judge {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
    /// Merge the lane's commits into what it was made from.
    Merge {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
    /// Take the lane's worktree and branch away with what is in them, and keep all of it.
    Rescue {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
    /// Take the lane's worktree and branch away.
    Remove {
        /// The lane.
        lane: LaneId,
        /// Its epoch.
        epoch: u64,
    },
}

/// What a command becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Written in one transaction, in this order.
    pub changes: Vec<Change>,
    /// Written in the same transaction.
    pub events: Vec<(Subject, Event)>,
    /// Carried out after it.
    pub effects: Vec<Effect>,
}

impl Decision {
    /// An idempotent repeat: nothing changes.
    pub fn unchanged() -> Self {
        Self::default()
    }

    /// With one more effect.
    #[must_use]
    pub fn then(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}
