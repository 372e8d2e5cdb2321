//! What closed lanes leave behind: taken away with work in them, listed, brought back, and in the end let go.
//!
//! Nothing of it is recorded but in events: what is there is looked at, in the trash beside the lanes and under
//! `refs/laneway/rescue`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::view::{NotPruned, RescueView, Rescues};
use laneway_core::command::{Command, NewLane, Provisioned, Removed, RescueNote};
use laneway_core::event::Event;
use laneway_core::id::LaneId;
use laneway_core::lane::{Lane, LaneBranch, LaneTree, Lifecycle};
use laneway_core::name::Name;
use laneway_core::setup::SetupStart;
use laneway_core::time::Timestamp;
use laneway_core::workspace::Workspace;
use laneway_fault::fault_point;
use laneway_git::{
    BranchFacts, CommitId, RemoveError, Repository, Rescue, RescueRef, RescueRefs, Rescued, RestoreError,
    RestoredFrom, Trashed, TreeRecord, TreeToRescue,
};

use super::create::{Naming, made_in_vain, open_name};
use super::{Engine, Request, blocking, not_found};
use crate::clock::now;
use crate::config::workspace::{WorkspaceConfig, WorkspaceFile};
use crate::problem::{IntoProblem, chain};

/// When a repository that could not be looked at is looked at again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_hours(24);

/// How long the refs of a rescue stay.
const IN_REFS: Duration = Duration::from_hours(30 * 24);

/// What is due is let go only if it was due this long before as well, by a clock that nobody sets: a wall clock that
/// was far ahead for a moment deletes nothing.
const DUE_FOR: Duration = Duration::from_hours(1);

/// How long a client waits for a restore.
const RESTORE_LIMIT: Duration = Duration::from_mins(30);

/// A closed lane of which something is kept.
struct Kept {
    lane: Lane,
    trashed: Option<Trashed>,
    refs: RescueRefs,
    back: Back,
}

/// Whether a lane that is not closed brings it back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    No,
    UnderWay,
    Yes,
}

impl Kept {
    /// For people. Goes through all of the tree for its size.
    fn view(&self) -> RescueView {
        RescueView {
            lane: self.lane.id,
            name: self.lane.name.clone(),
            branch: self.lane.branch().map(str::to_owned),
            path: self.lane.path.clone(),
            closed_at: self.lane.closed_at.unwrap_or(self.lane.created_at).into(),
            in_trash: self.has_tree(),
            bytes: self.trashed.as_ref().map_or(0, |trashed| bytes_in(trashed.folder())),
            refs: self
                .refs
                .iter()
                .map(|(which, commit)| (which.as_str().to_owned(), commit.to_string()))
                .collect(),
        }
    }

    /// The tree is in the trash, not only what git knew of it.
    fn has_tree(&self) -> bool {
        self.trashed.as_ref().is_some_and(|trashed| trashed.tree().symlink_metadata().is_ok())
    }

    /// There is something to bring back, not only commits that a reflog had named.
    fn can_be_restored(&self) -> bool {
        let content = [RescueRef::Head, RescueRef::Branch, RescueRef::Work, RescueRef::Index];
        self.has_tree() || content.iter().any(|which| self.refs.contains_key(which))
    }

    fn age(&self, now: Timestamp) -> Duration {
        let closed_at = self.lane.closed_at.unwrap_or(now);
        Duration::from_micros(u64::try_from(now.0.saturating_sub(closed_at.0)).unwrap_or(0))
    }
}

impl Engine {
    /// The effect: takes worktree and branch away with what is in them, and keeps all of it.
    pub(super) async fn rescue_lane(&self, id: LaneId, epoch: u64, request: Request) {
        let outcome = match self.rescue(id).await {
            Ok(None) => Removed::LeftBehind,
            Ok(Some(rescued)) => {
                self.branch_was(id, &rescued.branch);
                let note = RescueNote {
                    in_trash: rescued.trashed.is_some(),
                    n_refs: u32::try_from(rescued.refs.len()).unwrap_or(u32::MAX),
                    n_only_in_trash: u32::try_from(rescued.only_in_trash.len()).unwrap_or(u32::MAX),
                };
                drop_disposable(rescued);
                Removed::Gone { rescue: Some(note) }
            }
            Err(problem) => Removed::Failed { failure: problem.message },
        };
        self.finish_closing(id, epoch, outcome, request).await;
    }

