//! Runs in panes of tmux: started there, looked at for the last time, followed, and their windows taken away.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::view::PaneAddress;
use laneway_core::command::Command;
use laneway_core::id::{LaneId, RunId, WorkerId};
use laneway_core::launch::TerminalSpec;
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use laneway_core::pane::{PRIMARY, Pane, PaneIdentity};
use laneway_core::run::{Exit, RunState};
use laneway_core::time::Timestamp;
use laneway_core::worker::Desired;
use laneway_fault::fault_point;
use laneway_store::{RunRow, WorkerRow, WorkersOf};
use laneway_tmux::{PaneProgram, Reading};
use laneway_wire::client::Connection;
use laneway_wire::message::{FromHolder, Launch, Size, Status, Tap, ToHolder};
use laneway_wire::sockets;

use super::{Engine, Request, blocking, inside};
use crate::holders::{Door, Launched, process};
use crate::panes::{Wanted, Whereabouts};
use crate::problem::{IntoProblem, chain, of_holder};
use crate::sys::Watched;

/// How long a holder has to answer each question about a pane.
const HOLDER_LIMIT: Duration = Duration::from_secs(5);

/// How long a server that breaks its connections off may take to end.
const ENDING_LIMIT: Duration = Duration::from_secs(10);

/// How long who only lists, or starts, waits for a server.
pub(super) const GLANCE_LIMIT: Duration = Duration::from_millis(500);

/// Who asks.
const CLIENT: &str = concat!("laneway-daemon ", env!("CARGO_PKG_VERSION"));

/// The name of the pipe that a pane's output comes on, in the run's folder.
const TAP_NAME: &str = "tap";

impl Engine {
    /// Starts a run's program in a pane of tmux, under a holder that is the pane's process, and waits for the proof.
    /// The pane is recorded before the program is there.
    pub(super) async fn launch_in_pane(
        &self,
        row: &RunRow,
        launch: Launch,
        request: Request,
    ) -> Result<Launched, Problem> {
        let TerminalSpec::Tmux { socket, session } = &row.spec.terminal else {
            unreachable!("only what runs in tmux comes here");
        };
        let (run, worker) = (row.run.id, row.worker.id);
        let folder = self.home.run(run);
        let log = self.home.root().join("holder.log");
        let panes = self.read(move |store| store.panes_of_worker(worker)).await?;
        let former = panes.into_iter().find(|pane| pane.number == PRIMARY && !pane.gone);
        let wanted = Wanted {
            socket: socket.to_path_buf(),
            session: session.clone(),
            window: row.worker.name.as_ref().map_or_else(|| "task".to_owned(), Name::to_string),
            run,
            program: PaneProgram {
                arguments: self.holder_program.inside_tty(&folder, &log),
                folder: row.spec.cwd.to_path_buf(),
                environment: laneway_fault::variables().map(|(name, value)| (name.into(), value)).collect(),
            },
            former: former.map(|pane| pane.identity),
        };
        let is_again = wanted.former.is_some();
        let problem = |error| async move { self.start_problem(&error, row.worker.lane).await };
        let door = match crate::engine::briefly(|| Door::make(&folder, &log)) {
            Ok(door) => door,
            Err(error) => return Err(problem(error).await),
        };
        let panes = self.panes.clone();
        let opened = blocking(move || panes.open(&wanted)).await?;
        let pane = opened.map_err(IntoProblem::into_problem)?;
        fault_point!("pane.opened");
        let recorded = Command::RecordPane { worker, run, pane: pane.clone() };
        self.report(recorded, request).await;
        fault_point!("pane.recorded");
        match door.launch(pane.pane_pid, launch).await {
            Ok(launched) => Ok(launched),
            Err(error) => {
                if !is_again {
                    self.remove_pane(&pane, &[]).await.unwrap_or_else(|problem| {
                        tracing::warn!(%run, problem = problem.message, "a window was not removed");
                    });
                }
                Err(problem(error).await)
            }
        }
    }

