//! Restarts: planned, carried out at their moment, and asked for.

use std::collections::HashSet;
use std::sync::MutexGuard;
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::RestartWorker;
use laneway_api::view::{Explanation, RunView};
use laneway_core::command::Command;
use laneway_core::decision::Effect;
use laneway_core::event::Subject;
use laneway_core::id::{LaneId, RunId, WorkerId};
use laneway_core::launch::DEFAULT_GRACE_MS;
use laneway_core::run::{Exit, Run, RunState};
use laneway_core::supervise::{Outlook, Pace, Pacing, Planned, spread, why};
use laneway_core::time::Timestamp;
use laneway_fault::fault_point;
use laneway_store::{Committed, RunRow, WorkerRow, WorkersOf};

use super::reconcile::has_socket;
use super::runs::{START_LIMIT, Started, still_alive};
use super::{Engine, Request, blocking, not_found};
use crate::clock::{any_number, now};
use crate::holders::{self, LinkError};
use crate::problem::chain;
use crate::views::{event_view, run_view};

/// Runs of which is told where one worker is shown.
const LAST_RUNS: u32 = 5;

/// Events of which an explanation tells.
const LAST_EVENTS: u32 = 10;

/// The last events of the host, among which those of a worker are looked for: reading them takes some 20 ms.
const EVENTS_LOOKED_AT: u64 = 20_000;

/// How a start that was asked for went.
pub(crate) enum Begun {
    /// Its program runs.
    Anew,
    /// It ran before.
    Before,
}

impl Engine {
    /// The report that a run has ended, with what its worker's restart is paced by.
    pub(super) async fn ended_so(&self, run: RunId, exit: Exit, at: Timestamp) -> Command {
        let pacing = Pacing { pace: self.pace().await, random: any_number() };
        Command::RecordExit { run, exit, at, pacing }
    }

    /// As the user has set it. An end has to be recorded, also if the settings cannot be read.
    async fn pace(&self) -> Pace {
        match self.settings().await {
            Ok(settings) => settings.restart.into(),
            Err(problem) => {
                tracing::warn!(problem = problem.message, "restarts are paced as without settings");
                Pace::default()
            }
        }
    }

    /// The effect: has the worker started again at that moment, unless the daemon ends before.
    pub(super) fn retry_at(&self, worker: WorkerId, epoch: u64, at: Timestamp) {
        fault_point!("restart.planned");
        let engine = self.clone();
        tokio::spawn(async move {
            let left = Duration::from_millis(at.millis_since(now()));
            if engine.ending.run_until_cancelled(passed(left)).await.is_some() {
                fault_point!("restart.due");
                let run = RunId::from_ulid(engine.ids.next());
                let retry = Command::RetryWorker { worker, epoch, run };
                engine.report(retry, engine.own_request()).await;
            }
        });
    }

    /// What was planned before this daemon is planned anew: timers do not outlive a daemon, and all at once would be
    /// a burst.
    pub(super) async fn spread_restarts(&self) {
        let rows = match self.read(|store| store.workers(WorkersOf::Everywhere)).await {
            Ok(rows) => rows,
            Err(problem) => {
                tracing::warn!(problem = problem.message, "planned restarts could not be looked up");
                return;
            }
        };
        let planned = rows.into_iter().filter_map(|WorkerRow { worker, .. }| {
            let at = worker.supervision.next_try_at()?;
            Some(Planned { worker: worker.id, epoch: worker.supervision.epoch, at })
        });
        for Planned { worker, epoch, at } in spread(planned.collect(), now(), &self.pace().await) {
            self.report(Command::ReplanRestart { worker, epoch, at }, self.own_request()).await;
        }
    }

    /// What former runs have left behind ends before the next one begins: no run is alive twice.
    pub(super) async fn end_former_runs(&self, row: &RunRow) -> Result<(), Problem> {
        self.find_former_holders(row).await?;
        let mut held = self.holders.of_lane(row.worker.lane);
        held.retain(|(_, holder)| !holder.is_over());
        let ids: Vec<RunId> = held.iter().map(|(run, _)| *run).collect();
        let mut former = self.read(move |store| store.runs_among(&ids)).await?;
        former.retain(|held| held.worker.id == row.worker.id && held.run.number < row.run.number);
        held.retain(|(run, _)| former.iter().any(|former| former.run.id == *run));
        for (_, holder) in held {
            let left = holder.stop(DEFAULT_GRACE_MS).await;
            if !left.is_empty() {
                return Err(still_alive(&left.iter().map(|process| process.pid).collect::<Vec<_>>()));
            }
            holder.over().await;
        }
        Ok(())
    }

    /// Holders of former runs that could not be reached are looked for once more. One that is there and still cannot be
    /// reached may have something alive that nobody else can end. How many runs there were before costs nothing.
    async fn find_former_holders(&self, row: &RunRow) -> Result<(), Problem> {
        let unreached: Vec<RunId> = self.lock_unreached().iter().copied().collect();
        if unreached.is_empty() {
            return Ok(());
        }
        let mut former = self.read(move |store| store.runs_among(&unreached)).await?;
        former.retain(|former| former.worker.id == row.worker.id && former.run.number < row.run.number);
        for RunRow { run: Run { id, number, channel, .. }, .. } in former {
            let folder = self.home.run(id);
            let is_there = self.holders.of_run(id).is_none() && {
                let folder = folder.clone();
                blocking(move || has_socket(&folder)).await?
            };
            if is_there {
                let of = (id, channel.map(|channel| channel.taken));
                match holders::connect(&folder, of, row.worker.lane, &self.holders, &self.teller).await {
                    Ok(_) | Err(LinkError::Nobody) => {}
                    Err(error) => {
                        let message = format!(
                            "run {number} may have left something behind that is alive, and its holder cannot be reached: {}",
                            chain(&error)
                        );
                        return Err(Problem::new(ErrorKind::Failed, "former_run_unreachable", message)
                            .hint(format!("see what it is: ps -eo pid,stat,args | grep {id}")));
                    }
                }
            }
            self.lock_unreached().remove(&id);
        }
        Ok(())
    }

