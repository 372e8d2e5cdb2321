//! Starting a holder, and through it a program.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use laneway_core::id::{LaneId, RunId};
use laneway_wire::message::{FromHolder, Launch, StartFailure, Started, ToHolder};
use tokio::net::UnixStream;

use super::link::{Conversation, LinkError, Watched, reap, watch_over};
use super::{Holders, Teller};

/// How long a start may take: exec from a slow network disk, not more.
const START_LIMIT: Duration = Duration::from_secs(30);

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
    /// The start took too long.
    #[error("the program was not started within {} s", START_LIMIT.as_secs())]
    TooSlow,
    /// The holder tried, and the program cannot be started.
    #[error("{}", .0.message)]
    Program(StartFailure),
}

impl HolderProgram {
    /// The program beside the `lane` that runs; else where it should be.
    pub(crate) fn beside(lane: &Path) -> Result<Self, PathBuf> {
        let path = lane.with_file_name("lane-holder");
        if path.is_file() { Ok(Self(path)) } else { Err(path) }
    }
}

/// A program that was proven to run, under a holder that nobody watches yet.
#[derive(Debug)]
pub(crate) struct Launched {
    /// The proof.
    pub(crate) started: Started,
    conversation: Conversation,
}

impl Launched {
    /// Has the holder watched; from now on it is known in `holders`. To be done once the start is recorded,
    /// so that an exit is never recorded before it.
    pub(crate) fn watch(self, run: RunId, lane: LaneId, holders: &Holders, teller: &Teller) {
        let watched = Watched { process: self.started.holder, lingers: false };
        watch_over(self.conversation, run, lane, watched, holders, teller);
    }
}

/// Starts a holder in a new folder, has it start the program, and waits for the proof.
pub(crate) async fn launch(
    program: &HolderProgram,
    folder: &Path,
    log: &Path,
    launch: Launch,
) -> Result<Launched, StartError> {
    let (socket, pid) = spawn(program, folder, log)?;
    let mut conversation = Conversation::over(socket);
    let asked = async {
        let tag = conversation.say(&ToHolder::Launch(Box::new(launch))).await.map_err(LinkError::Socket)?;
        conversation.answer(tag, |_| {}).await
    };
    let answer = match tokio::time::timeout(START_LIMIT, asked).await {
        Ok(Ok(FromHolder::Started(started))) => return Ok(Launched { started, conversation }),
        Ok(Ok(FromHolder::StartFailed(failure))) => StartError::Program(failure),
        Ok(Ok(other)) => LinkError::Stranger(format!("{other:?}")).into(),
        Ok(Err(error)) => error.into(),
        Err(_) => StartError::TooSlow,
    };
    drop(conversation);
    tokio::spawn(reap(pid));
    Err(answer)
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts a holder, by posix_spawn")]
fn spawn(program: &HolderProgram, folder: &Path, log: &Path) -> Result<(UnixStream, u32), StartError> {
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(|source| StartError::Folder { path: folder.to_owned(), source })?;
    let spawned = || -> io::Result<(UnixStream, u32)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
        // No pre_exec, an absolute program, a cleared environment: std then spawns without forking.
        let child = Command::new(&program.0)
            .args(["run".as_ref(), "--dir".as_ref(), folder.as_os_str()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()?;
        // It is waited for by its pidfd, when its link ends.
        Ok((UnixStream::from_std(ours)?, child.id()))
    };
    spawned().map_err(|source| {
        // Nothing was started, so the folder is empty; if not, it is better kept.
        let _ = fs::remove_dir(folder);
        StartError::Holder(source)
    })
}
