//! What is recorded against what is there, while the daemon lives, for a person who asks: `lane doctor`.
//!
//! What this daemon has under way is its own affair and is left out: lanes that are being made or closed, and runs
//! whose holders it watches.

use std::path::Path;
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::view::{Comparison, Finding, FindingOutcome};
use laneway_core::command::Command;
use laneway_core::id::{LaneId, RunId};
use laneway_core::lane::Lane;
use laneway_core::os_text::OsText;
use laneway_core::pool::PoolTree;
use laneway_core::reconcile::{
    Action, PoolTreeSeen, RepositorySeen, RunSeen, TreeSeen, may_have_left_something, plan, plan_repository,
};
use laneway_core::run::Run;
use laneway_core::workspace::Workspace;
use laneway_fault::fault_point;
use laneway_git::{RunError, Traces};
use laneway_store::Store;

use super::reconcile::Which;
use super::{Engine, Request, blocking};

/// How long one repair may take. It goes on after that, and what comes next is begun.
pub(super) const REPAIR_LIMIT: Duration = Duration::from_secs(30);

impl Engine {
    /// Compares; with `fix` it also does what it may do by itself.
    pub(crate) async fn compare(&self, fix: bool, request: Request) -> Result<Comparison, Problem> {
        let lanes = self.read(|store| store.lanes(None, true)).await?;
        let which = if fix { Which::Unwatched } else { Which::Glance };
        let (runs, strangers) = self.look_at_runs(which).await?;
        let mut looked_at = lanes.len() + runs.len();
        let mut of_repositories = Vec::new();
        for workspace in self.read(Store::workspaces).await? {
            looked_at += 1;
            let own: Vec<Lane> =
                lanes.iter().filter(|lane| lane.workspace == workspace.id).cloned().collect();
            // Recorded before it is made and until it is gone: so before or after, whatever is seen between.
            let mut pool = self.recorded_pool(&workspace).await?;
            let traced = self.traces(&workspace, &own).await;
            pool.extend(self.recorded_pool(&workspace).await?);
            match traced {
                Ok(seen) => of_repositories.extend(plan_repository(&own, &pool, &seen)),
                Err(problem) => of_repositories.push(Action::Report {
                    what: format!("{} could not be looked at: {}", workspace.root, problem.message),
                }),
            }
        }
        let mut actions = plan(&[], &self.as_they_are_now(runs, which).await?);
        // Of a run that there is more to say of it is not said that it was not looked after.
        let more: Vec<RunId> = actions.iter().filter_map(run_of).collect();
        actions.retain(|action| !matches!(action, Action::Watch { run } if more.contains(run)));
        actions.extend(strangers.into_iter().map(|run| Action::Report {
            what: format!("a holder runs for run {run}, which is not recorded: it is left alone"),
        }));
        actions.extend(of_repositories);
        let mut findings = Vec::new();
        for action in actions {
            let Some((what, repair)) = in_words(&action, &lanes) else { continue };
            let (outcome, message) = match (&repair, fix) {
                (None, _) => (FindingOutcome::Reported, None),
                (Some(_), false) => (FindingOutcome::Would, None),
                (Some(_), true) => match self.repair(action, request).await {
                    Ok(()) => {
                        fault_point!("doctor.repaired");
                        (FindingOutcome::Done, None)
                    }
                    Err(problem) => (FindingOutcome::Failed, Some(problem.message)),
                },
            };
            findings.push(Finding { what, repair, outcome, message });
        }
        if fix {
            self.finish_trash().await;
            let count = |outcomes: &[FindingOutcome]| {
                let of_them = findings.iter().filter(|finding| outcomes.contains(&finding.outcome));
                u32::try_from(of_them.count()).unwrap_or(u32::MAX)
            };
            let done = count(&[FindingOutcome::Done]);
            let reported = count(&[FindingOutcome::Reported, FindingOutcome::Failed]);
            let looked_at = u32::try_from(looked_at).unwrap_or(u32::MAX);
            self.report(Command::RecordReconciled { looked_at, done, reported }, request).await;
        }
        Ok(Comparison { looked_at: looked_at as u64, findings })
    }

    /// What was seen of runs, beside what is recorded of them by now: a run that has ended meanwhile, or is looked
    /// after, went its ordinary way.
    pub(super) async fn as_they_are_now(
        &self,
        runs: Vec<(Run, RunSeen)>,
        which: Which,
    ) -> Result<Vec<(Run, RunSeen)>, Problem> {
        let ids: Vec<RunId> = runs.iter().map(|(run, _)| run.id).collect();
        let recorded = self.read(move |store| store.runs_among(&ids)).await?;
        let as_now = runs.into_iter().filter_map(|(before, seen)| {
            let now = recorded.iter().find(|row| row.run.id == before.id)?.run.clone();
            // What was seen through its holder has made that known, unless it was only glanced at.
            let through_holder = !matches!(which, Which::Glance)
                && matches!(&seen, RunSeen::Alive(_) | RunSeen::Ended { holder_waits: true, .. });
            let is_looked_after =
                || !through_holder && (self.is_starting(now.id) || self.holders.of_run(now.id).is_some());
            let has_ended = before.state.is_live() && !now.state.is_live();
            (!has_ended && !is_looked_after()).then_some((now, seen))
        });
        Ok(as_now.collect())
    }

