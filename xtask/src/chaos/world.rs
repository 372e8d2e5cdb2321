//! One repository and home, with `lane` and `lane-holder` that have fault points. Nothing outside of its folder is
//! touched, and every process of it is gone when it is dropped.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use laneway_fault::{FAULT, GATE, LOG};
use serde_json::Value;

use super::Stage;
use crate::bench::measure::processes;
use crate::shell;

/// How long anything may take. Generous: the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// One world.
pub(crate) struct World {
    binaries: PathBuf,
    /// What programs that talk are.
    pub(crate) talks: PathBuf,
    folder: PathBuf,
    /// Where its repository is.
    beside: PathBuf,
    n_outputs: AtomicU32,
}

/// A pane of tmux.
pub(crate) struct PaneSeen {
    /// The names of its session and its window.
    pub(crate) place: String,
    /// Its id.
    pub(crate) id: String,
    /// What Laneway has marked it with.
    pub(crate) tag: String,
}

/// A program that has ended.
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
    called: String,
}

impl Said {
    /// What it printed, if it succeeded.
    pub(crate) fn ok(self) -> Result<Vec<u8>> {
        let Self { status, out, err, called } = self;
        ensure!(status.success(), "{called} ended with {status}: {}", err.trim());
        Ok(out)
    }
}

impl World {
    /// A new one, with a small repository that has a remote and a hook.
    pub(crate) fn new(stage: &Stage, name: &str) -> Result<Self> {
        let folder = stage.folder().join(name);
        fs::create_dir_all(folder.join("user"))?;
        fs::create_dir_all(folder.join("counts"))?;
        let beside = stage.repositories.join(name);
        fs::create_dir_all(&beside)?;
        let (binaries, talks) = (stage.binaries.clone(), stage.talks.clone());
        let world = Self { binaries, talks, folder, beside, n_outputs: AtomicU32::new(0) };
        world.make_repository(&stage.repositories.join("template")).context("the repository of a world")?;
        Ok(world)
    }

    /// Another home, with a daemon of its own, for the same repository.
    pub(crate) fn beside(&self, name: &str) -> Result<Self> {
        let folder = self.folder.with_file_name(name);
        fs::create_dir_all(folder.join("user"))?;
        let (binaries, talks, beside) = (self.binaries.clone(), self.talks.clone(), self.beside.clone());
        Ok(Self { binaries, talks, folder, beside, n_outputs: AtomicU32::new(0) })
    }

    /// Copied from a template, which is made first.
    fn make_repository(&self, template: &Path) -> Result<()> {
        if !template.exists() {
            let half = template.with_extension(self.folder.file_name().unwrap_or_default());
            self.make_template(&half)?;
            if fs::rename(&half, template).is_err() {
                // Another world was quicker.
                fs::remove_dir_all(&half)?;
            }
        }
        for part in ["repository", "origin.git"] {
            copy(&template.join(part), &self.beside.join(part))?;
        }
        Ok(())
    }

    fn make_template(&self, at: &Path) -> Result<()> {
        let repository = at.join("repository");
        fs::create_dir_all(repository.join("src"))?;
        let git = |folder: &Path, arguments: &[&str]| -> Result<()> {
            self.finish(self.program("git").current_dir(folder).args(arguments))?.ok().map(drop)
        };
        git(&repository, &["init", "--quiet", "--initial-branch", "main"])?;
        fs::write(repository.join("README"), "a repository\n")?;
        fs::write(repository.join("src/main.c"), "int main(void) { return 0; }\n")?;
        fs::write(repository.join(".gitignore"), "*.secret\ntarget/\n")?;
        // For merges that the daemon makes, which is not told of the environment of each who asks.
        git(&repository, &["config", "user.name", "Chaos"])?;
        git(&repository, &["config", "user.email", "chaos@example.org"])?;
        git(&repository, &["add", "."])?;
        git(&repository, &["commit", "--quiet", "--message", "first"])?;
        git(&repository, &["branch", "dev"])?;
        git(at, &["clone", "--quiet", "--bare", "repository", "origin.git"])?;
        git(&at.join("origin.git"), &["branch", "feature", "main"])?;
        git(&repository, &["remote", "add", "origin", "../origin.git"])?;
        git(&repository, &["fetch", "--quiet", "origin"])?;
        let hook = repository.join(".git/hooks/post-checkout");
        fs::create_dir_all(repository.join(".git/hooks"))?;
        fs::write(&hook, "#!/bin/sh\nexit 0\n")?;
        Ok(rustix::fs::chmod(&hook, rustix::fs::Mode::RWXU)?)
    }

    /// The folder of all of it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The main worktree.
    pub(crate) fn repository(&self) -> PathBuf {
        self.beside.join("repository")
    }

