//! A holder under test: launched as the daemon does it, in a folder of its own, with nothing left afterwards.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use laneway_wire::client::Connection;
use laneway_wire::message::{
    Exited, FromHolder, Launch, Lines, Role, Send, Size, StartFailure, Started, Status, Terminal, Text,
};
use laneway_wire::{ByteVec, Incoming, Stream, ToHolder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// No wait in these tests is longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The size of terminals where a test does not care.
pub(crate) const SIZE: Size = Size { columns: 80, rows: 24 };

/// A run's holder.
pub(crate) struct TestRun {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) started: Started,
    /// The connection that the launch went over.
    pub(crate) control: Option<Connection>,
    holder: Child,
}

/// What a launch came to when it failed.
pub(crate) struct FailedRun {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) failure: StartFailure,
}

/// A launch of `argv` on a terminal, with a small environment and no owner.
pub(crate) fn launch(argv: &[&str]) -> Launch {
    let bytes = |text: &str| ByteVec::from(text.as_bytes().to_vec());
    Launch {
        run: "rn_01K0000000000000000000000A".to_owned(),
        argv: argv.iter().map(|argument| bytes(argument)).collect(),
        cwd: bytes("/"),
        env: vec![
            (bytes("PATH"), bytes("/usr/local/bin:/usr/bin:/bin")),
            (bytes("TERM"), bytes("xterm-256color")),
            (bytes("LANEWAY_RUN"), bytes("rn_01K0000000000000000000000A")),
        ],
        umask: 0o022,
        limits: Vec::new(),
        terminal: Terminal::Pty(SIZE),
        owned: false,
        history_lines: 1000,
        stop_signal: 15,
        record: None,
        channel: None,
        run_limits: None,
    }
}

/// A launch of a shell script on a terminal.
pub(crate) fn script(text: &str) -> Launch {
    launch(&["sh", "-c", text])
}

/// The same on pipes, with an owner.
pub(crate) fn owned_pipes(launch: Launch) -> Launch {
    Launch { terminal: Terminal::Pipes, owned: true, ..launch }
}

fn spawn_holder(folder: &Path, stdin: OwnedFd) -> Child {
    let log = File::create(folder.join("holder.log")).expect("the temporary folder is writable");
    #[expect(clippy::disallowed_methods, reason = "the tests start the holder as the daemon does")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_lane-holder"));
    command.arg("run").arg("--dir").arg(folder).env_clear();
    command.stdin(Stdio::from(stdin)).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("the holder's binary was built")
}

/// Starts a holder; answers it with the connection on its standard input.
pub(crate) fn bare_holder() -> (tempfile::TempDir, Child, UnixStream) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    let (holder, near) = bare_holder_in(folder.path());
    (folder, holder, near)
}

fn bare_holder_in(folder: &Path) -> (Child, UnixStream) {
    let (near, far) = UnixStream::pair().expect("a pair of sockets can be made");
    (spawn_holder(folder, far.into()), near)
}

pub(crate) fn try_start(launch: Launch) -> Result<TestRun, FailedRun> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    try_start_in(folder, launch)
}

pub(crate) fn try_start_in(folder: tempfile::TempDir, launch: Launch) -> Result<TestRun, FailedRun> {
    let (holder, socket) = bare_holder_in(folder.path());
    try_start_with((folder, holder, socket), launch)
}

/// Has a holder that was started before launch its program.
pub(crate) fn try_start_with(
    (folder, mut holder, socket): (tempfile::TempDir, Child, UnixStream),
    launch: Launch,
) -> Result<TestRun, FailedRun> {
    let mut control = Connection::over(socket);
    control.set_read_limit(Some(LIMIT)).unwrap();
    let answer = match control.ask(&ToHolder::Launch(Box::new(launch))) {
        Ok(answer) => answer,
        Err(error) => {
            let log = std::fs::read_to_string(folder.path().join("holder.log")).unwrap_or_default();
            panic!("the holder gave no answer: {error}; its log: {log}")
        }
    };
    match answer {
        FromHolder::Started(started) => Ok(TestRun { folder, started, control: Some(control), holder }),
        FromHolder::StartFailed(failure) => {
            wait_for_end(&mut holder);
            Err(FailedRun { folder, failure })
        }
        other => panic!("no answer to a launch: {other:?}"),
    }
}

pub(crate) fn start(launch: Launch) -> TestRun {
    match try_start(launch) {
        Ok(run) => run,
        Err(FailedRun { failure, .. }) => panic!("not started: {failure:?}"),
    }
}

