//! What a request names, resolved over what is recorded of the caller's repository.

use laneway_api::error::Problem;
use laneway_core::id::{LaneId, WorkerId};
use laneway_core::os_text::OsText;
use laneway_core::target::{Snapshot, Target, Wanted, resolve};

use crate::engine::Engine;
use crate::problem::IntoProblem;

impl Engine {
    /// What `text` means in the repository that `cwd` is in.
    pub(crate) async fn target(&self, cwd: &OsText, text: &str, wanted: Wanted) -> Result<Target, Problem> {
        let snapshot = match self.known_workspace(cwd).await? {
            Some(workspace) => self.read(move |store| store.target_snapshot(workspace.id)).await?,
            None => Snapshot::default(),
        };
        resolve(&snapshot, text, wanted).map_err(IntoProblem::into_problem)
    }

    /// The lane that `text` means.
    pub(crate) async fn lane_target(&self, cwd: &OsText, text: &str) -> Result<LaneId, Problem> {
        match self.target(cwd, text, Wanted::Lane).await? {
            Target::Lane(lane) => Ok(lane),
            Target::Worker(_) => unreachable!("workers are not looked up when a lane is wanted"),
        }
    }

    /// The worker that `text` means.
    pub(crate) async fn worker_target(&self, cwd: &OsText, text: &str) -> Result<WorkerId, Problem> {
        match self.target(cwd, text, Wanted::Worker).await? {
            Target::Worker(worker) => Ok(worker),
            Target::Lane(_) => unreachable!("a lane's name means its worker when a worker is wanted"),
        }
    }
}
