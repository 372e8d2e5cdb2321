//! The main job, for the eye to see: three lanes with real programs, the daemon killed and back, a clean end.
//!
//! Everything happens in a folder of its own below `target/`, with its own `LANEWAY_HOME`; nothing of it is left.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use crate::{shell, tools};

const PROMPT: Style = AnsiColor::Green.on_default().bold();

/// How long a program may take to draw what is waited for.
const DRAW_LIMIT: Duration = Duration::from_secs(10);

/// Builds, shows, cleans up.
pub(crate) fn run() -> Result<()> {
    let git = tools::git()?;
    tools::require(&tools::IN_TERMINALS)?;
    shell::remark(&format!("{git}; building lane and lane-holder"));
    let build = ["build", "--locked", "--quiet", "--package", "laneway", "--package", "laneway-holder"];
    shell::step("build", shell::cargo().args(build))?;
    let began = Instant::now();
    let stage = Stage::new()?;
    let played = stage.play();
    let cleared = stage.clear();
    played.and(cleared)?;
    shell::heading("that was it: nothing was lost, and nothing is left");
    shell::remark(&format!("{:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// A throw-away repository and home.
struct Stage {
    lane: PathBuf,
    folder: PathBuf,
    repository: PathBuf,
    home: PathBuf,
}

impl Stage {
    fn new() -> Result<Self> {
        let target = shell::target_folder()?;
        let folder = target.join("demo").join(std::process::id().to_string());
        let stage = Self {
            lane: target.join("debug/lane"),
            repository: folder.join("project"),
            home: folder.join("home"),
            folder,
        };
        fs::create_dir_all(&stage.repository)?;
        fs::write(stage.repository.join("README"), "A project that three programs work on.\n")?;
        for arguments in [
            &["init", "--quiet", "--initial-branch", "main"][..],
            &["add", "."],
            &["commit", "--quiet", "--message", "a first commit"],
        ] {
            let output = stage.program("git").args(arguments).output()?;
            ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(stage)
    }

    fn play(&self) -> Result<()> {
        shell::heading("three lanes, each a git worktree with a program on a terminal of its own");
        self.show(&["new", "shell", "--", "bash", "--norc"])?;
        self.show(&["new", "editor", "--", "vim", "-n", "-u", "NONE", "notes.txt"])?;
        let count = "import itertools, time\nfor n in itertools.count(1):\n print('line', n, flush=True); time.sleep(0.2)";
        self.show(&["new", "counter", "--", "python3", "-c", count])?;
        self.show(&["ls"])?;

        shell::heading("type into one, read another, run a command beside them");
        self.show(&["send", "shell", "echo the answer is $((6 * 7))", "--enter"])?;
        self.wait_for("shell", "the answer is 42")?;
        self.show(&["read", "shell", "--lines", "5"])?;
        self.show(&["exec", "editor", "--", "git", "status", "--short", "--branch"])?;
        self.wait_for("counter", "line 3")?;

        shell::heading("kill -9 of the daemon: every program goes on");
        let before = self.json(&["ps"])?;
        self.kill_the_daemon()?;
        let line_then = self.last_line("counter")?;
        self.show(&["ls"])?;
        let after = self.json(&["ps"])?;
        ensure!(pids(&before) == pids(&after), "the programs are not the same as before");
        shell::remark("the same processes as before, found again by a new daemon");
        let next = line_then.trim_start_matches("line ").parse::<u64>().unwrap_or(0) + 3;
        self.wait_for("counter", &format!("line {next}"))?;
        self.show(&["read", "counter", "--lines", "3"])?;

        shell::heading("closing never loses work");
        self.show(&["exec", "shell", "--", "sh", "-c", "echo precious > idea.txt"])?;
        let refused = self.say(&["close", "shell"])?;
        ensure!(refused.status.code() == Some(5), "a close that loses work must be refused");
        self.show(&["exec", "shell", "--", "rm", "idea.txt"])?;
        self.show(&["close", "shell", "editor", "counter"])?;
        self.show(&["ls"])?;
        let worktrees = self.program("git").args(["worktree", "list", "--porcelain"]).output()?.stdout;
        let n_worktrees = String::from_utf8_lossy(&worktrees).matches("worktree ").count();
        ensure!(n_worktrees == 1, "worktrees are left");
        Ok(())
    }

    /// Runs `lane` for the eye to see; it must succeed.
    fn show(&self, arguments: &[&str]) -> Result<()> {
        let output = self.say(arguments)?;
        ensure!(output.status.success(), "lane {} failed ({})", arguments.join(" "), output.status);
        Ok(())
    }

    fn say(&self, arguments: &[&str]) -> Result<Output> {
        let shown: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        anstream::println!("{PROMPT}${PROMPT:#} lane {}", shown.join(" "));
        let output = self.lane(arguments)?;
        for said in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(said).lines() {
                anstream::println!("  {line}");
            }
        }
        Ok(output)
    }

    fn lane(&self, arguments: &[&str]) -> Result<Output> {
        self.program(&self.lane)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("lane could not be started")
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.lane(&[arguments, &["--json"]].concat())?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("lane {} --json", arguments.join(" ")))
    }

    /// Reads again and again, as fast as commands come back, until the text is there.
    fn wait_for(&self, target: &str, text: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let seen = String::from_utf8_lossy(&self.lane(&["read", target])?.stdout).into_owned();
            if seen.lines().any(|line| line.trim_end() == text) {
                return Ok(());
            }
            if began.elapsed() > DRAW_LIMIT {
                bail!("{target} did not show {text:?}; it shows:\n{seen}");
            }
        }
    }

    fn last_line(&self, target: &str) -> Result<String> {
        let seen = self.lane(&["read", target, "--lines", "1"])?.stdout;
        Ok(String::from_utf8_lossy(&seen).trim().to_owned())
    }

    fn kill_the_daemon(&self) -> Result<()> {
        let (pid, daemon) = self.daemon()?.context("no daemon runs")?;
        anstream::println!("{PROMPT}${PROMPT:#} kill -9 {pid}");
        pidfd_send_signal(&daemon, Signal::KILL)?;
        wait_for_end(&daemon)
    }

    fn daemon(&self) -> Result<Option<(i64, OwnedFd)>> {
        let status = self.json(&["daemon", "status"])?;
        let Some(number) = status["pid"].as_i64() else { return Ok(None) };
        let pid = Pid::from_raw(i32::try_from(number)?).context("the daemon's pid")?;
        Ok(Some((number, pidfd_open(pid, PidfdFlags::empty())?)))
    }

    /// Ends what is left if something went wrong, then the daemon, then removes the folder.
    fn clear(self) -> Result<()> {
        let workers = self.json(&["ps"])?;
        for worker in workers["workers"].as_array().into_iter().flatten() {
            if let Some(id) = worker["id"].as_str() {
                self.lane(&["stop", id, "--grace", "0"])?;
            }
        }
        let daemon = self.daemon()?;
        self.lane(&["daemon", "stop"])?;
        if let Some((_, daemon)) = daemon {
            wait_for_end(&daemon)?;
        }
        fs::remove_dir_all(&self.folder).with_context(|| format!("{} is left", self.folder.display()))
    }

    /// A program inside the repository that sees nothing of the developer's own settings.
    fn program(&self, name: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = shell::program(name);
        command.current_dir(&self.repository).env_clear();
        for kept in ["PATH", "LANG", "NO_COLOR", "CLICOLOR"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
            .env("HOME", &self.folder)
            .env("LANEWAY_HOME", &self.home)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Demo")
            .env("GIT_AUTHOR_EMAIL", "demo@example.org")
            .env("GIT_COMMITTER_NAME", "Demo")
            .env("GIT_COMMITTER_EMAIL", "demo@example.org");
        command
    }
}

fn pids(workers: &Value) -> Vec<Option<i64>> {
    workers["workers"].as_array().into_iter().flatten().map(|worker| worker["pid"].as_i64()).collect()
}

fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=".contains(c);
    if argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\n', "⏎"))
    }
}

fn wait_for_end(process: &OwnedFd) -> Result<()> {
    let mut polled = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
    ensure!(rustix::event::poll(&mut polled, Some(&limit))? == 1, "the daemon did not end");
    Ok(())
}
