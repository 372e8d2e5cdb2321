//! Talking to one holder: messages out, messages in, and finding it again by its run's folder.

use std::io;
use std::path::Path;
use std::time::Duration;

use laneway_core::id::RunId;
use laneway_wire::client::ClientError;
use laneway_wire::frame::{Decoder, Stream, encode_data};
use laneway_wire::message::{FromHolder, Incoming, MessageError, Status, Tag, ToHolder, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long a holder has to answer when it is found again.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

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
pub(crate) struct Conversation {
    socket: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
    pending: std::ops::Range<usize>,
    last_tag: Tag,
    input_offset: u64,
}

impl Conversation {
    pub(super) fn over(socket: UnixStream) -> Self {
        Self {
            socket,
            decoder: Decoder::new(),
            buffer: vec![0; 16 << 10],
            pending: 0..0,
            last_tag: 0,
            input_offset: 0,
        }
    }

    pub(crate) async fn say(&mut self, message: &ToHolder) -> io::Result<Tag> {
        self.last_tag = self.last_tag.checked_add(1).unwrap_or(1);
        let mut bytes = Vec::new();
        encode(self.last_tag, message, &mut bytes).map_err(io::Error::other)?;
        self.socket.write_all(&bytes).await?;
        Ok(self.last_tag)
    }

    /// Bytes for the program, from the driver.
    pub(crate) async fn type_in(&mut self, typed: &[u8]) -> io::Result<()> {
        let mut frames = Vec::with_capacity(typed.len() + 64);
        encode_data(Stream::Input, self.input_offset, typed, &mut frames);
        self.input_offset += typed.len() as u64;
        self.socket.write_all(&frames).await
    }

    /// The next message; None when the holder closed the connection. Safe to be dropped while it waits.
    pub(crate) async fn hear(&mut self) -> Result<Option<Incoming<FromHolder>>, LinkError> {
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
    pub(crate) async fn answer(
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

/// Finds the holder in a run's folder again: a conversation in which it tells what happens, its process, and its
/// status of this moment. It may take so long to answer.
pub(super) async fn open(
    folder: &Path,
    run: RunId,
    limit: Duration,
) -> Result<(Conversation, u32, Status), LinkError> {
    let mut conversation = reach(folder).await?;
    let watched = async {
        let pid = introduce(&mut conversation, run).await?;
        Ok::<_, LinkError>((watch(&mut conversation).await?, pid))
    };
    let (status, pid) = tokio::time::timeout(limit, watched).await.map_err(|_| LinkError::Silent)??;
    Ok((conversation, pid, status))
}

/// A conversation with the holder of a run in which nothing was asked yet.
pub(crate) async fn meet(folder: &Path, run: RunId) -> Result<Conversation, LinkError> {
    let mut conversation = reach(folder).await?;
    let met = tokio::time::timeout(CONNECT_LIMIT, introduce(&mut conversation, run)).await;
    met.map_err(|_| LinkError::Silent)??;
    Ok(conversation)
}

async fn reach(folder: &Path) -> Result<Conversation, LinkError> {
    let folder = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || laneway_wire::client::connect(&folder, CONNECT_LIMIT))
        .await
        .map_err(|error| LinkError::Socket(io::Error::other(error)))?;
    let socket = opened.map_err(|error| match error {
        ClientError::Connect { source, .. } | ClientError::Folder { source, .. } => match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => LinkError::Nobody,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => LinkError::Silent,
            _ => LinkError::Socket(source),
        },
        other => LinkError::Stranger(other.to_string()),
    })?;
    socket.set_nonblocking(true).map_err(LinkError::Socket)?;
    Ok(Conversation::over(UnixStream::from_std(socket).map_err(LinkError::Socket)?))
}

async fn introduce(conversation: &mut Conversation, run: RunId) -> Result<u32, LinkError> {
    let hello = ToHolder::Hello {
        protocol: laneway_wire::PROTOCOL_VERSION,
        client: format!("laneway-daemon {}", laneway_api::version::VERSION),
    };
    let tag = conversation.say(&hello).await.map_err(LinkError::Socket)?;
    match conversation.answer(tag, |_| {}).await? {
        FromHolder::Hello { run: held, pid, .. } if held == run.to_string() => Ok(pid),
        other => Err(LinkError::Stranger(format!("{other:?}"))),
    }
}

async fn watch(conversation: &mut Conversation) -> Result<Status, LinkError> {
    let tag = conversation.say(&ToHolder::Watch).await.map_err(LinkError::Socket)?;
    let mut status = status_in(conversation.answer(tag, |_| {}).await?)?;
    if status.exited.is_some() {
        // Only asked for, and then answered with what the program has left behind.
        let tag = conversation.say(&ToHolder::Status).await.map_err(LinkError::Socket)?;
        status = status_in(conversation.answer(tag, |_| {}).await?)?;
    }
    Ok(status)
}

fn status_in(answer: FromHolder) -> Result<Status, LinkError> {
    match answer {
        FromHolder::Status(status) => Ok(*status),
        FromHolder::Refused { message, .. } => Err(LinkError::Stranger(message)),
        _ => Err(LinkError::Stranger("it gave an answer to another question".to_owned())),
    }
}
