//! tmux, which is looked for when it is needed first; all else works without it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_tmux::{Server, Tmux, TmuxError, TmuxUnusable};

use crate::problem::{IntoProblem, chain};

/// What leaving all servers may take: a tmux that hangs must not keep a daemon from ending.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// The tmux of this machine. None until one was found: who installs it need not restart anything.
#[derive(Debug, Default)]
pub(crate) struct TmuxHere(Mutex<Option<Tmux>>);

impl TmuxHere {
    /// The server at a socket, whether one runs there or not.
    pub(crate) fn server(&self, socket: &Path) -> Result<Server, TmuxUnusable> {
        let mut tmux = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tmux) = &*tmux {
            return Ok(tmux.server(socket));
        }
        Ok(tmux.insert(Tmux::find(std::env::vars_os())?).server(socket))
    }

    /// Leaves all servers, before this daemon ends.
    pub(crate) fn leave(&self) {
        if let Some(tmux) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            tmux.leave(LEAVE_LIMIT);
        }
    }
}

impl IntoProblem for TmuxUnusable {
    fn into_problem(self) -> Problem {
        let (code, hint) = match &self {
            Self::NotFound => {
                ("tmux_missing", "install the package tmux, or use lane attach, which needs none")
            }
            Self::TooOld { .. } => {
                ("tmux_too_old", "install a newer tmux, or use lane attach, which needs none")
            }
            _ => ("tmux_unusable", "tmux -V"),
        };
        Problem::new(ErrorKind::Failed, code, chain(&self)).hint(hint)
    }
}

impl IntoProblem for TmuxError {
    fn into_problem(self) -> Problem {
        let message = chain(&self);
        let problem = |kind, code| Problem::new(kind, code, message.clone());
        match &self {
            Self::NoServer { socket } => problem(ErrorKind::Unreachable, "tmux_not_running")
                .hint(format!("tmux -S {} ls", socket.display())),
            Self::NotResponding { .. } => problem(ErrorKind::Unreachable, "tmux_silent")
                .hint("ps -C tmux -o pid,stat,args; kill -CONT PID has one that is stopped (T) go on"),
            Self::ServerHidden { pid, .. } => problem(ErrorKind::Unreachable, "tmux_hidden")
                .hint(format!("kill -USR1 {pid} has it make its socket again, once the other has ended")),
            Self::Disconnected { .. } | Self::BadProtocol { .. } => {
                problem(ErrorKind::Unreachable, "tmux_disconnected").hint("repeat it")
            }
            Self::ServerTooOld { .. } => problem(ErrorKind::Failed, "tmux_too_old").hint(
                "a server that was started before an upgrade goes on as it is until its last session ends",
            ),
            Self::Gone { .. } => problem(ErrorKind::NotFound, "pane_gone").hint("lane ps"),
            Self::Untrusted { socket, .. } => problem(ErrorKind::Refused, "tmux_untrusted").hint(format!(
                "ls -ld {}; or name another socket: --tmux-socket",
                socket.parent().unwrap_or(socket).display()
            )),
            Self::Synchronized { pane } => problem(ErrorKind::Refused, "pane_synchronized")
                .hint(format!("tmux set-option -t {pane} synchronize-panes off")),
            Self::Stale { .. } => problem(ErrorKind::Refused, "pane_stale").hint("lane ps"),
            _ => problem(ErrorKind::Failed, "tmux_failed"),
        }
    }
}
