//! What is written in a pane that no holder knows: that something is, not what. tmux gives a pane's output to one pipe,
//! so that all who wait for it share an ear; with the last of them the pipe goes.

use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use laneway_core::pane::PaneIdentity;
use laneway_core::run::Exit;
use laneway_tmux::{Back, TmuxError};
use laneway_wire::sockets::make_pipe;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::{PaneError, Panes, of_record};
use crate::problem::chain;

/// How much is taken from the pipe at once: what the kernel keeps in it.
const CHUNK: usize = 64 * 1024;

/// Which pane: its server's process and its id. Both are somebody else's only after the server has ended, and then
/// nobody waits for it.
pub(super) type Key = (u32, String);

/// Somebody listens to a pane.
pub(crate) struct Ear {
    panes: Panes,
    pane: PaneIdentity,
    pipe: PathBuf,
    reading: AbortHandle,
    written: watch::Receiver<u64>,
}

impl Ear {
    /// Changes whenever something is written from now on; is over when the pipe was taken away.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.reading.abort();
        let (panes, pane, pipe) = (self.panes.clone(), self.pane.clone(), std::mem::take(&mut self.pipe));
        // Without a runtime the daemon is gone: then tmux's command ends with the first that is written.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { panes.close_ear(pane, pipe).await });
        }
    }
}

/// Why nobody can listen to a pane.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HearError {
    /// tmux did not do it, or the pane is not there.
    #[error(transparent)]
    Pane(#[from] PaneError),
    /// There is no pipe.
    #[error("the pipe for what the pane shows cannot be made")]
    Pipe(#[source] std::io::Error),
    /// The daemon ends.
    #[error("the daemon is ending")]
    Ending,
}

impl Panes {
    /// Listens to a pane, through a named pipe in `folder`.
    pub(crate) async fn listen(&self, pane: &PaneIdentity, folder: &Path) -> Result<Arc<Ear>, HearError> {
        // Held until tmux has answered: no two are at the pipe of one pane.
        let mut ears = self.0.ears.lock().await;
        ears.retain(|_, ear| ear.strong_count() > 0);
        if let Some(ear) = ears.get(&key(pane)).and_then(Weak::upgrade).filter(|ear| ear.is_open()) {
            return Ok(ear);
        }
        let (panes, tapped, folder) = (self.clone(), pane.clone(), folder.to_owned());
        let tap = move || {
            let name = format!("tap-{}", tapped.pane_id.trim_start_matches('%'));
            let path = make_pipe(&folder, &name).map_err(HearError::Pipe)?;
            let receiver = pipe::OpenOptions::new().open_receiver(&path).map_err(HearError::Pipe)?;
            let tapped = of_record(&tapped).and_then(|identity| {
                Ok(panes.server(&identity.server.socket)?.tap(&identity, &path, Back::Screen)?)
            });
            if let Err(error) = tapped {
                let _ = std::fs::remove_file(&path);
                return Err(HearError::Pane(error));
            }
            Ok((path, receiver))
        };
        // The runtime has to be known there: the pipe is watched by it.
        let begun = tokio::task::spawn_blocking(tap).await.map_err(|_| HearError::Ending)?;
        let (pipe, receiver) = begun?;
        let (tell, written) = watch::channel(0);
        let reading = tokio::spawn(read_on(receiver, tell)).abort_handle();
        let ear = Arc::new(Ear { panes: self.clone(), pane: pane.clone(), pipe, reading, written });
        ears.insert(key(pane), Arc::downgrade(&ear));
        Ok(ear)
    }

    /// Has the pipe of an ear that nobody has any more closed, if there is no other by now.
    async fn close_ear(&self, pane: PaneIdentity, pipe: PathBuf) {
        let mut ears = self.0.ears.lock().await;
        let other = ears.get(&key(&pane)).and_then(Weak::upgrade);
        if other.as_ref().is_none_or(|other| other.pipe != pipe) {
            let _ = std::fs::remove_file(&pipe);
        }
        if other.is_some() {
            return;
        }
        ears.remove(&key(&pane));
        let panes = self.clone();
        let closed = tokio::task::spawn_blocking(move || {
            let identity = of_record(&pane)?;
            Ok::<_, PaneError>(panes.server(&identity.server.socket)?.untap(&identity)?)
        });
        if let Ok(Err(error)) = closed.await
            && !matches!(error, PaneError::Tmux(TmuxError::Gone { .. } | TmuxError::NoServer { .. }))
        {
            tracing::info!(error = chain(&error), "the pipe of a pane is not closed");
        }
    }

    /// How the program in a pane has ended; none while it is alive. Somebody may have closed the pane.
    pub(crate) fn exit_in(&self, pane: &PaneIdentity) -> Result<Option<Exit>, PaneError> {
        match self.look(pane) {
            Ok((_, exit)) => Ok(exit),
            Err(PaneError::Tmux(
                TmuxError::Gone { .. } | TmuxError::Stale { .. } | TmuxError::NoServer { .. },
            )) => Ok(Some(Exit::ClosedByHand)),
            Err(error) => Err(error),
        }
    }
}

impl Ear {
    /// The pipe is there.
    fn is_open(&self) -> bool {
        self.written.has_changed().is_ok()
    }
}

fn key(pane: &PaneIdentity) -> Key {
    (pane.server.pid, pane.pane_id.clone())
}

/// Takes what comes, and tells that it came. Over when tmux has closed its end.
async fn read_on(receiver: pipe::Receiver, tell: watch::Sender<u64>) {
    let mut chunk = vec![0; CHUNK];
    let mut n_written = 0_u64;
    while receiver.readable().await.is_ok() {
        match receiver.try_read(&mut chunk) {
            Ok(0) => return,
            Ok(n) => {
                n_written += n as u64;
                tell.send_replace(n_written);
            }
            Err(error) if error.kind() == IoErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
