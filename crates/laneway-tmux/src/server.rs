//! One tmux server: its connection, made when it is needed and made anew when it has ended.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::connection::{Connection, Event, close_session, is_no_server};
use crate::error::TmuxError;
use crate::ids::{PaneId, PaneIdentity, ServerIdentity, SessionId};
use crate::left::{end_clients, is_left};
use crate::line::Line;
use crate::program::{Tmux, is_new_enough};
use crate::snapshot::{FIELDS, OUR_SESSION, PaneSeen, Snapshot};
use crate::trust;
use crate::windows::one_time_name;

/// A server at a socket, whether it runs or not. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

type Listeners = Arc<Mutex<Vec<Box<dyn Fn(&Event) + Send + Sync>>>>;

struct Inner {
    tmux: Tmux,
    socket: PathBuf,
    connection: Mutex<Option<Arc<Connection>>>,
    /// The last attempt to connect that took its whole limit: who has waited for it meanwhile does not try again.
    failure: Mutex<Option<(Instant, TmuxError)>>,
    listeners: Listeners,
    /// Nothing more is to be done there.
    is_left: AtomicBool,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("socket", &self.inner.socket).finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(tmux: Tmux, socket: &Path) -> Self {
        let inner = Inner {
            tmux,
            socket: socket.to_owned(),
            connection: Mutex::default(),
            failure: Mutex::default(),
            listeners: Listeners::default(),
            is_left: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.inner.socket
    }

    /// Has this called for everything that the server tells, as long as there is a connection. It is called by the
    /// thread that reads: it must not wait for anything, least of all for tmux.
    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        lock(&self.inner.listeners).push(Box::new(listener));
    }

    /// Connects, if that is not so already, and says who the server is.
    pub fn connect(&self) -> Result<ServerIdentity, TmuxError> {
        Ok(self.connection()?.server().clone())
    }

    /// All panes of the server, but those of control connections, at one moment.
    pub fn snapshot(&self) -> Result<Snapshot, TmuxError> {
        let connection = self.connection()?;
        let line = Line::new("list-panes").args(["-a", "-F", FIELDS]);
        let said = connection.ask("list-panes", &line)?.remove(0);
        Snapshot::read(connection.server().clone(), &said)
    }

    /// The name of the session that a pane is in.
    pub fn session_of(&self, pane: PaneId) -> Result<String, TmuxError> {
        self.check()?;
        let pane_text = pane.to_string();
        let said =
            self.run(&["-N"], &["display-message", "-p", "-t", &pane_text, "#{pane_id} #{session_name}"])?;
        // Of a pane that is gone it says nothing.
        match said.split_once(' ') {
            Some((id, session)) if id == pane_text => Ok(session.to_owned()),
            _ => Err(TmuxError::Gone { pane }),
        }
    }

    /// Becomes a client of this server that shows a target, on the terminal that this process is on; `is_inside`: has
    /// the client that this is typed in show it. Comes back only when that fails.
    pub fn go_to(&self, target: &str, is_inside: bool) -> TmuxError {
        if let Err(error) = self.check() {
            return error;
        }
        let socket = self.inner.socket.as_os_str();
        let command = if is_inside { "switch-client" } else { "attach-session" };
        let arguments: [&OsStr; 6] =
            ["-N".as_ref(), "-S".as_ref(), socket, command.as_ref(), "-t".as_ref(), target.as_ref()];
        self.inner.tmux.become_client(&arguments, is_inside).into()
    }

    /// The pane that is meant, as it is now. An error if it is gone, or if anything about it is not as it was recorded.
    pub fn verify(&self, identity: &PaneIdentity) -> Result<PaneSeen, TmuxError> {
        self.snapshot()?.verify(identity).cloned()
    }

    /// Has a line carried out by the server that is there.
    pub(crate) fn ask(&self, command: &'static str, line: &Line) -> Result<Vec<Vec<u8>>, TmuxError> {
        self.connection()?.ask(command, line)
    }

    /// Ends the connection in good order, so that nothing of it is left in the server; there is no other after it.
    pub(crate) fn leave(&self, deadline: Instant) {
        self.inner.is_left.store(true, Ordering::SeqCst);
        // Who is just connecting waits for a server that does not answer.
        let connection = self.inner.connection.try_lock().ok().and_then(|mut connection| connection.take());
        if let Some(connection) = connection {
            connection.leave(deadline);
        }
    }

    /// Gives the connection up: what came over it cannot be trusted.
    pub(crate) fn break_off(&self) {
        if let Some(connection) = &*lock(&self.inner.connection) {
            connection.give_up();
        }
    }

    /// An error once it was left.
    fn check_not_left(&self) -> Result<(), TmuxError> {
        if self.inner.is_left.load(Ordering::SeqCst) {
            let said = "this program is ending".to_owned();
            return Err(TmuxError::Disconnected { socket: self.inner.socket.clone(), said });
        }
        Ok(())
    }

