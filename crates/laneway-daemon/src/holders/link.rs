//! The control connection to one holder.
//!
//! ```text
//! frames from the holder ─┐
//! asks of the daemon ─────┼─► Event ─► handle ─► bytes to the holder, answers, news
//! end of its process ─────┘
//! ```
//!
//! The link ends when the holder's process has ended; a connection that breaks before that ends it too, after
//! the process was waited for, so that "gone" always means that nothing of the holder runs.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use laneway_core::id::{LaneId, RunId};
use laneway_wire::frame::Decoder;
use laneway_wire::message::{
    Exited, FromHolder, Incoming, MessageError, ProcessIdentity, ProcessNote, Status, Tag, ToHolder, encode,
};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use crate::sys;

use super::{Ask, Holder, Holders, Teller, Told};

/// Asks that wait for one link: stops and releases, a handful at most.
const ASK_QUEUE: usize = 16;

/// How long a holder has to answer when it is found again.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why a holder could not be talked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nobody is there.
    #[error("no holder answers")]
    Nobody,
    /// Its socket cannot be used, for a reason that does not mean that it is gone.
    #[error("the holder's socket cannot be used")]
    Socket(#[source] io::Error),
    /// It does not answer in time.
    #[error("the holder does not answer within {} s", CONNECT_LIMIT.as_secs())]
    Silent,
    /// It belongs to someone else, or holds another run.
    #[error("whoever answers there is not the holder of this run: {0}")]
    Stranger(String),
    /// What it says cannot be read.
    #[error("the holder cannot be understood")]
    Protocol(#[from] MessageError),
}

/// One conversation with a holder, by whoever owns it.
#[derive(Debug)]
pub(super) struct Conversation {
    socket: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
    pending: std::ops::Range<usize>,
    last_tag: Tag,
}

impl Conversation {
    pub(super) fn over(socket: UnixStream) -> Self {
        Self { socket, decoder: Decoder::new(), buffer: vec![0; 16 << 10], pending: 0..0, last_tag: 0 }
    }

    pub(super) async fn say(&mut self, message: &ToHolder) -> io::Result<Tag> {
        self.last_tag = self.last_tag.checked_add(1).unwrap_or(1);
        let mut bytes = Vec::new();
        encode(self.last_tag, message, &mut bytes).map_err(io::Error::other)?;
        self.socket.write_all(&bytes).await?;
        Ok(self.last_tag)
    }

    /// The next message; None when the holder closed the connection. Safe to be dropped while it waits.
    pub(super) async fn hear(&mut self) -> Result<Option<Incoming<FromHolder>>, LinkError> {
        loop {
            let mut input = &self.buffer[self.pending.clone()];
            let incoming = self.decoder.feed_message(&mut input)?;
            self.pending.start = self.pending.end - input.len();
            if incoming.is_some() {
                return Ok(incoming);
            }
            match self.socket.read(&mut self.buffer).await {
                Ok(0) => return Ok(None),
                Ok(n_read) => self.pending = 0..n_read,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(LinkError::Socket(error)),
            }
        }
    }

    /// The answer to a request; what is said unasked meanwhile is given to `unasked`.
    pub(super) async fn answer(
        &mut self,
        asked: Tag,
        mut unasked: impl FnMut(FromHolder),
    ) -> Result<FromHolder, LinkError> {
        loop {
            match self.hear().await? {
                None => return Err(LinkError::Nobody),
                Some(Incoming::Message { tag, message }) if tag == asked => return Ok(message),
                Some(Incoming::Message { message, .. }) => unasked(message),
                Some(Incoming::Unknown { .. } | Incoming::Data { .. }) => {}
            }
        }
    }
}

/// Finds the holder in a run's folder again and has it watched. Gives its status of that moment.
pub(crate) async fn connect(
    folder: &Path,
    run: RunId,
    lane: LaneId,
    holders: &Holders,
    teller: &Teller,
) -> Result<Status, LinkError> {
    let folder = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || laneway_wire::client::connect(&folder, CONNECT_LIMIT))
        .await
        .map_err(|error| LinkError::Socket(io::Error::other(error)))?;
    let socket = opened.map_err(|error| match error {
        laneway_wire::client::ClientError::Connect { source, .. }
        | laneway_wire::client::ClientError::Folder { source, .. } => match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => LinkError::Nobody,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => LinkError::Silent,
            _ => LinkError::Socket(source),
        },
        other => LinkError::Stranger(other.to_string()),
    })?;
    socket.set_nonblocking(true).map_err(LinkError::Socket)?;
    let mut conversation = Conversation::over(UnixStream::from_std(socket).map_err(LinkError::Socket)?);
    let (status, pid) = tokio::time::timeout(CONNECT_LIMIT, introduce(&mut conversation, run))
        .await
        .map_err(|_| LinkError::Silent)??;
    let holder = ProcessIdentity { pid, ..status.started.holder };
    // What was recorded of the exit before this connection is in the status, and the caller records it.
    let process = Watched { process: holder, lingers: lingers(&status) };
    watch_over(conversation, run, lane, process, holders, teller);
    Ok(status)
}

async fn introduce(conversation: &mut Conversation, run: RunId) -> Result<(Status, u32), LinkError> {
    let hello = ToHolder::Hello {
        protocol: laneway_wire::PROTOCOL_VERSION,
        client: format!("laneway-daemon {}", laneway_api::version::VERSION),
    };
    let tag = conversation.say(&hello).await.map_err(LinkError::Socket)?;
    let pid = match conversation.answer(tag, |_| {}).await? {
        FromHolder::Hello { run: held, pid, .. } if held == run.to_string() => pid,
        other => return Err(LinkError::Stranger(format!("{other:?}"))),
    };
    let tag = conversation.say(&ToHolder::Watch).await.map_err(LinkError::Socket)?;
    match conversation.answer(tag, |_| {}).await? {
        FromHolder::Status(status) => Ok((*status, pid)),
        other => Err(LinkError::Stranger(format!("{other:?}"))),
    }
}

