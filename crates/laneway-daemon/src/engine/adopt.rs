//! Lanes that were not made by us, and lanes and workers that get another name.

use std::path::PathBuf;
use std::sync::Arc;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{Renamed, RenamedWhat};
use laneway_core::command::{Command, NewLane};
use laneway_core::event::Event;
use laneway_core::id::LaneId;
use laneway_core::lane::{Lane, LaneTree};
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use laneway_core::refusal::Refusal;
use laneway_core::target::{Use, Wanted};
use laneway_git::{Label, label};

use super::create::{Naming, open_name};
use super::workspaces::owners_settings;
use super::{Engine, Request, blocking};
use crate::http::Caller;
use crate::problem::{IntoProblem, chain};
use crate::targets::{Whole, whole};

/// What a worktree is called that has no branch and no folder name to be called after.
const NAMELESS: &str = "adopted";

impl Engine {
    /// Takes in a worktree that somebody made. Nothing is done to it.
    pub(crate) async fn adopt(
        &self,
        cwd: &OsText,
        path: &OsText,
        name: Option<&str>,
        request: Request,
    ) -> Result<LaneId, Problem> {
        let workspace = self.workspace(cwd, request).await?;
        let repository = self.repository(&workspace).await?;
        let config = owners_settings(&repository).await?.config;
        let open = self.open_lanes(&workspace).await?;
        let name = name.map(|name| open_name(name, &open)).transpose()?;
        let asked = cwd.as_path().join(path.as_path());
        // Before git is asked: git's entry of a lane of ours is locked, which would be the lesser reason.
        if let Ok(settled) = asked.canonicalize()
            && let Some(lane) = open.iter().find(|lane| lane.path.as_path() == settled)
        {
            return Err(Refusal::PathInUse { lane: lane.name.clone() }.into_problem());
        }
        let found = {
            let repository = Arc::clone(&repository);
            blocking(move || repository.adoptable(&asked)).await?.map_err(IntoProblem::into_problem)?
        };
        let name = name.unwrap_or_else(|| {
            let folder = found.path.file_name().map(|name| OsText::from(name).shown());
            let made = folder.as_deref().and_then(Name::from_free_text);
            let made = made.unwrap_or_else(|| NAMELESS.parse().expect("it is a name"));
            Naming { config: &config, root: repository.root(), open: &open }.first_free(&made)
        });
        let lane = NewLane {
            restored_from: None,
            id: LaneId::from_ulid(self.ids.next()),
            host: self.store.host(),
            workspace: workspace.id,
            name,
            tree: LaneTree::Adopted { branch: found.branch },
            base_ref: found.base.base_ref,
            base_commit: found.base.commit.as_str().to_owned(),
            path: found.path.as_path().into(),
        };
        let id = lane.id;
        self.submit(Command::CreateLane { lane, max_lanes: config.max_lanes }, request).await?;
        Ok(id)
    }

    /// Gives a lane or a worker another name. The name of a lane means the lane, also where a worker has it.
    pub(crate) async fn rename(&self, caller: &Caller, target: &str, to: Name) -> Result<Renamed, Problem> {
        let meant = match self.target(caller, target, Wanted::Lane, Use::Acting).await {
            Err(problem) if problem.kind == ErrorKind::NotFound => {
                self.target(caller, target, Wanted::Either, Use::Acting).await?
            }
            meant => meant?,
        };
        let meant = whole(meant.target, target)?;
        let (renamed, command) = match meant {
            Whole::Lane(lane) => (RenamedWhat::Lane, Command::RenameLane { lane, to: to.clone() }),
            Whole::Worker(worker) => (RenamedWhat::Worker, Command::RenameWorker { worker, to: to.clone() }),
        };
        let committed = self.submit(command, caller.request).await?;
        // The first event is about what was asked for; none says that it was called so before.
        let from = committed.events.first().and_then(|event| match &event.event {
            Event::LaneRenamed { from, .. } | Event::WorkerRenamed { from, .. } => Some(from.clone()),
            _ => None,
        });
        let (lane, worker) = match meant {
            Whole::Lane(lane) => match committed.events.iter().find_map(|event| event.subject.worker) {
                Some(along) => (lane, Some(self.worker_by_id(along).await?)),
                None => (lane, None),
            },
            Whole::Worker(worker) => {
                let worker = self.worker_by_id(worker).await?;
                (worker.lane_id, Some(worker))
            }
        };
        if let Some(worker) = &worker
            && let Some(name) = &worker.name
        {
            self.rename_window_of(worker.id, name).await;
        }
        let from = from.unwrap_or_else(|| to.clone());
        Ok(Renamed { renamed, from, to, lane: self.lane_by_id(lane).await?, worker })
    }

    /// The effect: git's entry of the lane's worktree names the lane as it is called now.
    pub(super) async fn label_tree(&self, id: LaneId) {
        let lane = self.read(move |store| store.lane(id)).await.ok().flatten();
        let Some(lane) = lane else { return };
        let workspace = self.read(move |store| store.workspace(lane.workspace)).await.ok().flatten();
        if let Some(workspace) = workspace {
            self.label(workspace.common_dir.to_path_buf(), vec![label_of(&lane)]).await;
        }
    }

    /// At a start: what a rename before a crash had no time for.
    pub(super) async fn label_all_trees(&self) {
        let Ok(workspaces) = self.read(laneway_store::Store::workspaces).await else { return };
        let Ok(open) = self.read(|store| store.lanes(None, false)).await else { return };
        for workspace in workspaces {
            let lanes = open.iter().filter(|lane| lane.workspace == workspace.id && !lane.is_adopted());
            let lanes: Vec<Label> = lanes.map(label_of).collect();
            if !lanes.is_empty() {
                self.label(workspace.common_dir.to_path_buf(), lanes).await;
            }
        }
    }

    async fn label(&self, common_dir: PathBuf, lanes: Vec<Label>) {
        let limit = self.git.limits().lock;
        let labelled = blocking(move || label(&common_dir, &lanes, limit)).await;
        // It is only what git shows to people.
        match labelled {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "worktrees were not labelled"),
            Err(problem) => tracing::warn!(problem = problem.message, "worktrees were not labelled"),
        }
    }
}

fn label_of(lane: &Lane) -> Label {
    Label { path: lane.path.to_path_buf(), lane: lane.name.to_string(), id: lane.id.to_string() }
}
