//! Panes of tmux, as the daemon uses them: opened, used again, removed, looked at.
//!
//! Everything here blocks, at most for tmux's own limit, and nothing is
//! done to a pane that was not looked at before and found to be the one that is recorded.

mod hearing;
mod using;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::id::RunId;
use laneway_core::os_text::OsText;
use laneway_core::pane::{PaneIdentity, PanePlace, TmuxServer};
use laneway_core::run::Exit;
use laneway_tmux::{Back, Mark, PaneProgram, PaneSeen, Reading, Removed, Server, ServerIdentity};
use laneway_tmux::{TmuxError, TmuxUnusable};
use laneway_wire::own::is_holder;
use tokio::sync::Notify;

use crate::engine::run_of_holder;
use crate::problem::{IntoProblem, chain};
use crate::tmux::TmuxHere;

pub(crate) use hearing::{Ear, HearError};

/// The session of workers whose caller was in no session.
const SESSION: &str = "laneway";

/// How much of what has scrolled off is taken over from a pane, in rows: what tmux itself keeps by default.
const ROWS_BACK: u32 = 2_000;

/// Why something was not done in tmux.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaneError {
    /// There is no tmux, or too old a one.
    #[error(transparent)]
    Unusable(#[from] TmuxUnusable),
    /// tmux did not do it.
    #[error(transparent)]
    Tmux(#[from] TmuxError),
    /// What is recorded of a pane is nothing that tmux could have said.
    #[error("what is recorded of the pane {pane_id} makes no sense")]
    Record {
        /// The pane's id.
        pane_id: String,
    },
}

impl PaneError {
    /// tmux has not said no: what it was asked may be done, now or when it goes on.
    pub(crate) fn may_be_done(&self) -> bool {
        matches!(self, PaneError::Tmux(TmuxError::NotResponding { .. } | TmuxError::Disconnected { .. }))
    }
}

/// tmux, and what its servers tell.
#[derive(Clone)]
pub(crate) struct Panes(Arc<Inner>);

struct Inner {
    tmux: Arc<TmuxHere>,
    /// Servers that are listened to.
    followed: Mutex<HashSet<PathBuf>>,
    /// Servers in which something has changed, by their sockets.
    changed: Mutex<BTreeSet<PathBuf>>,
    has_changed: Notify,
    /// Further panes that are listened to.
    ears: tokio::sync::Mutex<HashMap<hearing::Key, Weak<Ear>>>,
}

/// A pane that is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The server's socket.
    pub(crate) socket: PathBuf,
    /// The session's name.
    pub(crate) session: Option<String>,
    /// What its window is called.
    pub(crate) window: String,
    /// Whose it is.
    pub(crate) run: RunId,
    /// What runs in it.
    pub(crate) program: PaneProgram,
    /// The pane of the run before, which is used again if it is still there.
    pub(crate) former: Option<PaneIdentity>,
}

