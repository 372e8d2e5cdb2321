//! One test's own world: folder, `HOME`, `LANEWAY_HOME`, repository. Nothing outside of it is touched, and when it
//! is dropped every process of it is gone.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::process::{Signal, pidfd_send_signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{self, Finished, LIMIT, finish};
use crate::pty::Window;

/// A world with a repository in it.
#[derive(Debug)]
pub struct TestEnvironment {
    folder: TempDir,
    lane: PathBuf,
    /// The repository's main worktree.
    pub repository: PathBuf,
    /// `LANEWAY_HOME`.
    pub home: PathBuf,
}

impl TestEnvironment {
    /// A new world below `scratch`, in which `lane` is this binary. `lane-holder` and `fake-agent` stand beside it
    /// once the whole workspace is built.
    #[track_caller]
    pub fn new(lane: &str, scratch: &str) -> Self {
        let lane = PathBuf::from(lane);
        for needed in ["lane-holder", "fake-agent"] {
            let path = lane.with_file_name(needed);
            assert!(path.exists(), "{} is missing: cargo build --workspace", path.display());
        }
        let folder = tempfile::Builder::new().prefix("lw-").tempdir_in(scratch).expect("a scratch folder");
        let environment = Self {
            lane,
            repository: folder.path().join("repository"),
            home: folder.path().join("home"),
            folder,
        };
        fs::create_dir(&environment.repository).expect("a new folder");
        fs::create_dir(environment.folder.path().join("user")).expect("a new folder");
        environment.git(&["init", "--quiet", "--initial-branch", "main"]);
        // Else the first commit leaves one that tidies up, and may outlive a short test.
        let mut config = fs::OpenOptions::new();
        let config = config.append(true).open(environment.repository.join(".git/config"));
        config
            .and_then(|mut file| file.write_all(b"[maintenance]\n\tauto = false\n"))
            .expect("a file of git's");
        fs::write(environment.repository.join("README"), "a test\n").expect("a new file");
        environment.git(&["add", "."]);
        environment.git(&["commit", "--quiet", "--message", "first"]);
        environment
    }

    /// The folder that all of it is in.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A program in the repository, with this world's environment and nothing else.
    #[expect(clippy::disallowed_methods, reason = "the one place of the tests that starts programs")]
    pub fn program(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(name);
        let binaries = self.lane.parent().expect("a file is in a folder");
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        command
            .current_dir(&self.repository)
            .env_clear()
            .env("PATH", format!("{}:{path}", binaries.display()))
            .env("HOME", self.root().join("user"))
            .env("LANG", "C.UTF-8")
            .env("SHELL", "/bin/bash")
            .env("TERM", "xterm-256color")
            .env("LANEWAY_HOME", &self.home)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Test")
            .env("GIT_AUTHOR_EMAIL", "test@example.org")
            .env("GIT_COMMITTER_NAME", "Test")
            .env("GIT_COMMITTER_EMAIL", "test@example.org");
        command
    }

