//! Commands: what is asked of Laneway, by people, programs, or its own executors reporting back.

use serde_json::{Map, Value};

use crate::attachment::{Attachment, Role, User};
use crate::channel::{ChannelKind, Heard};
use crate::findings::{Findings, Losses};
use crate::id::{AttachmentId, HostId, InstanceId, LaneId, PoolTreeId, RunId, WorkerId, WorkspaceId};
use crate::instance::{Instance, InstanceConfig, InstanceName, InstanceRun, Start};
use crate::lane::{CloseTerms, Lane, LaneBranch, LaneTree};
use crate::launch::TerminalSpec;
use crate::limits::RunLimits;
use crate::name::Name;
use crate::os_text::OsText;
use crate::pane::{Pane, PaneIdentity, PanePlace, TmuxServer};
use crate::pool::{PoolStep, PoolTree};
use crate::run::{Exit, ProcessIdentity, Run};
use crate::setup::{SetupPlan, SetupStart};
use crate::supervise::{Pacing, RestartPolicy};
use crate::time::Timestamp;
use crate::worker::Worker;
use crate::workspace::Workspace;

/// A lane to be made, or to be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLane {
    /// The id it will have.
    pub id: LaneId,
    /// The host it is on.
    pub host: HostId,
    /// The repository.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: Name,
    /// Its branch, and whether its worktree is to be made or is there already.
    pub tree: LaneTree,
    /// What it is made from, as told.
    pub base_ref: String,
    /// The commit that is.
    pub base_commit: String,
    /// Where its worktree goes, or is.
    pub path: OsText,
    /// The closed lane that it brings back.
    pub restored_from: Option<LaneId>,
}

/// How a worker that is asked for gets its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerNaming {
    /// This name or none.
    Exactly(Name),
    /// This name, or the first of `name-2`, `name-3`… that is free.
    FirstFree(Name),
    /// No name: a task.
    Task,
}

/// A worker to be made, with its first run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWorker {
    /// The id it will have.
    pub id: WorkerId,
    /// The id its first run will have.
    pub run: RunId,
    /// How it gets its name.
    pub naming: WorkerNaming,
    /// Program and arguments; never empty.
    pub argv: Vec<OsText>,
    /// The folder it starts in. None: the lane's worktree.
    pub cwd: Option<OsText>,
    /// The name of the private file with its environment.
    pub environment: String,
    /// Its terminal.
    pub terminal: TerminalSpec,
    /// What its terminal shows is recorded.
    pub record: bool,
    /// Whether it is started again when its run has ended by itself; a task never is.
    pub restart: RestartPolicy,
    /// Exit codes that mean that its work is done; 0 always does.
    pub done_codes: Vec<u8>,
    /// The channel that its program is given.
    pub channel: Option<ChannelKind>,
    /// What its program is told to do at each start, over its channel.
    pub start_message: Option<Map<String, Value>>,
    /// What each of its runs is limited to.
    pub limits: RunLimits,
    /// It is started also where the lane is not set up.
    pub forced: bool,
    /// The worker whose program asks for it.
    pub parent: Option<WorkerId>,
    /// The instance that it is, in this epoch.
    pub instance: Option<(InstanceId, u64)>,
}

/// An instance that is to be started, and made if there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartInstance {
    /// The id that it will have if there is none.
    pub id: InstanceId,
    /// The repository.
    pub workspace: WorkspaceId,
    /// The program in its `laneway.toml`.
    pub program: String,
    /// What requests call it.
    pub name: InstanceName,
    /// What it is to do. A model that is not named is that of its settings.
    pub start: Start,
}

/// Somebody wants to use a lane, or to go on using it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The id it will have, if he does not use it yet.
    pub id: AttachmentId,
    /// Who.
    pub user: User,
    /// What he is to be in it. None: what he was, or driver.
    pub role: Option<Role>,
    /// How long his lease is to last, in milliseconds. None: as long as before, or
    /// [`crate::attachment::DEFAULT_TTL_MS`].
    pub ttl_ms: Option<u64>,
}

/// How making a lane's branch and worktree ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provisioned {
    /// They are there. A first worker is started in the same breath.
    Ready {
        /// The branch that is checked out now, and whether this made it.
        branch: LaneBranch,
        /// Something that went wrong without being in the way.
        warning: Option<String>,
        /// What comes of its setup.
        setup: SetupStart,
        /// The worker that was asked for together with the lane; none if the setup begins, which comes first.
        first: Option<Box<NewWorker>>,
    },
    /// They could not be made; what had been made is undone, but for what the text says is left.
    Failed {
        /// What went wrong and what is left, for people.
        failure: String,
    },
}

