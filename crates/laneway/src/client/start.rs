//! Starting the daemon: race-free when many commands need it at once, and apart from whatever called.
//!
//! ```text
//!  take HOME/start.lock ─► connect ─► serves: done (another command has started it meanwhile)
//!                             └─► nobody ─► start `lane daemon serve --report FIFO` ─► wait for one line
//!                                           or the process's end, at most a minute ─► connect
//! ```
//!
//! From inside a run the run's holder starts it: a child of this process would belong to the run's process
//! tree, and stopping the run would kill it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use laneway_api::error::{ErrorBody, ErrorKind, Problem};
use laneway_core::id::RunId;
use laneway_core::os_text::OsText;
use laneway_daemon::home::{HOME_VARIABLE, Home};
use laneway_daemon::startup::StartLock;
use laneway_wire::client::Connection;
use laneway_wire::message::Program;
use laneway_wire::own::DAEMON_WORDS;
use laneway_wire::sockets;
use laneway_wire::{FromHolder, ToHolder};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::connect::connect;
use super::request::RUN_VARIABLE;
use crate::context::home_problem;
use crate::failure::{Failure, with_causes};

/// How long a daemon may take from its start until it serves: migrations and reconciling are in it.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long a holder may take to answer one message.
const HOLDER_LIMIT: Duration = Duration::from_secs(5);

/// The variable with the daemon's socket that a run is given.
const SOCKET_VARIABLE: &str = "LANEWAY_SOCKET";

/// Starts the daemon of `home` unless another command has done so meanwhile, and connects to it.
pub(super) fn start(home: &Home) -> Result<UnixStream, Failure> {
    home.prepare().map_err(|error| home_problem(&error))?;
    let _lock = lock(home)?;
    if let Some(stream) = connect(home)? {
        return Ok(stream);
    }
    let report = Report::make(home)?;
    let daemon = Started::launch(home, &report)?;
    report.wait(home, daemon)?;
    connect(home)?.ok_or_else(|| not_started(home, "it said that it serves, and nobody answers"))
}

/// Takes the lock under which a daemon is started or renewed. Whoever holds it is bounded.
pub(super) fn lock(home: &Home) -> Result<StartLock, Failure> {
    StartLock::take(home).map_err(|error| not_started(home, &with_causes(&error)))
}

/// The file of the program that runs now, also after an upgrade has replaced it.
pub(crate) fn own_program() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe().map_err(|error| {
        Failure::new(
            ErrorKind::Failed,
            "no_program",
            format!("cannot find the file of this program: {error}"),
        )
    })?;
    let replaced = path.as_os_str().as_bytes().strip_suffix(b" (deleted)");
    Ok(match replaced.map(OsText::from_bytes) {
        Some(newer) if !path.exists() => newer.to_path_buf(),
        _ => path,
    })
}

/// The environment of a daemon: the caller's, without what belongs to a run, a tmux or a git call.
pub(super) fn daemon_environment(
    caller: impl Iterator<Item = (OsString, OsString)>,
    home: &Home,
) -> Vec<(OsString, OsString)> {
    let foreign = [&b"LANEWAY_"[..], b"TMUX", b"GIT_"];
    let mut environment: Vec<_> = caller
        .filter(|(name, _)| !foreign.iter().any(|prefix| name.as_bytes().starts_with(prefix)))
        .collect();
    environment.push((HOME_VARIABLE.into(), home.root().into()));
    environment
}

/// A daemon that has been executed and may not serve yet.
enum Started {
    /// It is a child of this process.
    Child(Child, OwnedFd),
    /// A holder has started it. None: it has ended already.
    Elsewhere(Option<OwnedFd>),
}

