//! Folders of runs: what the programs of a lane said, their recordings, how they ended. Those of closed lanes stay for as
//! long as the user has set, and then go; those of others stay.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use laneway_api::error::Problem;
use laneway_api::view::RunsView;
use laneway_core::event::Event;
use laneway_core::id::{LaneId, RunId, WorkspaceId};
use laneway_core::lane::{Lane, Lifecycle};
use laneway_core::time::Timestamp;
use laneway_fault::fault_point;
use tokio::sync::broadcast::error::RecvError;

use super::rescue::{LOOK_AGAIN, SeenDue, bytes_in};
use super::{Engine, blocking};
use crate::clock::now;

/// The folders of a closed lane's runs.
struct OfLane {
    lane: Lane,
    runs: Vec<RunId>,
}

impl OfLane {
    fn age(&self, now: Timestamp) -> Duration {
        let closed_at = self.lane.closed_at.unwrap_or(now);
        Duration::from_millis(now.millis_since(closed_at))
    }
}

impl Engine {
    /// Deletes the folders of the runs of a repository's lanes that were closed longer ago than `older_than`; without
    /// `really` it only says which. With `only`, no others than those of these lanes.
    pub(crate) async fn prune_runs(
        &self,
        workspace: WorkspaceId,
        older_than: Duration,
        only: Option<&[LaneId]>,
        really: bool,
    ) -> Result<Vec<RunsView>, Problem> {
        let mut pruned = Vec::new();
        for of_lane in self.runs_of_closed_lanes(Some(workspace)).await? {
            let is_meant = only.is_none_or(|only| only.contains(&of_lane.lane.id));
            if is_meant && of_lane.age(now()) >= older_than {
                let (n_runs, bytes) = self.retire(of_lane.runs, really).await?;
                let Lane { id: lane, name, closed_at, created_at, .. } = of_lane.lane;
                let closed_at = closed_at.unwrap_or(created_at).into();
                pruned.push(RunsView { lane, name, closed_at, n_runs, bytes });
            }
        }
        pruned.retain(|of_lane| of_lane.n_runs > 0);
        Ok(pruned)
    }

    /// Deletes what was kept long enough, now and whenever something comes due, for as long as the daemon lives.
    pub(crate) async fn retire_old_runs(self) {
        let mut events = self.store.subscribe();
        let mut seen_due = SeenDue::default();
        loop {
            let due = match self.retire_due_runs(&mut seen_due).await {
                Ok(due) => due,
                Err(problem) => {
                    tracing::warn!(problem = problem.message, "the folders of old runs were not looked at");
                    Some(LOOK_AGAIN)
                }
            };
            // As long as something is waited for, a lane that is closed comes due later than that.
            let is_idle = due.is_none();
            let closed = async {
                loop {
                    match events.recv().await {
                        Ok(event) if is_idle && is_close(&event.event) => return true,
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) if is_idle => return true,
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return false,
                    }
                }
            };
            let go_on = match due {
                Some(due) => tokio::time::timeout(due, closed).await.unwrap_or(true),
                None => closed.await,
            };
            if !go_on {
                return;
            }
        }
    }

    /// Deletes what is due; says when the next is, if anything is kept.
    async fn retire_due_runs(&self, seen_due: &mut SeenDue) -> Result<Option<Duration>, Problem> {
        let keep = Duration::from_hours(u64::from(self.settings().await?.runs.keep_days) * 24);
        let mut next: Option<Duration> = None;
        for of_lane in self.runs_of_closed_lanes(None).await? {
            let left = keep.saturating_sub(of_lane.age(now()));
            if let Some(wait) = seen_due.wait(of_lane.lane.id, left, Instant::now()) {
                next = Some(next.map_or(wait, |next| next.min(wait)));
                continue;
            }
            let (n_runs, bytes) = self.retire(of_lane.runs, true).await?;
            tracing::info!(lane = %of_lane.lane.id, n_runs, bytes, "the folders of its runs are deleted");
        }
        Ok(next)
    }

    /// The folders there are of ended runs of closed lanes, in one repository or all.
    async fn runs_of_closed_lanes(&self, workspace: Option<WorkspaceId>) -> Result<Vec<OfLane>, Problem> {
        let folder = self.home.runs();
        let there: Vec<RunId> = blocking(move || {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        })
        .await?;
        let (rows, lanes) =
            self.read(move |store| Ok((store.runs_among(&there)?, store.lanes(workspace, true)?))).await?;
        let mut runs: BTreeMap<LaneId, Vec<RunId>> = BTreeMap::new();
        for row in rows.into_iter().filter(|row| !row.run.state.is_live()) {
            runs.entry(row.worker.lane).or_default().push(row.run.id);
        }
        let closed = lanes.into_iter().filter(|lane| lane.lifecycle == Lifecycle::Closed);
        Ok(closed.filter_map(|lane| Some(OfLane { runs: runs.remove(&lane.id)?, lane })).collect())
    }

    /// How many there are and what they take on the disk; with `really`, those that are deleted. One whose holder is
    /// still there, since somebody reads from it, stays.
    async fn retire(&self, runs: Vec<RunId>, really: bool) -> Result<(u64, u64), Problem> {
        let home = self.home.clone();
        blocking(move || {
            let (mut n_runs, mut bytes) = (0, 0);
            for folder in runs.into_iter().map(|run| home.run(run)) {
                let taken = bytes_in(&folder);
                let is_gone = !really
                    || (crate::holders::remove_dead_socket(&folder) && fs::remove_dir_all(&folder).is_ok());
                if is_gone {
                    fault_point!("retention.folder-deleted");
                    n_runs += 1;
                    bytes += taken;
                }
            }
            (n_runs, bytes)
        })
        .await
    }
}

fn is_close(event: &Event) -> bool {
    matches!(event, Event::LaneStateChanged { to: Lifecycle::Closed, .. })
}