/// True if the program has ended, and something it left behind is alive.
const fn lingers(status: &Status) -> bool {
    status.exited.is_some() && status.n_others > 0
}

/// A holder that is to be watched.
pub(super) struct Watched {
    /// Its process.
    pub(super) process: ProcessIdentity,
    /// Its program has ended, and something it left behind is alive.
    pub(super) lingers: bool,
}

/// Gives a conversation to a task of its own, and makes the holder known.
pub(super) fn watch_over(
    conversation: Conversation,
    run: RunId,
    lane: LaneId,
    watched: Watched,
    holders: &Holders,
    teller: &Teller,
) {
    let Watched { process, lingers } = watched;
    let (asks, asked) = mpsc::channel(ASK_QUEUE);
    let (gone, is_gone) = watch::channel(false);
    let lingering = Arc::new(AtomicBool::new(lingers));
    holders.insert(run, Holder { lane, asks, gone: is_gone, lingering: Arc::clone(&lingering) });
    let link = Link {
        conversation,
        run,
        process: pidfd(process.pid),
        pid: process.pid,
        waiting: HashMap::new(),
        teller: teller.clone(),
        exited: None,
        lingering,
    };
    let holders = holders.clone();
    let teller = teller.clone();
    tokio::spawn(async move {
        link.follow(asked).await;
        holders.remove(run);
        // Told after it is removed: whoever hears it finds no holder any more.
        let _ = teller.send((run, Told::Gone));
        let _ = gone.send(true);
    });
}

fn pidfd(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(pid.cast_signed())?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

enum Event {
    Heard(Result<Option<Incoming<FromHolder>>, LinkError>),
    Asked(Option<Ask>),
}

enum Response {
    Nothing,
    Say(ToHolder, Option<oneshot::Sender<Vec<ProcessNote>>>),
    Leave,
}

struct Link {
    conversation: Conversation,
    run: RunId,
    process: Option<OwnedFd>,
    pid: u32,
    /// Stops that wait for their answer.
    waiting: HashMap<Tag, oneshot::Sender<Vec<ProcessNote>>>,
    teller: Teller,
    /// The program's end, which is told once it is known whether something was left behind.
    exited: Option<Exited>,
    lingering: Arc<AtomicBool>,
}

impl Link {
    async fn follow(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            let event = tokio::select! {
                heard = self.conversation.hear() => Event::Heard(heard),
                ask = asks.recv() => Event::Asked(ask),
            };
            match self.handle(event) {
                Response::Nothing => {}
                Response::Leave => break,
                Response::Say(message, waiter) => match self.conversation.say(&message).await {
                    Ok(tag) => {
                        self.waiting.extend(waiter.map(|waiter| (tag, waiter)));
                    }
                    // The connection is broken: hearing says so next.
                    Err(error) => tracing::debug!(run = %self.run, %error, "a holder could not be told"),
                },
            }
        }
        drop(self.conversation);
        if let Some(process) = self.process {
            wait_for_end(process, self.pid).await;
        }
        // Those who waited for a stop learn from the dropped answers that the holder is gone.
    }

    fn handle(&mut self, event: Event) -> Response {
        match event {
            Event::Heard(Ok(None)) | Event::Asked(None) => Response::Leave,
            Event::Heard(Err(error)) => {
                tracing::warn!(run = %self.run, %error, "the connection to a holder broke");
                Response::Leave
            }
            Event::Heard(Ok(Some(Incoming::Message { tag, message }))) => self.heard(tag, message),
            Event::Heard(Ok(Some(Incoming::Unknown { .. } | Incoming::Data { .. }))) => Response::Nothing,
            Event::Asked(Some(Ask::Release)) => Response::Say(ToHolder::Acknowledge, None),
            Event::Asked(Some(Ask::Stop { grace_ms, answer })) => {
                Response::Say(ToHolder::Stop { signal: None, grace_ms }, Some(answer))
            }
        }
    }

    fn heard(&mut self, tag: Tag, message: FromHolder) -> Response {
        match message {
            FromHolder::Exited(exited) => {
                self.exited = Some(exited);
                return Response::Say(ToHolder::Status, None);
            }
            FromHolder::Status(status) => {
                self.lingering.store(lingers(&status), Ordering::Relaxed);
                if let Some(exited) = self.exited.take() {
                    // The receiver lives as long as the daemon.
                    let _ = self.teller.send((self.run, Told::Exited(exited)));
                }
            }
            FromHolder::Stopped { left } => {
                if let Some(waiter) = self.waiting.remove(&tag) {
                    let _ = waiter.send(left);
                }
            }
            FromHolder::Refused { code, message } => {
                tracing::warn!(run = %self.run, code, message, "a holder refused");
                if let Some(waiter) = self.waiting.remove(&tag) {
                    let note =
                        ProcessNote { pid: self.pid, command: format!("its holder refused: {message}") };
                    let _ = waiter.send(vec![note]);
                }
            }
            _ => {}
        }
        Response::Nothing
    }
}

/// Waits until the holder's process has ended, and reaps it if it is a child of this daemon.
async fn wait_for_end(process: OwnedFd, pid: u32) {
    sys::readable(process).await;
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // ECHILD: it was started by a former daemon, and is reaped elsewhere.
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Reaps a holder that is about to end.
pub(super) async fn reap(pid: u32) {
    if let Some(process) = pidfd(pid) {
        wait_for_end(process, pid).await;
    }
}