impl Started {
    fn launch(home: &Home, report: &Report) -> Result<Self, Failure> {
        let program = own_program()?;
        let umask = format!("{:o}", crate::launch::umask()?);
        let arguments: [OsString; 6] = [
            DAEMON_WORDS[0].into(),
            DAEMON_WORDS[1].into(),
            "--umask".into(),
            umask.into(),
            "--report".into(),
            report.path.clone().into(),
        ];
        let mut environment = daemon_environment(std::env::vars_os(), home);
        environment.extend(laneway_fault::variables().map(|(name, value)| (name.into(), value)));
        match holder_of_this_run(home) {
            Some(holder) => Self::through_holder(home, holder, &program, &arguments, &environment),
            None => Self::as_child(home, &program, &arguments, environment),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place of the command line that starts the daemon")]
    fn as_child(
        home: &Home,
        program: &Path,
        arguments: &[OsString],
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, Failure> {
        crate::sys::hide_descriptors_from_children();
        let child = std::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                not_started(home, &format!("{} cannot be run: {error}", OsText::from(program)))
            })?;
        // A child that nobody has waited for keeps its pid.
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .map_err(|errno| not_started(home, &format!("it cannot be watched: {errno}")))?;
        Ok(Self::Child(child, pidfd))
    }

    fn through_holder(
        home: &Home,
        mut holder: Connection,
        program: &Path,
        arguments: &[OsString],
        environment: &[(OsString, OsString)],
    ) -> Result<Self, Failure> {
        let bytes = |text: &std::ffi::OsStr| text.as_bytes().to_vec().into();
        let program = Program {
            program: bytes(program.as_os_str()),
            argv: std::iter::once(program.as_os_str())
                .chain(arguments.iter().map(OsString::as_os_str))
                .map(bytes)
                .collect(),
            env: environment.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            cwd: b"/".to_vec().into(),
        };
        match holder.ask(&ToHolder::StartDaemon(program)) {
            Ok(FromHolder::DaemonStarted { pid }) => {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                let pidfd = pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
                Ok(Self::Elsewhere(pidfd))
            }
            Ok(FromHolder::Refused { message, .. }) => {
                Err(not_started(home, &format!("this run's holder could not start it: {message}")))
            }
            Ok(other) => Err(not_started(home, &format!("this run's holder answered {other:?}"))),
            Err(error) => {
                let why = with_causes(&error);
                Err(not_started(home, &format!("this run's holder did not start it: {why}")))
            }
        }
    }

    fn pidfd(&self) -> Option<&OwnedFd> {
        match self {
            Started::Child(_, pidfd) => Some(pidfd),
            Started::Elsewhere(pidfd) => pidfd.as_ref(),
        }
    }

    /// How it ended, once it has.
    fn end(self) -> String {
        match self {
            Started::Child(mut child, _) => match child.wait() {
                Ok(status) => format!("it ended ({status}) before it served"),
                Err(error) => format!("it ended before it served: {error}"),
            },
            Started::Elsewhere(_) => "it ended before it served".to_owned(),
        }
    }
}

/// The holder of the run that this command is typed in, if there is one and it answers.
fn holder_of_this_run(home: &Home) -> Option<Connection> {
    let run: RunId = std::env::var(RUN_VARIABLE).ok()?.parse().ok()?;
    // The run's own home, which need not be the one the command is for.
    let of_run = std::env::var_os(SOCKET_VARIABLE)
        .and_then(|socket| Path::new(&socket).parent().map(|root| Home::at(root.to_owned())));
    let folder = of_run.as_ref().unwrap_or(home).run(run);
    let client = format!("lane {}", laneway_api::version::VERSION);
    let (connection, _) = Connection::open(&folder, &client, HOLDER_LIMIT).ok()?;
    connection.set_read_limit(Some(HOLDER_LIMIT)).ok()?;
    Some(connection)
}

/// The pipe through which a daemon says that it serves, or why it cannot.
struct Report {
    path: PathBuf,
    pipe: File,
}

impl Report {
    fn make(home: &Home) -> Result<Self, Failure> {
        let name = format!("start-{}.fifo", std::process::id());
        let failed =
            |why: &dyn std::fmt::Display| not_started(home, &format!("its pipe cannot be made: {why}"));
        let path = sockets::make_pipe(home.root(), &name).map_err(|error| failed(&error))?;
        // Open for writing too, so that it never reads as ended.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(pipe) => Ok(Self { path, pipe: pipe.into() }),
            Err(errno) => {
                // The failure before this one is what counts.
                let _ = rustix::fs::unlink(&path);
                Err(failed(&errno))
            }
        }
    }

