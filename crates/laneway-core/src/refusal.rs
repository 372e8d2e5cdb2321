//! Refusals: why a command changed nothing. Each is shown to people as it is.

use crate::findings::Losses;
use crate::id::{PoolTreeId, WorkerId};
use crate::instance::InstanceName;
use crate::lane::Lifecycle;
use crate::name::Name;
use crate::worker::WorkerStatus;

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The repository has an open lane of that name.
    #[error("there is a lane {name} already ({lifecycle})")]
    LaneNameTaken {
        /// The name.
        name: Name,
        /// Where the lane that has it stands.
        lifecycle: Lifecycle,
    },
    /// An open lane works on that branch.
    #[error("lane {lane} works on branch {branch} already")]
    BranchInUse {
        /// The branch.
        branch: String,
        /// The lane that works on it.
        lane: Name,
    },
    /// An open lane has its worktree there.
    #[error("lane {lane} has its worktree at that path already")]
    PathInUse {
        /// The lane that has it.
        lane: Name,
    },
    /// An open lane brings that closed one back.
    #[error("lane {lane} is what brings it back already")]
    BackAlready {
        /// The lane that does.
        lane: Name,
    },
    /// No more lanes fit.
    #[error("this repository has {open} open lanes, and {max} is the most")]
    CapacityReached {
        /// Open lanes now.
        open: usize,
        /// The most there may be.
        max: usize,
    },
    /// A worker of that name is there.
    #[error("there is a worker {name} already, in lane {lane}")]
    WorkerNameTaken {
        /// The name.
        name: Name,
        /// The lane that it is in.
        lane: Name,
    },
    /// A task has no name to change.
    #[error("{worker} is a task, and tasks have no names")]
    TaskHasNoName {
        /// The task.
        worker: WorkerId,
    },
    /// It has no window of tmux that panes could be added to.
    #[error("{worker} is in no window of tmux")]
    NotInTmux {
        /// The worker.
        worker: WorkerId,
    },
    /// A task runs once.
    #[error("{worker} is a task, and a task runs once")]
    TaskRunsOnce {
        /// The task.
        worker: WorkerId,
    },
    /// The lane is not in the state that this needs.
    #[error("lane {lane} is {lifecycle}")]
    LaneNotOpen {
        /// The lane.
        lane: Name,
        /// Where it stands.
        lifecycle: Lifecycle,
    },
    /// Its setup is under way.
    #[error("lane {lane} is being set up")]
    SetupRunning {
        /// The lane.
        lane: Name,
    },
    /// Its setup has failed.
    #[error("lane {lane} is not set up{}", in_words(failure.as_deref()))]
    NotSetUp {
        /// The lane.
        lane: Name,
        /// What went wrong last.
        failure: Option<String>,
    },
    /// A close was to do something to a worktree that is somebody's own.
    #[error("lane {lane} has a worktree that it did not make, and leaves it as it is")]
    NotOurTree {
        /// The lane.
        lane: Name,
    },
    /// A close would lose work.
    #[error("{}", why_not_closed(lane, losses))]
    WouldLose {
        /// The lane.
        lane: Name,
        /// What would be lost.
        losses: Box<Losses>,
    },
    /// The pool has as many trees as it may have.
    #[error("the pool has the {most} trees that it may have")]
    PoolIsFull {
        /// How many.
        most: usize,
    },
    /// A tree of the pool is not for whoever wants it.
    #[error("{tree} is {state} in the pool")]
    NotInPool {
        /// The tree.
        tree: PoolTreeId,
        /// The word for where it stands.
        state: &'static str,
    },
    /// An instance that was to be started runs.
    #[error("instance {instance} of {program} is {} already", status.as_str())]
    InstanceRuns {
        /// The program.
        program: String,
        /// The instance.
        instance: InstanceName,
        /// What it is.
        status: WorkerStatus,
    },
    /// An instance that was to be forgotten runs.
    #[error("instance {instance} of {program} is {}, and is removed only when it does not run", status.as_str())]
    InstanceInUse {
        /// The program.
        program: String,
        /// The instance.
        instance: InstanceName,
        /// What it is.
        status: WorkerStatus,
    },
    /// An instance that was to be stopped does not run.
    #[error("instance {instance} of {program} does not run")]
    InstanceRests {
        /// The program.
        program: String,
        /// The instance.
        instance: InstanceName,
    },
    /// An instance has set out on something else since this was begun.
    #[error("instance {instance} of {program} has moved on")]
    InstanceMovedOn {
        /// The program.
        program: String,
        /// The instance.
        instance: InstanceName,
    },
    /// What was asked about is not recorded.
    #[error("there is no {what} {id}")]
    Unknown {
        /// `lane`, `worker`, `run` or `workspace`.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// The lane has set out on something else since this was begun.
    #[error("lane {lane} has moved on")]
    MovedOn {
        /// The lane.
        lane: Name,
    },
}

fn in_words(failure: Option<&str>) -> String {
    failure.map_or_else(String::new, |failure| format!(": {failure}"))
}

