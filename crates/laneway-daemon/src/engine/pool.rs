//! The warm pool: trees that are kept ready for lanes to come (`pool = N` in the repository's `laneway.toml`).
//!
//! One task tends the pools of all repositories, one thing at a time and at the lowest priority: when the daemon begins,
//! and when lanes or the pool itself have changed and nothing has for a while. What it does is what
//! [`laneway_core::pool::plan`] says from the record, so that what a crash has cut off is removed or goes on. A lane
//! that is made takes a tree by a recorded step that only one of two can take.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use laneway_api::error::Problem;
use laneway_core::command::Command;
use laneway_core::event::{Event, Recorded};
use laneway_core::id::{LaneId, PoolTreeId, WorkspaceId};
use laneway_core::lane::Lifecycle;
use laneway_core::pool::{PoolAction, PoolState, PoolStep, PoolTree, Wanted, plan};
use laneway_core::workspace::Workspace;
use laneway_git::{
    ClaimError, CreateError, Created, PoolError, PooledTree, Repository, TreeRecord, TreeStamp,
};
use laneway_store::Store;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::{Engine, Request, blocking};
use crate::clock::now;
use crate::problem::chain;

/// How long nothing has happened to lanes before the pool is tended: who makes several has the machine to himself.
const QUIET: Duration = Duration::from_millis(500);

/// From the last file of a checkout to the settling of its index: git compares times down to the second.
const SETTLE: Duration = Duration::from_millis(1_100);

/// From the settling to the look at how the tree is: the clock that files have their times from has gone on by then.
const TICKS: Duration = Duration::from_millis(100);

/// What the engine knows of pools beside the record.
#[derive(Default)]
pub(super) struct Pools {
    /// How trees looked when they were found as they were made.
    stamps: HashMap<PoolTreeId, TreeStamp>,
    /// How many trees were wanted when a repository's settings were read last.
    wanted: HashMap<WorkspaceId, usize>,
    /// Those in which that is another number since.
    changed: HashSet<WorkspaceId>,
    /// There is one more of them.
    has_changed: Arc<Notify>,
}

/// Why a repository's pool is not filled, for the task that tends it.
enum GivenUp {
    /// Until something happens to its lanes.
    ForNow,
    /// As long as it starts from this commit.
    At(String),
}

impl Engine {
    /// Gives the new lane a tree of the pool, if there is one for it. None: its tree is to be made.
    pub(super) async fn claim_from_pool(
        &self,
        lane: LaneId,
        repository: &Arc<Repository>,
        record: &TreeRecord,
        request: Request,
    ) -> Option<Result<Created, CreateError>> {
        if !record.branch_is_new || record.upstream_remote.is_some() {
            return None;
        }
        let pool = self
            .read(move |store| match store.lane(lane)? {
                Some(lane) => store.pool(lane.workspace),
                None => Ok(vec![]),
            })
            .await
            .ok()?;
        let fits =
            |tree: &&PoolTree| tree.state == PoolState::Ready && tree.commit == record.base_commit.as_str();
        for tree in pool.iter().filter(fits) {
            let Some(stamp) = self.lock_pools().stamps.remove(&tree.id) else { continue };
            let claim = Command::StepPoolTree { tree: tree.id, step: PoolStep::Claim { lane } };
            // Somebody else may have had it a moment before.
            if self.submit(claim, request).await.is_err() {
                continue;
            }
            let claimed = {
                let (repository, record, tree) = (Arc::clone(repository), record.clone(), pooled(tree)?);
                blocking(move || repository.claim(&record, &tree, &stamp)).await
            };
            let (step, made) = match claimed {
                Ok(Ok(created)) => (PoolStep::Gone, Some(Ok(created))),
                Ok(Err(ClaimError::Create(error))) => (PoolStep::Drop, Some(Err(error))),
                Ok(Err(error)) => {
                    tracing::info!(tree = %tree.id, error = chain(&error), "the lane's tree is made");
                    (PoolStep::Drop, None)
                }
                Err(_) => (PoolStep::Drop, None),
            };
            self.report(Command::StepPoolTree { tree: tree.id, step }, request).await;
            return made;
        }
        None
    }