    async fn repair(&self, action: Action, request: Request) -> Result<(), Problem> {
        let repairing = async {
            let Action::UndoLeft { lane } = action else {
                self.take_alone(action, request).await;
                return Ok(());
            };
            match self.undo(lane).await?.as_slice() {
                [] => Ok(()),
                left => Err(Problem::new(ErrorKind::Failed, "left", left.join("; "))),
            }
        };
        tokio::time::timeout(REPAIR_LIMIT, repairing).await.unwrap_or_else(|_| {
            let message = format!("it was not done within {} s", REPAIR_LIMIT.as_secs());
            Err(Problem::new(ErrorKind::TimedOut, "timed_out", message))
        })
    }

    async fn recorded_pool(&self, workspace: &Workspace) -> Result<Vec<PoolTree>, Problem> {
        let id = workspace.id;
        self.read(move |store| store.pool(id)).await
    }

    async fn traces(&self, workspace: &Workspace, lanes: &[Lane]) -> Result<RepositorySeen, Problem> {
        let repository = self.repository(workspace).await?;
        let mut paths: Vec<_> =
            lanes.iter().filter(|lane| !lane.is_adopted()).map(|lane| lane.path.clone()).collect();
        paths.sort();
        paths.dedup_by(|one, other| one.as_path().parent() == other.as_path().parent());
        // Few: creations that failed. Their branches are looked at one by one.
        let failed: Vec<(LaneId, String, String)> = lanes
            .iter()
            .filter(|lane| may_have_left_something(lane))
            .filter_map(|lane| Some((lane.id, lane.name.to_string(), lane.own_branch()?.to_owned())))
            .collect();
        let traces = blocking(move || {
            let paths: Vec<&Path> = paths.iter().map(OsText::as_path).collect();
            let traces = repository.traces(&paths)?;
            let mut left = Vec::new();
            for (id, name, branch) in failed {
                if traces.branches.contains(&branch)
                    && repository.is_as_made(&branch, &name, &id.to_string())?
                {
                    left.push(id);
                }
            }
            Ok::<_, RunError>((traces, left))
        });
        let (Traces { trees, pool, branches: _, trash, pool_trash, rescues, locks }, left_branches) =
            traces.await?.map_err(crate::problem::IntoProblem::into_problem)?;
        let trees = trees.into_iter().map(|tree| TreeSeen {
            path: tree.path.into(),
            lane: tree.lane,
            is_there: tree.is_there,
        });
        let pool = pool.into_iter().map(|tree| PoolTreeSeen {
            path: tree.path.into(),
            id: tree.id,
            is_there: tree.is_there,
        });
        Ok(RepositorySeen {
            trees: trees.collect(),
            pool: pool.collect(),
            left_branches,
            trash: trash.into_iter().map(Into::into).collect(),
            pool_trash: pool_trash.into_iter().map(|(id, path)| (id, path.into())).collect(),
            rescues,
            locks: locks.into_iter().map(Into::into).collect(),
        })
    }
}

/// The run that there is something to do about.
const fn run_of(action: &Action) -> Option<RunId> {
    match action {
        Action::RecordStarted { run, .. }
        | Action::RecordExit { run, .. }
        | Action::ContinueStop { run }
        | Action::ReleaseHolder { run } => Some(*run),
        Action::Watch { .. }
        | Action::Report { .. }
        | Action::UndoLeft { .. }
        | Action::GiveUpNew { .. }
        | Action::UndoProvisioning { .. }
        | Action::ContinueRestoring { .. }
        | Action::ContinueClosing { .. }
        | Action::InterruptSetup { .. }
        | Action::CloseRemembered { .. } => None,
    }
}

/// What was found, and what can be done about it without asking; none if nothing is to be said.
fn in_words(action: &Action, lanes: &[Lane]) -> Option<(String, Option<String>)> {
    let repair = |what: String, repair: &str| Some((what, Some(repair.to_owned())));
    match action {
        Action::Watch { run } => repair(
            format!("run {run} is alive, and this daemon has no connection to its holder"),
            "look after it",
        ),
        Action::Report { what } => Some((what.clone(), None)),
        Action::UndoLeft { lane } => {
            let name = lanes.iter().find(|known| known.id == *lane).map(|lane| lane.name.to_string());
            let name = name.unwrap_or_else(|| lane.to_string());
            repair(
                format!("lane {name} could not be made, and something of it is left"),
                "take back what is as the creation made it",
            )
        }
        Action::RecordStarted { run, process } => {
            repair(format!("run {run} runs as process {} and is not recorded so", process.pid), "record it")
        }
        Action::RecordExit { run, exit, .. } => {
            repair(format!("run {run} is over ({exit}) and is not recorded so"), "record it")
        }
        Action::ContinueStop { run } => {
            repair(format!("run {run} was to be ended, and is alive"), "go on ending it")
        }
        Action::ReleaseHolder { run } => {
            repair(format!("the holder of run {run} waits, though its end is recorded"), "let it go")
        }
        // What a living daemon has under way.
        Action::GiveUpNew { .. }
        | Action::UndoProvisioning { .. }
        | Action::ContinueRestoring { .. }
        | Action::ContinueClosing { .. }
        | Action::InterruptSetup { .. }
        | Action::CloseRemembered { .. } => None,
    }
}