/// How quieting a lane, that is ending every process of its runs, went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quieted {
    /// Nothing of its runs is alive.
    Quiet,
    /// Some of it would not end.
    StillAlive {
        /// What is left, for people.
        what: String,
    },
}

/// How merging a lane into what it was made from ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// Its commits are there.
    Done {
        /// The branch that has them.
        into: String,
        /// The commit that it stands at.
        commit: String,
    },
    /// Nothing was merged, and nothing has changed.
    Failed {
        /// Why, for people: the files that conflict, what is in the way.
        failure: String,
    },
}

/// What was kept of a lane that was taken away with work in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RescueNote {
    /// Its worktree is in the trash.
    pub in_trash: bool,
    /// Refs that hold its commits.
    pub n_refs: u32,
    /// Things in the worktree that no commit could hold.
    pub n_only_in_trash: u32,
}

/// How taking a lane's worktree and branch away ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// They are gone.
    Gone {
        /// What was kept, if there was work in it.
        rescue: Option<RescueNote>,
    },
    /// The repository is not where it was, and that nothing of the lane is looked at was consented to: what there is of
    /// it stays as it is, wherever that is.
    LeftBehind,
    /// Something was written since the second look: they are as they were.
    WorkFound(Box<Losses>),
    /// They could not be taken away.
    Failed {
        /// What went wrong and what is left, for people.
        failure: String,
    },
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Know this repository. A repeat changes nothing.
    RegisterWorkspace(Workspace),
    /// Make a lane, or take a worktree in as one.
    CreateLane {
        /// The lane.
        lane: NewLane,
        /// The most open lanes its repository may have.
        max_lanes: usize,
    },
    /// Give a lane another name. Its branch and its worktree keep theirs.
    RenameLane {
        /// The lane.
        lane: LaneId,
        /// The name it is to have.
        to: Name,
    },
    /// Its making begins now: from here on there may be something to undo.
    BeginProvisioning {
        /// The lane.
        lane: LaneId,
        /// The epoch the effect was given.
        epoch: u64,
    },
    /// Its making has ended.
    FinishProvisioning {
        /// The lane.
        lane: LaneId,
        /// The epoch the effect was given.
        epoch: u64,
        /// How.
        outcome: Provisioned,
    },
    /// Set a lane up, or go on with that.
    BeginSetup {
        /// The lane.
        lane: LaneId,
        /// What is to be done.
        plan: SetupPlan,
    },
    /// Start the task of a step.
    RunSetupStep {
        /// The lane.
        lane: LaneId,
        /// The epoch the effect was given.
        epoch: u64,
        /// The number of the piece, from 0.
        piece: u32,
        /// The step's name.
        name: String,
        /// Its task.
        worker: NewWorker,
    },
    /// A piece of the setup has ended.
    FinishPiece {
        /// The lane.
        lane: LaneId,
        /// The epoch the effect was given.
        epoch: u64,
        /// The number of the piece, from 0.
        piece: u32,
        /// What went wrong, for people.
        outcome: Result<(), String>,
        /// The worker that is to be started after the last one.
        first: Option<Box<NewWorker>>,
    },
    /// Start a worker or task in a lane.
    RunWorker {
        /// The lane.
        lane: LaneId,
        /// The worker.
        worker: NewWorker,
    },
    /// Give a worker another name.
    RenameWorker {
        /// The worker.
        worker: WorkerId,
        /// The name it is to have.
        to: Name,
    },
    /// A run's program was proven to run.
    RecordStarted {
        /// The run.
        run: RunId,
        /// The process.
        process: ProcessIdentity,
        /// When.
        at: Timestamp,
    },
    /// A run ended, or never began.
    RecordExit {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
        /// When.
        at: Timestamp,
        /// What its worker's restart is paced by.
        pacing: Pacing,
    },
    /// What a run's program has said over its channel. What is recorded already is passed over.
    RecordHeard {
        /// The run.
        run: RunId,
        /// The number of the first.
        first: u64,
        /// All of it.
        heard: Vec<Heard>,
    },
    /// A run's program did not answer over its channel: it is ended, and has failed.
    RecordUnresponsive {
        /// The run.
        run: RunId,
        /// What it did not do, for people.
        why: String,
    },
    /// End a worker's program.
    StopWorker {
        /// The worker.
        worker: WorkerId,
        /// Milliseconds its whole tree has to end by itself.
        grace_ms: u64,
    },
    /// Start a worker whose program does not run; if it is being stopped, when it has ended.
    StartWorker {
        /// The worker.
        worker: WorkerId,
        /// The id its new run will have.
        run: RunId,
        /// Also where the lane is not set up.
        forced: bool,
    },
    /// End a worker's program and start it again.
    RestartWorker {
        /// The worker.
        worker: WorkerId,
        /// The id its new run will have, if none is alive.
        run: RunId,
        /// Milliseconds its whole tree has to end by itself.
        grace_ms: u64,
        /// Also where the lane is not set up.
        forced: bool,
    },
    /// The moment of a planned restart has come.
    RetryWorker {
        /// The worker.
        worker: WorkerId,
        /// The epoch of the plan.
        epoch: u64,
        /// The id the new run will have.
        run: RunId,
    },
    /// Give a planned restart another moment.
    ReplanRestart {
        /// The worker.
        worker: WorkerId,
        /// The epoch of the plan.
        epoch: u64,
        /// When it is to be.
        at: Timestamp,
    },
    /// Start an instance.
    StartInstance(StartInstance),
    /// The lane in which an instance is to work: recorded before that is made.
    PlaceInstance {
        /// The instance.
        instance: InstanceId,
        /// The epoch the effect was given.
        epoch: u64,
        /// The lane.
        lane: LaneId,
    },
    /// A start of an instance came to nothing.
    FailInstance {
        /// The instance.
        instance: InstanceId,
        /// The epoch the effect was given.
        epoch: u64,
        /// Why, for people.
        why: String,
    },
    /// Have the worker of an instance run anew, with what it is started with by now; if it runs, when it has ended.
    RenewWorker {
        /// The worker that there is.
        worker: WorkerId,
        /// What it is to be: its id and naming count for nothing.
        renewed: Box<NewWorker>,
    },
    /// An instance is to run no more. Its worker is stopped after that.
    StopInstance {
        /// The instance.
        instance: InstanceId,
    },
    /// Set an instance to this, beside what it is set to.
    ConfigureInstance {
        /// The instance.
        instance: InstanceId,
        /// What is set.
        config: InstanceConfig,
    },
    /// Forget an instance that does not run. What it did stays recorded.
    RemoveInstance {
        /// The instance.
        instance: InstanceId,
    },
    /// A stop ended with processes left.
    RecordStopFailed {
        /// The run.
        run: RunId,
        /// The processes that are left.
        left: Vec<u32>,
    },
    /// A run's program is started in this pane.
    RecordPane {
        /// The worker.
        worker: WorkerId,
        /// The run.
        run: RunId,
        /// The pane.
        pane: PaneIdentity,
    },
    /// A worker has a further pane.
    AddPane {
        /// The worker.
        worker: WorkerId,
        /// The pane.
        pane: PaneIdentity,
    },
    /// A pane of a worker is somewhere else, or its window is called otherwise.
    MovePane {
        /// The worker.
        worker: WorkerId,
        /// The pane's server.
        server: TmuxServer,
        /// The pane's id.
        pane_id: String,
        /// Where it is.
        to: PanePlace,
    },
    /// A pane of a worker is closed.
    RecordPaneGone {
        /// The worker.
        worker: WorkerId,
        /// The pane's server.
        server: TmuxServer,
        /// The pane's id.
        pane_id: String,
        /// Whose it was: it may have been used again meanwhile.
        tag: String,
    },
    /// Somebody attaches to a worker's terminal.
    RecordAttached {
        /// The worker.
        worker: WorkerId,
    },
    /// Use a lane, or renew the lease of one who does.
    JoinLane {
        /// The lane.
        lane: LaneId,
        /// Who, as what, for how long.
        join: Join,
    },
    /// Use a lane no longer.
    LeaveLane {
        /// The lane.
        lane: LaneId,
        /// Who.
        user: User,
    },
    /// Mark a lane as shared, or no longer.
    ShareLane {
        /// The lane.
        lane: LaneId,
        /// It is to be.
        shared: bool,
    },
    /// The clock shows that leases in a lane may have ended, or was set back.
    LookAtLeases {
        /// The lane.
        lane: LaneId,
    },
    /// Close a lane, given what a first look found.
    CloseLane {
        /// The lane.
        lane: LaneId,
        /// What was found. None while the lane is being made: there is nothing to look at yet.
        findings: Option<Findings>,
        /// Milliseconds its programs have to end by themselves.
        grace_ms: u64,
        /// What it may do beyond taking a clean lane away.
        terms: CloseTerms,
        /// Who asks for it, if that is somebody with a name.
        by: Option<User>,
    },
    /// The programs of a lane that is being closed have ended, or would not.
    FinishQuieting {
        /// The lane.
        lane: LaneId,
        /// The epoch the effect was given.
        epoch: u64,
        /// How it went.
        outcome: Quieted,
    },
    /// The second look, after the programs have ended.
    JudgeAgain {
        /// The lane.
        lane: LaneId,
        /// The epoch the effect was given.
        epoch: u64,
        /// What was found.
        findings: Findings,
    },
    /// The lane's commits were merged into what it was made from, or could not be.
    FinishMerging {
        /// The lane.
        lane: LaneId,
        /// The epoch the effect was given.
        epoch: u64,
        /// How it went.
        outcome: Merged,
    },
    /// The lane's worktree and branch were taken away, or could not be.
    FinishClosing {
        /// The lane.
        lane: LaneId,
        /// The epoch the effect was given.
        epoch: u64,
        /// How it went.
        outcome: Removed,
    },
    /// Make a tree for the pool.
    AddPoolTree {
        /// The tree.
        tree: PoolTree,
        /// The most that may be ready or on their way.
        at_most: usize,
    },
    /// Something has happened to a tree of the pool, or is to.
    StepPoolTree {
        /// The tree.
        tree: PoolTreeId,
        /// What.
        step: PoolStep,
    },
    /// A daemon has begun to decide.
    RecordDaemonStarted {
        /// Its version.
        version: String,
        /// Its process id.
        pid: u32,
    },
    /// A daemon is about to end.
    RecordDaemonStopped {
        /// Its process id.
        pid: u32,
    },
    /// Recorded and observed were compared.
    RecordReconciled {
        /// Lanes and runs that were looked at.
        looked_at: u32,
        /// Actions that were carried out.
        done: u32,
        /// Actions that failed or were left to a person.
        reported: u32,
    },
}

