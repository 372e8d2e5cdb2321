//! Windows of tmux that show workers whose terminal a holder has: `lane attach` runs in each.
//!
//! A window is ours by the mark that its pane was born with, whatever people call it and wherever they move it; one
//! without the mark is never touched. Nothing of it is recorded: whoever closes such a window has only left.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::tmux::{Spread, Synced, TmuxPlace, ViewerView};
use laneway_api::view::{TerminalKind, WorkerView};
use laneway_core::id::{LaneId, WorkerId};
use laneway_core::name::Name;
use laneway_core::os_text::OsText;
use laneway_core::worker::WorkerStatus;
use laneway_tmux::{Made, Mark, PaneId, PaneProgram, PaneSeen, Server, SessionId, Snapshot, TmuxError};

use crate::engine::{Engine, blocking, not_found};
use crate::home::HOME_VARIABLE;
use crate::problem::IntoProblem;

/// The session of viewers whose caller is in none.
const SESSION: &str = "laneway";

/// Variables that say where Laneway's things are: what is attached with has to find the same as this daemon.
const PLACES: [&str; 4] = ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"];

/// Held while windows are made or closed, so that two who ask for them at once do not get two each. tmux's own limit
/// bounds it.
#[derive(Debug, Default)]
pub(crate) struct Viewing(Mutex<()>);

/// A worker that can be shown.
struct Shown {
    id: WorkerId,
    name: Name,
    program: PaneProgram,
}

/// Whose pane it is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct MarkSeen {
    worker: WorkerId,
    /// It is one of the panes of this lane's window.
    lane: Option<LaneId>,
}

impl MarkSeen {
    /// None if the pane shows no worker, or shows one no more: its mark outlives what was started in it, and a person can
    /// start something else there.
    fn of(seen: &PaneSeen) -> Option<Self> {
        let (worker, lane) = match seen.viewer.split_once(' ') {
            Some((worker, lane)) => (worker, Some(lane.parse().ok()?)),
            None => (&*seen.viewer, None),
        };
        let mark = Self { worker: worker.parse().ok()?, lane };
        (seen.is_dead || attaches(seen.pid, worker)).then_some(mark)
    }
}

/// This process is `lane attach` of this worker.
fn attaches(pid: u32, worker: &str) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0).skip(1);
    words.next() == Some(b"attach") && words.next() == Some(worker.as_bytes())
}

impl Engine {
    /// Gives every worker of the caller's repository whose terminal a holder has a window, and closes those of workers
    /// that have ended.
    pub(crate) async fn sync_viewers(&self, cwd: &OsText, place: TmuxPlace) -> Result<Synced, Problem> {
        let shown = match self.known_workspace(cwd).await? {
            Some(workspace) => {
                self.to_be_shown(self.worker_views(workspace.id, false).await?, &workspace.root)
            }
            None => Vec::new(),
        };
        let server = self.tmux_server(&place).await?;
        let (looked_in, pane) = (server.clone(), place.pane.clone());
        let (session, marked) = in_tmux(move || {
            let session = session_of(&looked_in, pane.as_deref())?;
            let marked: HashSet<WorkerId> =
                looked_in.snapshot()?.panes.iter().filter_map(MarkSeen::of).map(|mark| mark.worker).collect();
            Ok((session, marked))
        })
        .await?;
        let ended = self.ended_among(marked).await?;
        let engine = self.clone();
        in_tmux(move || {
            let _alone = engine.viewing.0.lock().unwrap_or_else(PoisonError::into_inner);
            sync(&server, session, &shown, &ended, place.socket).map_err(Into::into)
        })
        .await
    }

    /// Shows all workers of a lane whose terminal a holder has, side by side in one window.
    pub(crate) async fn spread(&self, lane: LaneId, place: TmuxPlace) -> Result<Spread, Problem> {
        let lane = self.lane_by_id(lane).await?;
        let workspace = self
            .read(move |store| store.workspace(lane.workspace))
            .await?
            .ok_or_else(|| not_found("workspace", &lane.workspace))?;
        let shown = self.to_be_shown(lane.workers, &workspace.root);
        if shown.is_empty() {
            let message = format!("nothing runs in lane {} on a terminal that could be shown", lane.name);
            return Err(Problem::new(ErrorKind::Refused, "nothing_to_show", message)
                .hint(format!("lane run {} -- COMMAND", lane.name)));
        }
        let server = self.tmux_server(&place).await?;
        let engine = self.clone();
        in_tmux(move || {
            let session = session_of(&server, place.pane.as_deref())?;
            let _alone = engine.viewing.0.lock().unwrap_or_else(PoisonError::into_inner);
            spread(&server, session, (lane.id, &lane.name), &shown, place.socket)
        })
        .await
    }

