//! Panes that are being added beside workers: noted before tmux is asked, so that one that nobody came to record is found
//! again, by a mark that no other pane ever had, and goes.

use std::fs;
use std::io;
use std::path::PathBuf;

use laneway_core::id::{CorrelationId, WorkerId};
use laneway_core::os_text::OsText;
use laneway_store::Store;
use serde::{Deserialize, Serialize};

use super::{Engine, blocking};
use crate::problem::chain;

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

    /// Removes the panes that a daemon before this one has added and not recorded. Of what cannot be known nothing is
    /// forgotten.
    pub(super) async fn remove_unrecorded_panes(&self) {
        let folder = self.home.splits();
        let Ok(planned) = blocking(move || read_all(&folder)).await else { return };
        if planned.is_empty() {
            return;
        }
        let Ok(recorded) = self.read(Store::panes).await else { return };
        for one in planned {
            if recorded.iter().any(|pane| pane.identity.tag == one.tag) {
                one.forget();
                continue;
            }
            let panes = self.panes.clone();
            let removed = blocking(move || {
                let removed = panes.remove_tagged(one.socket.as_path(), |seen| seen.tag == one.tag);
                removed.map(|()| one.forget())
            });
            if let Ok(Err(error)) = removed.await {
                tracing::warn!(error = chain(&error), "a pane that was never recorded is perhaps left");
            }
        }
    }
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