/// What a command needs to know before it can be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    Nothing,
    /// Whether a repository with this common directory is known.
    CommonDir(OsText),
    /// The open lanes of a repository.
    Workspace(WorkspaceId),
    /// The trees of a repository's pool.
    Pool(WorkspaceId),
    /// One of them.
    PoolTree(PoolTreeId),
    /// A lane with its named workers, live runs and attachments, and the worker names of its repository.
    Lane(LaneId),
    /// The same, and the open lanes of its repository.
    LaneAmongOthers(LaneId),
    /// The same, for the lane of this worker.
    Worker(WorkerId),
    /// The same, for the lane of this run.
    Run(RunId),
    /// The panes of a worker.
    Panes(WorkerId),
    /// The instance of this program that is called so, with its worker.
    InstanceNamed(WorkspaceId, String, InstanceName),
    /// An instance with its worker.
    Instance(InstanceId),
}

impl Command {
    /// The id of the run that begins if this is decided so; none if it can begin none.
    pub fn new_run(&self) -> Option<RunId> {
        if let Command::StartWorker { run, .. }
        | Command::RestartWorker { run, .. }
        | Command::RetryWorker { run, .. } = self
        {
            return Some(*run);
        }
        if let Command::RunWorker { worker, .. } = self {
            return Some(worker.run);
        }
        if let Command::RenewWorker { renewed, .. } = self {
            return Some(renewed.run);
        }
        if let Command::FinishProvisioning { outcome: Provisioned::Ready { first, .. }, .. }
        | Command::FinishPiece { first, .. } = self
        {
            return first.as_ref().map(|worker| worker.run);
        }
        None
    }