    async fn tmux_server(&self, place: &TmuxPlace) -> Result<Server, Problem> {
        let (engine, socket) = (self.clone(), place.socket.to_path_buf());
        if !socket.is_absolute() {
            let message = format!("the socket {} is not an absolute path", socket.display());
            return Err(Problem::new(ErrorKind::Usage, "bad_socket", message));
        }
        blocking(move || engine.tmux.server(&socket)).await?.map_err(IntoProblem::into_problem)
    }

    /// The windows stand in the repository's `root`: one in the lane's folder would be a program of somebody's in it,
    /// and the lane could not be closed.
    fn to_be_shown(&self, workers: Vec<WorkerView>, root: &OsText) -> Vec<Shown> {
        let is_shown = |worker: &WorkerView| {
            let terminal = worker.terminal;
            worker.status == WorkerStatus::Running && terminal.tty && terminal.kind == TerminalKind::Holder
        };
        let workers = workers.into_iter().filter(is_shown);
        workers.filter_map(|worker| Some(self.shown(worker.id, worker.name?, root))).collect()
    }

    fn shown(&self, id: WorkerId, name: Name, root: &OsText) -> Shown {
        let places = PLACES.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let home = (HOME_VARIABLE.into(), self.home.root().into());
        let program = PaneProgram {
            arguments: vec![self.lane_program().into(), "attach".into(), id.to_string().into()],
            folder: root.to_path_buf(),
            environment: places.chain([home]).collect(),
        };
        Shown { id, name, program }
    }

    /// Those of these workers that have ended for good; one that this home does not know is somebody else's.
    async fn ended_among(&self, workers: HashSet<WorkerId>) -> Result<HashMap<WorkerId, Name>, Problem> {
        let rows = self
            .read(move |store| workers.into_iter().map(|id| store.worker(id)).collect::<Result<Vec<_>, _>>())
            .await?;
        let ended = rows.into_iter().flatten().filter_map(|row| {
            let status = row.worker.status(row.latest.map(|run| self.as_known(run)).as_ref());
            let is_over = match status {
                WorkerStatus::Stopped | WorkerStatus::Failed => true,
                WorkerStatus::Starting
                | WorkerStatus::Running
                | WorkerStatus::Stopping
                | WorkerStatus::Backoff => false,
            };
            is_over.then_some((row.worker.id, row.worker.name?))
        });
        Ok(ended.collect())
    }
}

/// What is wrong with tmux, or with where in it something was to be done.
enum Trouble {
    Tmux(TmuxError),
    Place(Problem),
}

impl From<TmuxError> for Trouble {
    fn from(error: TmuxError) -> Self {
        Self::Tmux(error)
    }
}

async fn in_tmux<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Problem> {
    blocking(work).await?.map_err(|trouble| match trouble {
        Trouble::Tmux(error) => error.into_problem(),
        Trouble::Place(problem) => problem,
    })
}

/// The session that the caller's pane is in, or the one for callers that are in none.
fn session_of(server: &Server, pane: Option<&str>) -> Result<SessionId, Trouble> {
    let Some(pane) = pane else { return Ok(server.session(SESSION)?) };
    let found = pane.parse::<PaneId>().ok();
    let snapshot = server.snapshot()?;
    found.and_then(|pane| snapshot.pane(pane)).map(|seen| seen.session).ok_or_else(|| {
        let message = format!("the tmux server at {} has no pane {pane}", server.socket().display());
        Trouble::Place(
            Problem::new(ErrorKind::NotFound, "no_such_pane", message).hint("env -u TMUX lane tmux sync"),
        )
    })
}

