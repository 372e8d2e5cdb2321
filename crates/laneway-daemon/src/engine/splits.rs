//! Panes that are being added beside workers: noted before tmux is asked, so that one that nobody came to record is found
//! again, by a mark that no other pane ever had, and is recorded then.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use laneway_api::error::Problem;
use laneway_core::command::Command;
use laneway_core::id::{CorrelationId, WorkerId};
use laneway_core::os_text::OsText;
use laneway_core::pane::PaneIdentity;
use laneway_store::Store;
use serde::{Deserialize, Serialize};

use super::panes::GLANCE_LIMIT;
use super::{Engine, blocking};
use crate::panes::Added;
use crate::problem::IntoProblem;

/// A pane that is being added.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Planned {
    /// The socket of its server.
    socket: OsText,
    /// What it is marked with.
    tag: String,
    #[serde(skip)]
    file: PathBuf,
}

impl Planned {
    /// What the pane is marked with.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// It is recorded, or was never made.
    pub(crate) fn forget(self) {
        // One that stays is looked at by the next daemon, which finds nothing to do.
        let _ = fs::remove_file(&self.file);
    }
}

impl Engine {
    /// Notes that a pane is about to be added beside a worker.
    pub(crate) fn plan_pane(
        &self,
        worker: WorkerId,
        socket: OsText,
        request: CorrelationId,
    ) -> io::Result<Planned> {
        let file = self.home.splits().join(request.to_string());
        let planned = Planned { socket, tag: format!("{worker}/{request}"), file };
        fs::write(&planned.file, serde_json::to_vec(&planned)?)?;
        Ok(planned)
    }

    /// Looks after the panes that a daemon before this one has added and not recorded. Which those are is known when
    /// this returns; a tmux that hangs holds up nobody for longer than a glance.
    pub(super) async fn look_after_unrecorded_panes(&self) {
        let folder = self.home.splits();
        let Ok(planned) = blocking(move || read_all(&folder)).await else { return };
        if planned.is_empty() {
            return;
        }
        let Ok(recorded) = self.read(Store::panes).await else { return };
        let mut by_server: BTreeMap<PathBuf, Vec<Planned>> = BTreeMap::new();
        for one in planned {
            if recorded.iter().any(|pane| pane.identity.tag == one.tag) {
                one.forget();
            } else {
                by_server.entry(one.socket.to_path_buf()).or_default().push(one);
            }
        }
        let begin = |planned: Vec<Planned>| {
            let engine = self.clone();
            self.tasks.spawn(async move { engine.look_after_panes_of_a_server(planned).await })
        };
        let looking: Vec<_> = by_server.into_values().map(begin).collect();
        let all = async {
            for one in looking {
                // One that panicked has said so.
                let _ = one.await;
            }
        };
        // They go on: what is not seen in time is seen later.
        let _ = tokio::time::timeout(GLANCE_LIMIT, all).await;
    }

    /// Those of one server, as long as it answers. Of what cannot be known nothing is forgotten.
    async fn look_after_panes_of_a_server(&self, planned: Vec<Planned>) {
        for one in planned {
            if let Err(problem) = self.look_after_unrecorded_pane(&one).await {
                tracing::warn!(
                    tag = one.tag,
                    problem = problem.message,
                    "a pane that was never recorded is perhaps left"
                );
                return;
            }
            one.forget();
        }
    }

    /// One that is as it was made is its worker's, as if it had been recorded; one whose program has ended goes. With
    /// what else is in it a person has something to do.
    async fn look_after_unrecorded_pane(&self, one: &Planned) -> Result<(), Problem> {
        let (panes, socket, tag) = (self.panes.clone(), one.socket.to_path_buf(), one.tag.clone());
        let found = blocking(move || panes.find_added(&socket, &tag)).await?;
        match found.map_err(IntoProblem::into_problem)? {
            Added::Nowhere => {}
            Added::Changed(pane) => {
                tell(&one.tag, &pane, "somebody has started something else in it: left alone");
            }
            Added::Ended(pane) => {
                tell(&one.tag, &pane, "its program has ended: removed");
                let panes = self.panes.clone();
                blocking(move || panes.remove(&pane, &[])).await?.map_err(IntoProblem::into_problem)?;
            }
            Added::AsMade(pane) => match self.worker_in_tmux(&one.tag).await? {
                None => tell(&one.tag, &pane, "its worker is in no pane any more: left alone"),
                Some(worker) => {
                    self.submit(Command::AddPane { worker, pane: pane.clone() }, self.own_request()).await?;
                    tell(&one.tag, &pane, "recorded");
                    self.look_again_when_it_ends(&pane);
                }
            },
        }
        Ok(())
    }

    /// The worker of this mark, if it is in a pane.
    async fn worker_in_tmux(&self, tag: &str) -> Result<Option<WorkerId>, Problem> {
        let worker = tag.split_once('/').and_then(|(worker, _)| worker.parse::<WorkerId>().ok());
        let Some(worker) = worker else { return Ok(None) };
        let row = self.read(move |store| store.worker(worker)).await?;
        Ok(row.filter(|row| !row.panes.is_empty()).map(|_| worker))
    }
}

fn tell(tag: &str, pane: &PaneIdentity, done: &str) {
    tracing::info!(pane = pane.pane_id, tag, done, "a pane that was added and not recorded");
}

fn read_all(folder: &std::path::Path) -> Vec<Planned> {
    let mut planned = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.path();
        match fs::read(&file).map(|text| serde_json::from_slice::<Planned>(&text)) {
            Ok(Ok(read)) => planned.push(Planned { file, ..read }),
            // Half written: tmux was not asked yet.
            Ok(Err(_)) => drop(fs::remove_file(&file)),
            Err(error) => tracing::warn!(%error, "a plan for a pane cannot be read"),
        }
    }
    planned
}