    /// The folder of worktrees that are a person's own.
    pub(crate) fn own(&self) -> PathBuf {
        self.beside.join("own")
    }

    /// Where programs that talk write down how much they have said.
    pub(crate) fn counts(&self) -> PathBuf {
        self.folder.join("counts")
    }

    /// `LANEWAY_HOME`.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// The socket of its own tmux server: beside the repository, where paths are short.
    fn tmux_socket(&self) -> PathBuf {
        self.beside.join("tmux")
    }

    /// Starts its tmux server, with a session of a person's.
    pub(crate) fn start_tmux(&self) -> Result<()> {
        let session =
            ["-f", "/dev/null", "new-session", "-d", "-s", "people", "-n", "theirs", "--", "cat", "-u"];
        self.tmux(&session).map(drop)
    }

    /// tmux as a person types it; it must succeed.
    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut tmux = self.program("tmux");
        let out = self.finish(tmux.arg("-S").arg(self.tmux_socket()).args(arguments))?.ok()?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// The process of its tmux server, and what its panes are, but those of control connections; none if it has no
    /// server.
    pub(crate) fn panes(&self) -> Result<Option<(u32, Vec<PaneSeen>)>> {
        if !self.tmux_socket().exists() {
            return Ok(None);
        }
        let format = "#{pid}\u{1f}#{session_name}\u{1f}#{window_name}\u{1f}#{pane_id}\u{1f}#{@laneway}";
        let said = self.tmux(&["list-panes", "-a", "-F", format])?;
        let mut server = 0;
        let mut panes = Vec::new();
        for line in said.lines() {
            let fields: Vec<&str> = line.split('\u{1f}').collect();
            let [pid, session, window, id, tag] = fields[..] else { bail!("tmux says {line:?}") };
            server = pid.parse()?;
            if !session.starts_with("laneway-control") {
                let place = format!("{session}:{window}");
                panes.push(PaneSeen { place, id: id.to_owned(), tag: tag.to_owned() });
            }
        }
        Ok(Some((server, panes)))
    }

    /// The worktree of the lane that was made under this name.
    pub(crate) fn tree(&self, lane: &str) -> PathBuf {
        self.repository().join(".lanes").join(lane)
    }

