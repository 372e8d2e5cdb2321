//! Windows and panes are made, restarted, renamed and removed: each time by ids, and after the one that is meant was
//! looked at.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::connection::Connection;
use crate::error::TmuxError;
use crate::ids::{PaneId, PaneIdentity, ServerIdentity, SessionId, WindowId};
use crate::line::Line;
use crate::server::Server;
use crate::snapshot::{OUR_SESSION, PaneSeen, Snapshot};

/// What a server that listens no more may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(2);

/// What a new pane says of itself.
const MADE: &str = "#{session_id} #{window_id} #{pane_id} #{pane_pid} #{pane_tty}";

/// A program for a pane. Two arguments or more: tmux then executes it as it is, without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaneProgram {
    /// The program, absolute, and its arguments.
    pub arguments: Vec<OsString>,
    /// Where it is started.
    pub folder: PathBuf,
    /// What it finds in its environment beside that of the server and the session.
    pub environment: Vec<(OsString, OsString)>,
}

/// A pane that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// By which it is known again.
    pub identity: PaneIdentity,
    /// Its terminal.
    pub tty: PathBuf,
}

/// What a pane is marked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark<'a> {
    /// It belongs to this run: `@laneway`.
    Run(&'a str),
    /// It shows this worker: `@laneway-viewer`.
    Viewer(&'a str),
}

impl Mark<'_> {
    fn option(self) -> [String; 2] {
        let (option, value) = match self {
            Self::Run(run) => ("@laneway", run),
            Self::Viewer(worker) => ("@laneway-viewer", worker),
        };
        [option.to_owned(), value.to_owned()]
    }

    fn tag(self) -> String {
        match self {
            Self::Run(run) => run.to_owned(),
            Self::Viewer(_) => String::new(),
        }
    }
}

/// Where a pane is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To the right of it.
    Right,
    /// Below it.
    Below,
}

/// What became of a pane that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Its window is gone, with all in it.
    Window,
    /// The pane alone: there are others in its window.
    Pane,
    /// There was none any more.
    AlreadyGone,
}

impl Server {
    /// The session of this name, made if there is none, with a server if need be: with a window that keeps it when all
    /// others are gone. tmux has no `.` and `:` in the names of sessions and writes `_` for them.
    pub fn session(&self, name: &str) -> Result<SessionId, TmuxError> {
        let name = name.replace(['.', ':'], "_");
        match self.connect() {
            Err(TmuxError::NoServer { .. }) => self.start(&name, &PLACEHOLDER)?,
            connected => drop(connected?),
        }
        if let Some(session) = self.snapshot()?.session_named(&name) {
            return Ok(session);
        }
        let connection = self.connection()?;
        let line = Line::new("new-session").args(["-d", "-P", "-F", "#{session_id}"]);
        let line = line.arg("-s").literal(&name).args(["-n", "laneway", "-c", "/", "--"]).args(PLACEHOLDER);
        let session: SessionId = match connection.ask("new-session", &line) {
            Ok(said) => read_field("new-session", &said[0])?,
            // Somebody else made it meanwhile; or tmux writes it in another way (`\$` for `$`), and says so.
            Err(TmuxError::Refused { command, said }) => {
                let written = said.strip_prefix("duplicate session: ").unwrap_or(&name);
                let session = self.snapshot()?.session_named(written);
                return session.ok_or(TmuxError::Refused { command, said });
            }
            Err(error) => return Err(error),
        };
        let mark = Line::new("set-option").args(["-t", &session.to_string(), OUR_SESSION, "1"]);
        connection.ask("set-option", &mark).map(|_| session)
    }

    /// Makes a window at the end of a session, and marks it, in one go. What ends at once is kept all the same.
    pub fn new_window(
        &self,
        session: SessionId,
        name: &str,
        mark: Mark<'_>,
        program: &PaneProgram,
        keep_when_ended: bool,
    ) -> Result<Made, TmuxError> {
        let connection = self.connection()?;
        // Known by a name that nobody else uses, until its id is read.
        let once = one_time_name()?;
        let target = format!("{session}:={once}");
        let line = Line::new("new-window").args(["-d", "-P", "-F", MADE, "-n", &once, "-t"]);
        let line = program.say(line.arg(format!("{session}:")));
        let line = finish_window(line, &target, &target, name, mark, keep_when_ended);
        let (said, failed) = connection.try_all("new-window", &line)?;
        let Some(first) = said.first() else { return Err(failed.unwrap_or_else(nothing_said)) };
        let made = read_made(connection.server().clone(), first, name, mark)?;
        if failed.is_some() {
            // Somebody's hook has called it otherwise. It may have ended by now, if it was that fast.
            let pane = made.identity.pane.to_string();
            let window = made.identity.window.map_or_else(|| pane.clone(), |window| window.to_string());
            let line = finish_window(Line::default(), &pane, &window, name, mark, keep_when_ended);
            connection.ask("new-window", &line).inspect_err(|_| kill_pane(&connection, &made))?;
        }
        Ok(made)
    }