    /// Runs git in the repository; it must succeed.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.repository, arguments)
    }

    /// Runs git in a folder; it must succeed.
    #[track_caller]
    pub fn git_in(&self, folder: &Path, arguments: &[&str]) -> String {
        finish(self.program("git").current_dir(folder).args(arguments), b"").ok().out()
    }

    /// `lane` with these arguments, to be changed before it is run.
    pub fn lane_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(&self.lane);
        command.args(arguments);
        command
    }

    /// Makes a lane with this program in it, on a terminal of 80 by 24; gives the run's folder.
    #[track_caller]
    pub fn start(&self, name: &str, program: &[&str]) -> PathBuf {
        self.lane(&[&["new", name, "--"], program].concat()).ok();
        self.run_folder(name)
    }

    /// The worktree of a lane.
    #[track_caller]
    pub fn worktree(&self, lane: &str) -> PathBuf {
        PathBuf::from(self.lane(&["path", lane]).ok().out().trim_end())
    }

    /// `lane` in a terminal window of this size.
    #[track_caller]
    pub fn window(&self, arguments: &[&str], columns: u16, rows: u16) -> Window {
        let lane = self.lane.to_str().expect("the binary is built below a path that is text");
        Window::open(self.program("setsid"), &[&[lane], arguments].concat(), columns, rows)
    }

    /// Runs `lane` in the repository to its end.
    #[track_caller]
    pub fn lane(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.lane_command(arguments), b"")
    }

    /// Runs `lane` with this on its standard input.
    #[track_caller]
    pub fn lane_with_input(&self, arguments: &[&str], input: &[u8]) -> Finished {
        finish(&mut self.lane_command(arguments), input)
    }

    /// Runs `lane … --json`, which must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        // Before a `--`, everything behind which belongs to a command.
        let at = arguments.iter().position(|argument| *argument == "--").unwrap_or(arguments.len());
        let (ours, theirs) = arguments.split_at(at);
        self.lane(&[ours, &["--json"], theirs].concat()).ok().json()
    }

    /// A worker, as `lane ps` shows it.
    #[track_caller]
    pub fn worker(&self, name: &str) -> Value {
        let workers = self.json(&["ps", "--all"]);
        let found =
            workers["workers"].as_array().and_then(|all| all.iter().find(|worker| worker["name"] == name));
        found.cloned().unwrap_or_else(|| panic!("there is no worker {name} in {workers}"))
    }

    /// The process of a live worker.
    #[track_caller]
    pub fn pid(&self, name: &str) -> u32 {
        let worker = self.worker(name);
        let pid = worker["pid"].as_u64().unwrap_or_else(|| panic!("{name} has no process: {worker}"));
        u32::try_from(pid).expect("a process id")
    }

    /// The folder of a worker's run.
    #[track_caller]
    pub fn run_folder(&self, name: &str) -> PathBuf {
        let worker = self.worker(name);
        self.home.join("runs").join(worker["run"].as_str().unwrap_or_else(|| panic!("no run: {worker}")))
    }

    /// The daemon's process.
    #[track_caller]
    pub fn daemon_pid(&self) -> u32 {
        let status = self.json(&["daemon", "status"]);
        u32::try_from(status["pid"].as_u64().expect("a pid")).expect("a process id")
    }

    /// Kills the daemon as nothing else does: it gets no chance to say anything.
    #[track_caller]
    pub fn kill_the_daemon(&self) {
        process::kill(self.daemon_pid());
    }

    /// Follows the events from `since` on (0: all) until one fits; gives it.
    #[track_caller]
    pub fn wait_for_event(&self, since: u64, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let since = since.to_string();
        let mut following = self
            .lane_command(&["events", "--follow", "--json", "--since", &since])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("lane can be started");
        let lines = lines_of(&mut following);
        let deadline = Instant::now() + LIMIT;
        let mut seen = Vec::new();
        let found = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    let event: Value = serde_json::from_str(&line).expect("an event is JSON");
                    if fits(&event) {
                        break Some(event);
                    }
                    seen.push(line);
                }
                Err(_) => break None,
            }
        };
        let _ = following.kill();
        let _ = following.wait();
        found.unwrap_or_else(|| panic!("no event came: {what}; these did:\n{}", seen.join("\n")))
    }

    /// Waits until the latest run of a worker has ended; gives the event.
    #[track_caller]
    pub fn wait_for_exit(&self, worker_id: &str) -> Value {
        self.wait_for_event(0, "an exit", |event| {
            event["event"] == "worker.exited" && event["worker"] == worker_id
        })
    }

    /// The number of the last event.
    #[track_caller]
    pub fn last_seq(&self) -> u64 {
        self.json(&["daemon", "status"])["last_seq"].as_u64().expect("a number")
    }
}

fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().expect("stdout is piped");
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

impl Drop for TestEnvironment {
    /// Ends what the test left. A test that passed must not have left anything but its daemon and the workers it
    /// knows of: those are ended the proper way, and then nothing may be there.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.home.join("daemon.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            // Shown by the test runner beside the failure.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("--- the daemon's log, newest first\n{}\n", tail.join("\n")).as_bytes(),
            );
        } else if self.home.join("socket").exists() {
            let workers = self.lane(&["ps", "--json"]);
            let workers: Value = serde_json::from_slice(&workers.stdout).unwrap_or_default();
            for worker in workers["workers"].as_array().into_iter().flatten() {
                if let Some(id) = worker["id"].as_str() {
                    let _ = self.lane(&["stop", id, "--grace", "0"]);
                }
            }
            let _ = self.lane(&["daemon", "stop"]);
        }
        let left = process::belonging_to(self.root());
        for (pid, _) in &left {
            if let Some(process) = process::open(*pid) {
                let _ = pidfd_send_signal(&process, Signal::KILL);
                process::ends_within(&process, LIMIT);
            }
        }
        assert!(left.is_empty() || std::thread::panicking(), "processes were left: {left:?}");
    }
}
