//! The one place that starts git: argument vectors, a folder, locale C, a time limit, bounded output.
//!
//! Nothing here polls: one `poll` waits for stdout, stderr and the process (its pidfd) at once. The standard
//! library's `Command` is used without `pre_exec` and with an absolute program, so that it is `posix_spawn`:
//! a fork of a daemon of 1 GiB was measured at 40–50 ms. A lock that git is to hold is handed over as its
//! standard input, which needs neither a fork nor a window in which other children could inherit it; a lock
//! file is empty, so that reading it says end-of-file as `/dev/null` does.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, setpriority_process};

use crate::complaint::{Complaint, classify};
use crate::program::Git;

/// The most that a command may say on stdout where it is read as a whole; what can be longer is streamed.
const STDOUT_LIMIT: usize = 16 << 20;
/// The most that is kept of stderr.
const STDERR_LIMIT: usize = 16 << 10;
/// What a git that is told to end may take to remove its lock files before it is killed.
const END_GRACE: Duration = Duration::from_secs(2);

/// What `nice` calls its lowest. Without a class of its own a process has the disk by this, too (`ioprio_set(2)`).
const LOWEST_PRIORITY: i32 = 19;

/// Settings that every git of ours gets: no housekeeping in the background, no file-system monitor that could
/// hide a change or outlive the command, no file taken for another one whose name differs in case (a repository may come
/// from a system where that is right, and an untracked `Name` beside a tracked `name` would be lost), nothing that a
/// file's size and times tell left out of account (a change that keeps its size and its time would be lost), and
/// patience with refs that another git is just changing.
const SETTINGS: [&str; 8] = [
    "gc.auto=0",
    "maintenance.auto=0",
    "core.fsmonitor=false",
    "core.ignoreCase=false",
    "core.trustctime=true",
    "core.checkStat=default",
    "core.filesRefLockTimeout=5000",
    "core.packedRefsTimeout=5000",
];

/// Why a git command gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The folder it should run in is not there.
    #[error("{what}: the folder {} is not there", folder.display())]
    NoFolder {
        /// The command.
        what: &'static str,
        /// Where it should have run.
        folder: PathBuf,
    },
    /// It could not be started or waited for.
    #[error("{what} could not be run")]
    NotRun {
        /// The command.
        what: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// It took longer than it may and was ended.
    #[error("{what} took longer than {limit:?} and was ended")]
    TimedOut {
        /// The command.
        what: &'static str,
        /// What it was allowed.
        limit: Duration,
    },
    /// It ended with a failure.
    #[error("{what} failed: {}", in_few_lines(stderr))]
    Failed {
        /// The command.
        what: &'static str,
        /// Its exit code; `None` if a signal ended it.
        code: Option<i32>,
        /// What its words mean.
        complaint: Complaint,
        /// Its words (the first 16 KiB).
        stderr: String,
    },
    /// It said more than can be meant.
    #[error("{what} said more than {STDOUT_LIMIT} bytes")]
    TooMuchOutput {
        /// The command.
        what: &'static str,
    },
    /// It said something that this version does not understand.
    #[error("{what} said something unexpected: {said:?}")]
    NotUnderstood {
        /// The command.
        what: &'static str,
        /// What it said (shortened).
        said: String,
    },
}

impl RunError {
    /// What git complained about, if it ran and failed.
    pub fn complaint(&self) -> Option<Complaint> {
        match self {
            Self::Failed { complaint, .. } => Some(*complaint),
            _ => None,
        }
    }

    pub(crate) fn not_understood(what: &'static str, said: &[u8]) -> Self {
        let shown = &said[..said.len().min(200)];
        Self::NotUnderstood { what, said: String::from_utf8_lossy(shown).into_owned() }
    }
}

/// One git command that is to be run.
pub(crate) struct Run<'a> {
    git: &'a Git,
    what: &'static str,
    folder: &'a Path,
    global: Vec<OsString>,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
    /// A hook that is run in git's place.
    hook: Option<PathBuf>,
    held: Option<OwnedFd>,
    limit: Duration,
    /// Nobody waits for it: it leaves the machine to others.
    in_background: bool,
}

/// A command that ended, whatever its exit code.
pub(crate) struct Finished {
    what: &'static str,
    status: ExitStatus,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn or_failed(self) -> Result<Self, RunError> {
        if self.status.success() {
            return Ok(self);
        }
        let complaint = classify(&self.stderr);
        Err(RunError::Failed { what: self.what, code: self.code(), complaint, stderr: self.stderr })
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(git: &'a Git, what: &'static str, folder: &'a Path) -> Self {
        let limit = git.limits().command;
        let (global, arguments, variables) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            git,
            what,
            folder,
            global,
            arguments,
            variables,
            hook: None,
            held: None,
            limit,
            in_background: false,
        }
    }

    /// For commands that only look: they take no locks that could disturb a person or an agent at work
    /// (`status` would rewrite their index), and see commits as they are, without `git replace`.
    pub(crate) fn reads(mut self) -> Self {
        self.global.extend(["--no-optional-locks".into(), "--no-replace-objects".into()]);
        self
    }