    /// None: the repository is not there.
    async fn rescue(&self, id: LaneId) -> Result<Option<Rescued>, Problem> {
        let lane = self.lane(id).await?;
        if self.repository_is_gone(id).await?.is_some() {
            return Ok(None);
        }
        let repository = self.ruled_repository_of_lane(id).await?;
        let rescued = blocking(move || {
            let path = lane.path.to_path_buf();
            repository.rescue(&TreeToRescue {
                path: &path,
                recorded_branch: lane.branch().unwrap_or_default(),
                delete_branch: lane.own_branch().is_some() && !lane.close_terms.keep_branch,
                id: &lane.id.to_string(),
            })
        })
        .await?;
        rescued
            .map(Some)
            .map_err(|error: RemoveError| Problem::new(ErrorKind::Failed, "not_rescued", chain(&error)))
    }

    /// What was kept of a lane that a removal found gone: it had been rescued before a crash.
    pub(super) async fn kept_before(&self, id: LaneId) -> Option<RescueNote> {
        let lane = self.lane(id).await.ok()?;
        let repository = self.repository_of_lane(id).await.ok()?;
        let kept = blocking(move || look(&repository, lane)).await.ok()?.ok()??;
        kept.can_be_restored().then(|| RescueNote {
            in_trash: kept.has_tree(),
            n_refs: u32::try_from(kept.refs.len()).unwrap_or(u32::MAX),
            n_only_in_trash: 0,
        })
    }