    /// A start that came to nothing before this daemon has perhaps left a dead window.
    pub(super) async fn remove_remains(&self, run: RunId) {
        let Ok(Some(row)) = self.read(move |store| store.run(run)).await else { return };
        let TerminalSpec::Tmux { socket, .. } = row.spec.terminal else { return };
        let panes = self.panes.clone();
        let removed = blocking(move || panes.remove_remains(&socket.to_path_buf(), run)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%run, error = chain(&error), "what a start has left in tmux was not removed");
        }
    }

    /// The pane of a run; none if it runs elsewhere, or that pane is another run's by now.
    async fn pane_of_run(&self, run: RunId) -> Option<PaneIdentity> {
        let row = self.read(move |store| store.run(run)).await.ok().flatten()?;
        let TerminalSpec::Tmux { .. } = row.spec.terminal else { return None };
        let worker = row.worker.id;
        let panes = self.read(move |store| store.panes_of_worker(worker)).await.ok()?;
        panes.into_iter().find(|pane| pane.run == Some(run) && !pane.gone).map(|pane| pane.identity)
    }

    /// Records how a run has ended. Of one in a pane whoever hears of that finds what was shown last; a tmux that hangs
    /// holds up nobody else.
    pub(super) async fn record_end(&self, run: RunId, exit: Exit, at: Timestamp, request: Request) {
        if self.holders.of_run(run).is_none() || self.pane_of_run(run).await.is_none() {
            return self.report(self.ended_so(run, exit, at).await, request).await;
        }
        let engine = self.clone();
        self.in_background(async move {
            engine.keep_last_screen(run).await;
            engine.report(engine.ended_so(run, exit, at).await, request).await;
        });
    }

    /// Has the holder of an ended run keep what its pane shows, while that is there. Whatever goes wrong, the end is
    /// the end.
    pub(super) async fn keep_last_screen(&self, run: RunId) {
        let Some(pane) = self.pane_of_run(run).await else { return };
        let (folder, panes) = (self.home.run(run), self.panes.clone());
        let kept = blocking(move || {
            let (mut holder, status) = look_at(&folder)?;
            if status.tapped != Some(false) {
                return Ok(());
            }
            let shown = panes.show(&pane, None).map_err(IntoProblem::into_problem)?;
            tell(&mut holder, &shown, None)
        });
        if let Ok(Err(problem)) = kept.await {
            tracing::info!(%run, problem = problem.message, "the last screen of a pane is not kept");
        }
    }

    /// Has the holder of a run in a pane know what that shows, from now on. Does nothing for other runs.
    pub(crate) async fn tap(&self, run: RunId) -> Result<(), Problem> {
        let Some(pane) = self.pane_of_run(run).await else { return Ok(()) };
        let (folder, panes) = (self.home.run(run), self.panes.clone());
        blocking(move || {
            let (mut holder, status) = look_at(&folder)?;
            if status.tapped != Some(false) {
                return Ok(());
            }
            let pipe = sockets::make_pipe(&folder, TAP_NAME).map_err(|error| {
                let message = format!("the pipe for what the pane shows cannot be made: {error}");
                Problem::new(ErrorKind::Failed, "no_pipe", message)
            })?;
            let shown = panes.show(&pane, Some(&pipe)).map_err(IntoProblem::into_problem)?;
            tell(&mut holder, &shown, Some(pipe))
        })
        .await?
    }

    /// What a run in a pane shows is recorded by its holder, which has to know it for that.
    pub(super) fn record_pane(&self, run: RunId) {
        let engine = self.clone();
        self.in_background(async move {
            if let Err(problem) = engine.tap(run).await {
                tracing::warn!(%run, problem = problem.message, "what a pane shows is not recorded");
            }
        });
    }

    /// Where the pane of a run is now; none if it runs elsewhere.
    pub(crate) async fn place_in_tmux(&self, run: RunId) -> Result<Option<PaneAddress>, Problem> {
        let Some(pane) = self.pane_of_run(run).await else { return Ok(None) };
        let (panes, looked_for) = (self.panes.clone(), pane.clone());
        let place = blocking(move || panes.place(&looked_for)).await?.map_err(IntoProblem::into_problem)?;
        Ok(place.window_id.map(|window_id| PaneAddress {
            socket: pane.server.socket,
            session_id: place.session_id,
            window_id,
            pane_id: pane.pane_id,
        }))
    }

    /// Takes the windows of a worker away, whose program has ended. What is not its own stays. An error means that
    /// something may be there still, and it is not forgotten.
    pub(super) async fn remove_panes_of(&self, worker: WorkerId) -> Result<(), Problem> {
        let mut panes = self.read(move |store| store.panes_of_worker(worker)).await?;
        panes.retain(|pane| !pane.gone);
        let further: Vec<PaneIdentity> =
            panes.iter().filter(|pane| pane.number != PRIMARY).map(|pane| pane.identity.clone()).collect();
        let ending: Vec<_> = inside::processes_of_panes(&further).into_iter().filter_map(process).collect();
        for Pane { number, identity, .. } in panes {
            self.remove_pane(&identity, if number == PRIMARY { &further } else { &[] }).await?;
            fault_point!("pane.removed");
            let PaneIdentity { server, pane_id, tag, .. } = identity;
            self.report(Command::RecordPaneGone { worker, server, pane_id, tag }, self.own_request()).await;
        }
        // tmux has hung up on them. What does not end of that is found by who looks next.
        for program in ending {
            let _ = tokio::time::timeout(ENDING_LIMIT, program.ended()).await;
        }
        Ok(())
    }

    /// The windows of workers that were stopped by who then had no time to take them away. A tmux that hangs holds up
    /// nobody.
    pub(super) async fn finish_stops(&self) {
        let Ok(rows) = self.read(|store| store.workers(WorkersOf::Everywhere)).await else { return };
        let were_stopped = |row: &WorkerRow| !row.panes.is_empty() && row.worker.desired == Desired::Stopped;
        for row in rows.into_iter().filter(were_stopped) {
            let engine = self.clone();
            self.in_background(async move { engine.finish_stop(row.worker.id).await });
        }
    }

    /// The same for one, if it was stopped and its run has ended, or does so now.
    pub(super) async fn finish_stop(&self, worker: WorkerId) {
        self.exit_is_recorded(worker, None).await;
        let Ok(Some(row)) = self.read(move |store| store.worker(worker)).await else { return };
        let is_live = row.latest.as_ref().is_some_and(|run| run.state.is_live());
        if is_live || row.worker.desired != Desired::Stopped {
            return;
        }
        if let Err(problem) = self.remove_panes_of(worker).await {
            tracing::warn!(%worker, problem = problem.message, "the window of a stopped worker is left");
        }
    }

    /// The panes that were added beside the workers of a lane: what runs in them is no run's, and goes with them.
    pub(super) async fn further_panes_in(&self, lane: LaneId) -> Result<Vec<PaneIdentity>, Problem> {
        let rows = self.read(move |store| store.workers(WorkersOf::Lane(lane))).await?;
        let panes = rows.into_iter().flat_map(|row| row.panes).filter(|pane| pane.number != PRIMARY);
        Ok(panes.map(|pane| pane.identity).collect())
    }

    async fn remove_pane(&self, pane: &PaneIdentity, also: &[PaneIdentity]) -> Result<(), Problem> {
        let (panes, pane, also) = (self.panes.clone(), pane.clone(), also.to_vec());
        blocking(move || panes.remove(&pane, &also)).await?.map_err(IntoProblem::into_problem)
    }

    /// The same for all workers of a lane.
    pub(super) async fn remove_panes_in(&self, lane: LaneId) -> Result<(), Problem> {
        let rows = self.read(move |store| store.workers(WorkersOf::Lane(lane))).await?;
        for row in rows.into_iter().filter(|row| !row.panes.is_empty()) {
            self.remove_panes_of(row.worker.id).await?;
        }
        Ok(())
    }

    /// The window of a worker is called as it is.
    pub(super) async fn rename_window_of(&self, worker: WorkerId, name: &Name) {
        let Ok(panes) = self.read(move |store| store.panes_of_worker(worker)).await else { return };
        let Some(pane) = panes.into_iter().find(|pane| pane.number == PRIMARY && !pane.gone) else { return };
        let (panes, name) = (self.panes.clone(), name.to_string());
        // It is only what is shown to people.
        if let Ok(Err(error)) = blocking(move || panes.rename_window(&pane.identity, &name)).await {
            tracing::warn!(%worker, error = chain(&error), "a window was not renamed");
        }
    }

    /// Follows what people do in tmux by hand, from where it was left when the daemon before ended.
    pub(crate) async fn follow_panes(self) {
        for pane in self.read(laneway_store::Store::panes).await.unwrap_or_default() {
            self.panes.look_again(pane.identity.server.socket.to_path_buf());
            if pane.number != PRIMARY {
                self.look_again_when_it_ends(&pane.identity);
            }
        }
        loop {
            let changed = self.panes.changed().await;
            for socket in changed {
                self.look_at_panes(socket).await;
            }
        }
    }

    /// Looks at the servers of further panes whose program has ended: of one that was closed since then tmux does not
    /// tell. One that does not answer soon holds nobody up, and what is recorded stays.
    pub(crate) async fn look_at_ended_panes(&self) {
        let Ok(panes) = self.read(laneway_store::Store::panes).await else { return };
        let ended =
            panes.iter().filter(|pane| pane.number != PRIMARY && program_of(&pane.identity).is_none());
        let sockets: BTreeSet<PathBuf> =
            ended.map(|pane| pane.identity.server.socket.to_path_buf()).collect();
        for socket in sockets {
            let engine = self.clone();
            let looking = tokio::spawn(async move { engine.look_at_panes(socket).await });
            // What is not seen in time is seen later.
            let _ = tokio::time::timeout(GLANCE_LIMIT, looking).await;
        }
    }

    /// Records where the panes of a server are now.
    async fn look_at_panes(&self, socket: PathBuf) {
        let Ok(mut recorded) = self.read(laneway_store::Store::panes).await else { return };
        recorded.retain(|pane| pane.identity.server.socket == OsText::from(socket.as_path()));
        if recorded.is_empty() {
            return;
        }
        let identities: Vec<PaneIdentity> = recorded.iter().map(|pane| pane.identity.clone()).collect();
        let (panes, at) = (self.panes.clone(), socket.clone());
        let places = match blocking(move || panes.places(&at, &identities)).await {
            Ok(Ok(places)) => places,
            Ok(Err(error)) => {
                tracing::info!(error = chain(&error), "it is not known where panes are");
                self.look_again_when_it_has_ended(&socket, &recorded);
                return;
            }
            Err(_) => return,
        };
        let live: HashMap<RunId, bool> = match self.read(laneway_store::Store::live_runs).await {
            Ok(runs) => {
                runs.into_iter().map(|row| (row.run.id, row.run.state == RunState::Starting)).collect()
            }
            Err(_) => return,
        };
        if places.iter().any(|place| matches!(place, Whereabouts::Unknown)) {
            self.look_again_when_it_has_ended(&socket, &recorded);
        }
        for (Pane { worker, run, identity, .. }, place) in recorded.into_iter().zip(places) {
            // One that is just being started in is not yet what its record says.
            if run.is_some_and(|run| live.get(&run).copied().unwrap_or_default()) {
                continue;
            }
            let PaneIdentity { server, pane_id, tag, place: known, .. } = identity;
            let command = match place {
                Whereabouts::At(to) if to != known => Command::MovePane { worker, server, pane_id, to },
                Whereabouts::At(_) | Whereabouts::Unknown => continue,
                Whereabouts::Gone => Command::RecordPaneGone { worker, server, pane_id, tag },
            };
            self.report(command, self.own_request()).await;
        }
    }
}

