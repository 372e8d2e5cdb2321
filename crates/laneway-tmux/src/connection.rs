//! One control connection to one server: commands go in, their replies are matched to them, events come out.
//!
//! A thread reads what tmux says, and is all that waits while nothing happens. Who asks writes its line, and waits for
//! the replies with a limit. When that is over nothing more is asked until the answer comes, or until the server turns out
//! to answer others: then the connection is given up.
//!
//! Up to tmux 3.6 a server crashes, with all that is in it, if a session is made or closed while a client in control
//! mode is saying who it is. So a connection is made only to a server that has just answered an ordinary client and so
//! has nothing queued, never two at a time, and never while the session of another of ours is going.
//!
//! And 3.3a crashes in most cases if a window is closed while such a client leaves a session that goes with it
//! (`destroy-unattached`). So the session stays when its client goes, and is closed after that; what a process that was
//! killed has left is closed before the next connection is made.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::TmuxError;
use crate::ids::{ServerIdentity, WindowId};
use crate::left::{CONTROL_SESSION, client_arguments, forget_session, use_session};
use crate::line::Line;
use crate::program::Tmux;
use crate::protocol::{Item, NotTheProtocol, Notification, Parser, Reply};

/// What is kept of what tmux says on standard error.
const LAST_WORDS: u64 = 4 << 10;

/// Something that a server told by itself: a reason to look again, not a fact to rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A window is gone.
    WindowClosed(WindowId),
    /// A window has another name.
    WindowRenamed(WindowId, String),
    /// There is another window.
    WindowAdded(WindowId),
    /// A session was made, closed or renamed.
    SessionsChanged,
    /// The connection has ended: the server, or the way to it, is gone.
    Disconnected,
}

/// Hears what a server tells. Called by the thread that reads: it must not wait for anything, least of all for tmux.
pub(crate) type Listener = dyn Fn(&Event) + Send + Sync;

/// Who waits for replies, in the order in which the commands were written.
struct Waiting {
    deadline: Instant,
    n_missing: usize,
    replies: Vec<Reply>,
    to: Asker,
}

/// Who asked for something.
enum Asker {
    /// Somebody who waits for the replies.
    Caller(SyncSender<Vec<Reply>>),
    /// The connection itself: which sessions are there.
    Company,
}

/// How a connection ended.
#[derive(Clone, Debug)]
enum End {
    Eof { said: String },
    Protocol(NotTheProtocol),
    TooSlow,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    end: Option<End>,
}

/// What the reading thread and those who ask share.
struct Shared {
    socket: PathBuf,
    limit: Duration,
    queue: Mutex<Queue>,
    /// None once the server is to be left.
    stdin: Mutex<Option<ChildStdin>>,
    client: OwnedFd,
    /// There were sessions beside ours.
    had_company: AtomicBool,
}

/// A connection. It ends with the last clone of its handle, or with the server.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    server: ServerIdentity,
    /// Closed once nothing of it is left.
    done: Mutex<Receiver<()>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // End of file: the client detaches, and takes the session with it.
        lock(&self.shared.stdin).take();
    }
}

impl Connection {
    /// Connects to a server that has just answered.
    pub(crate) fn open(tmux: &Tmux, socket: &Path, listener: Arc<Listener>) -> Result<Self, TmuxError> {
        let (mut child, session) = start_client(tmux, socket)?;
        let pid = Pid::from_child(&child);
        let (shared, stdout) = match Shared::of(&mut child, pid, socket, tmux.limit()) {
            Ok(shared) => shared,
            Err(error) => {
                // Nothing is lost if it has ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                close_session(tmux, socket, &session);
                return Err(error.into());
            }
        };
        let shared = Arc::new(shared);
        let (reading, tmux) = (Arc::clone(&shared), tmux.clone());
        let (end, done) = sync_channel(0);
        thread::Builder::new().name("tmux".to_owned()).spawn(move || {
            // Goes with this thread, whatever that ends by.
            let _end: SyncSender<()> = end;
            reading.read(stdout, child, || close_session(&tmux, &reading.socket, &session), &*listener);
        })?;
        let server = ServerIdentity::default_at(socket);
        let mut connection = Self { shared, server, done: Mutex::new(done) };
        let line = Line::new("display-message").args(["-p", "#{pid}"]);
        let said = connection.ask("display-message", &line)?.remove(0);
        let said = String::from_utf8_lossy(&said).trim_end().to_owned();
        let server = said.parse().ok().and_then(|pid| ServerIdentity::of(pid, socket.to_owned()));
        connection.server =
            server.ok_or(TmuxError::NotUnderstood { command: "display-message", said: said.clone() })?;
        Ok(connection)
    }