    async fn lane(&self, id: LaneId) -> Result<Lane, Problem> {
        self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))
    }

    /// Everything that is kept of closed lanes of a repository, for people: the latest first, not those that are back.
    pub(crate) async fn rescue_views(&self, workspace: &Workspace) -> Result<Vec<RescueView>, Problem> {
        let kept = self.rescues(workspace).await?;
        blocking(move || kept.iter().map(Kept::view).collect()).await
    }

    async fn rescues(&self, workspace: &Workspace) -> Result<Vec<Kept>, Problem> {
        let mut kept = self.all_kept(workspace).await?;
        kept.retain(|kept| kept.back == Back::No);
        Ok(kept)
    }

    async fn all_kept(&self, workspace: &Workspace) -> Result<Vec<Kept>, Problem> {
        let id = workspace.id;
        let lanes = self.read(move |store| store.lanes(Some(id), true)).await?;
        let repository = self.repository(workspace).await?;
        let mut kept = blocking(move || {
            let refs = repository.rescues().map_err(IntoProblem::into_problem)?;
            let (closed, open): (Vec<_>, Vec<_>) =
                lanes.into_iter().partition(|lane| lane.lifecycle == Lifecycle::Closed);
            let kept = closed.into_iter().filter_map(|lane| {
                let by = open.iter().find(|open| open.restored_from == Some(lane.id));
                let back = match by.map(|by| by.lifecycle) {
                    None => Back::No,
                    Some(Lifecycle::New | Lifecycle::Provisioning) => Back::UnderWay,
                    Some(_) => Back::Yes,
                };
                Some(Kept { back, ..kept_of(lane, &refs)? })
            });
            Ok::<_, Problem>(kept.collect::<Vec<_>>())
        })
        .await??;
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.lane.closed_at));
        Ok(kept)
    }

    /// Brings a closed lane back as a new one.
    pub(crate) async fn restore(
        &self,
        workspace: &Workspace,
        target: &str,
        name: Option<&str>,
        request: Request,
    ) -> Result<(LaneId, Option<String>), Problem> {
        let old = self.one_to_restore(workspace, target).await?;
        let open = self.open_lanes(workspace).await?;
        let (repository, file) = self.ruled_repository(workspace).await?;
        let is_trusted = self.is_trusted(workspace, &file).await?;
        let config = file.config;
        let config_is_elsewhere = config.worktree.is_elsewhere(repository.root());
        let max_lanes = config.max_lanes;
        let name = match name {
            Some(name) => open_name(name, &open)?,
            None => Naming { config: &config, root: repository.root(), open: &open }.first_free(&old.name),
        };
        let id = LaneId::from_ulid(self.ids.next());
        let record = {
            let (old, name) = (old.clone(), name.clone());
            blocking(move || preflight(&repository, &config, &old, (&name, id))).await??
        };
        if record.path != old.path.as_path() && config_is_elsewhere && !is_trusted {
            return Err(super::settings::not_trusted("the place of its worktree"));
        }
        let was_ours = old.own_branch().is_some() || old.branch() != Some(&record.branch);
        let lane = NewLane {
            id,
            host: self.store.host(),
            workspace: workspace.id,
            name,
            tree: LaneTree::Ours { branch: LaneBranch { name: record.branch.clone(), ours: was_ours } },
            base_ref: old.base_ref.clone(),
            base_commit: old.base_commit.clone(),
            path: record.path.as_path().into(),
            restored_from: Some(old.id),
        };
        self.submit(Command::CreateLane { lane, max_lanes }, request).await?;
        let lane = self.settled(id, RESTORE_LIMIT).await?;
        if lane.lifecycle == Lifecycle::Open {
            return Ok((id, lane.failure));
        }
        let mut problem = made_in_vain(&lane);
        problem.hint.get_or_insert_with(|| format!("lane restore {target} --name OTHER"));
        Err(problem)
    }

    /// The one rescue that a name or an id means.
    async fn one_to_restore(&self, workspace: &Workspace, target: &str) -> Result<Lane, Problem> {
        let kept = self.rescues(workspace).await?;
        let mut found: Vec<&Kept> = kept.iter().filter(|kept| kept.can_be_restored()).collect();
        let all: Vec<String> = found.iter().map(|kept| kept.lane.name.to_string()).collect();
        found.retain(|kept| {
            let id = kept.lane.id.to_string();
            kept.lane.name.as_str() == target || id == target || (target.len() >= 6 && id.ends_with(target))
        });
        // What was back and was closed again means the same work, as it was later.
        let later: Vec<LaneId> = found.iter().filter_map(|kept| kept.lane.restored_from).collect();
        found.retain(|kept| !later.contains(&kept.lane.id));
        match found.as_slice() {
            [one] => Ok(one.lane.clone()),
            [] => {
                let message = match all.as_slice() {
                    [] => format!("nothing is kept of a lane {target:?}, nor of any other"),
                    all => format!("nothing is kept of a lane {target:?}; there is {}", all.join(", ")),
                };
                Err(Problem::new(ErrorKind::NotFound, "not_found", message).hint("lane rescued"))
            }
            several => {
                let ids: Vec<String> = several.iter().map(|kept| kept.lane.id.to_string()).collect();
                let message = format!("{target:?} was the name of several lanes: {}", ids.join(", "));
                Err(Problem::new(ErrorKind::Ambiguous, "ambiguous", message)
                    .hint("lane rescued, then lane restore ID"))
            }
        }
    }

    /// The effect, for a lane that brings a closed one back. Doing it again after a crash goes on.
    pub(super) async fn provision_restored(
        &self,
        id: LaneId,
        epoch: u64,
        from: LaneId,
        request: Request,
    ) -> (Provisioned, Option<RestoredFrom>) {
        let failed = |problem: Problem| (Provisioned::Failed { failure: problem.message }, None);
        let lane = match self.lane(id).await {
            Ok(lane) => lane,
            Err(problem) => return failed(problem),
        };
        if lane.lifecycle == Lifecycle::New
            && let Err(problem) = self.submit(Command::BeginProvisioning { lane: id, epoch }, request).await
        {
            return failed(problem);
        }
        match self.bring_back(&lane, from).await {
            Ok((branch, from)) => {
                let warning = (from == RestoredFrom::Refs).then(|| {
                    "its tree was not in the trash any more: it is what commits could hold".to_owned()
                });
                (Provisioned::Ready { branch, warning, setup: SetupStart::Nothing, first: None }, Some(from))
            }
            Err(problem) => failed(problem),
        }
    }

    async fn bring_back(&self, lane: &Lane, from: LaneId) -> Result<(LaneBranch, RestoredFrom), Problem> {
        let old = self.lane(from).await?;
        let repository = self.repository_of_lane(lane.id).await?;
        let LaneTree::Ours { branch } = lane.tree.clone() else {
            return Err(Problem::new(ErrorKind::Failed, "bad_record", "an adopted worktree is not restored"));
        };
        let (name, path, on) = (lane.name.to_string(), lane.path.to_path_buf(), branch.name.clone());
        let new_id = lane.id.to_string();
        let from = blocking(move || {
            let id = old.id.to_string();
            let was_at = old.path.to_path_buf();
            let rescue = Rescue { id: &id, was_at: &was_at, was_on: old.branch().unwrap_or_default() };
            let refs = repository.rescue_refs(&id).map_err(IntoProblem::into_problem)?;
            let tip = refs.get(&RescueRef::Branch).or_else(|| refs.get(&RescueRef::Head)).cloned();
            let base_commit =
                tip.ok_or_else(|| not_restored(&RestoreError::NothingHeld { id: id.clone() }, &old))?;
            let there = repository.branch(&on).map_err(IntoProblem::into_problem)?;
            let branch_is_new = is_branch_to_make(&on, there.as_ref(), &base_commit, &path)?;
            let record = TreeRecord {
                lane: name,
                id: new_id,
                path,
                branch: on,
                branch_is_new,
                base_commit,
                upstream_remote: None,
            };
            repository.restore(&rescue, &record).map_err(|error| not_restored(&error, &old))
        })
        .await??;
        Ok((branch, from))
    }

    /// Whether a lane that was restored from this one is made.
    async fn is_open(&self, from: LaneId) -> Result<bool, Problem> {
        let lanes = self.read(|store| store.lanes(None, false)).await?;
        Ok(lanes.iter().any(|lane| lane.restored_from == Some(from) && lane.lifecycle == Lifecycle::Open))
    }

    /// All of a tree has come back from the trash: its place there goes, if that is recorded and nothing is left in
    /// it. Its refs stay for as long as any.
    pub(super) async fn leave_trash(&self, from: LaneId) {
        let left = async {
            if !self.is_open(from).await? {
                return Ok(());
            }
            let lane = self.lane(from).await?;
            blocking(move || match Trashed::find(lane.path.as_path(), &lane.id.to_string()) {
                Some(trashed) if trashed.has_been_emptied() => {
                    trashed.unlink().map_err(|error| not_let_go(&error))?;
                    fault_point!("restore.place-left");
                    Ok::<_, Problem>(())
                }
                Some(_) | None => Ok(()),
            })
            .await?
        };
        if let Err(problem) = left.await {
            tracing::warn!(lane = %from, problem = problem.message, "a restored lane's place in the trash stays");
        }
    }

    /// Deletes for good what is kept of closed lanes, those closed longer ago than `older_than`; without `really` it
    /// only says what it would delete. With `only`, nothing but what is kept of these.
    pub(crate) async fn prune(
        &self,
        workspace: &Workspace,
        older_than: Duration,
        only: Option<&[LaneId]>,
        really: bool,
    ) -> Result<Rescues, Problem> {
        let repository = self.repository(workspace).await?;
        let mut old = self.rescues(workspace).await?;
        old.retain(|kept| {
            kept.age(now()) >= older_than && only.is_none_or(|only| only.contains(&kept.lane.id))
        });
        let runs = self.prune_runs(workspace.id, older_than, only, really).await?;
        blocking(move || {
            let mut pruned = Rescues { runs, ..Rescues::default() };
            for kept in old {
                let view = kept.view();
                match if really { let_go(&repository, kept) } else { Ok(()) } {
                    Ok(()) => pruned.rescues.push(view),
                    Err(problem) => pruned.failed.push(NotPruned {
                        lane: view.lane,
                        name: view.name,
                        message: problem.message,
                    }),
                }
            }
            pruned
        })
        .await
    }

    /// Lets go of what was kept long enough, now and whenever something comes due, for as long as the daemon lives.
    pub(crate) async fn keep_only_so_long(self) {
        use tokio::sync::broadcast::error::RecvError;
        let mut events = self.store.subscribe();
        let mut seen_due = SeenDue::default();
        loop {
            let due = match self.let_go_of_the_old(&mut seen_due).await {
                Ok(due) => due,
                Err(problem) => {
                    tracing::warn!(
                        problem = problem.message,
                        "what is kept of closed lanes was not looked at"
                    );
                    Some(LOOK_AGAIN)
                }
            };
            let rescued = async {
                loop {
                    match events.recv().await {
                        Ok(event) if matches!(event.event, Event::LaneRescued { .. }) => return true,
                        Ok(_) => {}
                        // One of them may have been among those.
                        Err(RecvError::Lagged(_)) => return true,
                        Err(RecvError::Closed) => return false,
                    }
                }
            };
            let go_on = match due {
                // The time is over: look again.
                Some(due) => tokio::time::timeout(due, rescued).await.unwrap_or(true),
                None => rescued.await,
            };
            if !go_on {
                return;
            }
        }
    }

    /// Lets go of it; says when the next is due, if anything is kept. What fails in one repository is told, and
    /// looked at again.
    async fn let_go_of_the_old(&self, seen_due: &mut SeenDue) -> Result<Option<Duration>, Problem> {
        let mut next: Option<Duration> = None;
        for workspace in self.read(laneway_store::Store::workspaces).await? {
            let due = match self.let_go_of_the_old_in(&workspace, seen_due).await {
                Ok(due) => due,
                Err(problem) => {
                    let root = workspace.root.shown();
                    tracing::warn!(root, problem = problem.message, "what is kept here was not looked at");
                    Some(LOOK_AGAIN)
                }
            };
            next = next.into_iter().chain(due).min();
        }
        Ok(next)
    }

    async fn let_go_of_the_old_in(
        &self,
        workspace: &Workspace,
        seen_due: &mut SeenDue,
    ) -> Result<Option<Duration>, Problem> {
        let mut next: Option<Duration> = None;
        let (repository, WorkspaceFile { config, .. }) = self.ruled_repository(workspace).await?;
        // Then the tree goes, if commits hold all of it.
        let in_trash = Duration::from_hours(u64::from(config.trash_days) * 24);
        for kept in self.all_kept(workspace).await? {
            let (id, age) = (kept.lane.id, kept.age(now()));
            let limit = if kept.trashed.is_some() { in_trash } else { IN_REFS };
            let wait = match kept.back {
                // It is needed until that is over, one way or the other.
                Back::UnderWay => Some(DUE_FOR),
                Back::No | Back::Yes => seen_due.wait(id, limit.saturating_sub(age), Instant::now()),
            };
            if let Some(wait) = wait {
                next = Some(next.map_or(wait, |next| next.min(wait)));
                continue;
            }
            let repository = Arc::clone(&repository);
            match blocking(move || let_go_of_old(&repository, kept)).await? {
                Ok(true) => next = Some(next.map_or(IN_REFS, |next| next.min(IN_REFS))),
                Ok(false) => {}
                Err(problem) => {
                    tracing::warn!(lane = %id, problem = problem.message, "something kept was not let go");
                }
            }
        }
        Ok(next)
    }
}

