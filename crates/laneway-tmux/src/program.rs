//! The tmux program, found once, and the one place that starts it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::TmuxUnusable;
use crate::server::Server;

/// The oldest tmux whose commands this crate uses (`-N`, `set-option -p`, `capture-pane -J` as of 3.3a), as tested.
pub const OLDEST_TMUX: (u32, u32) = (3, 3);

/// What a command of tmux may take before the connection is given up: it is one process that does everything in
/// turn, and answers within milliseconds.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(5);

/// A tmux that was found and is new enough. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tmux {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    program: PathBuf,
    version: String,
    environment: BTreeMap<OsString, OsString>,
    limit: Duration,
    /// One per socket, so that there is one connection per server.
    servers: Mutex<HashMap<PathBuf, Server>>,
}

impl Tmux {
    /// Looks for tmux on the `PATH` of these variables and checks its version. A server that is started gets them,
    /// without those that speak of another tmux or of a run of Laneway's.
    pub fn find(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, TmuxUnusable> {
        let variables = scrubbed(variables);
        let path = variables.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        let mut candidates = std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("tmux"));
        let program = candidates.find(|program| {
            program.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
        });
        Self::at(program.ok_or(TmuxUnusable::NotFound)?, variables)
    }

    /// Uses the tmux at an absolute path and checks its version.
    pub fn at(
        program: PathBuf,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, TmuxUnusable> {
        let environment = scrubbed(variables);
        let mut inner = Inner {
            program,
            version: String::new(),
            environment,
            limit: COMMAND_LIMIT,
            servers: Mutex::default(),
        };
        let broken = |source| TmuxUnusable::Broken { program: inner.program.clone(), source };
        let said = inner.run(&["-V".as_ref()], COMMAND_LIMIT).map_err(broken)?;
        let said = said.ok_or_else(|| broken(io::ErrorKind::TimedOut.into()))?.stdout;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        said.strip_prefix("tmux ").unwrap_or(&said).clone_into(&mut inner.version);
        if !is_new_enough(&inner.version) {
            return Err(TmuxUnusable::TooOld { program: inner.program, found: inner.version });
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same tmux, with connections of its own, under another limit for each command.
    #[must_use]
    pub fn with_limit(&self, limit: Duration) -> Self {
        let Inner { program, version, environment, .. } = &*self.inner;
        let inner = Inner {
            program: program.clone(),
            version: version.clone(),
            environment: environment.clone(),
            limit,
            servers: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What `tmux -V` said, without "tmux".
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The absolute path of the program.
    pub fn program(&self) -> &Path {
        &self.inner.program
    }

    /// What a command may take.
    pub(crate) fn limit(&self) -> Duration {
        self.inner.limit
    }

    /// The server that listens at this socket, whether one does or not.
    pub fn server(&self, socket: &Path) -> Server {
        let mut servers = self.inner.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers
            .entry(socket.to_owned())
            .or_insert_with(|| Server::new(self.without_servers(), socket))
            .clone()
    }

    /// Ends all connections in good order, so that nothing of them is left in their servers; what takes longer is left
    /// to the next program that connects.
    pub fn leave(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let servers = self.inner.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.values().for_each(|server| server.leave(deadline));
    }

    /// For a server, which would otherwise hold itself.
    fn without_servers(&self) -> Self {
        self.with_limit(self.limit())
    }

    /// Starts the client of a control connection; its standard input stays open. It is told nothing that a server needs:
    /// each variable would be one more message between the first and the last in which it says who it is, and up to 3.6
    /// a server crashes if a session is made or closed between those two.
    pub(crate) fn start_control(&self, arguments: &[&OsStr]) -> io::Result<Child> {
        self.inner.spawn(arguments, Stdio::piped(), &BTreeMap::new())
    }

    /// Runs tmux to its end with the whole environment; None if that took longer than the limit. It can be ended at any
    /// time: a server survives that, which it does not always when a client in control mode goes early.
    pub(crate) fn run(&self, arguments: &[&OsStr]) -> io::Result<Option<Output>> {
        self.inner.run(arguments, self.inner.limit)
    }
}

impl Tmux {
    /// Becomes a client that uses this process's terminal. `keeps_place`: with what says which pane this is typed in.
    pub(crate) fn become_client(&self, arguments: &[&OsStr], keeps_place: bool) -> io::Error {
        let place = ["TMUX", "TMUX_PANE"].map(|name| (name, std::env::var_os(name)));
        let place = place.into_iter().filter_map(|(name, value)| Some((name, value?)));
        #[expect(clippy::disallowed_methods, reason = "the same place, for a tmux in place of this process")]
        let mut command = Command::new(&self.inner.program);
        command.args(arguments).env_clear().envs(&self.inner.environment);
        if keeps_place {
            command.envs(place);
        }
        command.exec()
    }
}

impl Inner {
    fn run(&self, arguments: &[&OsStr], limit: Duration) -> io::Result<Option<Output>> {
        let mut child = self.spawn(arguments, Stdio::null(), &self.environment)?;
        let deadline = Instant::now() + limit;
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            // What it says here is short, so that it never waits for being read.
            match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
                Ok(0) => {
                    child.kill()?;
                    child.wait()?;
                    return Ok(None);
                }
                Ok(_) => return child.wait_with_output().map(Some),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts tmux. No `pre_exec`, an absolute program, a cleared environment: std then spawns without forking.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts tmux, by posix_spawn")]
    fn spawn(
        &self,
        arguments: &[&OsStr],
        stdin: Stdio,
        environment: &BTreeMap<OsString, OsString>,
    ) -> io::Result<Child> {
        Command::new(&self.program)
            // With -u it writes every byte as it is, whatever the locale.
            .arg("-u")
            .args(arguments)
            .env_clear()
            .envs(environment)
            .current_dir("/")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }
}

fn scrubbed(variables: impl IntoIterator<Item = (OsString, OsString)>) -> BTreeMap<OsString, OsString> {
    let is_kept = |name: &OsStr| {
        let name = name.as_bytes();
        !(name.starts_with(b"LANEWAY_") || name == b"TMUX" || name == b"TMUX_PANE")
    };
    variables.into_iter().filter(|(name, _)| is_kept(name)).collect()
}

/// Whether this is a version that is known to work: `3.3a`, `next-3.5`; `master` and the like are taken to be newer.
pub(crate) fn is_new_enough(version: &str) -> bool {
    let version = version.strip_prefix("next-").unwrap_or(version);
    // OpenBSD's own is numbered by its release.
    if !version.starts_with(|first: char| first.is_ascii_digit()) {
        return !version.is_empty();
    }
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST_TMUX,
        (Some(Ok(major)), _) => major > OLDEST_TMUX.0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_tmux_writes_them() {
        for (version, expected) in [
            ("3.3", true),
            ("3.3a", true),
            ("3.10", true),
            ("next-3.5", true),
            ("4.0-rc", true),
            ("master", true),
            ("openbsd-7.5", true),
            ("3.2a", false),
            ("3.2-rc3", false),
            ("next-3.2", false),
            ("2.9", false),
            ("3", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }

    #[test]
    fn a_server_is_not_told_of_another_tmux_or_of_a_run() {
        let given = ["TMUX", "TMUX_PANE", "LANEWAY_RUN", "HOME", "TMUX_TMPDIR"];
        let kept = scrubbed(given.map(|name| (name.into(), "x".into())));
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["HOME", "TMUX_TMPDIR"]);
    }
}