/// Waits until a child of this process has ended.
pub(crate) fn wait_for_end(child: &mut Child) -> std::process::ExitStatus {
    assert!(ends_within_limit(child.id()), "process {} did not end", child.id());
    child.wait().expect("it is a child of this process")
}

/// Waits until a process has ended; answers at once if it is not there.
pub(crate) fn ends_within_limit(pid: u32) -> bool {
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty()) else { return true };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let timeout = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
    poll(&mut fds, Some(&timeout)).unwrap() == 1
}

/// A process outside every run's tree that a test has made: killed when the test ends.
pub(crate) struct KilledAtEnd(pub(crate) u32);

impl Drop for KilledAtEnd {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0 as i32).expect("it is the pid of a process");
        // It may be gone already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Whether a process is there and not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// A field of `/proc/PID/status`, as its first word.
pub(crate) fn status_field(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

impl TestRun {
    /// A new connection to the holder's socket.
    pub(crate) fn connect(&self) -> Connection {
        let (connection, _) = Connection::open(self.folder.path(), "test", LIMIT).unwrap();
        connection.set_read_limit(Some(LIMIT)).unwrap();
        connection
    }

    /// A new connection that views the run.
    pub(crate) fn attach(&self, role: Role) -> Viewer {
        Viewer::attach(self.connect(), role, None)
    }

    /// A new connection as the run's owner.
    pub(crate) fn own(&self) -> Viewer {
        let mut connection = self.connect();
        let tag = connection.send(&ToHolder::Own).unwrap();
        Viewer::answered(connection, tag)
    }

    pub(crate) fn status(&self) -> Status {
        match self.connect().ask(&ToHolder::Status).unwrap() {
            FromHolder::Status(status) => *status,
            other => panic!("no status: {other:?}"),
        }
    }

    pub(crate) fn read(&self, lines: Lines) -> Text {
        match self.connect().read_text(&ToHolder::Read { lines, ansi: false, since: None }).unwrap() {
            FromHolder::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    pub(crate) fn send(&self, send: Send) -> FromHolder {
        self.connect().ask(&ToHolder::Send(send)).unwrap()
    }

    /// Stops the run; answers what is left.
    pub(crate) fn stop(&self, grace: Duration) -> Vec<laneway_wire::message::ProcessNote> {
        let mut connection = self.connect();
        let stop = ToHolder::Stop { signal: None, grace_ms: grace.as_millis() as u64 };
        let tag = connection.send(&stop).unwrap();
        loop {
            match connection.answer_to(tag).unwrap() {
                FromHolder::StopProgress { .. } => {}
                FromHolder::Stopped { left } => return left,
                other => panic!("not stopped: {other:?}"),
            }
        }
    }

    /// The exit, as the connection of the launch is told.
    pub(crate) fn wait_for_exit(&mut self) -> Exited {
        let control = self.control.as_mut().expect("the test has kept the connection");
        loop {
            let incoming = control.receive().unwrap().expect("the holder stays until it may leave");
            if let Incoming::Message { tag: 0, message: FromHolder::Exited(exited) } = incoming {
                return exited;
            }
        }
    }

    /// Acknowledges the exit and waits until the holder has left.
    pub(crate) fn acknowledge_and_leave(&mut self) {
        assert_eq!(self.connect().ask(&ToHolder::Acknowledge).unwrap(), FromHolder::Done);
        let status = wait_for_end(&mut self.holder);
        assert!(status.success(), "the holder ended with {status}");
    }

    pub(crate) fn holder_pid(&self) -> u32 {
        self.holder.id()
    }

    pub(crate) fn holder_mut(&mut self) -> &mut Child {
        &mut self.holder
    }
}

impl Drop for TestRun {
    fn drop(&mut self) {
        // Whatever the test has left is ended with the run, so that a failed test leaves nothing either.
        if matches!(self.holder.try_wait(), Ok(None))
            && let Ok((mut connection, _)) = Connection::open(self.folder.path(), "test", LIMIT)
        {
            drop(connection.set_read_limit(Some(LIMIT)));
            if let Ok(tag) = connection.send(&ToHolder::Stop { signal: Some(9), grace_ms: 0 }) {
                while let Ok(FromHolder::StopProgress { .. }) = connection.answer_to(tag) {}
            }
        }
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// A connection that gets output.
pub(crate) struct Viewer {
    pub(crate) connection: Connection,
    /// The answer to `Attach` or `Own`.
    pub(crate) attached: FromHolder,
    /// Everything that was given: snapshots, and output of each stream.
    pub(crate) snapshot: Vec<u8>,
    pub(crate) pty: Vec<u8>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// The offset behind the last byte of `Pty`, `Stdout`, `Stderr`.
    pub(crate) ends: [u64; 3],
    /// The offset at which the last snapshot was made.
    pub(crate) drawn_at: u64,
    /// Messages that came unasked, snapshots left out.
    pub(crate) told: Vec<FromHolder>,
}

impl Viewer {
    pub(crate) fn attach(mut connection: Connection, role: Role, since: Option<u64>) -> Self {
        let tag = connection.send(&ToHolder::Attach { role, size: SIZE, since }).unwrap();
        Self::answered(connection, tag)
    }

    fn answered(mut connection: Connection, tag: u32) -> Self {
        let attached = connection.answer_to(tag).unwrap();
        assert!(matches!(attached, FromHolder::Attached { .. }), "not attached: {attached:?}");
        Self {
            connection,
            attached,
            snapshot: Vec::new(),
            pty: Vec::new(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            ends: [0; 3],
            drawn_at: 0,
            told: Vec::new(),
        }
    }

    /// Takes in the next frame. Answers false at the end of the connection.
    pub(crate) fn next(&mut self) -> bool {
        let Some(incoming) = self.connection.receive().unwrap() else { return false };
        match incoming {
            Incoming::Message { message: FromHolder::Snapshot { offset, .. }, .. } => {
                self.snapshot.clear();
                self.ends[0] = offset;
                self.drawn_at = offset;
            }
            Incoming::Message { message, .. } => self.told.push(message),
            Incoming::Unknown { tag } => panic!("an unknown answer to {tag}"),
            Incoming::Data { stream: Stream::Snapshot, bytes, .. } => self.snapshot.extend(bytes),
            Incoming::Data { stream, offset, bytes } => {
                let (kept, index) = match stream {
                    Stream::Pty => (&mut self.pty, 0),
                    Stream::Stdout => (&mut self.stdout, 1),
                    Stream::Stderr => (&mut self.stderr, 2),
                    other => panic!("output on {other:?}"),
                };
                if !kept.is_empty() {
                    assert!(offset == self.ends[index] || self.told.contains(&FromHolder::Resync), "a gap");
                }
                kept.extend_from_slice(&bytes);
                self.ends[index] = offset + bytes.len() as u64;
            }
        }
        true
    }

    /// Takes in frames until the run's exit is told.
    pub(crate) fn until_exit(&mut self) -> Exited {
        self.until("the exit", |viewer| {
            viewer.told.iter().find_map(|message| match message {
                FromHolder::Exited(exited) => Some(*exited),
                _ => None,
            })
        })
    }

    /// Takes in frames until a message of this kind was told.
    pub(crate) fn until_told(&mut self, what: &str, is_it: impl Fn(&FromHolder) -> bool) {
        self.until(what, |viewer| viewer.told.iter().any(&is_it).then_some(()));
    }

    /// Takes in frames until the terminal's output, live or in the snapshot, holds `text`.
    pub(crate) fn until_shown(&mut self, text: &str) {
        self.until(text, |viewer| (viewer.shows(text)).then_some(()));
    }

    /// Whether the snapshot or the end of the live output (128 KiB, more than two reads of the holder) holds
    /// `text`.
    pub(crate) fn shows(&self, text: &str) -> bool {
        let end = &self.pty[self.pty.len().saturating_sub(128 << 10)..];
        [&self.snapshot, end].iter().any(|bytes| String::from_utf8_lossy(bytes).contains(text))
    }

    pub(crate) fn until<T>(&mut self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            let is_open = Instant::now() < end && self.next();
            assert!(is_open, "{what} did not come; last seen: {}", self.describe());
        }
    }

    /// The end of what was given, for a test that gives up.
    fn describe(&self) -> String {
        let text = [self.snapshot.as_slice(), &self.pty, &self.stdout, &self.stderr].concat();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
        format!("{text:?}; told {:?}", self.told)
    }

    pub(crate) fn type_text(&mut self, text: &str) {
        self.connection.send_input(text.as_bytes()).unwrap();
    }
}

/// What a script prints for a test to find: a word and a number, `word=123;`.
pub(crate) fn number_after(text: &[u8], word: &str) -> Option<u32> {
    let text = String::from_utf8_lossy(text);
    let after = text.split(&format!("{word}=")).nth(1)?;
    after.split_once(';')?.0.trim().parse().ok()
}
