//! Panes of tmux as terminals: read, typed at, split, and listed for who names one.

use std::path::{Path, PathBuf};

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::pane::{PaneIdentity, TmuxServer};
use laneway_core::target::{Owner, PaneEntry};
use laneway_tmux::{Back, NoSuchKey, PaneProgram, Reading, Side, TmuxError, TmuxKey};
use laneway_wire::message::{Send, refusal};
use laneway_wire::typing::{TerminalRefusal, check, without_paste_end};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{PaneError, Panes, as_recorded, of_record};
use crate::problem::{IntoProblem, chain, of_holder};

/// Why something was not typed at a pane.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TypeError {
    /// The pane is not there, is another one, or tmux did not do it.
    #[error(transparent)]
    Pane(#[from] PaneError),
    /// The program in it has ended.
    #[error("the program in the pane has ended")]
    Ended,
    /// There is no such key.
    #[error(transparent)]
    Key(#[from] NoSuchKey),
    /// The terminal would cut it or act upon it.
    #[error(transparent)]
    Terminal(#[from] TerminalRefusal),
    /// What the terminal would do to it could not be asked.
    #[error("the terminal {} of the pane cannot be looked at", tty.display())]
    Unknown {
        /// The terminal.
        tty: PathBuf,
        /// What the system said.
        #[source]
        source: Errno,
    },
}

impl Panes {
    /// What a pane shows.
    pub(crate) fn read(&self, pane: &PaneIdentity, back: Back, styled: bool) -> Result<Reading, PaneError> {
        let identity = of_record(pane)?;
        Ok(self.server(&identity.server.socket)?.read_pane(&identity, back, styled)?)
    }

    /// What a pane shows that is nobody's of ours.
    pub(crate) fn read_any(
        &self,
        server: &TmuxServer,
        pane_id: &str,
        back: Back,
        styled: bool,
    ) -> Result<Reading, PaneError> {
        let bad = || PaneError::Record { pane_id: pane_id.to_owned() };
        let pane = pane_id.parse().map_err(|_| bad())?;
        Ok(self.server(server.socket.as_path())?.read(pane, back, styled)?)
    }

    /// Types at a pane: the text as it is, then the keys. The text goes through a file in `folder`.
    pub(crate) fn type_at(&self, pane: &PaneIdentity, send: &Send, folder: &Path) -> Result<(), TypeError> {
        let mut keys = send.keys.iter().map(|key| TmuxKey::named(key)).collect::<Result<Vec<_>, _>>()?;
        if send.enter {
            keys.push(TmuxKey::named("enter")?);
        }
        let identity = of_record(pane)?;
        let server = self.server(&identity.server.socket).map_err(PaneError::from)?;
        // Before the text: it must not stand there without its keys.
        let seen = if keys.is_empty() { server.verify(&identity) } else { server.verify_for_keys(&identity) };
        let seen = seen.map_err(PaneError::from)?;
        if seen.is_dead {
            return Err(TypeError::Ended);
        }
        let text = if send.paste { without_paste_end(&send.text) } else { send.text.clone() };
        if !send.raw && !text.is_empty() {
            let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let tty = rustix::fs::open(&seen.tty, flags, Mode::empty());
            let mode = tty.and_then(rustix::termios::tcgetattr);
            check(&text, &mode.map_err(|source| TypeError::Unknown { tty: seen.tty, source })?)?;
        }
        server.type_text(&identity, &text, send.paste, folder).map_err(PaneError::from)?;
        if !keys.is_empty() {
            server.press(&identity, &keys).map_err(PaneError::from)?;
        }
        Ok(())
    }

    /// Adds a pane to the window of this one, and marks it so.
    pub(crate) fn split(
        &self,
        pane: &PaneIdentity,
        side: Side,
        tag: &str,
        program: &PaneProgram,
    ) -> Result<PaneIdentity, PaneError> {
        let identity = of_record(pane)?;
        let server = self.server(&identity.server.socket)?;
        let made = server.split(&identity, side, tag, program)?;
        let seen = server.verify(&made.identity)?;
        Ok(as_recorded(&made.identity.server, &seen))
    }

    /// Brings what is recorded of the panes of a server up to what is there now, for who names one: places, numbers, and
    /// panes that are nobody's. What cannot be known stays as it is recorded.
    pub(crate) fn look_for(&self, socket: &Path, recorded: &mut Vec<PaneEntry>) {
        let snapshot = match self.server(socket).map_err(PaneError::from).and_then(|it| Ok(it.snapshot()?)) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::info!(error = chain(&error), "it is not known which panes there are");
                return;
            }
        };
        let mut known = std::mem::take(recorded);
        for seen in &snapshot.panes {
            let now = as_recorded(&snapshot.server, seen);
            let owner = known.iter().find(|pane| {
                pane.pane_id == now.pane_id && pane.server == now.server && is_there(&pane.owner)
            });
            let owner =
                owner.filter(|_| !seen.tag.is_empty()).map_or(Owner::Nobody, |pane| pane.owner.clone());
            recorded.push(PaneEntry {
                server: now.server,
                near: false,
                pane_id: now.pane_id,
                pane_index: Some(seen.pane_index),
                place: now.place,
                owner,
                // One of several in a window says its lane too.
                shows: seen.viewer.split(' ').next().and_then(|worker| worker.parse().ok()),
            });
        }
        for pane in &mut known {
            if pane.server.socket.as_path() == socket
                && let Owner::Worker { gone, .. } = &mut pane.owner
                && !recorded.iter().any(|seen| seen.pane_id == pane.pane_id && seen.server == pane.server)
            {
                *gone = true;
            }
        }
        known.retain(|pane| pane.server.socket.as_path() != socket || !is_there(&pane.owner));
        recorded.append(&mut known);
    }
}

const fn is_there(owner: &Owner) -> bool {
    match owner {
        Owner::Worker { gone, .. } => !*gone,
        Owner::Elsewhere { .. } | Owner::Nobody => true,
    }
}

impl IntoProblem for TypeError {
    fn into_problem(self) -> Problem {
        let message = chain(&self);
        match self {
            TypeError::Pane(PaneError::Tmux(TmuxError::Gone { .. })) | TypeError::Ended => {
                of_holder(refusal::ENDED, message)
            }
            TypeError::Pane(error) => error.into_problem(),
            TypeError::Key(_) => of_holder(refusal::UNKNOWN_KEY, message),
            TypeError::Terminal(refused) => of_holder(refused.code(), message),
            TypeError::Unknown { .. } => Problem::new(ErrorKind::Failed, "no_terminal_mode", message)
                .hint("--raw types it without that look"),
        }
    }
}
