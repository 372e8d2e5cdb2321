//! A holder inside a terminal: it was started by somebody else, and comes to a door in its run's folder for its launch.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use laneway_wire::message::{FromHolder, Launch, ToHolder};
use laneway_wire::{LAUNCH_NAME, sockets};
use rustix::process::Signal;
use tokio::net::{UnixListener, UnixStream};

use super::conversation::{Conversation, LinkError};
use super::link::process;
use super::start::{Launched, START_LIMIT, StartError};

/// How long a holder has to come from when its terminal has started it: it does nothing else.
const COME_LIMIT: Duration = Duration::from_secs(10);

/// Where the holder of one start comes for its launch. Taken away when this is dropped.
pub(crate) struct Door {
    listener: UnixListener,
    opened: OwnedFd,
    folder: PathBuf,
    log: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = sockets::remove(&self.opened, LAUNCH_NAME) {
            tracing::warn!(folder = %self.folder.display(), %error, "a start's socket was not removed");
        }
    }
}

impl Door {
    /// Makes the run's folder, which is a new one, with the door. `log`: where all holders write. To be called where the runtime is.
    pub(crate) fn make(folder: &Path, log: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::Folder { path: folder.to_owned(), source };
        DirBuilder::new().mode(0o700).create(folder).map_err(failed)?;
        let made = || -> io::Result<Self> {
            let opened = sockets::open_folder(folder)?;
            let listener = sockets::listen(&opened, LAUNCH_NAME, 1)?;
            super::keep_some_free(&listener)?;
            let listener = UnixListener::from_std(listener)?;
            Ok(Self { listener, opened, folder: folder.to_owned(), log: log.to_owned() })
        };
        made().map_err(StartError::Holder)
    }

    /// Has the holder that is the process `pid` start the program, and waits for the proof.
    pub(crate) async fn launch(self, pid: u32, launch: Launch) -> Result<Launched, StartError> {
        let ended = || StartError::HolderEnded {
            how: "ended".to_owned(),
            said: String::new(),
            log: self.log.clone(),
        };
        let holder = process(pid).ok_or_else(ended)?;
        let come = tokio::select! {
            biased;
            come = tokio::time::timeout(COME_LIMIT, self.come(pid)) => {
                come.map_err(|_| StartError::TooSlow)?.map_err(StartError::Holder)?
            }
            () = holder.ended() => return Err(ended()),
        };
        let mut conversation = Conversation::over(come);
        let asked = async {
            let tag =
                conversation.say(&ToHolder::Launch(Box::new(launch))).await.map_err(LinkError::Socket)?;
            conversation.answer(tag, |_| {}).await
        };
        let error = match tokio::time::timeout(START_LIMIT, asked).await {
            Ok(Ok(FromHolder::Started(started))) => {
                return Ok(Launched { started, conversation, folder: self.folder.clone() });
            }
            // It leaves by itself.
            Ok(Ok(FromHolder::StartFailed(failure))) => return Err(StartError::Program(failure)),
            Ok(Ok(_)) => LinkError::Stranger("it gave an answer to another question".to_owned()).into(),
            Ok(Err(error)) => error.into(),
            Err(_) => StartError::TooSlow,
        };
        // It may be about to start the program all the same, which would then run unrecorded; that dies with it.
        match holder.signal(Signal::KILL) {
            Ok(()) => holder.ended().await,
            Err(source) => tracing::debug!(pid, %source, "a holder has just ended"),
        }
        Err(error)
    }

    /// The holder's connection. Whoever else comes is sent away.
    async fn come(&self, pid: u32) -> io::Result<UnixStream> {
        loop {
            let (socket, _) = self.listener.accept().await?;
            let peer = socket.peer_cred()?;
            let is_it =
                peer.uid() == rustix::process::geteuid().as_raw() && peer.pid() == Some(pid.cast_signed());
            if is_it {
                return Ok(socket);
            }
            tracing::warn!(uid = peer.uid(), pid = ?peer.pid(), "a stranger came for a launch");
        }
    }
}