    /// The runs whose holder may be there and could not be reached.
    pub(super) fn lock_unreached(&self) -> MutexGuard<'_, HashSet<RunId>> {
        self.unreached.lock().expect("no holder of this lock panics")
    }

    /// Starts a worker whose program does not run, and waits for the proof that it does.
    /// `forced`: also where the lane is not set up.
    pub(crate) async fn start_worker(
        &self,
        worker: WorkerId,
        forced: bool,
        request: Request,
    ) -> Result<Begun, Problem> {
        let run = RunId::from_ulid(self.ids.next());
        let committed = self.submit(Command::StartWorker { worker, run, forced }, request).await?;
        let row = self.worker_row(worker).await?;
        let begun = match row.latest.as_ref().map(|latest| (&latest.state, latest.id)) {
            Some((RunState::Stopping(_), _)) => Begun::Anew,
            _ if begins(&committed, run) => Begun::Anew,
            Some((RunState::Starting, under_way)) => {
                self.proven(under_way, row.worker.lane, &committed).await?;
                return Ok(Begun::Before);
            }
            _ => return Ok(Begun::Before),
        };
        self.begun_after(&row, &committed, run).await?;
        Ok(begun)
    }

    /// Has a worker end and start again, and waits for the proof that its new run runs.
    pub(crate) async fn restart_worker(
        &self,
        worker: WorkerId,
        RestartWorker { grace_ms, force: forced }: RestartWorker,
        request: Request,
    ) -> Result<(), Problem> {
        let before = self.worker_row(worker).await?;
        let run = RunId::from_ulid(self.ids.next());
        let grace_ms = grace_ms.unwrap_or(DEFAULT_GRACE_MS);
        let committed =
            self.submit(Command::RestartWorker { worker, run, grace_ms, forced }, request).await?;
        let stopped = committed.effects.iter().find_map(|effect| match effect {
            Effect::StopRun { run, .. } => Some(*run),
            _ => None,
        });
        if let Some(stopped) = stopped {
            self.ended_in_time(stopped, committed.seq, grace_ms).await?;
        }
        self.begun_after(&before, &committed, run).await
    }

    /// Waits until the run after those known `before` is proven to run, or is known not to come.
    async fn begun_after(
        &self,
        before: &WorkerRow,
        committed: &Committed,
        run: RunId,
    ) -> Result<(), Problem> {
        let run = if begins(committed, run) { run } else { self.next_run(before).await?.id };
        self.proven(run, before.worker.lane, committed).await
    }

    async fn proven(&self, run: RunId, lane: LaneId, committed: &Committed) -> Result<(), Problem> {
        match self.started(run, lane, committed.seq).await? {
            Started::Runs => self.is_still_there(run).await,
            Started::Failed(problem) => Err(problem),
        }
    }

    async fn next_run(&self, before: &WorkerRow) -> Result<Run, Problem> {
        let (id, number) = (before.worker.id, before.latest.as_ref().map_or(0, |run| run.number));
        let about = move |subject: &Subject| subject.worker == Some(id);
        self.watch_for(START_LIMIT, about, || async {
            let WorkerRow { worker, latest, .. } = self.worker_row(id).await?;
            match (latest, &worker.supervision.outlook) {
                (Some(run), _) if run.number > number => Ok(Some(run)),
                (Some(run), Outlook::Rests | Outlook::GivenUp { .. }) if !run.state.is_live() => {
                    let message = "it was stopped before it was started again";
                    Err(Problem::new(ErrorKind::Refused, "stopped_meanwhile", message))
                }
                (Some(_) | None, _) => Ok(None),
            }
        })
        .await
    }

    /// Why a worker is in the state that it is in.
    pub(crate) async fn explain(&self, id: WorkerId) -> Result<Explanation, Problem> {
        let row = self.worker_row(id).await?;
        let events =
            self.read(move |store| store.events_of_worker(id, EVENTS_LOOKED_AT, LAST_EVENTS)).await?;
        let pace = self.pace().await;
        Ok(Explanation {
            why: why(&row.worker, row.latest.as_ref()),
            n_failures: row.worker.supervision.failed_at.len() as u64,
            max_failures: pace.max_failures,
            window_ms: pace.window_ms,
            runs: self.last_runs(id).await?,
            events: events.iter().map(event_view).collect(),
            worker: self.worker_by_id(id).await?,
        })
    }

    /// The last runs of a worker, the latest first.
    pub(crate) async fn last_runs(&self, id: WorkerId) -> Result<Vec<RunView>, Problem> {
        let runs = self.read(move |store| store.runs_of_worker(id, LAST_RUNS)).await?;
        Ok(runs.into_iter().map(|run| run_view(&self.as_known(run))).collect())
    }

    async fn worker_row(&self, id: WorkerId) -> Result<WorkerRow, Problem> {
        self.read(move |store| store.worker(id)).await?.ok_or_else(|| not_found("worker", &id))
    }
}

/// Whether what was decided is that this run begins.
pub(super) fn begins(committed: &Committed, new: RunId) -> bool {
    committed.effects.iter().any(|effect| matches!(effect, Effect::StartRun { run } if *run == new))
}

#[expect(clippy::disallowed_methods, reason = "a restart after a while is a timer")]
async fn passed(time: Duration) {
    tokio::time::sleep(time).await;
}