    /// Waits for the one line, or the end of the process that was to write it.
    fn wait(mut self, home: &Home, daemon: Started) -> Result<(), Failure> {
        let deadline = Instant::now() + START_LIMIT;
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = self
                .wait_once(left, daemon.pidfd())
                .map_err(|errno| not_started(home, &format!("it cannot be waited for: {errno}")))?;
            self.read_into(&mut line)
                .map_err(|error| not_started(home, &format!("what it says cannot be read: {error}")))?;
            if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
                return said(home, &line[..end]);
            }
            if ended {
                return Err(not_started(home, &daemon.end()));
            }
            if left.is_zero() {
                let limit = START_LIMIT.as_secs();
                return Err(Problem::new(
                    ErrorKind::TimedOut,
                    "daemon_start_timed_out",
                    format!("the daemon did not serve within {limit} s"),
                )
                .hint("lane daemon logs")
                .into());
            }
        }
    }

    /// Waits for the pipe or the process, at most `left`; true if the process has ended.
    fn wait_once(&self, left: Duration, pidfd: Option<&OwnedFd>) -> Result<bool, Errno> {
        let Some(pidfd) = pidfd else { return Ok(true) };
        let mut watched = [
            PollFd::from_borrowed_fd(self.pipe.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
        ];
        let limit = left.try_into().expect("a minute is a time that the system knows");
        match rustix::event::poll(&mut watched, Some(&limit)) {
            Ok(_) => Ok(!watched[1].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn read_into(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        match self.pipe.read_to_end(line) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // A leftover harms nobody: the next one with this name replaces it.
        let _ = rustix::fs::unlink(&self.path);
    }
}

/// What the line of a starting daemon means.
fn said(home: &Home, line: &[u8]) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Said {
        Problem(ErrorBody),
        Ready { ready: bool },
    }
    match serde_json::from_slice(line) {
        Ok(Said::Ready { ready: true }) => Ok(()),
        Ok(Said::Problem(body)) => Err(body.error.into()),
        Ok(Said::Ready { ready: false }) | Err(_) => {
            Err(not_started(home, &format!("it said: {}", OsText::from_bytes(line))))
        }
    }
}

fn not_started(home: &Home, why: &str) -> Failure {
    Problem::new(
        ErrorKind::Unreachable,
        "daemon_not_started",
        format!("the daemon for {} could not be started: {why}", OsText::from(home.root())),
    )
    .hint("lane daemon logs")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_inherits_nothing_of_a_run_a_tmux_or_a_git_call() {
        let caller = ["PATH", "LANEWAY_RUN", "LANEWAY_HOME", "TMUX", "TMUX_PANE", "GIT_DIR", "GITHUB_TOKEN"];
        let caller = caller.iter().map(|name| (OsString::from(name), OsString::from("x")));
        let environment = daemon_environment(caller, &Home::at("/home/of/lanes".into()));
        let expected: Vec<(OsString, OsString)> =
            [("PATH", "x"), ("GITHUB_TOKEN", "x"), ("LANEWAY_HOME", "/home/of/lanes")]
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
        assert_eq!(environment, expected);
    }

    #[test]
    fn a_daemon_that_cannot_serve_says_why() {
        let home = Home::at("/x".into());
        assert!(said(&home, br#"{"ready":true}"#).is_ok());
        let problem = br#"{"error":{"code":"database_newer","kind":"failed","message":"newer"}}"#;
        assert!(said(&home, problem).unwrap_err().is("database_newer"));
        assert!(said(&home, b"nonsense").unwrap_err().is("daemon_not_started"));
    }

    #[test]
    fn a_report_without_a_process_is_an_end_and_leaves_no_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned());
        let report = Report::make(&home).unwrap();
        assert!(report.path.exists());
        let failure = report.wait(&home, Started::Elsewhere(None)).unwrap_err();
        assert!(failure.is("daemon_not_started"), "{failure:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