    /// The server that this leads to.
    pub(crate) fn server(&self) -> &ServerIdentity {
        &self.server
    }

    /// It can be asked something: it has not ended, and no answer is overdue.
    pub(crate) fn is_usable(&self) -> bool {
        let queue = lock(&self.shared.queue);
        let is_overdue = |first: &Waiting| first.deadline <= Instant::now();
        queue.end.is_none() && !queue.waiting.front().is_some_and(is_overdue)
    }

    /// Ends it in good order, and waits until its session is closed, at most until the deadline.
    pub(crate) fn leave(&self, deadline: Instant) {
        lock(&self.shared.stdin).take();
        // If it takes longer, the next connection closes the session.
        let _ = lock(&self.done).recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }

    /// Ends it, whatever is under way, and waits until its client is gone.
    pub(crate) fn give_up(&self) {
        self.shared.give_up();
        // Killed: there is nothing that it could still wait for.
        let _ = poll(&mut [PollFd::new(&self.shared.client, PollFlags::IN)], None);
    }

    /// Has a line carried out, and gives what its commands said, each with a line feed behind each line. The first
    /// that fails is the error.
    pub(crate) fn ask(&self, command: &'static str, line: &Line) -> Result<Vec<Vec<u8>>, TmuxError> {
        match self.try_all(command, line)? {
            (said, None) => Ok(said),
            (_, Some(error)) => Err(error),
        }
    }

    /// The same, with what was said before the one that failed: that was carried out.
    pub(crate) fn try_all(
        &self,
        command: &'static str,
        line: &Line,
    ) -> Result<(Vec<Vec<u8>>, Option<TmuxError>), TmuxError> {
        let deadline = Instant::now() + self.shared.limit;
        let (to, replies) = sync_channel(1);
        self.shared.send(line, Asker::Caller(to), deadline)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let replies = match replies.recv_timeout(left) {
            Ok(replies) => replies,
            Err(RecvTimeoutError::Timeout) => return Err(self.shared.too_slow()),
            Err(RecvTimeoutError::Disconnected) => return Err(self.shared.why_ended()),
        };
        let failed = replies.iter().find(|reply| !reply.is_ok).map(|failed| {
            let said = String::from_utf8_lossy(&failed.body);
            let said = said.strip_suffix('\n').unwrap_or(&said).to_owned();
            TmuxError::Refused { command: command.to_owned(), said }
        });
        let said = replies.into_iter().filter(|reply| reply.is_ok).map(|reply| reply.body);
        Ok((said.collect(), failed))
    }
}

impl ServerIdentity {
    /// What stands there until the server has said who it is.
    fn default_at(socket: &Path) -> Self {
        Self { pid: 0, start_ticks: 0, boot_id: String::new(), socket: socket.to_owned() }
    }
}

fn start_client(tmux: &Tmux, socket: &Path) -> io::Result<(Child, String)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let session = format!("{CONTROL_SESSION}{}-{number}", std::process::id());
    // The first of them tmux is always given.
    let arguments = client_arguments(socket, &session);
    let arguments: Vec<&OsStr> = arguments[1..].iter().map(OsString::as_os_str).collect();
    use_session(&session);
    let child = tmux.start_control(&arguments).inspect_err(|_| forget_session(&session))?;
    Ok((child, session))
}