/// What was found due at an earlier look, and when that was.
#[derive(Default)]
pub(super) struct SeenDue(HashMap<LaneId, Instant>);

impl SeenDue {
    /// How long to wait before this is let go, of which so much of its time is left by the wall clock. None: now.
    pub(super) fn wait(&mut self, lane: LaneId, left: Duration, now: Instant) -> Option<Duration> {
        if !left.is_zero() {
            self.0.remove(&lane);
            return Some(left);
        }
        let since = *self.0.entry(lane).or_insert(now);
        let wait = DUE_FOR.saturating_sub(now.saturating_duration_since(since));
        if wait.is_zero() {
            // What comes due of it next is seen anew.
            self.0.remove(&lane);
            return None;
        }
        Some(wait)
    }
}

/// The tree goes if commits hold all of it, and the refs when there is no tree; true if something is left that
/// comes due later.
fn let_go_of_old(repository: &Repository, kept: Kept) -> Result<bool, Problem> {
    let id = kept.lane.id.to_string();
    let Some(trashed) = kept.trashed else {
        return repository.forget_rescue(&id).map(|()| false).map_err(|error| not_let_go(&error));
    };
    match repository.not_held(&id, &trashed).map_err(IntoProblem::into_problem)? {
        None => trashed.unlink().map(|()| true).map_err(|error| not_let_go(&error)),
        Some(not_held) => {
            tracing::info!(lane = id, path = %not_held.path.display(), "only the trash has it: it stays there");
            Ok(false)
        }
    }
}

