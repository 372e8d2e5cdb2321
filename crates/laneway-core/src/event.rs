//! The catalogue of events: everything that can be said to have happened.
//!
//! An event is written in the transaction of the change it tells of. Its number (`seq`) has no gaps.
//! Values of an environment, arguments and output never stand in an event.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::actor::Actor;
use crate::attachment::Role;
use crate::findings::Losses;
use crate::id::{AttachmentId, CorrelationId, HostId, LaneId, PoolTreeId, RunId, WorkerId, WorkspaceId};
use crate::instance::{InstanceConfig, InstanceName, Outcome};
use crate::lane::Lifecycle;
use crate::name::Name;
use crate::os_text::OsText;
use crate::pane::PanePlace;
use crate::run::Exit;
use crate::time::Timestamp;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "event", content = "data")]
pub enum Event {
    /// A daemon began to decide.
    #[serde(rename = "daemon.started")]
    DaemonStarted {
        /// Its version.
        version: String,
        /// Its process id.
        pid: u32,
    },
    /// A daemon ended as it was asked to. Workers go on.
    #[serde(rename = "daemon.stopped")]
    DaemonStopped {
        /// Its process id.
        pid: u32,
    },
    /// Recorded and observed were compared.
    #[serde(rename = "reconcile.completed")]
    ReconcileCompleted {
        /// Lanes and runs that were looked at.
        looked_at: u32,
        /// Actions that were carried out.
        done: u32,
        /// Actions that failed, or that nobody may take by himself.
        reported: u32,
    },
    /// A repository was seen for the first time.
    #[serde(rename = "workspace.registered")]
    WorkspaceRegistered {
        /// Its common directory.
        common_dir: OsText,
    },
    /// A lane was asked for.
    #[serde(rename = "lane.created")]
    LaneCreated {
        /// Its name.
        name: Name,
        /// Its branch.
        branch: String,
        /// What it is made from, as told.
        base_ref: String,
        /// The commit that was.
        base_commit: String,
        /// Its worktree.
        path: OsText,
    },
    /// A worktree that somebody made was taken in as a lane.
    #[serde(rename = "lane.adopted")]
    LaneAdopted {
        /// The lane's name.
        name: Name,
        /// The branch that is checked out; none if HEAD is detached.
        branch: Option<String>,
        /// What it is compared with.
        base_ref: String,
        /// The commit where it left that.
        base_commit: String,
        /// The worktree.
        path: OsText,
    },
    /// A lane has another name. Its branch and its worktree keep theirs.
    #[serde(rename = "lane.renamed")]
    LaneRenamed {
        /// The name it had.
        from: Name,
        /// The name it has.
        to: Name,
    },
    /// A lane went on.
    #[serde(rename = "lane.state.changed")]
    LaneStateChanged {
        /// Where it stood.
        from: Lifecycle,
        /// Where it stands.
        to: Lifecycle,
        /// What went wrong, if something did.
        failure: Option<String>,
    },
    /// Somebody uses a lane.
    #[serde(rename = "lane.attachment.joined")]
    LaneAttachmentJoined {
        /// The attachment.
        attachment: AttachmentId,
        /// Who, as he was called then.
        who: Name,
        /// The worker, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
        /// What he is in it.
        role: Role,
        /// Milliseconds his lease lasts.
        ttl_ms: u64,
    },
    /// Somebody goes on using a lane: his lease is counted from now.
    #[serde(rename = "lane.attachment.renewed")]
    LaneAttachmentRenewed {
        /// The attachment.
        attachment: AttachmentId,
        /// Who, as he was called then.
        who: Name,
        /// The worker, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
        /// What he is in it.
        role: Role,
        /// Milliseconds his lease lasts.
        ttl_ms: u64,
    },
    /// Somebody uses a lane no longer, or it was closed.
    #[serde(rename = "lane.attachment.left")]
    LaneAttachmentLeft {
        /// The attachment.
        attachment: AttachmentId,
        /// Who, as he was called then.
        who: Name,
        /// The worker, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
    },
    /// Somebody's lease was not renewed, and is over.
    #[serde(rename = "lane.attachment.expired")]
    LaneAttachmentExpired {
        /// The attachment.
        attachment: AttachmentId,
        /// Who, as he was called then.
        who: Name,
        /// The worker, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
    },
    /// A lane is marked as shared, or no longer.
    #[serde(rename = "lane.shared.changed")]
    LaneSharedChanged {
        /// It is.
        shared: bool,
    },
    /// A lane is being set up.
    #[serde(rename = "lane.setup.started")]
    LaneSetupStarted {
        /// Pieces that were done before.
        n_done: u32,
        /// Pieces in all.
        n_all: u32,
    },
    /// A step of the setup was started, as this task.
    #[serde(rename = "lane.setup.step")]
    LaneSetupStep {
        /// Its name.
        name: String,
        /// Its number among all pieces, from 1.
        number: u32,
        /// Pieces in all.
        n_all: u32,
    },
    /// The setup is done, or has failed.
    #[serde(rename = "lane.setup.finished")]
    LaneSetupFinished {
        /// What went wrong, if something did.
        failure: Option<String>,
    },
    /// A close was asked for while the lane was being made; it is done next.
    #[serde(rename = "lane.close.remembered")]
    LaneCloseRemembered {},
    /// Work was found that a close would have lost.
    #[serde(rename = "lane.close.refused")]
    LaneCloseRefused {
        /// That work.
        losses: Losses,
    },
    /// A lane's commits were merged into what it was made from.
    #[serde(rename = "lane.merged")]
    LaneMerged {
        /// The branch that has them.
        into: String,
        /// The commit that it stands at.
        commit: String,
    },
    /// A lane was taken away with work in it, and all of it is kept.
    #[serde(rename = "lane.rescued")]
    LaneRescued {
        /// Its worktree is in the trash.
        in_trash: bool,
        /// Refs that hold its commits.
        n_refs: u32,
        /// Things in the worktree that no commit could hold.
        n_only_in_trash: u32,
    },
    /// A lane was closed while its repository was not there: nothing of it was looked at, and nothing taken away.
    #[serde(rename = "lane.left_behind")]
    LaneLeftBehind {
        /// Where its worktree was.
        path: OsText,
        /// The branch it was on.
        branch: Option<String>,
    },
    /// A closed lane is brought back as this one.
    #[serde(rename = "lane.restored")]
    LaneRestored {
        /// The closed lane.
        from: LaneId,
    },
    /// A tree of the pool is being made, ready, claimed by a lane, going, or gone.
    #[serde(rename = "pool.tree.changed")]
    PoolTreeChanged {
        /// The tree.
        tree: PoolTreeId,
        /// The word for where it stands: `making`, `ready`, `claimed`, `going`, `gone`.
        state: String,
    },
    /// A worker or task was asked for.
    #[serde(rename = "worker.created")]
    WorkerCreated {
        /// Its name; a task has none.
        name: Option<Name>,
        /// The program it runs, without arguments.
        program: OsText,
    },
    /// A worker has another name.
    #[serde(rename = "worker.renamed")]
    WorkerRenamed {
        /// The name it had.
        from: Name,
        /// The name it has.
        to: Name,
    },
    /// A worker whose program could never be started was taken back.
    #[serde(rename = "worker.withdrawn")]
    WorkerWithdrawn {
        /// The name that is free again.
        name: Option<Name>,
        /// Why it could not be started.
        reason: String,
    },
    /// A worker has ended by itself, and is started again after a while.
    #[serde(rename = "worker.restart.planned")]
    RestartPlanned {
        /// The number of the run that is to be.
        number: u32,
        /// Milliseconds from now.
        delay_ms: u64,
    },
    /// A planned restart was taken back.
    #[serde(rename = "worker.restart.cancelled")]
    RestartCancelled {},
    /// A start was asked for while the worker is being stopped; it is done next.
    #[serde(rename = "worker.start.remembered")]
    StartRemembered {},
    /// A worker failed too often, and is not started again by itself.
    #[serde(rename = "worker.given_up")]
    WorkerGivenUp {
        /// How often within what time, for people.
        why: String,
    },
    /// A worker is started again: by its policy, or because somebody asked for it.
    #[serde(rename = "worker.restarted")]
    WorkerRestarted {
        /// The number of the new run.
        number: u32,
    },
    /// A program was proven to run.
    #[serde(rename = "run.started")]
    RunStarted {
        /// The run's number.
        number: u32,
        /// The program's process id.
        pid: u32,
    },
    /// A program has said over its channel that it is ready.
    #[serde(rename = "worker.ready")]
    WorkerReady {
        /// The run's number.
        number: u32,
    },
    /// A program did not answer over its channel, and is ended.
    #[serde(rename = "worker.unhealthy")]
    WorkerUnhealthy {
        /// The run's number.
        number: u32,
        /// What it did not do, for people.
        why: String,
    },
    /// A program has closed its channel, and lives on: nothing more is heard of it, or said to it.
    #[serde(rename = "worker.channel.closed")]
    WorkerChannelClosed {
        /// The run's number.
        number: u32,
    },
    /// A program has said over its channel what it does.
    #[serde(rename = "worker.status")]
    WorkerStatusSaid {
        /// In its own words.
        status: Value,
    },
    /// A program has said over its channel that something went wrong.
    #[serde(rename = "worker.error")]
    WorkerErrorSaid {
        /// In its own words.
        message: String,
    },
    /// A program has said something else over its channel.
    #[serde(rename = "worker.event")]
    WorkerSaid {
        /// What it calls it.
        name: String,
        /// What belongs to it.
        data: Value,
    },
    /// A run was asked to end.
    #[serde(rename = "run.stopping")]
    RunStopping {
        /// The run's number.
        number: u32,
    },
    /// A stop did not end all of a run's processes.
    #[serde(rename = "run.stop.failed")]
    RunStopFailed {
        /// The processes that are left.
        left: Vec<u32>,
    },
    /// A worker has a pane of tmux.
    #[serde(rename = "worker.pane.opened")]
    PaneOpened {
        /// Its number; 0 is the one that its program runs in.
        number: u32,
        /// Its id.
        pane_id: String,
        /// Where it is.
        at: PanePlace,
    },
    /// A pane of a worker is somewhere else, or its window is called otherwise.
    #[serde(rename = "worker.pane.moved")]
    PaneMoved {
        /// Its number.
        number: u32,
        /// Its id.
        pane_id: String,
        /// Where it was.
        from: PanePlace,
        /// Where it is.
        to: PanePlace,
    },
    /// A pane of a worker is closed.
    #[serde(rename = "worker.pane.closed")]
    PaneClosed {
        /// Its number, which no other pane of that worker will have, but the one that its program runs in.
        number: u32,
        /// The id it had.
        pane_id: String,
    },
    /// A run ended.
    #[serde(rename = "worker.exited")]
    WorkerExited {
        /// The run's number.
        number: u32,
        /// How it ended.
        exit: Exit,
        /// Milliseconds it ran.
        duration_ms: u64,
        /// True if it was asked to end.
        asked: bool,
    },
    /// An instance of a program is to run.
    #[serde(rename = "instance.starting")]
    InstanceStarting {
        /// The program.
        program: String,
        /// What requests call it.
        instance: InstanceName,
    },
    /// A start of an instance came to nothing.
    #[serde(rename = "instance.failed")]
    InstanceFailed {
        /// The program.
        program: String,
        /// What requests call it.
        instance: InstanceName,
        /// Why, for people.
        why: String,
    },
    /// An instance is to run no more.
    #[serde(rename = "instance.stopping")]
    InstanceStopping {
        /// The program.
        program: String,
        /// What requests call it.
        instance: InstanceName,
    },
    /// The program of an instance has said that its work has started.
    #[serde(rename = "instance.run.started")]
    InstanceRunStarted {
        /// The program.
        program: String,
        /// What requests call it.
        instance: InstanceName,
        /// The number of that in its history.
        number: u32,
    },
    /// What an instance did has ended.
    #[serde(rename = "instance.run.ended")]
    InstanceRunEnded {
        /// The program.
        program: String,
        /// What requests call it.
        instance: InstanceName,
        /// The number of that in its history.
        number: u32,
        /// How.
        outcome: Outcome,
    },
    /// An instance is set to something else.
    #[serde(rename = "instance.configured")]
    InstanceConfigured {
        /// The program.
        program: String,
        /// What requests call it.
        instance: InstanceName,
        /// What it is set to.
        config: InstanceConfig,
    },
    /// An instance was forgotten.
    #[serde(rename = "instance.removed")]
    InstanceRemoved {
        /// The program.
        program: String,
        /// What requests called it.
        instance: InstanceName,
    },
}

