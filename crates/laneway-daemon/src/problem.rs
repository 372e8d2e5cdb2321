//! One place where errors become what a person reads: code, kind, message and hint.

use std::error::Error;
use std::fmt::Write;

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::refusal::Refusal;
use laneway_core::target::TargetError;
use laneway_git::{AdoptRefusal, BaseError, CreateError, CreateRefusal, NoRepository, RunError};
use laneway_store::{ReadError, SubmitError};
use laneway_wire::message::{StartStage, refusal};

use crate::holders::StartError;
use shortage::Shortage;

mod shortage;

/// The stable word of the refusal to use a pane that is nobody's of ours.
pub(crate) const NOT_OUR_PANE: &str = "not_our_pane";

/// The stable word of the problem that a run is not its worker's latest.
pub(crate) const FORMER_RUN: &str = "former_run";

/// An error that can be shown.
pub(crate) trait IntoProblem {
    /// As it is shown.
    fn into_problem(self) -> Problem;
}

/// An error with all its sources, in one line: `a: b: c`.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        // Some errors repeat their source in their own words.
        if !text.ends_with(&said) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {said}");
        }
        source = error.source();
    }
    text
}

/// A failure under this word, or under that of what there was not enough of.
pub(crate) fn failed(code: &str, error: &(dyn Error + 'static)) -> Problem {
    failed_in_words(code, error, chain(error))
}

/// The same, said in other words.
pub(crate) fn failed_in_words(code: &str, error: &(dyn Error + 'static), message: String) -> Problem {
    match Shortage::of(error) {
        Some(shortage) => shortage.problem(message),
        None => Problem::new(ErrorKind::Failed, code, message),
    }
}

/// A failure of which only words are left, under this word or that of a shortage that they tell of.
pub(crate) fn failed_by_words(code: &str, why: &str, message: String) -> Problem {
    match Shortage::in_words(why) {
        Some(shortage) => shortage.problem(message),
        None => Problem::new(ErrorKind::Failed, code, message),
    }
}

impl IntoProblem for Refusal {
    fn into_problem(self) -> Problem {
        let kind = match &self {
            Refusal::Unknown { .. } => ErrorKind::NotFound,
            Refusal::LaneNameTaken { .. }
            | Refusal::BranchInUse { .. }
            | Refusal::PathInUse { .. }
            | Refusal::BackAlready { .. }
            | Refusal::CapacityReached { .. }
            | Refusal::WorkerNameTaken { .. }
            | Refusal::TaskHasNoName { .. }
            | Refusal::NotInTmux { .. }
            | Refusal::TaskRunsOnce { .. }
            | Refusal::LaneNotOpen { .. }
            | Refusal::SetupRunning { .. }
            | Refusal::NotSetUp { .. }
            | Refusal::NotOurTree { .. }
            | Refusal::WouldLose { .. }
            | Refusal::PoolIsFull { .. }
            | Refusal::NotInPool { .. }
            | Refusal::InstanceRuns { .. }
            | Refusal::InstanceInUse { .. }
            | Refusal::InstanceRests { .. }
            | Refusal::InstanceMovedOn { .. }
            | Refusal::MovedOn { .. } => ErrorKind::Refused,
        };
        let mut problem = Problem::new(kind, self.slug(), self.to_string());
        problem.hint = self.hint();
        if let Refusal::WouldLose { losses, .. } = &self {
            problem.details = serde_json::to_value(losses).ok();
        }
        problem
    }
}

impl IntoProblem for TargetError {
    fn into_problem(self) -> Problem {
        let message = self.to_string();
        match self {
            TargetError::NotFound { closest, .. } if closest.is_empty() => Problem::new(
                ErrorKind::NotFound,
                "not_found",
                format!("{message}; there is nothing here yet"),
            )
            .hint("lane new NAME -- COMMAND"),
            TargetError::NotFound { closest, .. } => {
                let message = format!("{message}; there is {}", closest.join(", "));
                Problem::new(ErrorKind::NotFound, "not_found", message).hint("lane ls, or lane ps --all")
            }
            TargetError::Ambiguous { candidates, .. } => {
                Problem::new(ErrorKind::Ambiguous, "ambiguous", message)
                    .hint("name exactly one of them")
                    .details(serde_json::json!({ "candidates": candidates }))
            }
            TargetError::NoWorker { lane } => Problem::new(ErrorKind::NotFound, "no_worker", message)
                .hint(format!("lane run {lane} -- COMMAND")),
            TargetError::FormerRun { worker, number, .. } => {
                Problem::new(ErrorKind::Refused, FORMER_RUN, message)
                    .hint(format!("lane read {worker} --run {number}, or lane show {worker} for its latest"))
            }
            TargetError::Closed { worker, .. } => Problem::new(ErrorKind::NotFound, "worker_closed", message)
                .hint(format!("lane show {worker}")),
            TargetError::NotInTmux { what, known, .. } => {
                let message = if known.is_empty() {
                    format!("{message}; none is known")
                } else {
                    format!("{message}; there is {}", known.join(", "))
                };
                let code = if what == "window" { "no_such_window" } else { "no_such_tmux_pane" };
                Problem::new(ErrorKind::NotFound, code, message).hint("lane ps shows which worker is where")
            }
            TargetError::OtherServer { label, .. } => {
                Problem::new(ErrorKind::Refused, "other_tmux_server", message).hint(format!("name {label}"))
            }
            TargetError::NotOurs { .. } => Problem::new(ErrorKind::Refused, NOT_OUR_PANE, message)
                .hint("lane ps shows which panes are workers'"),
            TargetError::NoSuchPane { worker, in_tmux, .. } => {
                let hint = if in_tmux {
                    format!("lane split {worker} adds one")
                } else {
                    "lane run LANE --terminal tmux -- COMMAND starts one in tmux, which can have more"
                        .to_owned()
                };
                Problem::new(ErrorKind::NotFound, "no_such_pane", message).hint(hint)
            }
            TargetError::Elsewhere { root, worker, .. } => {
                let root = root.shown();
                Problem::new(ErrorKind::Refused, "other_repository", message)
                    .hint(format!("lane --workspace {root} show {worker}"))
            }
            TargetError::InNoWorker { .. } => {
                Problem::new(ErrorKind::NotFound, "in_no_worker", message).hint("name it: lane ps")
            }
            TargetError::NoParent => {
                Problem::new(ErrorKind::NotFound, "no_parent", message).hint("name it: lane ps")
            }
            TargetError::NeverAttached => Problem::new(ErrorKind::NotFound, "never_attached", message)
                .hint("lane attach TARGET, or name it: lane ps"),
        }
    }
}

impl IntoProblem for SubmitError {
    fn into_problem(self) -> Problem {
        match self {
            SubmitError::Refused(refusal) => refusal.into_problem(),
            SubmitError::DiskFull { .. } => Problem::new(
                ErrorKind::Failed,
                "disk_full",
                "the disk with Laneway's database is full: nothing was changed",
            )
            .hint("make room, then repeat the command; what runs goes on"),
            SubmitError::OutcomeUnknown { .. } => {
                Problem::new(ErrorKind::Failed, "outcome_unknown", chain(&self))
                    .hint("lane ls, before you repeat it")
            }
            other => failed("store_failed", &other),
        }
    }
}

impl IntoProblem for ReadError {
    fn into_problem(self) -> Problem {
        failed("store_failed", &self)
    }
}

impl IntoProblem for NoRepository {
    fn into_problem(self) -> Problem {
        if Shortage::of(&self).is_some() {
            return failed("git_failed", &self);
        }
        let problem = Problem::new(ErrorKind::Usage, "not_a_repository", chain(&self));
        match &self {
            NoRepository::NotFound { .. } => problem.hint("cd REPOSITORY, or make one: git init"),
            _ => problem,
        }
    }
}

impl IntoProblem for RunError {
    fn into_problem(self) -> Problem {
        match &self {
            RunError::NoFolder { folder, .. } => {
                let message = format!("{} is not there: deleted, or moved", folder.display());
                Problem::new(ErrorKind::Failed, "folder_gone", message).hint(
                    "if it was moved, move it back; what runs in its lanes goes on, and lane stop ends it",
                )
            }
            _ => failed("git_failed", &self),
        }
    }
}

impl IntoProblem for laneway_git::OpenError {
    fn into_problem(self) -> Problem {
        failed("git_failed", &self)
    }
}

impl IntoProblem for BaseError {
    fn into_problem(self) -> Problem {
        let message = chain(&self);
        let other = failed("git_failed", &self);
        match self {
            BaseError::UnbornHead { .. } => Problem::new(ErrorKind::Refused, "unborn_head", message)
                .hint("git commit --allow-empty -m start"),
            BaseError::Unknown { .. } => Problem::new(ErrorKind::NotFound, "unknown_base", message)
                .hint("git branch --all, and git tag, show what there is"),
            BaseError::IllegalBranchName { .. } => {
                Problem::new(ErrorKind::Usage, "illegal_branch", message).hint("git help check-ref-format")
            }
            BaseError::OnSeveralRemotes { .. } => {
                Problem::new(ErrorKind::Ambiguous, "several_remotes", message)
                    .hint("git branch NAME REMOTE/NAME makes a local one first")
            }
            BaseError::NoRemote { .. } => {
                Problem::new(ErrorKind::NotFound, "no_remote", message).hint("git remote add origin URL")
            }
            BaseError::WhichRemote { number, .. } => {
                Problem::new(ErrorKind::Ambiguous, "several_remotes", message).hint(format!(
                    "git fetch REMOTE refs/pull/{number}/head, then lane new --base FETCH_HEAD"
                ))
            }
            BaseError::NoPullRequest { remote, .. } => {
                Problem::new(ErrorKind::NotFound, "no_pull_request", message)
                    .hint(format!("git ls-remote {remote} 'refs/pull/*/head' lists those it has"))
            }
            BaseError::NotFetched { .. } => Problem::new(ErrorKind::Unreachable, "not_fetched", message)
                .hint("see that git fetch works, then repeat it"),
            _ => other,
        }
    }
}

impl IntoProblem for CreateRefusal {
    fn into_problem(self) -> Problem {
        let message = chain(&self);
        let other = failed("git_failed", &self);
        let refused = |code: &str| Problem::new(ErrorKind::Refused, code, message.clone());
        match &self {
            CreateRefusal::IllegalBranchName { .. } => {
                Problem::new(ErrorKind::Usage, "illegal_branch", message).hint("git help check-ref-format")
            }
            CreateRefusal::BranchTaken { name, .. } => {
                refused("branch_taken").hint(format!("choose another name, or work on it: --branch {name}"))
            }
            CreateRefusal::BranchInUse { .. } => {
                refused("branch_in_use").hint("git allows a branch in one worktree at a time: choose another")
            }
            CreateRefusal::BranchBlocked { blocked_by, .. } => refused("branch_blocked")
                .hint(format!("git cannot have both: choose --branch, or rename {blocked_by}")),
            CreateRefusal::PathExists { .. } => {
                refused("path_exists").hint("move it away, or choose another name")
            }
            CreateRefusal::PathRegistered { .. } => {
                refused("path_registered").hint("git worktree list; git worktree prune drops what is gone")
            }
            CreateRefusal::BadPlace { .. } => {
                refused("bad_place").hint("choose another place: worktree = \"…/{lane}\" in laneway.toml")
            }
            CreateRefusal::NoRoom { .. } => {
                refused("no_room").hint("make room: lane ls, then lane close what is done with")
            }
            _ => other,
        }
    }
}

impl IntoProblem for AdoptRefusal {
    fn into_problem(self) -> Problem {
        let message = chain(&self);
        let other = failed("git_failed", &self);
        let refused = |code: &str| Problem::new(ErrorKind::Refused, code, message.clone());
        match &self {
            AdoptRefusal::Missing { .. } => Problem::new(ErrorKind::NotFound, "path_missing", message)
                .hint("git worktree list shows the worktrees that there are"),
            AdoptRefusal::Gone { .. } => refused("worktree_gone")
                .hint("git worktree repair NEW_PATH if it was moved; git worktree prune if it is gone"),
            AdoptRefusal::NotAWorktree { inside: Some(root), .. } => refused("not_a_worktree")
                .hint(format!("it is in {}; a worktree is adopted by its root", root.display())),
            AdoptRefusal::NotAWorktree { inside: None, .. } => {
                refused("not_a_worktree").hint("git worktree list shows the worktrees that there are")
            }
            AdoptRefusal::MainWorktree { .. } => {
                refused("main_checkout").hint("lane new NAME makes a lane beside it")
            }
            AdoptRefusal::OtherRepository { path, .. } => {
                refused("other_repository").hint(format!("cd {} && lane adopt .", path.display()))
            }
            AdoptRefusal::Broken { .. } => refused("worktree_broken").hint("git worktree repair PATH"),
            AdoptRefusal::Locked { path, .. } => refused("worktree_locked")
                .hint(format!("if that reason is over: git worktree unlock {}", path.display())),
            AdoptRefusal::MadeAsLane { path, .. } => refused("made_as_lane").hint(format!(
                "it is in use under another LANEWAY_HOME; only if that is gone: git worktree unlock {}",
                path.display()
            )),
            AdoptRefusal::OfPool { path, .. } => refused("of_pool").hint(format!(
                "lane new NAME takes one of the pool; only if lane doctor says that this one was left: git worktree \
                 unlock {}",
                path.display()
            )),
            AdoptRefusal::Unborn { .. } => {
                refused("unborn_head").hint("git commit --allow-empty -m start, in it")
            }
            AdoptRefusal::BranchName { .. } => {
                refused("illegal_branch").hint("git branch -m NEW_NAME, in it, gives it another")
            }
            _ => other,
        }
    }
}

impl IntoProblem for CreateError {
    fn into_problem(self) -> Problem {
        match self {
            CreateError::Refused(refusal) => refusal.into_problem(),
            CreateError::Failed { ref undone, .. } => {
                let mut problem = failed("git_failed", &self);
                let left: Vec<String> = match undone {
                    Ok(undone) => undone.left.iter().map(|left| chain(left)).collect(),
                    Err(error) => vec![format!("what was made could not be undone: {}", chain(error))],
                };
                for left in left {
                    problem.message = format!("{}; {left}", problem.message);
                }
                problem
            }
            other => failed("git_failed", &other),
        }
    }
}

impl IntoProblem for &StartError {
    fn into_problem(self) -> Problem {
        let message = chain(self);
        if let Some(shortage) = Shortage::of(self) {
            return shortage.problem(message);
        }
        let failure = match self {
            StartError::Program(failure) => failure,
            StartError::HolderEnded { log, .. } => {
                return Problem::new(ErrorKind::Failed, "start_failed", message)
                    .hint(format!("tail {}", log.display()));
            }
            _ => return Problem::new(ErrorKind::Failed, "start_failed", message),
        };
        match failure.stage {
            StartStage::ProgramMissing => {
                Problem::new(ErrorKind::CommandNotFound, "program_missing", message)
                    .hint("check its name and PATH, or give its whole path")
            }
            StartStage::ProgramNotRunnable => {
                Problem::new(ErrorKind::NotRunnable, "program_not_runnable", message)
                    .hint("check that it is a program and may be executed: ls -l")
            }
            // Which lane's it is, whoever started it knows.
            StartStage::Cwd => Problem::new(ErrorKind::Failed, "folder_gone", message),
            StartStage::Launch
            | StartStage::Socket
            | StartStage::Record
            | StartStage::Terminal
            | StartStage::Exec => Problem::new(ErrorKind::Failed, "start_failed", message),
        }
    }
}

/// What a holder refused, by its code.
pub(crate) fn of_holder(code: &str, message: String) -> Problem {
    let refused =
        |hint: &str| Problem::new(ErrorKind::Refused, &code.replace('-', "_"), message.clone()).hint(hint);
    match code {
        refusal::ENDED => refused("lane ps --all shows how it ended"),
        refusal::NO_TERMINAL | refusal::NO_INPUT => {
            refused("it takes no input: it was started without a terminal")
        }
        refusal::LINE_TOO_LONG | refusal::CONTROL_CHARACTER => {
            refused("the terminal would cut or act upon it; --raw sends it all the same")
        }
        refusal::QUEUE_FULL => refused("lane read TARGET shows what it is doing instead of reading"),
        refusal::UNKNOWN_KEY => Problem::new(ErrorKind::Usage, "unknown_key", message)
            .hint("keys are like a, F5, page-up, ctrl-c, shift-tab, ctrl-alt-x"),
        refusal::UNKNOWN_REQUEST => Problem::new(
            ErrorKind::Refused,
            "older_holder",
            "the program runs under a holder of an older version, which cannot do this",
        )
        .hint("it runs on as it is; stopped and started again, it has a new one"),
        refusal::NOT_DRIVER | refusal::NOT_OWNABLE | refusal::DROPPED => {
            Problem::new(ErrorKind::Refused, &code.replace('-', "_"), message)
        }
        _ => Problem::new(ErrorKind::Failed, &code.replace('-', "_"), message),
    }
}