impl Panes {
    /// The panes of this tmux.
    pub(crate) fn new(tmux: Arc<TmuxHere>) -> Self {
        let (followed, changed, has_changed) = (Mutex::default(), Mutex::default(), Notify::new());
        let ears = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { tmux, followed, changed, has_changed, ears }))
    }

    /// Waits until something has changed in servers; gives their sockets.
    pub(crate) async fn changed(&self) -> BTreeSet<PathBuf> {
        loop {
            let changed = std::mem::take(&mut *lock(&self.0.changed));
            if !changed.is_empty() {
                return changed;
            }
            self.0.has_changed.notified().await;
        }
    }

    /// Has [`Self::changed`] tell a server.
    pub(crate) fn look_again(&self, socket: PathBuf) {
        lock(&self.0.changed).insert(socket);
        self.0.has_changed.notify_one();
    }

    /// The server at a socket, whether one is there or not. What it tells is listened to from the first time on.
    fn server(&self, socket: &Path) -> Result<Server, TmuxUnusable> {
        let server = self.0.tmux.server(socket)?;
        if lock(&self.0.followed).insert(socket.to_owned()) {
            // By a weak hand: the connection, which has it, must not keep what keeps the connection.
            let panes = Arc::downgrade(&self.0);
            let socket = socket.to_owned();
            server.on_event(move |_| {
                if let Some(inner) = panes.upgrade() {
                    Panes(inner).look_again(socket.clone());
                }
            });
        }
        Ok(server)
    }

    /// Starts a program in a pane: in the one before if that is still there, else in a window of its own.
    pub(crate) fn open(&self, wanted: &Wanted) -> Result<PaneIdentity, PaneError> {
        let server = self.server(&wanted.socket)?;
        let run = wanted.run.to_string();
        let again = match &wanted.former {
            Some(former) => match server.respawn(&of_record(former)?, &run, &wanted.program) {
                Ok(made) => Some(made),
                Err(TmuxError::Gone { .. } | TmuxError::Stale { .. } | TmuxError::NoServer { .. }) => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let made = if let Some(made) = again {
            made
        } else {
            let session = server.session(wanted.session.as_deref().unwrap_or(SESSION))?;
            server.new_window(session, &wanted.window, Mark::Run(&run), &wanted.program, true)?
        };
        let seen = match server.verify(&made.identity) {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(%run, error = chain(&error), "a pane that was just made is not as it was made");
                return Err(error.into());
            }
        };
        Ok(as_recorded(&made.identity.server, &seen))
    }

    /// Removes a pane, and its window if nothing else is in it but `also`, of the same worker. One that is gone, or
    /// whose id is another's by now, is fine.
    pub(crate) fn remove(&self, pane: &PaneIdentity, also: &[PaneIdentity]) -> Result<(), PaneError> {
        let identity = of_record(pane)?;
        let also = also.iter().map(of_record).collect::<Result<Vec<_>, _>>()?;
        let server = match self.server(&identity.server.socket) {
            Ok(server) => server,
            // Without tmux nobody can look; without the server there is nothing to see.
            Err(_) if !identity.server.is_alive() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match server.remove(&identity, &also) {
            Ok(Removed::Window | Removed::Pane | Removed::AlreadyGone) => {}
            Err(error @ TmuxError::Stale { .. }) => {
                tracing::info!(pane = pane.pane_id, error = chain(&error), "a pane is left alone");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Removes what a start has left of a run whose program never was: no two runs have one id. Its holder has waited in
    /// vain, or still does.
    pub(crate) fn remove_remains(&self, socket: &Path, run: RunId) -> Result<(), PaneError> {
        let tag = run.to_string();
        let waits = |pid| is_holder(pid) && run_of_holder(pid) == Some(run);
        let is_left = |seen: &PaneSeen| seen.tag == tag && seen.is_dead || !seen.is_dead && waits(seen.pid);
        match self.find(socket, is_left)? {
            Some((pane, _)) => self.remove(&pane, &[]),
            None => Ok(()),
        }
    }

    /// What has become of the pane that was added with this mark, which no other ever had. It may be recorded or not.
    pub(crate) fn find_added(&self, socket: &Path, tag: &str) -> Result<Added, PaneError> {
        let Some((pane, seen)) = self.find(socket, |seen| seen.tag == tag)? else {
            return Ok(Added::Nowhere);
        };
        Ok(match (seen.is_as_made(), seen.is_dead) {
            (true, false) => Added::AsMade(pane),
            (true, true) => Added::Ended(pane),
            (false, _) => Added::Changed(pane),
        })
    }

    /// The first pane of which this holds, as it is now.
    fn find(
        &self,
        socket: &Path,
        is_it: impl Fn(&PaneSeen) -> bool,
    ) -> Result<Option<(PaneIdentity, PaneSeen)>, PaneError> {
        // Nobody is there who could have it.
        if !socket.exists() {
            return Ok(None);
        }
        let server = self.server(socket)?;
        let snapshot = match server.snapshot() {
            Err(TmuxError::NoServer { .. }) => return Ok(None),
            snapshot => snapshot?,
        };
        let seen = snapshot.panes.into_iter().find(is_it);
        Ok(seen.map(|seen| (as_recorded(&snapshot.server, &seen), seen)))
    }

    /// Gives a pane's window another name.
    pub(crate) fn rename_window(&self, pane: &PaneIdentity, name: &str) -> Result<(), PaneError> {
        let identity = of_record(pane)?;
        Ok(self.server(&identity.server.socket)?.rename_window(&identity, name)?)
    }

    /// What a pane shows; with a pipe, all that comes after that goes there too.
    pub(crate) fn show(&self, pane: &PaneIdentity, pipe: Option<&Path>) -> Result<Reading, PaneError> {
        let identity = of_record(pane)?;
        let server = self.server(&identity.server.socket)?;
        let back = Back::Rows(ROWS_BACK);
        Ok(match pipe {
            Some(pipe) => server.tap(&identity, pipe, back)?,
            None => server.read_pane(&identity, back, true)?,
        })
    }

    /// Where a pane is now.
    pub(crate) fn place(&self, pane: &PaneIdentity) -> Result<PanePlace, PaneError> {
        let identity = of_record(pane)?;
        let seen = self.server(&identity.server.socket)?.verify(&identity)?;
        Ok(as_recorded(&identity.server, &seen).place)
    }

    /// Where a pane is now, and how its program has ended, if it has: [`Exit::Lost`] if tmux does not tell.
    pub(crate) fn look(&self, pane: &PaneIdentity) -> Result<(PanePlace, Option<Exit>), PaneError> {
        let identity = of_record(pane)?;
        let seen = self.server(&identity.server.socket)?.verify(&identity)?;
        let exit = seen.is_dead.then(|| match (seen.dead_status, seen.dead_signal) {
            (_, Some(signal)) => Exit::Signal { signal },
            (Some(status), None) => u8::try_from(status).map_or(Exit::Lost, |code| Exit::Code { code }),
            (None, None) => Exit::Lost,
        });
        Ok((as_recorded(&identity.server, &seen).place, exit))
    }

    /// Where each of these panes of the server at `socket` is now. An error means that it is known of none.
    pub(crate) fn places(
        &self,
        socket: &Path,
        panes: &[PaneIdentity],
    ) -> Result<Vec<Whereabouts>, PaneError> {
        let identities = panes.iter().map(of_record).collect::<Result<Vec<_>, _>>()?;
        let snapshot = match self.server(socket).map_err(PaneError::from).and_then(|it| Ok(it.snapshot()?)) {
            Ok(snapshot) => Some(snapshot),
            Err(error) if identities.iter().any(|identity| identity.server.is_alive()) => return Err(error),
            Err(_) => None,
        };
        let place = |identity: &laneway_tmux::PaneIdentity| {
            let Some(snapshot) = &snapshot else { return Whereabouts::Gone };
            match snapshot.verify(identity) {
                Ok(seen) => Whereabouts::At(as_recorded(&snapshot.server, seen).place),
                Err(TmuxError::Gone { .. }) => Whereabouts::Gone,
                // Somebody has started something else in it, or has taken our mark from it.
                Err(TmuxError::Stale { .. }) if !is_there(identity.pane_pid) => Whereabouts::Gone,
                // Another server has come to its server's socket.
                Err(_) => Whereabouts::Unknown,
            }
        };
        Ok(identities.iter().map(place).collect())
    }
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// What has become of a pane that was added beside a worker.
#[derive(Debug)]
pub(crate) enum Added {
    /// It was never made, or is closed.
    Nowhere,
    /// What was started in it is alive.
    AsMade(PaneIdentity),
    /// What was started in it has ended.
    Ended(PaneIdentity),
    /// Somebody has started something else in it.
    Changed(PaneIdentity),
}

/// Where a pane is, as far as it can be known.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    At(PanePlace),
    Gone,
    Unknown,
}

/// None of what is kept here can be half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As it is recorded, for tmux.
fn of_record(pane: &PaneIdentity) -> Result<laneway_tmux::PaneIdentity, PaneError> {
    let PaneIdentity { server, place, pane_id, pane_pid, tag } = pane;
    let read = || {
        let window = place.window_id.as_deref().map(str::parse).transpose().ok()?;
        Some(laneway_tmux::PaneIdentity {
            server: ServerIdentity {
                pid: server.pid,
                start_ticks: server.start_time,
                boot_id: server.boot_id.clone(),
                socket: server.socket.to_path_buf(),
            },
            session: place.session_id.parse().ok()?,
            window,
            window_name: place.window_name.clone(),
            pane: pane_id.parse().ok()?,
            pane_pid: *pane_pid,
            tag: tag.clone(),
        })
    };
    read().ok_or_else(|| PaneError::Record { pane_id: pane_id.clone() })
}

/// As it was seen, for the record.
fn as_recorded(server: &ServerIdentity, seen: &PaneSeen) -> PaneIdentity {
    PaneIdentity {
        server: TmuxServer {
            socket: OsText::from(server.socket.as_path()),
            pid: server.pid,
            start_time: server.start_ticks,
            boot_id: server.boot_id.clone(),
        },
        place: PanePlace {
            session_id: seen.session.to_string(),
            session: seen.session_name.clone(),
            window_id: Some(seen.window.to_string()),
            window_name: seen.window_name.clone(),
        },
        pane_id: seen.pane.to_string(),
        pane_pid: seen.pid,
        tag: seen.tag.clone(),
    }
}

impl IntoProblem for PaneError {
    fn into_problem(self) -> Problem {
        match self {
            PaneError::Unusable(error) => error.into_problem(),
            PaneError::Tmux(error) => error.into_problem(),
            PaneError::Record { .. } => {
                Problem::new(ErrorKind::Refused, "pane_stale", chain(&self)).hint("lane ps")
            }
        }
    }
}