    /// What it needs to know.
    pub fn scope(&self) -> Scope {
        match self {
            Command::RegisterWorkspace(workspace) => Scope::CommonDir(workspace.common_dir.clone()),
            Command::CreateLane { lane, .. } => Scope::Workspace(lane.workspace),
            Command::BeginProvisioning { lane, .. }
            | Command::FinishProvisioning { lane, .. }
            | Command::RunWorker { lane, .. }
            | Command::BeginSetup { lane, .. }
            | Command::RunSetupStep { lane, .. }
            | Command::FinishPiece { lane, .. }
            | Command::JoinLane { lane, .. }
            | Command::LeaveLane { lane, .. }
            | Command::ShareLane { lane, .. }
            | Command::LookAtLeases { lane }
            | Command::CloseLane { lane, .. }
            | Command::FinishQuieting { lane, .. }
            | Command::JudgeAgain { lane, .. }
            | Command::FinishMerging { lane, .. }
            | Command::FinishClosing { lane, .. } => Scope::Lane(*lane),
            Command::RenameLane { lane, .. } => Scope::LaneAmongOthers(*lane),
            Command::StopWorker { worker, .. }
            | Command::StartWorker { worker, .. }
            | Command::RestartWorker { worker, .. }
            | Command::RetryWorker { worker, .. }
            | Command::ReplanRestart { worker, .. }
            | Command::RenewWorker { worker, .. }
            | Command::RenameWorker { worker, .. } => Scope::Worker(*worker),
            Command::StartInstance(StartInstance { workspace, program, name, .. }) => {
                Scope::InstanceNamed(*workspace, program.clone(), name.clone())
            }
            Command::PlaceInstance { instance, .. }
            | Command::FailInstance { instance, .. }
            | Command::StopInstance { instance }
            | Command::ConfigureInstance { instance, .. }
            | Command::RemoveInstance { instance } => Scope::Instance(*instance),
            Command::RecordPane { worker, .. }
            | Command::AddPane { worker, .. }
            | Command::MovePane { worker, .. }
            | Command::RecordPaneGone { worker, .. }
            | Command::RecordAttached { worker } => Scope::Panes(*worker),
            Command::RecordStarted { run, .. }
            | Command::RecordExit { run, .. }
            | Command::RecordHeard { run, .. }
            | Command::RecordUnresponsive { run, .. }
            | Command::RecordStopFailed { run, .. } => Scope::Run(*run),
            Command::AddPoolTree { tree, .. } => Scope::Pool(tree.workspace),
            Command::StepPoolTree { tree, .. } => Scope::PoolTree(*tree),
            Command::RecordDaemonStarted { .. }
            | Command::RecordDaemonStopped { .. }
            | Command::RecordReconciled { .. } => Scope::Nothing,
        }
    }
}