    /// Starts a program in a pane whose own is over; from then on it belongs to another run. A process that is still
    /// in it, on its way out, loses the terminal.
    pub fn respawn(&self, pane: &PaneIdentity, run: &str, program: &PaneProgram) -> Result<Made, TmuxError> {
        let seen = self.verify(pane)?;
        let target = pane.pane.to_string();
        let line = program.say(Line::new("respawn-pane").args(["-k", "-t", &target]));
        let line = line.then("set-option").args(["-p", "-t", &target]).args(Mark::Run(run).option());
        let line = line.then("display-message").args(["-p", "-t", &target, MADE]);
        let said = self.ask("respawn-pane", &line)?;
        let last = said.last().map_or(&b""[..], Vec::as_slice);
        read_made(pane.server.clone(), last, &seen.window_name, Mark::Run(run))
    }

    /// Adds a pane to a window, and marks it: beside the pane that is meant, or below it. What ends at once is kept if
    /// that is so in its window.
    pub fn split(
        &self,
        pane: &PaneIdentity,
        side: Side,
        run: &str,
        program: &PaneProgram,
    ) -> Result<Made, TmuxError> {
        let seen = self.verify(pane)?;
        self.add_pane(&seen, Some(side), Mark::Run(run), program)
    }

    /// Adds a pane that shows a worker to a window of such panes, and gives all of them the same room.
    pub fn add_viewer(
        &self,
        beside: &PaneIdentity,
        viewer: &str,
        program: &PaneProgram,
    ) -> Result<Made, TmuxError> {
        let seen = self.verify(beside)?;
        self.add_pane(&seen, None, Mark::Viewer(viewer), program)
    }

    /// Adds a pane beside one that was just seen; with no side it is one of a tiling, and goes with its program.
    fn add_pane(
        &self,
        beside: &PaneSeen,
        side: Option<Side>,
        mark: Mark<'_>,
        program: &PaneProgram,
    ) -> Result<Made, TmuxError> {
        let connection = self.connection()?;
        // A pane that is added to a window has no address until its id is read; one in a window of its own has.
        let once = one_time_name()?;
        let target = format!("{}:={once}", beside.session);
        let line = Line::new("new-window").args(["-d", "-P", "-F", MADE, "-n", &once, "-t"]);
        let line = program.say(line.arg(format!("{}:", beside.session)));
        let line = join_pane(line, &target, &target, beside, side, mark);
        let (said, mut failed) = connection.try_all("join-pane", &line)?;
        let Some(first) = said.first() else { return Err(failed.unwrap_or_else(nothing_said)) };
        let mut made = read_made(connection.server().clone(), first, &beside.window_name, mark)?;
        if failed.as_ref().is_some_and(|error| !is_no_room(error)) {
            // Somebody's hook has called its window otherwise.
            let pane = made.identity.pane.to_string();
            let window = made.identity.window.map_or_else(|| pane.clone(), |window| window.to_string());
            let line = join_pane(Line::default(), &pane, &window, beside, side, mark);
            failed = connection.ask("join-pane", &line).err();
        }
        if let Some(error) = failed {
            kill_pane(&connection, &made);
            let window = beside.window;
            return Err(if is_no_room(&error) { TmuxError::NoRoom { window } } else { error });
        }
        made.identity.window = Some(beside.window);
        Ok(made)
    }

    /// Gives a pane's window another name.
    pub fn rename_window(&self, pane: &PaneIdentity, name: &str) -> Result<(), TmuxError> {
        let seen = self.verify(pane)?;
        let line = Line::new("rename-window").args(["-t", &seen.window.to_string(), "--"]).literal(name);
        self.ask("rename-window", &line).map(drop)
    }