    /// Tends the pools of all repositories for as long as this process lives.
    pub(crate) async fn tend_pools(self) {
        let mut events = self.store.subscribe();
        let mut given_up: HashMap<WorkspaceId, GivenUp> = HashMap::new();
        let all = || async { self.read(Store::workspaces).await.unwrap_or_default() };
        let mut due: HashSet<WorkspaceId> = all().await.into_iter().map(|workspace| workspace.id).collect();
        let mut quiet_at = Instant::now() + QUIET;
        let has_changed = Arc::clone(&self.lock_pools().has_changed);
        loop {
            let next = async {
                if due.is_empty() {
                    Ok(events.recv().await)
                } else {
                    timeout_at(quiet_at, events.recv()).await
                }
            };
            let next = tokio::select! {
                next = next => next,
                () = has_changed.notified() => {
                    due.extend(self.lock_pools().changed.drain());
                    continue;
                }
            };
            match next {
                Ok(Ok(event)) => {
                    let Some(workspace) = event.subject.workspace.filter(|_| concerns_pool(&event)) else {
                        continue;
                    };
                    if matches!(event.event, Event::LaneStateChanged { .. })
                        && matches!(given_up.get(&workspace), Some(GivenUp::ForNow))
                    {
                        given_up.remove(&workspace);
                    }
                    due.insert(workspace);
                    quiet_at = Instant::now() + QUIET;
                }
                Ok(Err(RecvError::Lagged(_))) => {
                    due.extend(all().await.into_iter().map(|workspace| workspace.id));
                }
                Ok(Err(RecvError::Closed)) => return,
                Err(_) => {
                    for workspace in std::mem::take(&mut due) {
                        match self.tend_pool(workspace, &mut given_up).await {
                            Ok(Tended::Done) => {}
                            Ok(Tended::Again) => drop(due.insert(workspace)),
                            // The next daemon goes on with it.
                            Err(_) if self.ending.is_cancelled() => return,
                            Err(problem) => {
                                tracing::warn!(%workspace, problem = problem.message, "a pool was not tended");
                            }
                        }
                    }
                }
            }
        }
    }

    /// The settings of a repository were just read: if they want another number of trees than before, that is seen to.
    pub(super) fn wants_pool_of(&self, workspace: WorkspaceId, n_trees: usize) {
        let mut pools = self.lock_pools();
        if pools.wanted.insert(workspace, n_trees).is_some_and(|before| before != n_trees) {
            pools.changed.insert(workspace);
            pools.has_changed.notify_one();
        }
    }

    /// Does what the plan says. What follows from a step is due by the event of it.
    async fn tend_pool(
        &self,
        id: WorkspaceId,
        given_up: &mut HashMap<WorkspaceId, GivenUp>,
    ) -> Result<Tended, Problem> {
        let (workspace, trees, lanes) = self
            .read(move |store| Ok((store.workspace(id)?, store.pool(id)?, store.lanes(Some(id), false)?)))
            .await?;
        let Some(workspace) = workspace.filter(|workspace| workspace.root.as_path().is_dir()) else {
            return Ok(Tended::Done);
        };
        let Pool { repository, folder, n_trees } = self.pool_of(&workspace).await?;
        if n_trees == 0 && trees.is_empty() {
            return Ok(Tended::Done);
        }
        let is_being_made = |lifecycle| matches!(lifecycle, Lifecycle::New | Lifecycle::Provisioning);
        let being_made: Vec<LaneId> =
            lanes.iter().filter(|lane| is_being_made(lane.lifecycle)).map(|lane| lane.id).collect();
        if !being_made.is_empty() {
            // The end of it is an event.
            return Ok(Tended::Done);
        }
        let base = {
            let repository = Arc::clone(&repository);
            blocking(move || repository.resolve_base(repository.root(), None, &[])).await?.ok()
        };
        let commit = base.as_ref().map(|base| base.commit.as_str());
        let looked_at: Vec<PoolTreeId> = self.lock_pools().stamps.keys().copied().collect();
        let wanted = Wanted { n_trees, commit, looked_at: &looked_at, being_made: &being_made };
        let mut tended = Tended::Done;
        for action in plan(&trees, wanted) {
            let tree = |id: PoolTreeId| trees.iter().find(|tree| tree.id == id).cloned();
            match action {
                PoolAction::Drop(id) => self.step_pool_tree(id, PoolStep::Drop).await,
                PoolAction::Remove(id) => self.remove_pool_tree(&repository, tree(id)).await,
                PoolAction::Look(id) => {
                    match self.look_at_pool_tree(&repository, tree(id)).await? {
                        // That it is as it should be is no event.
                        Ok(()) => tended = Tended::Again,
                        Err(error) => {
                            tracing::info!(tree = %id, error = chain(&error), "a tree of the pool is not used");
                            self.step_pool_tree(id, PoolStep::Drop).await;
                        }
                    }
                }
                PoolAction::Make => {
                    let Some(base) = &base else { continue };
                    let commit = base.commit.as_str();
                    match given_up.get(&id) {
                        Some(GivenUp::ForNow) => continue,
                        Some(GivenUp::At(at)) if at == commit => continue,
                        Some(GivenUp::At(_)) | None => {}
                    }
                    let tree = PoolTree {
                        id: PoolTreeId::from_ulid(self.ids.next()),
                        workspace: id,
                        path: PathBuf::new().into(),
                        commit: commit.to_owned(),
                        state: PoolState::Making,
                        created_at: now(),
                    };
                    let tree = PoolTree { path: folder.join(tree.id.to_string()).into(), ..tree };
                    if let Err(error) = self.make_pool_tree(&repository, tree, n_trees).await? {
                        tracing::warn!(workspace = %id, error = chain(&error), "the pool is not filled");
                        let given = match error {
                            PoolError::Submodules | PoolError::NoStamp { .. } => {
                                GivenUp::At(commit.to_owned())
                            }
                            _ => GivenUp::ForNow,
                        };
                        given_up.insert(id, given);
                    }
                }
            }
        }
        Ok(tended)
    }