fn let_go(repository: &Repository, kept: Kept) -> Result<(), Problem> {
    if let Some(trashed) = kept.trashed {
        trashed.unlink().map_err(|error| not_let_go(&error))?;
        fault_point!("prune.tree-deleted");
    }
    repository.forget_rescue(&kept.lane.id.to_string()).map_err(|error| not_let_go(&error))?;
    fault_point!("prune.refs-deleted");
    Ok(())
}

/// Whether a restore makes its branch. One that is there is the restore's own, from before a crash, or was free and
/// where it belongs when that was decided; any other is somebody's.
fn is_branch_to_make(
    branch: &str,
    there: Option<&BranchFacts>,
    tip: &CommitId,
    path: &Path,
) -> Result<bool, Problem> {
    let somebodys = |what: String| {
        let message = format!("branch {branch:?} is there by now, {what}; it was left as it is");
        Err(Problem::new(ErrorKind::Failed, "not_restored", message).hint("lane restore NAME --name OTHER"))
    };
    match there {
        None => Ok(true),
        Some(facts) if facts.tip != *tip => somebodys(format!("at commit {} and not {tip}", facts.tip)),
        Some(BranchFacts { checked_out_at: Some(at), .. }) if at != path => {
            somebodys(format!("checked out at {}", at.display()))
        }
        Some(_) => Ok(false),
    }
}

