//! A private tmux server for the tests of tmux, which ends with them.

use std::path::PathBuf;

use laneway_testkit::process::{self, ends_within, finish};
use laneway_testkit::{Finished, LIMIT, TestEnvironment};

use crate::environment;

/// A world with a socket for a tmux server.
pub(crate) struct TmuxServer {
    pub(crate) socket: PathBuf,
    // Dropped after the server is gone.
    pub(crate) world: TestEnvironment,
}

impl TmuxServer {
    /// Without a server yet.
    pub(crate) fn new() -> Self {
        let world = environment();
        Self { socket: world.root().join("s"), world }
    }

    /// Starts the server, with a session `people` of a person.
    #[track_caller]
    pub(crate) fn start(&self) {
        let session =
            ["-f", "/dev/null", "new-session", "-d", "-s", "people", "-n", "theirs", "--", "cat", "-u"];
        self.by_hand(&session);
    }

    /// tmux as a person types it; what it says, without the last line's end.
    #[track_caller]
    pub(crate) fn by_hand(&self, arguments: &[&str]) -> String {
        self.try_by_hand(arguments).ok().out().trim_end().to_owned()
    }

    pub(crate) fn try_by_hand(&self, arguments: &[&str]) -> Finished {
        finish(self.world.program("tmux").arg("-S").arg(&self.socket).args(arguments), b"")
    }

    /// All windows that are no control connection's.
    #[track_caller]
    pub(crate) fn windows(&self) -> Vec<String> {
        let all = self.by_hand(&["list-windows", "-a", "-F", "#{session_name}:#{window_name}"]);
        all.lines().filter(|line| !line.starts_with("laneway-control")).map(str::to_owned).collect()
    }
}

impl Drop for TmuxServer {
    fn drop(&mut self) {
        // Perhaps it never ran, is gone, or there is no tmux.
        let asked = self.world.program("tmux").arg("-S").arg(&self.socket).args(PID).output();
        let pid = asked.ok().and_then(|said| String::from_utf8(said.stdout).ok()?.trim().parse().ok());
        if let Some(server) = pid.and_then(process::open) {
            let _ = self.try_by_hand(&["-N", "kill-server"]);
            assert!(ends_within(&server, LIMIT) || std::thread::panicking(), "the tmux server does not end");
        }
    }
}

const PID: [&str; 4] = ["-N", "display-message", "-p", "#{pid}"];