/// Closes the session of a client that is gone. If that cannot be done, the next connection does it.
pub(crate) fn close_session(tmux: &Tmux, socket: &Path, session: &str) {
    let target = format!("={session}");
    let arguments: [&OsStr; 6] = [
        "-N".as_ref(),
        "-S".as_ref(),
        socket.as_os_str(),
        "kill-session".as_ref(),
        "-t".as_ref(),
        target.as_ref(),
    ];
    let _ = tmux.run(&arguments);
    forget_session(session);
}

impl Shared {
    fn of(
        child: &mut Child,
        pid: Pid,
        socket: &Path,
        limit: Duration,
    ) -> io::Result<(Self, impl Read + use<>)> {
        let client = pidfd_open(pid, PidfdFlags::empty())?;
        let stdin = child.stdin.take().ok_or_else(|| io::Error::other("no standard input"))?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        fcntl_setfl(stdin.as_fd(), fcntl_getfl(stdin.as_fd())? | OFlags::NONBLOCK)?;
        let shared = Self {
            socket: socket.to_owned(),
            limit,
            queue: Mutex::default(),
            stdin: Mutex::new(Some(stdin)),
            client,
            had_company: AtomicBool::new(false),
        };
        Ok((shared, stdout))
    }

    /// Writes a line; what comes back is for `to`.
    fn send(&self, line: &Line, to: Asker, deadline: Instant) -> Result<(), TmuxError> {
        // Held while it is written: the order of the queue is the order of the commands.
        let mut stdin = lock(&self.stdin);
        let Some(pipe) = stdin.as_mut() else { return Err(self.why_ended()) };
        {
            let mut queue = lock(&self.queue);
            if queue.end.is_some() {
                drop(queue);
                return Err(self.why_ended());
            }
            queue.waiting.push_back(Waiting {
                deadline,
                n_missing: line.n_commands(),
                replies: Vec::new(),
                to,
            });
        }
        match write_until(pipe, &line.bytes(), deadline) {
            Ok(true) => Ok(()),
            // Half of a line cannot be taken back.
            Ok(false) => {
                self.give_up();
                Err(self.too_slow())
            }
            // The client is ending; the reading thread knows why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the client: what is under way gets no answer.
    fn give_up(&self) {
        lock(&self.queue).end.get_or_insert(End::TooSlow);
        // It may have ended by itself.
        let _ = pidfd_send_signal(&self.client, Signal::KILL);
    }

    fn too_slow(&self) -> TmuxError {
        TmuxError::NotResponding { socket: self.socket.clone(), limit: self.limit }
    }

    fn why_ended(&self) -> TmuxError {
        let socket = self.socket.clone();
        match lock(&self.queue).end.clone() {
            Some(End::TooSlow) => self.too_slow(),
            Some(End::Protocol(source)) => TmuxError::BadProtocol { socket, source },
            Some(End::Eof { said }) if is_no_server(&said) => TmuxError::NoServer { socket },
            Some(End::Eof { said }) => TmuxError::Disconnected { socket, said },
            None => TmuxError::Disconnected { socket, said: String::new() },
        }
    }

    /// The reading thread.
    fn read(
        &self,
        mut stdout: impl Read,
        mut child: Child,
        close_session: impl FnOnce(),
        listener: &Listener,
    ) {
        let mut parser = Parser::default();
        let mut buffer = vec![0; 64 << 10];
        let mut refusal = Vec::new();
        let mut end = None;
        while end.is_none() {
            match stdout.read(&mut buffer) {
                Ok(0) => end = Some(None),
                Ok(n) => {
                    let result =
                        parser.push(&buffer[..n], &mut |item| self.take(item, listener, &mut refusal));
                    end = result.err().map(|error| Some(End::Protocol(error)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => end = Some(None),
            }
        }
        // What it can say is bounded; it may have closed its output and hang.
        let _ = pidfd_send_signal(&self.client, Signal::KILL);
        if let Some(stderr) = child.stderr.take() {
            // Only words for people.
            let _ = stderr.take(LAST_WORDS).read_to_end(&mut refusal);
        }
        let _ = child.wait();
        close_session();
        let said = String::from_utf8_lossy(&refusal).trim().to_owned();
        let mut queue = lock(&self.queue);
        queue.end.get_or_insert(end.flatten().unwrap_or(End::Eof { said }));
        queue.waiting.clear();
        drop(queue);
        listener(&Event::Disconnected);
    }

    fn take(&self, item: Item, listener: &Listener, refusal: &mut Vec<u8>) {
        match item {
            Item::Notification(notification) => self.heard(notification, listener),
            Item::Reply(reply) if reply.is_ours => self.answered(reply),
            // Of the command that made the session, or of somebody's hook.
            Item::Reply(reply) => {
                if !reply.is_ok && refusal.is_empty() {
                    *refusal = reply.body;
                }
            }
        }
    }

    fn answered(&self, reply: Reply) {
        let mut queue = lock(&self.queue);
        let Some(first) = queue.waiting.front_mut() else { return };
        first.n_missing = first.n_missing.saturating_sub(1);
        // What follows one that fails is not carried out.
        let is_last = first.n_missing == 0 || !reply.is_ok;
        first.replies.push(reply);
        let complete = if is_last { queue.waiting.pop_front() } else { None };
        drop(queue);
        match complete {
            Some(Waiting { replies, to: Asker::Caller(to), .. }) => {
                // Who asked may have given up.
                let _ = to.try_send(replies);
            }
            Some(Waiting { replies, to: Asker::Company, .. }) => self.leave_if_alone(&replies),
            None => {}
        }
    }

    /// A server ends with its last session. Ours must not keep it when all others are gone.
    fn leave_if_alone(&self, replies: &[Reply]) {
        let names =
            replies.iter().filter(|reply| reply.is_ok).flat_map(|reply| reply.body.split(|b| *b == b'\n'));
        let is_other = |name: &[u8]| !name.is_empty() && !name.starts_with(CONTROL_SESSION.as_bytes());
        if names.into_iter().any(is_other) {
            self.had_company.store(true, Ordering::Relaxed);
        } else if self.had_company.load(Ordering::Relaxed) {
            lock(&self.stdin).take();
        }
    }

    fn heard(&self, notification: Notification, listener: &Listener) {
        let event = match notification {
            Notification::WindowClosed(window) => Event::WindowClosed(WindowId(window)),
            Notification::WindowRenamed(window, name) => {
                Event::WindowRenamed(WindowId(window), String::from_utf8_lossy(&name).into_owned())
            }
            Notification::WindowAdded(window) => Event::WindowAdded(WindowId(window)),
            Notification::SessionsChanged => {
                let line = Line::new("list-sessions").args(["-F", "#{session_name}"]);
                // If it cannot be asked, the connection is ending anyway.
                let _ = self.send(&line, Asker::Company, Instant::now() + self.limit);
                Event::SessionsChanged
            }
            Notification::Exit | Notification::Other => return,
        };
        listener(&event);
    }
}

/// Writes all of it; false if that took until the deadline.
fn write_until(pipe: &mut ChildStdin, mut bytes: &[u8], deadline: Instant) -> io::Result<bool> {
    while !bytes.is_empty() {
        match pipe.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = Timespec::try_from(left).map_err(io::Error::other)?;
                match poll(&mut [PollFd::new(pipe, PollFlags::OUT)], Some(&left)) {
                    Ok(0) => return Ok(false),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Whether these words of tmux mean that nothing listens there.
pub(crate) fn is_no_server(said: &str) -> bool {
    // The latter two: there was one, and it ended before it had answered.
    said.starts_with("no server running")
        || said.starts_with("server exited")
        || said.starts_with("lost server")
        || said.starts_with("error connecting") && (said.contains("No such file") || said.contains("refused"))
}

/// None of what is kept here can be half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