fn look(repository: &Repository, lane: Lane) -> Result<Option<Kept>, Problem> {
    Ok(kept_of(lane, &repository.rescues().map_err(IntoProblem::into_problem)?))
}

fn kept_of(lane: Lane, refs: &BTreeMap<String, RescueRefs>) -> Option<Kept> {
    let id = lane.id.to_string();
    let trashed = Trashed::find(lane.path.as_path(), &id).filter(Trashed::is_kept);
    let refs = refs.get(&id).cloned().unwrap_or_default();
    (trashed.is_some() || !refs.is_empty()).then_some(Kept { lane, trashed, refs, back: Back::No })
}

/// What a folder takes on the disk. What cannot be read is not counted.
pub(super) fn bytes_in(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            bytes += facts.blocks() * 512;
            if facts.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}

fn preflight(
    repository: &Repository,
    config: &WorkspaceConfig,
    old: &Lane,
    (name, new_id): (&Name, LaneId),
) -> Result<TreeRecord, Problem> {
    let id = old.id.to_string();
    let was_at: PathBuf = old.path.to_path_buf();
    let rescue = Rescue { id: &id, was_at: &was_at, was_on: old.branch().unwrap_or_default() };
    let spare = config.branch.branch(name.as_str());
    // The place that it had, unless another lane has that by now.
    let place = if name == &old.name && !was_at.exists() {
        was_at.clone()
    } else {
        config.worktree.place(repository.root(), name.as_str())
    };
    repository
        .preflight_restore(&rescue, (name.as_str(), &new_id.to_string()), &place, &spare)
        .map_err(|error| not_restored(&error, old))
}