    /// The connection that is there, or a new one.
    pub(crate) fn connection(&self) -> Result<Arc<Connection>, TmuxError> {
        self.check_not_left()?;
        let asked_at = Instant::now();
        // Held while it is connected: there are never two at it.
        let mut connection = lock(&self.inner.connection);
        if let Some(connection) = connection.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(Arc::clone(connection));
        }
        if let Some((failed_at, error)) = &*lock(&self.inner.failure)
            && *failed_at >= asked_at
        {
            return Err(error.clone());
        }
        let connected = self.connect_anew(&mut connection);
        if let Err(error @ TmuxError::NotResponding { .. }) = &connected {
            *lock(&self.inner.failure) = Some((Instant::now(), error.clone()));
        }
        connected
    }

    fn connect_anew(&self, connection: &mut Option<Arc<Connection>>) -> Result<Arc<Connection>, TmuxError> {
        self.check()?;
        self.probe()?;
        if let Some(old) = connection.take() {
            if old.is_usable() {
                // What was overdue has come meanwhile.
                *connection = Some(Arc::clone(&old));
                return Ok(old);
            }
            old.give_up();
        }
        self.close_left_sessions()?;
        let listeners = Arc::clone(&self.inner.listeners);
        let listener = move |event: &Event| lock(&listeners).iter().for_each(|listener| listener(event));
        let opened = Arc::new(Connection::open(&self.inner.tmux, &self.inner.socket, Arc::new(listener))?);
        *connection = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Ends and closes what former connections have left. Once this is answered that is gone.
    fn close_left_sessions(&self) -> Result<(), TmuxError> {
        end_clients(&self.inner.socket, Instant::now() + self.inner.tmux.limit());
        let sessions = self.run(&["-N"], &["list-sessions", "-F", "#{session_name}"])?;
        for session in sessions.lines().filter(|session| is_left(session)) {
            close_session(&self.inner.tmux, &self.inner.socket, session);
        }
        self.probe()
    }

    /// Whether a server is there that answers, and is new enough.
    fn probe(&self) -> Result<(), TmuxError> {
        let found = self.run(&["-N"], &["display-message", "-p", "#{version}"])?;
        if is_new_enough(&found) {
            return Ok(());
        }
        Err(TmuxError::ServerTooOld { socket: self.inner.socket.clone(), found })
    }

    /// Starts a server with a session of this name, in which this runs, unless there is one by now.
    pub(crate) fn start(&self, session: &str, program: &[&str]) -> Result<(), TmuxError> {
        self.check_not_left()?;
        // Held until the session has its name: nobody of ours makes another one meanwhile.
        let mut connection = lock(&self.inner.connection);
        self.make_folder()?;
        self.check()?;
        match self.probe() {
            Err(TmuxError::NoServer { .. }) => {}
            probed => return probed,
        }
        // An ordinary client expands a name as a format, and takes a `;` at its end for the end of the command.
        let once = one_time_name()?;
        let begin = ["new-session", "-d", "-P", "-F", "#{pid} #{session_id}", "-s", &once];
        let rest = ["-n", "laneway", "-c", "/", "--"];
        let made = self.run(&[], &[&begin[..], &rest, program].concat())?;
        let named = self.connect_anew(&mut connection).and_then(|connection| {
            let said = || TmuxError::NotUnderstood { command: "new-session", said: made.clone() };
            let (pid, id) = made.split_once(' ').ok_or_else(said)?;
            let id: SessionId = id.parse().map_err(|_| said())?;
            if pid != connection.server().pid.to_string() {
                return Err(said());
            }
            name_session(&connection, id, session)
        });
        if named.is_err() {
            // The server goes with it, if there is nothing else in it.
            let _ = self.run(&["-N"], &["kill-session", "-t", &format!("={once}")]);
        }
        match named {
            // Another program was faster.
            Err(TmuxError::Refused { said, .. }) if said.starts_with("duplicate session") => Ok(()),
            named => named,
        }
    }

    /// Refuses a socket that is not to be trusted, and a server of another user's.
    fn check(&self) -> Result<(), TmuxError> {
        trust::check(&self.inner.socket)?;
        trust::check_peer(&self.inner.socket)
    }

    /// Runs an ordinary client to its end. It expands formats in what it is told: there is nothing of a caller's in it.
    fn run(&self, options: &[&str], command: &[&str]) -> Result<String, TmuxError> {
        let socket = &self.inner.socket;
        let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        arguments.extend(["-S".as_ref(), socket.as_os_str()]);
        arguments.extend(command.iter().map(OsStr::new));
        let Some(output) = self.inner.tmux.run(&arguments)? else {
            return Err(TmuxError::NotResponding { socket: socket.clone(), limit: self.inner.tmux.limit() });
        };
        if output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            // Names may end with anything else.
            return Ok(said.strip_suffix('\n').unwrap_or(&said).to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        if is_no_server(&said) {
            return Err(TmuxError::NoServer { socket: socket.clone() });
        }
        Err(TmuxError::Refused { command: command[0].to_owned(), said })
    }

    /// tmux makes the folder of its sockets only if it is not told where that is.
    fn make_folder(&self) -> Result<(), TmuxError> {
        use std::os::unix::fs::DirBuilderExt;
        let Some(folder) = self.inner.socket.parent() else { return Ok(()) };
        match std::fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Gives a session that was just made its name, and marks it as made by Laneway.
fn name_session(connection: &Connection, session: SessionId, name: &str) -> Result<(), TmuxError> {
    let id = session.to_string();
    let line = Line::new("rename-session").args(["-t", &id, "--"]).literal(name);
    let line = line.then("set-option").args(["-t", &id, OUR_SESSION, "1"]);
    connection.ask("rename-session", &line).map(drop)
}

/// None of what is kept here can be half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