impl Event {
    /// Its name in the catalogue, as it is recorded and sent.
    pub const fn name(&self) -> &'static str {
        match self {
            Event::DaemonStarted { .. } => "daemon.started",
            Event::DaemonStopped { .. } => "daemon.stopped",
            Event::ReconcileCompleted { .. } => "reconcile.completed",
            Event::WorkspaceRegistered { .. } => "workspace.registered",
            Event::LaneCreated { .. } => "lane.created",
            Event::LaneAdopted { .. } => "lane.adopted",
            Event::LaneRenamed { .. } => "lane.renamed",
            Event::LaneStateChanged { .. } => "lane.state.changed",
            Event::LaneAttachmentJoined { .. } => "lane.attachment.joined",
            Event::LaneAttachmentRenewed { .. } => "lane.attachment.renewed",
            Event::LaneAttachmentLeft { .. } => "lane.attachment.left",
            Event::LaneAttachmentExpired { .. } => "lane.attachment.expired",
            Event::LaneSharedChanged { .. } => "lane.shared.changed",
            Event::LaneSetupStarted { .. } => "lane.setup.started",
            Event::LaneSetupStep { .. } => "lane.setup.step",
            Event::LaneSetupFinished { .. } => "lane.setup.finished",
            Event::LaneCloseRemembered { .. } => "lane.close.remembered",
            Event::LaneCloseRefused { .. } => "lane.close.refused",
            Event::LaneMerged { .. } => "lane.merged",
            Event::LaneRescued { .. } => "lane.rescued",
            Event::LaneLeftBehind { .. } => "lane.left_behind",
            Event::LaneRestored { .. } => "lane.restored",
            Event::PoolTreeChanged { .. } => "pool.tree.changed",
            Event::WorkerCreated { .. } => "worker.created",
            Event::WorkerRenamed { .. } => "worker.renamed",
            Event::WorkerWithdrawn { .. } => "worker.withdrawn",
            Event::RestartPlanned { .. } => "worker.restart.planned",
            Event::RestartCancelled { .. } => "worker.restart.cancelled",
            Event::StartRemembered { .. } => "worker.start.remembered",
            Event::WorkerGivenUp { .. } => "worker.given_up",
            Event::WorkerRestarted { .. } => "worker.restarted",
            Event::RunStarted { .. } => "run.started",
            Event::WorkerReady { .. } => "worker.ready",
            Event::WorkerUnhealthy { .. } => "worker.unhealthy",
            Event::WorkerChannelClosed { .. } => "worker.channel.closed",
            Event::WorkerStatusSaid { .. } => "worker.status",
            Event::WorkerErrorSaid { .. } => "worker.error",
            Event::WorkerSaid { .. } => "worker.event",
            Event::RunStopping { .. } => "run.stopping",
            Event::RunStopFailed { .. } => "run.stop.failed",
            Event::PaneOpened { .. } => "worker.pane.opened",
            Event::PaneMoved { .. } => "worker.pane.moved",
            Event::PaneClosed { .. } => "worker.pane.closed",
            Event::WorkerExited { .. } => "worker.exited",
            Event::InstanceStarting { .. } => "instance.starting",
            Event::InstanceFailed { .. } => "instance.failed",
            Event::InstanceStopping { .. } => "instance.stopping",
            Event::InstanceRunStarted { .. } => "instance.run.started",
            Event::InstanceRunEnded { .. } => "instance.run.ended",
            Event::InstanceConfigured { .. } => "instance.configured",
            Event::InstanceRemoved { .. } => "instance.removed",
        }
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Subject {
    /// The repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
    /// The lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<LaneId>,
    /// The worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// An event as it is kept and sent: the whole envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Recorded<At = Timestamp> {
    /// The host it happened on.
    pub host: HostId,
    /// Its number on that host; no gaps.
    pub seq: u64,
    /// When it was decided.
    pub at: At,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// The request that caused it.
    pub correlation: CorrelationId,
    /// Who asked.
    pub actor: Actor,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ulid::Ulid;

    #[test]
    fn the_envelope_reads_back_as_it_was_written() {
        let recorded = Recorded {
            host: HostId::from_ulid(Ulid::nil()),
            seq: 7,
            at: Timestamp(1),
            event: Event::RunStarted { number: 1, pid: 42 },
            subject: Subject { run: Some(RunId::from_ulid(Ulid::nil())), ..Subject::default() },
            correlation: CorrelationId::from_ulid(Ulid::nil()),
            actor: Actor::Person { uid: 1000 },
        };
        let json = serde_json::to_string(&recorded).unwrap();
        assert_eq!(
            json,
            "{\"host\":\"ho_00000000000000000000000000\",\"seq\":7,\"at\":1,\"event\":\"run.started\",\
             \"data\":{\"number\":1,\"pid\":42},\"run\":\"rn_00000000000000000000000000\",\
             \"correlation\":\"cor_00000000000000000000000000\",\"actor\":{\"kind\":\"person\",\"uid\":1000}}"
        );
        assert_eq!(serde_json::from_str::<Recorded>(&json).unwrap(), recorded);
        let empty = serde_json::to_string(&Event::LaneCloseRemembered {}).unwrap();
        assert_eq!(empty, "{\"event\":\"lane.close.remembered\",\"data\":{}}");
        assert_eq!(serde_json::from_str::<Event>(&empty).unwrap(), Event::LaneCloseRemembered {});
    }
}