impl Engine {
    /// tmux does not tell of a pane that is closed while its window stays; the end of what runs in it does. The first
    /// pane has a holder, whose end is known anyway.
    pub(crate) fn look_again_when_it_ends(&self, pane: &PaneIdentity) {
        let Some(program) = program_of(pane) else { return };
        let (panes, socket) = (self.panes.clone(), pane.server.socket.to_path_buf());
        // Not one of the tasks that an end waits for: the next daemon looks by itself.
        tokio::spawn(async move {
            program.ended().await;
            panes.look_again(socket);
        });
    }

    /// A server that cannot be reached is perhaps just ending. The last to know of is that it has.
    fn look_again_when_it_has_ended(&self, socket: &Path, recorded: &[Pane]) {
        for pid in recorded.iter().map(|pane| pane.identity.server.pid).collect::<BTreeSet<_>>() {
            let Some(server) = process(pid) else { continue };
            let (panes, socket) = (self.panes.clone(), socket.to_owned());
            // Not one of the tasks that an end waits for: the next daemon looks by itself.
            tokio::spawn(async move {
                if tokio::time::timeout(ENDING_LIMIT, server.ended()).await.is_ok() {
                    panes.look_again(socket);
                }
            });
        }
    }
}

/// The process that tmux has started in a pane; none if that has ended.
pub(crate) fn program_of(pane: &PaneIdentity) -> Option<Watched> {
    inside::processes_of_panes(std::slice::from_ref(pane)).into_iter().next().and_then(process)
}

