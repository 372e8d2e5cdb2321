//! All panes of a server at one moment, from one command, and which of them is the one that was recorded.

use std::path::PathBuf;

use crate::error::TmuxError;
use crate::ids::{PaneId, PaneIdentity, ServerIdentity, SessionId, WindowId};
use crate::left::CONTROL_SESSION;

/// What stands before each pane: titles may hold line feeds.
const RECORD: char = '\u{1e}';
/// What stands between two fields: names may hold anything that people type, but tmux writes control characters in
/// them as octal numbers.
const FIELD: char = '\u{1f}';

/// The option of a session that Laneway made for its workers.
pub(crate) const OUR_SESSION: &str = "@laneway-session";

/// What is asked of each pane; what may hold anything comes last.
pub(crate) const FIELDS: &str = "\u{1e}#{session_id}\u{1f}#{window_id}\u{1f}#{pane_id}\u{1f}#{pane_pid}\u{1f}\
    #{pane_tty}\u{1f}#{pane_dead}\u{1f}#{pane_dead_status}\u{1f}#{pane_dead_signal}\u{1f}#{window_index}\u{1f}\
    #{pane_index}\u{1f}#{window_active}\u{1f}#{pane_active}\u{1f}#{pane_width}\u{1f}#{pane_height}\u{1f}\
    #{session_windows}\u{1f}#{session_attached}\u{1f}#{pane_pipe}\u{1f}#{@laneway-tap}\u{1f}#{@laneway-made}\u{1f}#{@laneway}\u{1f}#{@laneway-viewer}\u{1f}#{@laneway-session}\u{1f}\
    #{pane_synchronized}\u{1f}\
    #{session_name}\u{1f}#{window_name}\u{1f}#{pane_title}";
/// How many those are.
const N_FIELDS: usize = 26;

/// A pane as it was at the moment of the look. One in a window that is linked into several sessions is there once for
/// each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaneSeen {
    /// The session.
    pub session: SessionId,
    /// Its name.
    pub session_name: String,
    /// How many windows it has.
    pub session_windows: u32,
    /// How many clients are attached to it.
    pub session_attached: u32,
    /// Laneway made it, for its workers.
    pub session_is_ours: bool,
    /// The window.
    pub window: WindowId,
    /// Its name.
    pub window_name: String,
    /// Its number in the session.
    pub window_index: u32,
    /// It is the session's current one.
    pub window_active: bool,
    /// The pane.
    pub pane: PaneId,
    /// Its number in the window.
    pub pane_index: u32,
    /// It is the window's current one.
    pub pane_active: bool,
    /// The process that was started in it.
    pub pid: u32,
    /// Its terminal.
    pub tty: PathBuf,
    /// The process has ended, and the pane was kept.
    pub is_dead: bool,
    /// How it ended: its exit code.
    pub dead_status: Option<i32>,
    /// How it ended: the signal.
    pub dead_signal: Option<i32>,
    /// Its width in columns.
    pub columns: u16,
    /// Its height in rows.
    pub rows: u16,
    /// Its output goes to a command as well.
    pub is_piped: bool,
    /// That was, or is, for [`crate::Server::tap`].
    pub is_tapped: bool,
    /// The process that it was made with: the option `@laneway-made` of one that was added by [`crate::Server::split`].
    pub first_pid: Option<u32>,
    /// Keys that are pressed in it go to all panes of its window.
    pub is_synchronized: bool,
    /// Whose it is: the option `@laneway`; empty if it is nobody's of ours.
    pub tag: String,
    /// Which worker it shows: the option `@laneway-viewer`; empty if it is no viewer of ours.
    pub viewer: String,
    /// Its title, as the program set it.
    pub title: String,
}

/// All panes at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where they are.
    pub server: ServerIdentity,
    /// They, ordered as tmux does: by session, window and pane.
    pub panes: Vec<PaneSeen>,
}

impl Snapshot {
    pub(crate) fn read(server: ServerIdentity, said: &[u8]) -> Result<Self, TmuxError> {
        let said = String::from_utf8_lossy(said);
        let records = said.split(RECORD).skip(1);
        let panes: Option<Vec<PaneSeen>> = records.map(PaneSeen::read).collect();
        let mut panes = panes.ok_or_else(|| TmuxError::NotUnderstood {
            command: "list-panes",
            said: said.chars().take(200).collect(),
        })?;
        panes.retain(|pane| !pane.session_name.starts_with(CONTROL_SESSION));
        Ok(Self { server, panes })
    }

