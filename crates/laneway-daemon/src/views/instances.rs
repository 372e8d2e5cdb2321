//! Instances of programs as they are shown.

use laneway_api::error::Problem;
use laneway_api::program::{AgentView, InstanceView, PoolWorker};
use laneway_core::id::LaneId;
use laneway_core::instance::{Instance, InstanceName, status_of};
use laneway_core::name::Name;
use laneway_core::run::{Exit, Run, RunState};
use laneway_core::time::Timestamp;
use laneway_core::worker::WorkerStatus;
use laneway_store::InstanceRow;

use crate::clock::now;
use crate::engine::{Engine, ProgramAsked};

impl Engine {
    /// All instances of a program, the oldest first.
    pub(crate) async fn instance_views(&self, of: &ProgramAsked) -> Result<Vec<InstanceView>, Problem> {
        let (workspace, program) = (of.workspace.id, of.name.clone());
        let rows = self.read(move |store| store.instances(workspace, &program)).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(self.instance_view(row).await?);
        }
        Ok(views)
    }

    /// One instance; where there is none, how one looks that was never started.
    pub(crate) async fn instance_or_none(
        &self,
        of: &ProgramAsked,
        name: &InstanceName,
    ) -> Result<InstanceView, Problem> {
        match self.instance_row(of, name).await? {
            Some(row) => self.instance_view(row).await,
            None => Ok(InstanceView {
                id: name.clone(),
                running: false,
                started_at: None,
                round: 0,
                agents: Vec::new(),
                mission: None,
                model: None,
                dry_run: false,
                pid: None,
                pool_status: None,
            }),
        }
    }

    async fn instance_view(&self, row: InstanceRow) -> Result<InstanceView, Problem> {
        let row = InstanceRow { latest: row.latest.map(|run| self.as_known(run)), ..row };
        let lane = match row.instance.lane {
            Some(lane) => self.lane_name(lane).await?,
            None => None,
        };
        let worker = row.worker.as_ref();
        let status = status_of(&row.instance, worker.map(|worker| (worker, row.latest.as_ref())));
        let pid = row.latest.as_ref().and_then(pid_of);
        let pool_status = self.pool_worker(&row, status, lane);
        let Instance { name, picture, .. } = row.instance;
        Ok(InstanceView {
            id: name,
            running: status == WorkerStatus::Running && !picture.finished,
            started_at: picture.started_at.map(Into::into),
            round: picture.round,
            agents: picture.agents.into_iter().map(AgentView::from).collect(),
            mission: picture.mission,
            model: picture.model,
            dry_run: picture.dry_run,
            pid,
            pool_status: Some(pool_status),
        })
    }

    fn pool_worker(&self, row: &InstanceRow, status: WorkerStatus, lane: Option<Name>) -> PoolWorker {
        let InstanceRow { instance, worker, latest } = row;
        let silent_ms =
            latest.as_ref().filter(|run| run.state.is_live()).and_then(|run| self.silent_ms(run.id));
        let heard_at = silent_ms.map(|silent_ms| before(now(), silent_ms));
        let ended = latest.as_ref().and_then(|run| match &run.state {
            RunState::Exited(exit) => Some(exit),
            RunState::Starting | RunState::Running(_) | RunState::Stopping(_) => None,
        });
        let supervision = worker.as_ref().map(|worker| &worker.supervision);
        PoolWorker {
            id: instance.name.clone(),
            worker: worker.as_ref().and_then(|worker| worker.name.as_ref()).map(ToString::to_string),
            lane: lane.map(|lane| lane.to_string()),
            status,
            pid: latest.as_ref().and_then(pid_of),
            config: instance.config.clone().into(),
            started_at: latest.as_ref().and_then(|run| run.started_at).map(Into::into),
            stopped_at: latest.as_ref().and_then(|run| run.ended_at).map(Into::into),
            last_heartbeat: heard_at.map(Into::into),
            restart_count: supervision.map_or(0, |supervision| supervision.n_restarts),
            consecutive_failures: supervision.map_or(0, |supervision| supervision.failed_at.len() as u64),
            exit_code: ended.and_then(|exit| match exit {
                Exit::Code { code } => Some(*code),
                Exit::Signal { .. }
                | Exit::Lost
                | Exit::ClosedByHand
                | Exit::Unresponsive { .. }
                | Exit::Limit { .. }
                | Exit::NotStarted { .. } => None,
            }),
            error: instance.failure.clone().or_else(|| ended.map(ToString::to_string)),
        }
    }

    async fn lane_name(&self, lane: LaneId) -> Result<Option<Name>, Problem> {
        Ok(self.read(move |store| store.lane(lane)).await?.map(|lane| lane.name))
    }
}

fn pid_of(run: &Run) -> Option<u32> {
    if run.state.is_live() { run.state.process().map(|process| process.pid) } else { None }
}

fn before(moment: Timestamp, ms: u64) -> Timestamp {
    Timestamp(moment.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)))
}