/// Deletes what can be made again, while nobody waits for it.
fn drop_disposable(rescued: Rescued) {
    let Some(trashed) = rescued.trashed else { return };
    tokio::task::spawn_blocking(move || {
        if let Err(error) = trashed.drop_disposable(&rescued.disposable) {
            tracing::warn!(error = chain(&error), "what can be made again is still in the trash");
        }
        fault_point!("rescue.disposable-dropped");
    });
}

fn not_restored(error: &RestoreError, old: &Lane) -> Problem {
    let kind = match error {
        RestoreError::NothingHeld { .. } => ErrorKind::NotFound,
        RestoreError::Refused(_) => ErrorKind::Refused,
        _ => ErrorKind::Failed,
    };
    let problem = Problem::new(kind, "not_restored", chain(error));
    let tree = Trashed::find(old.path.as_path(), &old.id.to_string()).map(|trashed| trashed.tree());
    match (error, tree.filter(|tree| tree.symlink_metadata().is_ok())) {
        (RestoreError::NothingHeld { .. }, Some(tree)) => {
            let message = format!("{}; its files are in {}", problem.message, tree.display());
            Problem { message, ..problem }.hint("copy what you need from there")
        }
        _ => problem.hint("lane restore NAME --name OTHER"),
    }
}

fn not_let_go(error: &dyn std::error::Error) -> Problem {
    Problem::new(ErrorKind::Failed, "not_pruned", chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_let_go_only_if_it_was_due_an_hour_before_as_well() {
        let lane = LaneId::from_ulid(ulid::Ulid::nil());
        let start = Instant::now();
        let at = |minutes| start + Duration::from_mins(minutes);
        let (day, none) = (Duration::from_hours(24), Duration::ZERO);
        let mut seen = SeenDue::default();
        assert_eq!(seen.wait(lane, day, at(0)), Some(day));
        assert_eq!(seen.wait(lane, none, at(10)), Some(DUE_FOR));
        assert_eq!(seen.wait(lane, none, at(40)), Some(Duration::from_mins(30)));
        // The clock was wrong, and was put right.
        assert_eq!(seen.wait(lane, day, at(60)), Some(day));
        assert_eq!(seen.wait(lane, none, at(80)), Some(DUE_FOR));
        assert_eq!(seen.wait(lane, none, at(140)), None);
        assert_eq!(
            seen.wait(lane, none, at(150)),
            Some(DUE_FOR),
            "its refs, which come due later, are another"
        );
    }

    #[test]
    fn a_restore_takes_no_branch_that_is_somebodys() {
        let tip: CommitId = "1".repeat(40).parse().unwrap();
        let path = Path::new("/repo/.lanes/a");
        let there = |tip: &CommitId, at: Option<&str>| BranchFacts {
            tip: tip.clone(),
            checked_out_at: at.map(PathBuf::from),
        };
        let made = |there: Option<BranchFacts>| {
            is_branch_to_make("lane/a", there.as_ref(), &tip, path).map_err(|problem| problem.message)
        };
        assert_eq!(made(None), Ok(true));
        assert_eq!(made(Some(there(&tip, None))), Ok(false));
        assert_eq!(made(Some(there(&tip, Some("/repo/.lanes/a")))), Ok(false), "its own, before a crash");
        let moved: CommitId = "2".repeat(40).parse().unwrap();
        for (somebodys, said) in [
            (there(&moved, None), "at commit 2222"),
            (there(&tip, Some("/elsewhere")), "checked out at /elsewhere"),
        ] {
            let said_of_it = made(Some(somebodys)).unwrap_err();
            assert!(said_of_it.contains("lane/a") && said_of_it.contains(said), "{said_of_it}");
        }
    }
}
