//! Repositories: which one a folder is in, and what git knows of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::view::{WorkspaceView, Workspaces};
use laneway_core::command::Command;
use laneway_core::id::{LaneId, WorkspaceId};
use laneway_core::lane::Lane;
use laneway_core::os_text::OsText;
use laneway_core::workspace::Workspace;
use laneway_git::{Location, Repository, discover};
use laneway_store::Store;

use super::{Engine, Request, blocking, briefly};
use crate::clock::now;
use crate::config::workspace::{FILE_NAME, WorkspaceFile};
use crate::problem::IntoProblem;

impl Engine {
    /// The repository that `cwd` is in, if it is known: nothing is changed and git is not asked.
    pub(crate) async fn known_workspace(&self, cwd: &OsText) -> Result<Option<Workspace>, Problem> {
        let located = locate(cwd.as_path());
        // One that is gone may have been in another that is there.
        let around = located.as_ref().ok().and_then(|location| location.worktree_root.clone());
        if let Some(gone) = self.gone_from(cwd.as_path(), around.as_deref()).await? {
            return Ok(Some(gone));
        }
        self.by_common_dir(&located?).await
    }

    /// The recorded repository that `folder` was in, below `around` if anything is, and that is there no more, deleted
    /// or moved: what runs in its lanes can still be seen and stopped.
    async fn gone_from(&self, folder: &Path, around: Option<&Path>) -> Result<Option<Workspace>, Problem> {
        let mut known = self.read(Store::workspaces).await?;
        known.retain(|workspace| {
            let root = workspace.root.as_path();
            let is_nearer = around.is_none_or(|around| root.starts_with(around) && root != around);
            folder.starts_with(root) && is_nearer && is_gone(workspace)
        });
        Ok(known.into_iter().max_by_key(|workspace| workspace.root.as_bytes().len()))
    }

    /// Every repository that is known, and what there is in its lanes.
    pub(crate) async fn workspaces(&self) -> Result<Workspaces, Problem> {
        let read = |store: &Store| Ok((store.workspaces()?, store.lanes(None, false)?, store.live_runs()?));
        let (known, lanes, runs) = self.read(read).await?;
        let views = known.into_iter().map(|workspace| {
            let own = |lane: &&Lane| lane.workspace == workspace.id;
            let is_its = |id: LaneId| lanes.iter().filter(own).any(|lane| lane.id == id);
            WorkspaceView {
                id: workspace.id,
                is_gone: is_gone(&workspace),
                n_lanes: lanes.iter().filter(own).count() as u64,
                n_live_runs: runs.iter().filter(|row| is_its(row.worker.lane)).count() as u64,
                root: workspace.root,
            }
        });
        Ok(Workspaces { workspaces: views.collect() })
    }

    /// The repository that `cwd` is in; known from now on.
    pub(crate) async fn workspace(&self, cwd: &OsText, request: Request) -> Result<Workspace, Problem> {
        let location = locate(cwd.as_path())?;
        if let Some(known) = self.by_common_dir(&location).await? {
            return Ok(known);
        }
        let repository = self.open_at(location.clone()).await?;
        let identity = {
            let repository = Arc::clone(&repository);
            blocking(move || repository.identity()).await?.map_err(IntoProblem::into_problem)?
        };
        let workspace = Workspace {
            id: WorkspaceId::from_ulid(self.ids.next()),
            host: self.store.host(),
            common_dir: location.common_dir.as_path().into(),
            root: repository.root().into(),
            remote_url: identity.remote_url,
            root_commit: identity.root_commit.map(|commit| commit.as_str().to_owned()),
            created_at: now(),
        };
        self.submit(Command::RegisterWorkspace(workspace), request).await?;
        // Two at once register one: the record says which.
        self.by_common_dir(&location).await?.ok_or_else(|| {
            Problem::new(ErrorKind::Failed, "internal", "the repository was recorded and cannot be read back")
        })
    }

    /// Where a lane's repository was, if it is certainly not there any more.
    pub(super) async fn repository_is_gone(&self, lane: LaneId) -> Result<Option<OsText>, Problem> {
        let workspace = self.workspace_of_lane(lane).await?;
        Ok(is_gone(&workspace).then_some(workspace.root))
    }

    async fn by_common_dir(&self, location: &Location) -> Result<Option<Workspace>, Problem> {
        let common_dir = OsText::from(location.common_dir.as_path());
        self.read(move |store| store.workspace_by_common_dir(&common_dir)).await
    }

    /// What git knows of a recorded repository.
    pub(crate) async fn repository(&self, workspace: &Workspace) -> Result<Arc<Repository>, Problem> {
        let known = self.lock_repositories().get(workspace.common_dir.as_path()).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        self.open_at(locate(workspace.common_dir.as_path())?).await
    }

    /// The same under what its owner has set: for whatever makes lanes or takes them away.
    pub(crate) async fn ruled_repository(
        &self,
        workspace: &Workspace,
    ) -> Result<(Arc<Repository>, WorkspaceFile), Problem> {
        let repository = self.repository(workspace).await?;
        let file = owners_settings(&repository).await?;
        let is_trusted = self.is_trusted(workspace, &file).await?;
        self.wants_pool_of(workspace.id, file.config.pool);
        Ok((Arc::new(repository.with_rules(file.config.rules(is_trusted))), file))
    }

    async fn open_at(&self, location: Location) -> Result<Arc<Repository>, Problem> {
        let git = self.git.clone();
        let common_dir = location.common_dir.clone();
        let opened =
            blocking(move || Repository::open(&git, &location)).await?.map_err(IntoProblem::into_problem)?;
        let repository = Arc::new(opened);
        self.lock_repositories().insert(common_dir, Arc::clone(&repository));
        Ok(repository)
    }

    fn lock_repositories(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::HashMap<PathBuf, Arc<Repository>>> {
        self.repositories.lock().expect("no holder of this lock panics")
    }
}

/// What a repository's owner has set, as it is now. A bare one has no worktree that a file could be in: it is in the
/// folder beside it, or if there is none there in the commit of its HEAD.
pub(super) async fn owners_settings(repository: &Arc<Repository>) -> Result<WorkspaceFile, Problem> {
    if !repository.is_bare() {
        return briefly(|| WorkspaceFile::read(repository.root())).map_err(|error| error.problem());
    }
    let repository = Arc::clone(repository);
    blocking(move || {
        if let Some(beside) = WorkspaceFile::find(repository.root()).map_err(|error| error.problem())? {
            return Ok(beside);
        }
        let committed = repository.file_of_head(FILE_NAME).map_err(IntoProblem::into_problem)?;
        let path = repository.common_dir().join(format!("HEAD:{FILE_NAME}"));
        let text = String::from_utf8(committed.unwrap_or_default()).map_err(|error| {
            let message = format!("{} is no text: {error}", path.display());
            Problem::new(ErrorKind::Usage, "config_invalid", message).hint("correct it in a commit")
        })?;
        WorkspaceFile::of_text(path, &text).map_err(|error| error.problem())
    })
    .await?
}

/// Whether a recorded repository is certainly not where it was.
fn is_gone(workspace: &Workspace) -> bool {
    let there = briefly(|| workspace.common_dir.as_path().symlink_metadata());
    there.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn locate(path: &Path) -> Result<Location, Problem> {
    if path == Path::new("") {
        return Err(Problem::new(
            ErrorKind::Usage,
            "no_folder",
            "the request does not say where it comes from",
        ));
    }
    briefly(|| discover(path)).map_err(IntoProblem::into_problem)
}
