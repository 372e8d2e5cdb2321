//! What a request names, resolved over what is recorded of the caller's repository.

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::view::{ResolvedTarget, TerminalKind};
use laneway_core::command::Command;
use laneway_core::id::{LaneId, RunId, WorkerId};
use laneway_core::pane::{PRIMARY, TmuxServer};
use laneway_core::target::{Meant, Snapshot, Target, Use, Wanted, pane_of_worker, resolve};
use laneway_store::Store;

use crate::engine::{Engine, Request, blocking};
use crate::http::Caller;
use crate::problem::{FORMER_RUN, IntoProblem, NOT_OUR_PANE};

impl Engine {
    /// What `text` means in the repository that the caller stands in.
    pub(crate) async fn target(
        &self,
        caller: &Caller,
        text: &str,
        wanted: Wanted,
        how: Use,
    ) -> Result<Meant, Problem> {
        let snapshot = self.snapshot(caller, text).await?;
        resolve(&snapshot, text, wanted, how).map_err(IntoProblem::into_problem)
    }

    /// What can be meant from where the caller stands. tmux is asked only where `text` can be about it.
    async fn snapshot(&self, caller: &Caller, text: &str) -> Result<Snapshot, Problem> {
        let mut snapshot = match self.known_workspace(&caller.cwd).await? {
            Some(workspace) => {
                let names_a_run = text.starts_with(RunId::PREFIX);
                self.read(move |store| {
                    let mut snapshot = store.target_snapshot(workspace.id)?;
                    if names_a_run {
                        snapshot.former_runs = store.former_runs(workspace.id)?;
                    }
                    Ok(snapshot)
                })
                .await?
            }
            None => Snapshot::default(),
        };
        snapshot.caller = caller.request.actor.worker();
        let is_about_tmux = text.starts_with(['%', '@']) || text.contains(':');
        if let Some(socket) = caller.tmux_socket.clone().filter(|_| is_about_tmux) {
            let (panes, mut recorded) = (self.panes.clone(), snapshot.panes);
            snapshot.panes = blocking(move || {
                // Nobody is asked where nobody listens.
                if socket.as_path().exists() {
                    panes.look_for(socket.as_path(), &mut recorded);
                }
                recorded
            })
            .await?;
        }
        snapshot.near_is_known = caller.tmux_socket.is_some();
        for pane in &mut snapshot.panes {
            pane.near = Some(&pane.server.socket) == caller.tmux_socket.as_ref();
        }
        Ok(snapshot)
    }

    /// The lane that `text` means.
    pub(crate) async fn lane_target(&self, caller: &Caller, text: &str) -> Result<LaneId, Problem> {
        match self.target(caller, text, Wanted::Lane, Use::Acting).await?.target {
            Target::Lane(lane) => Ok(lane),
            Target::Worker { .. } | Target::Run { .. } | Target::Pane { .. } => {
                unreachable!("workers are not looked up when a lane is wanted")
            }
        }
    }

    /// The worker that `text` means as a whole, and not one of its further panes.
    pub(crate) async fn worker_target(&self, caller: &Caller, text: &str) -> Result<WorkerId, Problem> {
        match whole(self.target(caller, text, Wanted::Worker, Use::Acting).await?.target, text)? {
            Whole::Worker(worker) => Ok(worker),
            Whole::Lane(_) => unreachable!("a lane's name means its worker when a worker is wanted"),
        }
    }

    /// The worker that `text` means, and which of its panes; `pane` comes before the one that `text` means.
    pub(crate) async fn terminal_target(
        &self,
        caller: &Caller,
        text: &str,
        pane: Option<u32>,
    ) -> Result<(WorkerId, u32), Problem> {
        let snapshot = self.snapshot(caller, text).await?;
        let meant = resolve(&snapshot, text, Wanted::Worker, Use::Acting);
        match meant.map_err(IntoProblem::into_problem)?.target {
            Target::Worker { id, pane: meant } => {
                let number = pane.unwrap_or(meant);
                pane_of_worker(&snapshot, id, number).map_err(IntoProblem::into_problem)?;
                Ok((id, number))
            }
            Target::Lane(_) | Target::Run { .. } | Target::Pane { .. } => {
                unreachable!("who acts on a worker is given one, or refused")
            }
        }
    }

    /// The same for who only reads: also a pane that is nobody's, and a run that was followed by another.
    pub(crate) async fn readable_target(
        &self,
        caller: &Caller,
        text: &str,
        pane: Option<u32>,
    ) -> Result<Readable, Problem> {
        match self.terminal_target(caller, text, pane).await {
            Ok((id, pane)) => Ok(Readable::Worker(id, pane)),
            Err(problem) if [NOT_OUR_PANE, FORMER_RUN].contains(&problem.code.as_str()) => {
                match self.target(caller, text, Wanted::Worker, Use::Reading).await?.target {
                    Target::Pane { server, pane_id, .. } => Ok(Readable::Pane { server, pane_id }),
                    Target::Run { worker, number } => Ok(Readable::Run(worker, number)),
                    Target::Worker { .. } | Target::Lane(_) => Err(problem),
                }
            }
            Err(problem) => Err(problem),
        }
    }