    /// The pane of that id.
    pub fn pane(&self, pane: PaneId) -> Option<&PaneSeen> {
        self.panes.iter().find(|seen| seen.pane == pane)
    }

    /// The panes of a window, each once.
    pub fn panes_of(&self, window: WindowId) -> impl Iterator<Item = &PaneSeen> {
        let session = self.panes.iter().find(|seen| seen.window == window).map(|seen| seen.session);
        self.panes.iter().filter(move |seen| seen.window == window && Some(seen.session) == session)
    }

    /// The session of exactly that name.
    pub fn session_named(&self, name: &str) -> Option<SessionId> {
        self.panes.iter().find(|seen| seen.session_name == name).map(|seen| seen.session)
    }

    /// By which a pane that was seen is known again.
    pub fn identity(&self, seen: &PaneSeen) -> PaneIdentity {
        PaneIdentity {
            server: self.server.clone(),
            session: seen.session,
            window: Some(seen.window),
            window_name: seen.window_name.clone(),
            pane: seen.pane,
            pane_pid: seen.pid,
            tag: seen.tag.clone(),
        }
    }

    /// The pane that is meant. Gone if it, or the server that it was in, is not there any more; stale if anything about
    /// it is not as it was recorded: then it is somebody else's.
    pub fn verify(&self, identity: &PaneIdentity) -> Result<&PaneSeen, TmuxError> {
        let pane = identity.pane;
        if !identity.server.is_process(&self.server) {
            if identity.server.is_alive() {
                let (socket, pid) = (self.server.socket.clone(), identity.server.pid);
                return Err(TmuxError::ServerHidden { socket, pid });
            }
            return Err(TmuxError::Gone { pane });
        }
        // In the session that it was made in, if it still is in that one.
        let there = || self.panes.iter().filter(|seen| seen.pane == pane);
        let seen = there().find(|seen| seen.session == identity.session).or_else(|| there().next());
        let seen = seen.ok_or(TmuxError::Gone { pane })?;
        if seen.tag != identity.tag {
            let why = format!("it is tagged {:?}, not {:?}", seen.tag, identity.tag);
            return Err(TmuxError::Stale { pane, why });
        }
        if seen.pid != identity.pane_pid {
            let why = format!("its process is {}, not {}", seen.pid, identity.pane_pid);
            return Err(TmuxError::Stale { pane, why });
        }
        Ok(seen)
    }
}

impl PaneSeen {
    /// What was started in it when it was added by [`crate::Server::split`] is what was started in it last.
    pub fn is_as_made(&self) -> bool {
        self.first_pid == Some(self.pid)
    }

    fn read(record: &str) -> Option<Self> {
        let record = record.strip_suffix('\n').unwrap_or(record);
        let fields: Vec<&str> = record.splitn(N_FIELDS, FIELD).collect();
        let fields: [&str; N_FIELDS] = fields.try_into().ok()?;
        let [session, window, pane, pid, tty, dead, dead_status, dead_signal, rest @ ..] = fields;
        let [window_index, pane_index, window_active, pane_active, columns, rows, rest @ ..] = rest;
        let [session_windows, session_attached, piped, tapped, first_pid, tag, viewer, ours, rest @ ..] =
            rest;
        let [synchronized, session_name, window_name, title] = rest;
        Some(Self {
            session: session.parse().ok()?,
            session_name: session_name.to_owned(),
            session_windows: session_windows.parse().ok()?,
            session_attached: session_attached.parse().ok()?,
            session_is_ours: ours == "1",
            window: window.parse().ok()?,
            window_name: window_name.to_owned(),
            window_index: window_index.parse().ok()?,
            window_active: window_active == "1",
            pane: pane.parse().ok()?,
            pane_index: pane_index.parse().ok()?,
            pane_active: pane_active == "1",
            pid: pid.parse().unwrap_or(0),
            tty: tty.into(),
            is_dead: dead == "1",
            dead_status: dead_status.parse().ok(),
            dead_signal: dead_signal.parse().ok(),
            columns: columns.parse().ok()?,
            rows: rows.parse().ok()?,
            is_piped: piped == "1",
            is_tapped: tapped == "1",
            first_pid: first_pid.parse().ok(),
            is_synchronized: synchronized == "1",
            tag: tag.to_owned(),
            viewer: viewer.to_owned(),
            title: title.to_owned(),
        })
    }
}