    /// A program in the repository that sees nothing of the developer's own settings.
    fn program(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = shell::program(name);
        let repository = self.repository();
        command
            .current_dir(if repository.exists() { &repository } else { &self.folder })
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.join("user"))
            .env("LANG", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .env("LANEWAY_HOME", self.home())
            // What programs that talk are, and where they write down how much they have said.
            .env("CHAOS_PROGRAM", &self.talks)
            .env("CHAOS_COUNTS", self.counts())
            .env("LANEWAY_TMUX_SOCKET", self.tmux_socket())
            // Where a tree is just being taken away, the repository around it is not meant.
            .env("GIT_CEILING_DIRECTORIES", self.repository().join(".lanes"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Chaos")
            .env("GIT_AUTHOR_EMAIL", "chaos@example.org")
            .env("GIT_COMMITTER_NAME", "Chaos")
            .env("GIT_COMMITTER_EMAIL", "chaos@example.org");
        command
    }

    /// Runs a program to its end, which must come.
    fn finish(&self, command: &mut Command) -> Result<Said> {
        self.finish_within(LIMIT, command)
    }

    fn finish_within(&self, limit: Duration, command: &mut Command) -> Result<Said> {
        let called = format!("{} {:?}", command.get_program().display(), command.get_args());
        let number = self.n_outputs.fetch_add(1, Ordering::Relaxed);
        let [out, err] = ["out", "err"].map(|which| self.folder.join(format!("said-{number}.{which}")));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()
            .with_context(|| called.clone())?;
        let process = processes::open(child.id()).context("a child that is not reaped has a pidfd")?;
        if !processes::ends_within(&process, limit)? {
            processes::kill(&process);
            child.wait()?;
            bail!("{called} did not end within {} s", limit.as_secs());
        }
        let status = child.wait()?;
        let said = Said {
            status,
            out: fs::read(&out)?,
            err: String::from_utf8_lossy(&fs::read(&err)?).into_owned(),
            called,
        };
        fs::remove_file(out)?;
        fs::remove_file(err)?;
        Ok(said)
    }

    /// Runs git in a folder; it must succeed.
    pub(crate) fn git_in(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        let out = self.finish(self.program("git").current_dir(folder).args(arguments))?.ok()?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Runs git in the main worktree, however it ends.
    pub(crate) fn try_git(&self, arguments: &[&str]) -> Result<Said> {
        self.finish(self.program("git").args(arguments))
    }

    /// Runs git in the main worktree; it must succeed.
    pub(crate) fn git(&self, arguments: &[&str]) -> Result<String> {
        self.git_in(&self.repository(), arguments)
    }

    /// What git prints when it is given a list of objects.
    pub(crate) fn git_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        let list = self.folder.join("input");
        fs::write(&list, input)?;
        let output = self
            .program("git")
            .args(arguments)
            .stdin(File::open(list)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .output()?;
        ensure!(output.status.success(), "git {arguments:?} ended with {}", output.status);
        Ok(output.stdout)
    }

    /// Runs `lane`, however it ends.
    pub(crate) fn try_lane(&self, arguments: &[&str]) -> Result<Said> {
        self.finish(self.program(self.binaries.join("lane")).args(arguments))
    }

    /// The same where many others run.
    pub(crate) fn lane_within(&self, limit: Duration, arguments: &[&str]) -> Result<Said> {
        self.finish_within(limit, self.program(self.binaries.join("lane")).args(arguments))
    }

    /// Runs `lane`; it must succeed.
    pub(crate) fn lane(&self, arguments: &[&str]) -> Result<()> {
        self.try_lane(arguments)?.ok().map(drop)
    }

    /// Runs `lane … --json`; it must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let out = self.try_lane(&[arguments, &["--json"]].concat())?.ok()?;
        serde_json::from_slice(&out).with_context(|| format!("lane {arguments:?} --json"))
    }

    /// The number of the last event.
    pub(crate) fn last_event(&self) -> Result<u64> {
        Ok(self.json(&["daemon", "status"])?["last_seq"].as_u64().unwrap_or(0))
    }

    /// Every event.
    pub(crate) fn events(&self) -> Result<Vec<Value>> {
        self.events_after(0)
    }

    /// Those after this number.
    pub(crate) fn events_after(&self, seq: u64) -> Result<Vec<Value>> {
        let out = self.try_lane(&["events", "--since", &seq.to_string(), "--json"])?.ok()?;
        let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?)
    }

    /// So many trees are to be kept ready.
    pub(crate) fn want_pool(&self, n_trees: u32) -> Result<()> {
        self.write_settings(&format!("pool = {n_trees}\n"))
    }

    /// The repository's `laneway.toml`, which git passes by.
    pub(crate) fn write_settings(&self, settings: &str) -> Result<()> {
        self.replace_settings(settings)?;
        self.exclude("/laneway.toml")
    }

    /// Another `laneway.toml`, at once.
    pub(crate) fn replace_settings(&self, settings: &str) -> Result<()> {
        let written = self.repository().join(".git/laneway.toml");
        fs::write(&written, settings)?;
        Ok(fs::rename(written, self.repository().join("laneway.toml"))?)
    }

    /// git passes this by.
    pub(crate) fn exclude(&self, pattern: &str) -> Result<()> {
        let exclude = self.repository().join(".git/info/exclude");
        let known = fs::read_to_string(&exclude).unwrap_or_default();
        let line = format!("{pattern}\n");
        let lines = format!("{}\n{line}", known.replace(&line, "").trim_end());
        Ok(fs::write(exclude, lines)?)
    }

    /// How many are; none where there was never to be a pool.
    pub(crate) fn pool_wanted(&self) -> Option<usize> {
        let toml = fs::read_to_string(self.repository().join("laneway.toml")).ok()?;
        toml.lines().find_map(|line| line.strip_prefix("pool = "))?.parse().ok()
    }

    /// The user's settings.
    pub(crate) fn write_config(&self, config: &str) -> Result<()> {
        fs::create_dir_all(self.home())?;
        rustix::fs::chmod(self.home(), rustix::fs::Mode::RWXU)?;
        Ok(fs::write(self.home().join("config.toml"), config)?)
    }

    /// Waits until the daemon has nothing to do for the pool.
    pub(crate) fn wait_for_pool(&self) -> Result<()> {
        ensure!(self.pool_is_filled(&|| Ok(true))?, "the daemon ended before the pool was filled");
        Ok(())
    }

    /// The same for a daemon that has just begun: it also makes those anew that are of where the main checkout was
    /// before.
    pub(crate) fn wait_for_fresh_pool(&self) -> Result<()> {
        let are_fresh = || {
            let (head, trees) = (self.git(&["rev-parse", "HEAD"])?, self.repository().join(".lanes/.pool"));
            let mut trees = fs::read_dir(&trees).into_iter().flatten().flatten();
            // One that is just being removed is none that is fresh.
            Ok(trees.all(|tree| self.git_in(&tree.path(), &["rev-parse", "HEAD"]).is_ok_and(|of| of == head)))
        };
        ensure!(self.pool_is_filled(&are_fresh)?, "the daemon ended before the pool was made anew");
        Ok(())
    }

    /// As [`Self::wait_for_pool`]; a daemon that ends meanwhile ends the wait as well.
    pub(crate) fn wait_for_pool_or_end(&self) -> Result<()> {
        self.pool_is_filled(&|| Ok(true)).map(drop)
    }

    /// Follows the events until there are as many ready trees as wanted and no others, and they are as they are to be;
    /// false if they end before.
    fn pool_is_filled(&self, are_right: &dyn Fn() -> Result<bool>) -> Result<bool> {
        let Some(wanted) = self.pool_wanted() else { return Ok(true) };
        // What is told of the time before says nothing of now.
        let known = self.last_event()?;
        let mut trees: BTreeMap<String, String> = BTreeMap::new();
        self.follow_until(|event| {
            if event["event"] == "pool.tree.changed" {
                let word = |name: &str| event["data"][name].as_str().unwrap_or_default().to_owned();
                trees.insert(word("tree"), word("state"));
                trees.retain(|_, state| state != "gone");
            }
            Ok(trees.len() == wanted
                && trees.values().all(|state| state == "ready")
                && event["seq"].as_u64().is_some_and(|seq| seq >= known)
                && are_right()?)
        })
    }

    /// Follows all events until one is the last that is needed; false if they end before, since the daemon does, or it
    /// takes too long.
    pub(crate) fn follow_until(&self, mut is_last: impl FnMut(&Value) -> Result<bool>) -> Result<bool> {
        let mut lane = self.program(self.binaries.join("lane"));
        lane.args(["events", "--follow", "--json", "--since", "0"]);
        let mut following = lane.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let process = processes::open(following.id()).context("a child that is not reaped has a pidfd")?;
        let lines = BufReader::new(following.stdout.take().context("stdout is piped")?).lines();
        let is_there = std::thread::scope(|scope| {
            let (done, is_done) = std::sync::mpsc::channel::<()>();
            // Whoever reads has no limit of his own: the one he reads from is ended.
            scope.spawn(move || {
                if is_done.recv_timeout(LIMIT).is_err_and(|error| error == RecvTimeoutError::Timeout) {
                    processes::kill(&process);
                }
            });
            let mut is_there = false;
            for line in lines {
                is_there = is_last(&serde_json::from_str(&line?)?)?;
                if is_there {
                    break;
                }
            }
            drop(done);
            anyhow::Ok(is_there)
        })?;
        // It may have ended by itself.
        let _ = following.kill();
        following.wait()?;
        Ok(is_there)
    }

    /// The file that reached points are written to.
    pub(crate) fn points_log(&self) -> PathBuf {
        self.folder.join("points")
    }

    /// What was reached until now does not count.
    pub(crate) fn forget_points(&self) -> Result<()> {
        Ok(fs::remove_file(self.points_log())?)
    }

    /// Starts the daemon with this fault, whether it gets to serve or not; every point that it reaches is written down.
    pub(crate) fn start_with_fault(&self, fault: &str) -> Result<Said> {
        let mut lane = self.program(self.binaries.join("lane"));
        lane.args(["daemon", "start"]).env(LOG, self.points_log()).env(FAULT, fault);
        self.finish(&mut lane)
    }

    /// The same with the gate that a paused process waits at.
    pub(crate) fn start_with_gate(&self, fault: &str, gate: &Path) -> Result<Said> {
        let mut lane = self.program(self.binaries.join("lane"));
        lane.args(["daemon", "start"]).env(LOG, self.points_log()).env(FAULT, fault).env(GATE, gate);
        self.finish(&mut lane)
    }

    /// Ends the daemon gracefully: what is under way has ended then.
    pub(crate) fn stop_the_daemon(&self) -> Result<()> {
        self.lane(&["daemon", "stop"])
    }

    /// The daemon's process; none if none runs.
    pub(crate) fn daemon_pid(&self) -> Result<Option<u32>> {
        let status = self.try_lane(&["daemon", "status", "--json"])?;
        let status: Value = serde_json::from_slice(&status.out).unwrap_or_default();
        Ok(status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()))
    }

    /// The last lines of the daemon's log.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.home().join("daemon.log")).unwrap_or_default();
        let lines: Vec<String> = log.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(12)..].to_vec()
    }

    /// Removes all of it.
    pub(crate) fn remove(self) -> Result<()> {
        self.end_processes();
        for folder in [&self.folder, &self.beside] {
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Kills what is left.
    fn end_processes(&self) {
        end_processes_of(&self.folder);
    }
}

/// Kills what belongs to a folder of ours.
pub(super) fn end_processes_of(folder: &Path) {
    // Again, since one that is killed may just have started another.
    for _ in 0..5 {
        let left = processes::belonging_to(folder);
        if left.is_empty() {
            return;
        }
        for process in left.iter().filter_map(|(pid, _)| processes::open(*pid)) {
            processes::kill(&process);
            let _ = processes::ends_within(&process, Duration::from_secs(5));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_processes();
    }
}

/// Copies a folder with all in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