    /// Somebody attaches to a worker's terminal: from now on `-` means it.
    pub(crate) async fn attached(&self, worker: WorkerId, request: Request) -> Result<(), Problem> {
        if self.read(Store::last_attached).await? != Some(worker) {
            self.submit(Command::RecordAttached { worker }, request).await?;
        }
        Ok(())
    }

    /// What `text` means, for `lane resolve`.
    pub(crate) async fn resolved(&self, caller: &Caller, text: &str) -> Result<ResolvedTarget, Problem> {
        let meant = self.target(caller, text, Wanted::Either, Use::Reading).await?;
        let method = meant.method.as_str().to_owned();
        match meant.target {
            Target::Lane(id) => {
                let lane = self.lane_by_id(id).await?;
                let alive = lane.closed_at.is_none();
                let workspace = Some(lane.workspace);
                let (lane, lane_id) = (Some(lane.name), Some(id));
                Ok(ResolvedTarget { method, workspace, lane, lane_id, alive, ..ResolvedTarget::default() })
            }
            Target::Worker { id, pane } => self.resolved_worker(id, pane, method).await,
            Target::Run { worker, number } => {
                let row = self.read(move |store| store.run_of_worker(worker, number)).await?;
                let resolved = self.resolved_worker(worker, PRIMARY, method).await?;
                // It is over, and its pane is another run's.
                Ok(ResolvedTarget {
                    run: row.map(|row| row.run.id),
                    alive: false,
                    session: None,
                    window_id: None,
                    window_name: None,
                    pane_id: None,
                    ..resolved
                })
            }
            Target::Pane { shows: Some(worker), .. } => self.resolved_worker(worker, PRIMARY, method).await,
            Target::Pane { pane_id, .. } => Ok(ResolvedTarget {
                method,
                terminal: Some(TerminalKind::Tmux),
                alive: true,
                pane_id: Some(pane_id),
                ..ResolvedTarget::default()
            }),
        }
    }

    async fn resolved_worker(
        &self,
        id: WorkerId,
        pane: u32,
        method: String,
    ) -> Result<ResolvedTarget, Problem> {
        let worker = self.worker_by_id(id).await?;
        let further = worker.panes.into_iter().find(|further| further.number == pane);
        let (session, window_id, window_name, pane_id) = match further {
            Some(pane) => (Some(pane.session), pane.window_id, Some(pane.window_name), Some(pane.pane_id)),
            None => (worker.session, worker.window_id, worker.window_name, worker.pane_id),
        };
        let workspace = self.read(move |store| store.worker(id)).await?.map(|row| row.worker.workspace);
        Ok(ResolvedTarget {
            method,
            workspace,
            lane: Some(worker.lane),
            lane_id: Some(worker.lane_id),
            worker: worker.name,
            worker_id: Some(id),
            run: worker.run,
            pane_index: Some(pane),
            terminal: worker.terminal.tty.then_some(worker.terminal.kind),
            // A further pane that is closed is not found.
            alive: pane != PRIMARY || worker.run.is_some() && worker.exit.is_none(),
            session,
            window_id,
            window_name,
            pane_id,
        })
    }
}

/// What can be read.
#[derive(Debug)]
pub(crate) enum Readable {
    /// A pane of a worker, or its terminal.
    Worker(WorkerId, u32),
    /// What a run that was followed by another has left; by its number.
    Run(WorkerId, u32),
    /// A pane that is nobody's of ours.
    Pane {
        /// Its server.
        server: TmuxServer,
        /// Its id.
        pane_id: String,
    },
}

/// A lane, or a worker with all its panes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whole {
    /// A lane.
    Lane(LaneId),
    /// A worker.
    Worker(WorkerId),
}

/// What is meant where a pane alone cannot be.
pub(crate) fn whole(target: Target, text: &str) -> Result<Whole, Problem> {
    match target {
        Target::Lane(lane) => Ok(Whole::Lane(lane)),
        Target::Worker { id, pane: PRIMARY } => Ok(Whole::Worker(id)),
        Target::Worker { id, pane } => {
            let message = format!("{text} is pane {pane} of {id}, and this is about the whole worker");
            Err(Problem::new(ErrorKind::Usage, "pane_of_worker", message).hint(format!("lane show {id}")))
        }
        Target::Run { worker, number } => {
            let message = format!("{text} is run {number} of {worker}, and this is about the whole worker");
            Err(Problem::new(ErrorKind::Usage, FORMER_RUN, message).hint(format!("lane show {worker}")))
        }
        Target::Pane { pane_id, .. } => {
            let message = format!("{text} is the pane {pane_id} of tmux, and no worker");
            Err(Problem::new(ErrorKind::Usage, "pane_of_nobody", message).hint("lane ps"))
        }
    }
}
