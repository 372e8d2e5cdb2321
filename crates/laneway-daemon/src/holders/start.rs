//! Starting a holder, and through it a program.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use laneway_core::id::{LaneId, RunId};
use laneway_wire::message::{FromHolder, Launch, StartFailure, Started, ToHolder};
use laneway_wire::sockets::TEMP_VARIABLE;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::net::UnixStream;

use super::conversation::{Conversation, LinkError};
use super::link::{Found, put_down, reap, watch_over};
use super::{Holders, Teller};

/// How long a start may take: exec from a slow network disk, not more.
pub(super) const START_LIMIT: Duration = Duration::from_secs(30);

/// The `lane-holder` program.
#[derive(Debug, Clone)]
pub(crate) struct HolderProgram(PathBuf);

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The run's folder cannot be made.
    #[error("the run's folder {path:?} cannot be made")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The holder cannot be executed.
    #[error("the holder cannot be started")]
    Holder(#[source] io::Error),
    /// The holder ended or broke off before it said how the start went.
    #[error("the holder did not say how the start went")]
    NoAnswer(#[from] LinkError),
    /// The holder ended before it said how the start went.
    #[error("the holder {how} before it said how the start went{}", with_last_words(said))]
    HolderEnded {
        /// How it ended.
        how: String,
        /// The last that it wrote to the log; empty if that was nothing.
        said: String,
        /// The log of all holders.
        log: PathBuf,
    },
    /// The start took too long.
    #[error("the program was not started within {} s", START_LIMIT.as_secs())]
    TooSlow,
    /// The holder tried, and the program cannot be started.
    #[error("{}", .0.message)]
    Program(StartFailure),
}

fn with_last_words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// Descriptors that links to holders leave free: for requests, git and the database.
const KEPT_FREE: u64 = 32;

/// The most that is read of a holder's last words, in bytes.
const MAX_LAST_WORDS: u64 = 4 << 10;

/// A holder that was executed.
struct Spawned {
    socket: StdUnixStream,
    pid: u32,
    /// Where its words begin in the log of all holders.
    log_begin: u64,
}

impl HolderProgram {
    /// The program beside the `lane` that runs; else where it should be.
    pub(crate) fn beside(lane: &Path) -> Result<Self, PathBuf> {
        let path = lane.with_file_name("lane-holder");
        if path.is_file() { Ok(Self(path)) } else { Err(path) }
    }

    /// The `lane` beside it.
    pub(crate) fn lane(&self) -> PathBuf {
        self.0.with_file_name("lane")
    }

    /// What starts it inside a terminal.
    pub(crate) fn inside_tty(&self, folder: &Path, log: &Path) -> Vec<OsString> {
        let program: [&OsStr; 4] =
            [self.0.as_os_str(), "run".as_ref(), "--inside-tty".as_ref(), "--dir".as_ref()];
        let rest = [folder.as_os_str(), "--log".as_ref(), log.as_os_str()];
        program.into_iter().chain(rest).map(OsStr::to_owned).collect()
    }
}

/// A program that was proven to run, under a holder that nobody watches yet.
#[derive(Debug)]
pub(crate) struct Launched {
    /// The proof.
    pub(crate) started: Started,
    pub(super) conversation: Conversation,
    pub(super) folder: PathBuf,
}

impl Launched {
    /// Has the holder watched; from now on it is known in `holders`. To be done once the start is recorded,
    /// so that an exit is never recorded before it.
    /// `has_channel`: what its program says over it is heard from the first.
    pub(crate) fn watch(self, of: (RunId, LaneId), has_channel: bool, holders: &Holders, teller: &Teller) {
        let channel = has_channel.then_some(0);
        let pid = self.started.holder.pid;
        let found =
            Found { conversation: self.conversation, pid, lingers: false, was_stopping: false, channel };
        watch_over(found, &self.folder, of, holders, teller);
    }
}

/// Starts a holder in a new folder, has it start the program, and waits for the proof.
pub(crate) async fn launch(
    program: &HolderProgram,
    folder: &Path,
    log: &Path,
    launch: Launch,
) -> Result<Launched, StartError> {
    let spawned = {
        let (program, folder, log) = (program.clone(), folder.to_owned(), log.to_owned());
        tokio::task::spawn_blocking(move || spawn(&program, &folder, &log)).await
    };
    let Spawned { socket, pid, log_begin } =
        spawned.map_err(|error| StartError::Holder(io::Error::other(error)))??;
    let socket = UnixStream::from_std(socket).map_err(StartError::Holder)?;
    let mut conversation = Conversation::over(socket);
    let asked = async {
        let tag = conversation.say(&ToHolder::Launch(Box::new(launch))).await.map_err(LinkError::Socket)?;
        conversation.answer(tag, |_| {}).await
    };
    let error = match tokio::time::timeout(START_LIMIT, asked).await {
        Ok(Ok(FromHolder::Started(started))) => {
            return Ok(Launched { started, conversation, folder: folder.to_owned() });
        }
        Ok(Ok(FromHolder::StartFailed(failure))) => {
            // It leaves by itself.
            drop(conversation);
            tokio::spawn(reap(pid));
            return Err(StartError::Program(failure));
        }
        Ok(Ok(_)) => LinkError::Stranger("it gave an answer to another question".to_owned()).into(),
        Ok(Err(error)) => error.into(),
        Err(_) => StartError::TooSlow,
    };
    // It may be about to start the program all the same, which would then run unrecorded.
    match put_down(pid).await {
        Some(how) => {
            let said = last_words(log, log_begin);
            Err(StartError::HolderEnded { how, said, log: log.to_owned() })
        }
        None => Err(error),
    }
}

/// The last line that was written to the log from `begin` on.
fn last_words(log: &Path, begin: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut log| {
        log.seek(SeekFrom::Start(begin))?;
        log.take(MAX_LAST_WORDS).read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        tracing::debug!(%error, "the log of holders cannot be read");
    }
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// Refuses what would take one of the last descriptors: a daemon that has no more for its requests could not even be
/// asked to end something. `opened`: one that was just opened.
pub(crate) fn keep_some_free(opened: impl AsFd) -> io::Result<()> {
    // The lowest free numbers are given, so this is how many are in use.
    let n_used = u64::from(opened.as_fd().as_raw_fd().cast_unsigned());
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if n_used < limit.saturating_sub(KEPT_FREE) { Ok(()) } else { Err(Errno::MFILE.into()) }
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts a holder, by posix_spawn")]
fn spawn(program: &HolderProgram, folder: &Path, log: &Path) -> Result<Spawned, StartError> {
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(|source| StartError::Folder { path: folder.to_owned(), source })?;
    let spawned = || -> io::Result<Spawned> {
        let (socket, theirs) = StdUnixStream::pair()?;
        keep_some_free(&socket)?;
        socket.set_nonblocking(true)?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
        let log_begin = log.metadata()?.len();
        // No pre_exec, an absolute program, a cleared environment: std then spawns without forking.
        let child = Command::new(&program.0)
            .args(["run".as_ref(), "--dir".as_ref(), folder.as_os_str()])
            .env_clear()
            .envs(std::env::var_os(TEMP_VARIABLE).map(|temp| (TEMP_VARIABLE, temp)))
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .envs(laneway_fault::variables())
            .spawn()?;
        laneway_fault::fault_point!("run.holder-spawned");
        // It is waited for by its pidfd, when its link ends.
        Ok(Spawned { socket, pid: child.id(), log_begin })
    };
    spawned().map_err(|source| {
        // Nothing was started, so the folder is empty; if not, it is better kept.
        let _ = fs::remove_dir(folder);
        StartError::Holder(source)
    })
}