fn sync(
    server: &Server,
    session: SessionId,
    shown: &[Shown],
    ended: &HashMap<WorkerId, Name>,
    socket: OsText,
) -> Result<Synced, TmuxError> {
    let snapshot = server.snapshot()?;
    let mut synced =
        Synced { socket, session: name_of(&snapshot, session), opened: vec![], kept: vec![], closed: vec![] };
    let mut closed = HashSet::new();
    for seen in &snapshot.panes {
        let Some((mark, name)) = MarkSeen::of(seen).and_then(|mark| Some((mark, ended.get(&mark.worker)?)))
        else {
            continue;
        };
        // One in a window that is linked is seen more than once.
        if closed.insert(seen.pane) {
            server.close_viewer(&snapshot.server, seen)?;
            synced.closed.push(view_of(mark.worker, name, seen));
        }
    }
    for Shown { id, name, program } in shown {
        let own = Some(MarkSeen { worker: *id, lane: None });
        let window = snapshot.panes.iter().find(|seen| seen.session == session && MarkSeen::of(seen) == own);
        if let Some(seen) = window {
            synced.kept.push(view_of(*id, name, seen));
            continue;
        }
        let mark = id.to_string();
        let made = server.new_window(session, name.as_str(), Mark::Viewer(&mark), program, false)?;
        synced.opened.push(view_of_made(*id, name, &made));
    }
    Ok(synced)
}

fn spread(
    server: &Server,
    session: SessionId,
    (lane, lane_name): (LaneId, &Name),
    shown: &[Shown],
    socket: OsText,
) -> Result<Spread, Trouble> {
    let snapshot = server.snapshot()?;
    let is_of_lane = |seen: &&PaneSeen| {
        seen.session == session && MarkSeen::of(seen).is_some_and(|mark| mark.lane == Some(lane))
    };
    let first = snapshot.panes.iter().find(is_of_lane);
    let there: HashMap<WorkerId, &PaneSeen> = snapshot
        .panes
        .iter()
        .filter(is_of_lane)
        .filter(|seen| Some(seen.window) == first.map(|first| first.window))
        .filter_map(|seen| Some((MarkSeen::of(seen)?.worker, seen)))
        .collect();
    let (mut opened, mut kept, mut left_out) = (vec![], vec![], vec![]);
    let mut beside = first.map(|seen| (snapshot.identity(seen), seen.window_name.clone()));
    for Shown { id, name, program } in shown {
        if let Some(seen) = there.get(id) {
            kept.push(view_of(*id, name, seen));
            continue;
        }
        let mark = format!("{id} {lane}");
        let made = match &beside {
            Some((beside, _)) => server.add_viewer(beside, &mark, program),
            None => server.new_window(session, lane_name.as_str(), Mark::Viewer(&mark), program, false),
        };
        match made {
            Ok(made) => {
                opened.push(view_of_made(*id, name, &made));
                beside.get_or_insert((made.identity, lane_name.to_string()));
            }
            Err(TmuxError::NoRoom { .. }) => left_out.push(name.clone()),
            Err(error) => return Err(error.into()),
        }
    }
    let (window, window_name) = beside.expect("one that is shown was there or was opened");
    Ok(Spread {
        socket,
        session: name_of(&snapshot, session),
        window_id: window.window.map(|id| id.to_string()).unwrap_or_default(),
        window_name,
        opened,
        kept,
        left_out,
    })
}

fn name_of(snapshot: &Snapshot, session: SessionId) -> String {
    let seen = snapshot.panes.iter().find(|seen| seen.session == session);
    seen.map_or_else(|| session.to_string(), |seen| seen.session_name.clone())
}

fn view_of(worker: WorkerId, name: &Name, seen: &PaneSeen) -> ViewerView {
    ViewerView {
        worker,
        name: name.clone(),
        window_id: seen.window.to_string(),
        window_name: seen.window_name.clone(),
        pane_id: seen.pane.to_string(),
    }
}

fn view_of_made(worker: WorkerId, name: &Name, made: &Made) -> ViewerView {
    let identity = &made.identity;
    ViewerView {
        worker,
        name: name.clone(),
        window_id: identity.window.map(|id| id.to_string()).unwrap_or_default(),
        window_name: identity.window_name.clone(),
        pane_id: identity.pane.to_string(),
    }
}