/// Finds the holder in a run's folder, with its status.
fn look_at(folder: &Path) -> Result<(Connection, Status), Problem> {
    let failed = |error: laneway_wire::client::ClientError| {
        Problem::new(ErrorKind::Unreachable, "holder_unreachable", chain(&error))
    };
    let (mut holder, _) = Connection::open(folder, CLIENT, HOLDER_LIMIT).map_err(failed)?;
    holder.set_read_limit(Some(HOLDER_LIMIT)).map_err(failed)?;
    match holder.ask(&ToHolder::Status).map_err(failed)? {
        FromHolder::Status(status) => Ok((holder, *status)),
        other => Err(odd(&other)),
    }
}

/// Tells a holder what its pane shows, and where more comes from.
fn tell(holder: &mut Connection, shown: &Reading, pipe: Option<PathBuf>) -> Result<(), Problem> {
    let pipe = pipe.map(|path| OsText::from(path.as_path()).as_bytes().to_vec().into());
    let size = Size { columns: shown.columns, rows: shown.rows };
    match holder.ask(&ToHolder::Tap(Tap { size, seed: shown.drawing(), pipe })) {
        Ok(FromHolder::Done) => Ok(()),
        Ok(FromHolder::Refused { code, message }) => Err(of_holder(&code, message)),
        Ok(other) => Err(odd(&other)),
        Err(error) => Err(Problem::new(ErrorKind::Unreachable, "holder_unreachable", chain(&error))),
    }
}

fn odd(message: &FromHolder) -> Problem {
    tracing::warn!(?message, "a holder answered another question");
    Problem::new(ErrorKind::Failed, "holder_failed", "the holder gave an answer to another question")
}