    /// Removes a pane, and its window if nothing else is in it but what is `also` of the same worker and is as
    /// recorded. A session that would end with its last window keeps a new one, so that nobody in it is thrown out.
    pub fn remove(&self, pane: &PaneIdentity, also: &[PaneIdentity]) -> Result<Removed, TmuxError> {
        let snapshot = match self.snapshot() {
            // The server is gone, and the pane with it.
            Err(TmuxError::NoServer { .. }) if pane.server.ends_within(END_LIMIT) => {
                return Ok(Removed::AlreadyGone);
            }
            Err(TmuxError::NoServer { socket }) => {
                return Err(TmuxError::ServerHidden { socket, pid: pane.server.pid });
            }
            snapshot => snapshot?,
        };
        let seen = match snapshot.verify(pane) {
            Err(TmuxError::Gone { .. }) => return Ok(Removed::AlreadyGone),
            seen => seen?,
        };
        let also = also.iter().filter(|other| snapshot.verify(other).is_ok()).map(|other| other.pane);
        self.remove_seen(&snapshot, seen, &also.chain([pane.pane]).collect())
    }

    /// Closes a window, or the pane of one, that shows a worker, if it still is the one that was seen.
    pub fn close_viewer(&self, server: &ServerIdentity, viewer: &PaneSeen) -> Result<Removed, TmuxError> {
        let snapshot = match self.snapshot() {
            Err(TmuxError::NoServer { .. }) => return Ok(Removed::AlreadyGone),
            snapshot => snapshot?,
        };
        let is_it = |seen: &&PaneSeen| {
            (seen.pane, seen.pid, &seen.viewer) == (viewer.pane, viewer.pid, &viewer.viewer)
        };
        match snapshot.panes.iter().find(is_it).filter(|_| snapshot.server.is_process(server)) {
            Some(seen) => self.remove_seen(&snapshot, seen, &BTreeSet::from([seen.pane])),
            None => Ok(Removed::AlreadyGone),
        }
    }

    /// Removes what was just seen, and its window if all that is in it is `ours`.
    fn remove_seen(
        &self,
        snapshot: &Snapshot,
        seen: &PaneSeen,
        ours: &BTreeSet<PaneId>,
    ) -> Result<Removed, TmuxError> {
        let is_all_ours = snapshot.panes_of(seen.window).all(|other| ours.contains(&other.pane));
        let result = if is_all_ours {
            self.kill_window(snapshot, seen).map(|()| Removed::Window)
        } else {
            let line = Line::new("kill-pane").args(["-t", &seen.pane.to_string()]);
            self.ask("kill-pane", &line).map(|_| Removed::Pane)
        };
        match result {
            // It went by itself between the look and the command.
            Err(error) if is_not_found(&error) => Ok(Removed::AlreadyGone),
            result => result,
        }
    }

    /// Removes the window of a pane that was just seen, wherever it is linked.
    fn kill_window(&self, snapshot: &Snapshot, seen: &PaneSeen) -> Result<(), TmuxError> {
        let line = keep_sessions(snapshot, &[seen.window]);
        // With its session tmux looks whether it still is in there.
        let target = format!("{}:{}", seen.session, seen.window);
        let line = line.then("kill-window").args(["-t", &target]);
        self.ask("kill-window", &line).map(drop)
    }
}

/// What keeps a session of ours when all windows in it are gone.
const PLACEHOLDER: [&str; 3] = [
    "/bin/sh",
    "-c",
    "printf 'This window keeps the session when its last worker is gone. It does nothing.\\n'; exec sleep infinity",
];

/// A new window for each session in which nothing but these windows is, and that is to stay: because Laneway made it,
/// or because somebody is in it.
fn keep_sessions(snapshot: &Snapshot, windows: &[WindowId]) -> Line {
    let is_going = |seen: &&PaneSeen| windows.contains(&seen.window);
    let stay: BTreeSet<SessionId> =
        snapshot.panes.iter().filter(|seen| !is_going(seen)).map(|seen| seen.session).collect();
    let is_kept = |seen: &&PaneSeen| seen.session_is_ours || seen.session_attached > 0;
    let kept: BTreeSet<SessionId> = snapshot.panes.iter().filter(is_kept).map(|seen| seen.session).collect();
    kept.difference(&stay).fold(Line::default(), |line, session| {
        let line = line.then("new-window").args(["-d", "-t", &format!("{session}:"), "-n", "laneway"]);
        line.args(["-c", "/", "--"]).args(PLACEHOLDER)
    })
}