    /// Names the repository and the tree instead of letting git look for them: a tree whose `.git` file has
    /// gone would otherwise be taken for the main checkout around it.
    pub(crate) fn in_tree(mut self, admin_folder: &Path, tree: &Path) -> Self {
        for (option, path) in [("--git-dir=", admin_folder), ("--work-tree=", tree)] {
            let mut argument = OsString::from(option);
            argument.push(path);
            self.global.push(argument);
        }
        self
    }

    pub(crate) fn setting(mut self, setting: &str) -> Self {
        self.global.extend(["-c".into(), setting.into()]);
        self
    }

    /// An option of git itself, before the command.
    pub(crate) fn global(mut self, option: &str) -> Self {
        self.global.push(option.into());
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// git gets the lowest priority, of the processor and with it, where that counts, of the disk.
    pub(crate) fn in_background(mut self) -> Self {
        self.in_background = true;
        self
    }

    /// git inherits this descriptor, so that what it locks stays locked for as long as git works.
    pub(crate) fn holding(mut self, lock: OwnedFd) -> Self {
        self.held = Some(lock);
        self
    }

    /// git reads this on its standard input; not together with `holding`.
    pub(crate) fn input(mut self, said: &[u8]) -> Result<Self, RunError> {
        let what = self.what;
        let not_run = |source: Errno| RunError::NotRun { what, source: source.into() };
        let memory = memfd_create("git-input", MemfdFlags::CLOEXEC).map_err(not_run)?;
        let mut file = File::from(memory);
        file.write_all(said)
            .and_then(|()| file.rewind())
            .map_err(|source| RunError::NotRun { what, source })?;
        self.held = Some(file.into());
        Ok(self)
    }

    /// Runs this hook of the repository instead of git, under the same rules.
    pub(crate) fn instead_of_git(mut self, program: PathBuf) -> Self {
        self.hook = Some(program);
        self
    }

    /// Runs it for its effect; a failure is told in its words, on whichever stream it said them.
    pub(crate) fn succeed_with_words(self) -> Result<(), RunError> {
        let mut words = Vec::new();
        let mut finished = self.carry_out(&mut |bytes| {
            words.extend_from_slice(&bytes[..bytes.len().min(STDERR_LIMIT - words.len())]);
        })?;
        finished.stderr.push_str(&String::from_utf8_lossy(&words));
        finished.or_failed().map(drop)
    }

    /// Runs it and gives its whole stdout; a failure is an error.
    pub(crate) fn succeed(self) -> Result<Vec<u8>, RunError> {
        let (finished, stdout) = self.output()?;
        finished.or_failed()?;
        Ok(stdout)
    }

    /// Runs it and gives its whole stdout, whatever the exit code.
    pub(crate) fn output(self) -> Result<(Finished, Vec<u8>), RunError> {
        let what = self.what;
        let mut stdout = Vec::new();
        let mut too_much = false;
        let finished = self.carry_out(&mut |bytes| {
            too_much |= stdout.len() + bytes.len() > STDOUT_LIMIT;
            if !too_much {
                stdout.extend_from_slice(bytes);
            }
        })?;
        if too_much { Err(RunError::TooMuchOutput { what }) } else { Ok((finished, stdout)) }
    }

    /// Runs it and hands over its stdout record by record, so that its length does not matter.
    pub(crate) fn each_record(
        self,
        separator: u8,
        record: &mut dyn FnMut(&[u8]),
    ) -> Result<Finished, RunError> {
        let mut partial: Vec<u8> = Vec::new();
        let finished = self.carry_out(&mut |bytes| {
            let mut pieces = bytes.split(|byte| *byte == separator);
            let last = pieces.next_back().unwrap_or_default();
            for piece in pieces {
                partial.extend_from_slice(piece);
                record(&partial);
                partial.clear();
            }
            partial.extend_from_slice(last);
        })?;
        if !partial.is_empty() {
            record(&partial);
        }
        Ok(finished)
    }

    fn spawn(&mut self) -> io::Result<Child> {
        if let Some(hook) = self.hook.clone() {
            return match self.command(&hook, &[]).spawn() {
                // A hook without a `#!` line is one for the shell, as git has it.
                Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                    self.command(Path::new("/bin/sh"), &[hook.as_os_str()]).spawn()
                }
                result => result,
            };
        }
        let settings: Vec<&OsStr> =
            SETTINGS.iter().flat_map(|setting| ["-c", setting]).map(OsStr::new).collect();
        let git = self.git;
        self.command(git.program(), &settings).spawn()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that starts git")]
    fn command(&mut self, program: &Path, arguments: &[&OsStr]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        command.env_clear();
        command.envs(self.git.environment().iter());
        command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(&self.global).args(&self.arguments);
        command.current_dir(self.folder);
        command.stdin(self.held.take().map_or_else(Stdio::null, Stdio::from));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that a limit ends git's helpers, filters and hooks with it.
        command.process_group(0);
        command
    }

    /// Runs it and hands over its stdout as it comes.
    pub(crate) fn carry_out(mut self, stdout: &mut dyn FnMut(&[u8])) -> Result<Finished, RunError> {
        let (what, limit) = (self.what, self.limit);
        let deadline = Instant::now() + limit;
        let mut child = self.spawn().map_err(|source| {
            if self.folder.is_dir() {
                RunError::NotRun { what, source }
            } else {
                RunError::NoFolder { what, folder: self.folder.to_owned() }
            }
        })?;
        if self.in_background {
            // One that has ended by now needs none; and no priority is no reason to fail.
            let _ = setpriority_process(Some(Pid::from_child(&child)), LOWEST_PRIORITY);
        }
        let mut stderr = Vec::new();
        let mut keep_stderr = |bytes: &[u8]| {
            let room = STDERR_LIMIT.saturating_sub(stderr.len());
            stderr.extend_from_slice(&bytes[..bytes.len().min(room)]);
        };
        let ended = wait(&mut child, deadline, stdout, &mut keep_stderr);
        let status = match ended {
            Ok(Some(status)) => status,
            Ok(None) => {
                end_group(&mut child).map_err(|source| RunError::NotRun { what, source })?;
                return Err(RunError::TimedOut { what, limit });
            }
            Err(source) => {
                // The first error is the one to tell; ending git is best effort after it.
                let _ = end_group(&mut child);
                return Err(RunError::NotRun { what, source });
            }
        };
        Ok(Finished { what, status, stderr: String::from_utf8_lossy(&stderr).into_owned() })
    }
}

/// The first and the last of many lines: git says the same of each of a thousand files.
fn in_few_lines(stderr: &str) -> String {
    const FIRST: usize = 3;
    const LAST: usize = 2;
    let lines: Vec<&str> = stderr.trim_end().lines().collect();
    if lines.len() <= FIRST + LAST + 1 {
        return stderr.trim_end().to_owned();
    }
    let n_left_out = lines.len() - FIRST - LAST;
    let (first, last) = (lines[..FIRST].join("\n"), lines[lines.len() - LAST..].join("\n"));
    format!("{first}\n… {n_left_out} more lines\n{last}")
}

/// Waits for the end of the process and reads both its pipes meanwhile; `None` when the deadline has passed.
/// A pipe that something else still holds open after git has ended is not waited for.
fn wait(
    child: &mut Child,
    deadline: Instant,
    stdout: &mut dyn FnMut(&[u8]),
    stderr: &mut dyn FnMut(&[u8]),
) -> io::Result<Option<ExitStatus>> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut out = Pipe::new(child.stdout.take().map(OwnedFd::from))?;
    let mut err = Pipe::new(child.stderr.take().map(OwnedFd::from))?;
    loop {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(None) };
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut waited = vec![PollFd::new(&process, PollFlags::IN)];
        waited.extend(out.file.iter().chain(&err.file).map(|file| PollFd::new(file, PollFlags::IN)));
        match poll(&mut waited, Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = !waited[0].revents().is_empty();
        out.drain(stdout)?;
        err.drain(stderr)?;
        if ended {
            return child.wait().map(Some);
        }
    }
}