impl Refusal {
    /// A short, stable word for programs.
    pub const fn slug(&self) -> &'static str {
        match self {
            Refusal::LaneNameTaken { .. } => "lane_name_taken",
            Refusal::BranchInUse { .. } => "branch_in_use",
            Refusal::PathInUse { .. } => "path_in_use",
            Refusal::BackAlready { .. } => "back_already",
            Refusal::CapacityReached { .. } => "capacity_reached",
            Refusal::WorkerNameTaken { .. } => "worker_name_taken",
            Refusal::TaskHasNoName { .. } => "task_has_no_name",
            Refusal::NotInTmux { .. } => "not_in_tmux",
            Refusal::TaskRunsOnce { .. } => "task_runs_once",
            Refusal::LaneNotOpen { .. } => "lane_not_open",
            Refusal::SetupRunning { .. } => "setup_running",
            Refusal::NotSetUp { .. } => "not_set_up",
            Refusal::NotOurTree { .. } => "not_our_tree",
            Refusal::WouldLose { .. } => "would_lose_work",
            Refusal::PoolIsFull { .. } => "pool_is_full",
            Refusal::NotInPool { .. } => "not_in_pool",
            Refusal::InstanceRuns { .. } | Refusal::InstanceInUse { .. } => "already_running",
            Refusal::InstanceRests { .. } => "not_running",
            Refusal::InstanceMovedOn { .. } => "instance_moved_on",
            Refusal::Unknown { .. } => "not_found",
            Refusal::MovedOn { .. } => "moved_on",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Refusal::LaneNameTaken { name, .. } => Some(format!("lane show {name}, or choose another name")),
            Refusal::BranchInUse { lane, .. } => Some(format!("lane run {lane} works in that lane")),
            Refusal::PathInUse { lane } => Some(format!("lane show {lane}, or choose another name")),
            Refusal::BackAlready { lane } => Some(format!("lane show {lane}")),
            Refusal::CapacityReached { .. } => Some("lane ls, then lane close NAME".to_owned()),
            Refusal::WorkerNameTaken { name, lane } => {
                Some(format!("choose another name, or rename that one: lane rename {lane}/{name} NEW"))
            }
            Refusal::TaskHasNoName { .. } => Some("lane run LANE --name NAME starts a worker".to_owned()),
            Refusal::NotInTmux { .. } => {
                Some("lane run LANE --terminal tmux -- COMMAND starts one in tmux".to_owned())
            }
            Refusal::TaskRunsOnce { .. } => Some("lane exec LANE -- COMMAND runs it once more".to_owned()),
            Refusal::LaneNotOpen { lane, lifecycle } => Some(match lifecycle {
                Lifecycle::New | Lifecycle::Provisioning => {
                    format!("lane show {lane} says when it is ready")
                }
                Lifecycle::Open | Lifecycle::Cleaning | Lifecycle::Closed => {
                    "lane new NAME makes a new one".to_owned()
                }
            }),
            Refusal::SetupRunning { lane } => Some(format!("lane show {lane} says how far it is")),
            Refusal::NotSetUp { lane, .. } => Some(format!(
                "lane setup {lane} goes on with it\nthe same command with --force starts it all the same"
            )),
            Refusal::NotOurTree { lane } => Some(format!("lane close {lane}")),
            Refusal::WouldLose { lane, losses } => Some(what_helps(lane, losses)),
            Refusal::InstanceRuns { program, instance, .. }
            | Refusal::InstanceInUse { program, instance, .. } => {
                Some(format!("lane program stop {program} {instance}"))
            }
            Refusal::InstanceRests { program, instance } => {
                Some(format!("lane program start {program} {instance}"))
            }
            Refusal::InstanceMovedOn { .. }
            | Refusal::PoolIsFull { .. }
            | Refusal::NotInPool { .. }
            | Refusal::Unknown { .. }
            | Refusal::MovedOn { .. } => None,
        }
    }
}

/// What would be lost, and who uses the lane: the latter is no loss, and by itself a reason.
fn why_not_closed(lane: &Name, losses: &Losses) -> String {
    let work = losses.without_attachments();
    if losses.attachments.is_empty() {
        return format!("closing {lane} would lose work: {work}");
    }
    let others = losses.attachments.first.iter();
    let others = others.map(|other| {
        let kind = if other.worker.is_some() { "worker " } else { "" };
        format!("{kind}{} ({} until {})", other.who, other.role, other.until)
    });
    let mut text = format!("lane {lane} is in use by {}", others.collect::<Vec<_>>().join(", "));
    let more = losses.attachments.count.saturating_sub(losses.attachments.first.len() as u64);
    if more > 0 {
        text = format!("{text} and {more} more");
    }
    if work.is_empty() { text } else { format!("{text}, and closing it would lose work: {work}") }
}

/// What to type: who uses the lane has to leave it first, which no consent to anything else says.
fn what_helps(lane: &Name, losses: &Losses) -> String {
    let leaving = losses.attachments.first.iter().map(|other| match other.worker {
        Some(worker) => format!("lane leave {lane} --as {worker}"),
        None => format!("lane leave {lane} --as {}", other.who),
    });
    let mut hints: Vec<String> = leaving.collect();
    if !losses.without_attachments().is_empty() {
        hints.push(format!(
            "lane close {lane} --merge, or lane close {lane} --discard (all of it is kept for lane restore {lane})"
        ));
    }
    hints.join("\n")
}