    async fn pool_of(&self, workspace: &Workspace) -> Result<Pool, Problem> {
        let (repository, file) = self.ruled_repository(workspace).await?;
        let is_trusted = self.is_trusted(workspace, &file).await?;
        let config = file.config;
        let place = config.worktree.place(repository.root(), "lane");
        let folder = PooledTree::folder(place.parent().unwrap_or_else(|| Path::new("/")));
        // A place that nobody has agreed to has no trees.
        let may_be_there = is_trusted || !config.worktree.is_elsewhere(repository.root());
        Ok(Pool { n_trees: if may_be_there { config.pool } else { 0 }, repository, folder })
    }

    async fn make_pool_tree(
        &self,
        repository: &Arc<Repository>,
        tree: PoolTree,
        at_most: usize,
    ) -> Result<Result<(), PoolError>, Problem> {
        let id = tree.id;
        self.submit(Command::AddPoolTree { tree: tree.clone(), at_most }, self.own_request()).await?;
        let making = async {
            let Some(tree) = pooled(&tree) else { return Ok(None) };
            let on = |work: fn(&Repository, &PooledTree) -> Result<(), PoolError>| {
                let (repository, tree) = (Arc::clone(repository), tree.clone());
                blocking(move || work(&repository, &tree))
            };
            if let Err(error) = on(Repository::make_pooled).await? {
                return Ok(Some(error));
            }
            pass(SETTLE).await;
            if let Err(error) = on(Repository::settle_pooled).await? {
                return Ok(Some(error));
            }
            pass(TICKS).await;
            let (repository, tree) = (Arc::clone(repository), tree);
            Ok::<_, Problem>(match blocking(move || repository.look_at_pooled(&tree)).await? {
                Ok(stamp) => {
                    self.lock_pools().stamps.insert(id, stamp);
                    None
                }
                Err(error) => Some(error),
            })
        };
        let made = making.await;
        let step = if matches!(made, Ok(None)) { PoolStep::Made } else { PoolStep::Drop };
        self.step_pool_tree(id, step).await;
        made.map(|error| error.map_or(Ok(()), Err))
    }

    async fn look_at_pool_tree(
        &self,
        repository: &Arc<Repository>,
        tree: Option<PoolTree>,
    ) -> Result<Result<(), PoolError>, Problem> {
        let Some((id, tree)) = tree.and_then(|tree| Some((tree.id, pooled(&tree)?))) else {
            let (path, what) = (PathBuf::new(), "its record cannot be read".to_owned());
            return Ok(Err(PoolError::NotAsMade { path, what }));
        };
        let repository = Arc::clone(repository);
        let looked = blocking(move || repository.look_at_pooled(&tree)).await?;
        Ok(looked.map(|stamp| drop(self.lock_pools().stamps.insert(id, stamp))))
    }

    async fn remove_pool_tree(&self, repository: &Arc<Repository>, tree: Option<PoolTree>) {
        let Some(tree) = tree else { return };
        let id = tree.id;
        self.lock_pools().stamps.remove(&id);
        let lane = tree.state.lane();
        let Some(tree) = pooled(&tree) else { return };
        let repository = Arc::clone(repository);
        let lane = lane.map(|lane| lane.to_string());
        match blocking(move || repository.remove_pooled(&tree, lane.as_deref())).await {
            Ok(Ok(undone)) => {
                for left in &undone.left {
                    tracing::warn!(tree = %id, left = chain(left), "a tree of the pool stays where it is");
                }
                // What is not as it was made is somebody's work, and no longer ours to remove.
                self.step_pool_tree(id, PoolStep::Gone).await;
            }
            Ok(Err(error)) => tracing::warn!(tree = %id, error = chain(&error), "a tree of the pool stays"),
            Err(problem) => tracing::warn!(tree = %id, problem = problem.message, "a tree of the pool stays"),
        }
    }

    async fn step_pool_tree(&self, tree: PoolTreeId, step: PoolStep) {
        self.report(Command::StepPoolTree { tree, step }, self.own_request()).await;
    }

    fn lock_pools(&self) -> std::sync::MutexGuard<'_, Pools> {
        self.pools.lock().expect("no holder of this lock panics")
    }
}

/// What comes after a plan was carried out.
enum Tended {
    /// Nothing, until something happens.
    Done,
    /// The next plan.
    Again,
}

/// The pool of a repository as its owner wants it.
struct Pool {
    repository: Arc<Repository>,
    folder: PathBuf,
    n_trees: usize,
}

/// A recorded tree in git's words; none if the record cannot be read so.
fn pooled(tree: &PoolTree) -> Option<PooledTree> {
    let commit = tree.commit.parse().ok()?;
    Some(PooledTree { id: tree.id.to_string(), path: tree.path.to_path_buf(), commit })
}

fn concerns_pool(event: &Recorded) -> bool {
    matches!(
        event.event,
        Event::LaneStateChanged { .. } | Event::PoolTreeChanged { .. } | Event::WorkspaceRegistered { .. }
    )
}

#[expect(clippy::disallowed_methods, reason = "nothing tells that a clock has gone on")]
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