/// The reading end of one of git's pipes; `None` once it has said everything.
struct Pipe {
    file: Option<File>,
}

impl Pipe {
    /// More than a pipe can hold, so that what git itself wrote before its end is read whole, while one that
    /// outlives git and never stops writing is not listened to for ever.
    const MOST_AT_ONCE: usize = 4 << 20;

    fn new(end: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(end) = &end {
            fcntl_setfl(end.as_fd(), fcntl_getfl(end.as_fd())? | OFlags::NONBLOCK)?;
        }
        Ok(Self { file: end.map(File::from) })
    }

    fn drain(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let mut taken = 0;
        while let Some(file) = &mut self.file
            && taken < Self::MOST_AT_ONCE
        {
            match file.read(&mut buffer) {
                Ok(0) => self.file = None,
                Ok(n) => {
                    take(&buffer[..n]);
                    taken += n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Ends git and all in its process group: asked first, so that it removes its lock files, then killed.
fn end_group(child: &mut Child) -> io::Result<ExitStatus> {
    let group = Pid::from_child(child);
    // The group is there until its leader is reaped, which happens below.
    let _ = kill_process_group(group, Signal::TERM);
    let process = pidfd_open(group, PidfdFlags::empty())?;
    let grace = Timespec::try_from(END_GRACE).map_err(io::Error::other)?;
    let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&grace));
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_of_git_are_told_by_their_first_and_last() {
        assert_eq!(in_few_lines("a\nb\nc\nd\ne\nf\n"), "a\nb\nc\nd\ne\nf");
        let many: Vec<String> = (1..=100).map(|n| n.to_string()).collect();
        assert_eq!(in_few_lines(&many.join("\n")), "1\n2\n3\n… 95 more lines\n99\n100");
    }
}