/// What is done to a window that was just made: the pane is marked, and the window gets its name.
fn finish_window(
    line: Line,
    pane: &str,
    window: &str,
    name: &str,
    mark: Mark<'_>,
    keep_when_ended: bool,
) -> Line {
    let line = line.then("set-option").args(["-p", "-t", pane]).args(mark.option());
    let line = line.then("set-option").args(["-w", "-t", window, "remain-on-exit"]);
    let line = line.arg(if keep_when_ended { "on" } else { "off" });
    let line = line.then("set-option").args(["-w", "-t", window, "automatic-rename", "off"]);
    line.then("rename-window").args(["-t", window, "--"]).literal(name)
}

/// What is done to a pane that was just made, in a window of its own: it is marked, and joins the other.
fn join_pane(
    line: Line,
    pane: &str,
    window: &str,
    beside: &PaneSeen,
    side: Option<Side>,
    mark: Mark<'_>,
) -> Line {
    let other = beside.pane.to_string();
    let line = line.then("set-option").args(["-w", "-t", window, "remain-on-exit"]);
    let line = line.arg(if side.is_some() { "on" } else { "off" });
    let line = line.then("set-option").args(["-p", "-t", pane]).args(mark.option());
    // Whoever finds it without a record knows by this whether somebody has started something else in it.
    let line = line.then("set-option").args(["-p", "-F", "-t", pane, "@laneway-made", "#{pane_pid}"]);
    let line = line.then("join-pane").args(["-d", "-s", pane, "-t", &other]);
    match side {
        Some(Side::Right) => line.arg("-h"),
        Some(Side::Below) => line.arg("-v"),
        None => line.then("select-layout").args(["-t", &other, "tiled"]),
    }
}

/// Ends a pane that was just made and cannot be used. It may be gone already.
fn kill_pane(connection: &Connection, made: &Made) {
    let line = Line::new("kill-pane").args(["-t", &made.identity.pane.to_string()]);
    let _ = connection.ask("kill-pane", &line);
}

/// tmux found no such window or pane.
fn is_not_found(error: &TmuxError) -> bool {
    matches!(error, TmuxError::Refused { said, .. } if said.starts_with("can't find"))
}

/// A window is too small for another pane.
fn is_no_room(error: &TmuxError) -> bool {
    matches!(error, TmuxError::Refused { said, .. } if said.contains("too small") || said.contains("no space"))
}

fn nothing_said() -> TmuxError {
    TmuxError::NotUnderstood { command: "new-window", said: String::new() }
}

impl PaneProgram {
    fn say(&self, line: Line) -> Line {
        let mut line = line.arg("-c").literal(&self.folder);
        for (name, value) in &self.environment {
            let mut setting = name.clone();
            setting.push("=");
            setting.push(value);
            line = line.arg("-e").arg(setting);
        }
        line.arg("--").args(&self.arguments)
    }
}

/// A name that nobody has thought of.
pub(crate) fn one_time_name() -> Result<String, TmuxError> {
    let mut bytes = [0_u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("laneway-{:016x}", u64::from_ne_bytes(bytes)))
}

fn read_field<T: std::str::FromStr>(command: &'static str, said: &[u8]) -> Result<T, TmuxError> {
    let said = String::from_utf8_lossy(said);
    said.trim_end()
        .parse()
        .map_err(|_| TmuxError::NotUnderstood { command, said: said.chars().take(200).collect() })
}

fn read_made(server: ServerIdentity, said: &[u8], name: &str, mark: Mark<'_>) -> Result<Made, TmuxError> {
    let text = String::from_utf8_lossy(said);
    let read = || {
        let mut fields = text.trim_end().split(' ');
        let identity = PaneIdentity {
            server,
            session: fields.next()?.parse().ok()?,
            window: Some(fields.next()?.parse().ok()?),
            window_name: name.to_owned(),
            pane: fields.next()?.parse().ok()?,
            pane_pid: fields.next()?.parse().ok()?,
            tag: mark.tag(),
        };
        Some(Made { identity, tty: Path::new(OsStr::new(fields.next()?)).to_owned() })
    };
    read().ok_or_else(|| TmuxError::NotUnderstood {
        command: "new-window",
        said: text.chars().take(200).collect(),
    })
}