/// A worker with the run that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFacts {
    /// The worker.
    pub worker: Worker,
    /// Its latest run.
    pub latest: Option<Run>,
}

/// A name of a worker that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerName {
    /// The name.
    pub name: Name,
    /// Who has it.
    pub worker: WorkerId,
    /// The name of the lane that it is in.
    pub lane: Name,
}

/// A lane with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneFacts {
    /// The lane.
    pub lane: Lane,
    /// Its named workers, its tasks with a live run, and the worker that was asked about.
    pub workers: Vec<WorkerFacts>,
    /// Every worker name that is in use in the repository.
    pub taken_names: Vec<WorkerName>,
    /// Who uses it, by name; also those whose lease is over without anybody having looked.
    pub attachments: Vec<Attachment>,
    /// The instances that work in it.
    pub instances: Vec<InstanceFacts>,
}

/// An instance with its run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceFacts {
    /// The instance.
    pub instance: Instance,
    /// Its run that has not ended, if there is one.
    pub open_run: Option<InstanceRun>,
}

/// A worker with all panes that it has, or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaneFacts {
    /// The worker.
    pub worker: Worker,
    /// Its latest run.
    pub latest: Option<Run>,
    /// Its panes by their numbers, also those that are closed.
    pub panes: Vec<Pane>,
}

/// What is recorded at the moment of the decision, as far as the command's [`Scope`] needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// Nothing was needed.
    Nothing,
    /// The repository, if it is known.
    CommonDir(Option<Workspace>),
    /// The lanes of the repository that are not closed. None: the repository is not known.
    Workspace(Option<Vec<Lane>>),
    /// The trees of the repository's pool.
    Pool(Vec<PoolTree>),
    /// The tree. None: it is not recorded.
    PoolTree(Option<PoolTree>),
    /// The lane. None: it is not recorded.
    Lane(Option<LaneFacts>),
    /// The lane, and the lanes of its repository that are not closed. None: it is not recorded.
    LaneAmongOthers(Option<(LaneFacts, Vec<Lane>)>),
    /// The worker and its panes. None: it is not recorded.
    Panes(Option<PaneFacts>),
    /// The instance, and its worker if it has one. None: it is not recorded.
    Instance(Option<Box<(InstanceFacts, Option<WorkerFacts>)>>),
}
