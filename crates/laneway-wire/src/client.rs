//! A blocking connection to a holder's socket, for the command line and for the daemon's first contact.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::frame::{Decoder, Stream, encode_data};
use crate::message::{FromHolder, Incoming, MessageError, Tag, ToHolder, TooLong, encode};
use crate::{PROTOCOL_VERSION, SOCKET_NAME, sockets};

/// How much is read from the socket at once, in bytes: a few frames of a busy terminal.
const READ_LENGTH: usize = 64 << 10;

/// Why a holder could not be reached or understood.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The run's folder could not be opened.
    #[error("cannot open the run's folder {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nobody answers at the socket: the holder is gone, or was never there.
    #[error("no holder answers in {}", folder.display())]
    Connect {
        /// The run's folder.
        folder: PathBuf,
        /// What the system said; `WouldBlock` when the limit was reached.
        #[source]
        source: io::Error,
    },
    /// The one who answers belongs to somebody else.
    #[error("the holder belongs to user {uid}, not to this one")]
    OtherUser {
        /// The user id of the peer.
        uid: u32,
    },
    /// It is there and says nothing: it is stopped, or the machine has no time for it.
    #[error("the holder does not answer within {} s", limit.as_secs_f32())]
    Silent {
        /// How long it was waited for.
        limit: Duration,
    },
    /// Reading or writing failed.
    #[error("the connection to the holder broke")]
    Broken(#[source] io::Error),
    /// The holder closed the connection.
    #[error("the holder closed the connection")]
    Closed,
    /// What came is not the protocol.
    #[error("the holder cannot be understood")]
    Message(#[from] MessageError),
    /// What was to be sent does not fit a frame.
    #[error("the request does not fit a frame")]
    TooLong(#[from] TooLong),
    /// The holder answered something that is no answer to the request.
    #[error("the holder gave an answer to another question: {0}")]
    OutOfPlace(String),
}

/// Connects to the holder's socket in a run's folder and makes sure that the peer is the same user's. `limit`
/// bounds the wait for a holder that does not accept.
pub fn connect(folder: &Path, limit: Duration) -> Result<UnixStream, ClientError> {
    let opened = sockets::open_folder(folder)
        .map_err(|source| ClientError::Folder { folder: folder.to_owned(), source })?;
    let refused = |source: io::Error| ClientError::Connect { folder: folder.to_owned(), source };
    let socket = sockets::connect(&opened, SOCKET_NAME, limit).map_err(refused)?;
    let uid = peer_uid(&socket).map_err(refused)?;
    if uid != rustix::process::geteuid().as_raw() {
        return Err(ClientError::OtherUser { uid });
    }
    Ok(socket)
}

/// The user id of the process at the other end of a unix socket, as it was when it connected or listened.
pub fn peer_uid(socket: impl AsFd) -> io::Result<u32> {
    crate::sys::peer_uid(socket)
}

/// A conversation with a holder.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// The part of `buffer` that is read and not yet decoded.
    pending: std::ops::Range<usize>,
    last_tag: Tag,
    input_offset: u64,
}

impl Connection {
    /// Connects and exchanges `Hello`; answers the holder's one. `client` says who speaks, for people. `limit`
    /// bounds each step.
    pub fn open(folder: &Path, client: &str, limit: Duration) -> Result<(Self, FromHolder), ClientError> {
        let mut connection = Self::over(connect(folder, limit)?);
        connection.set_read_limit(Some(limit))?;
        let hello = ToHolder::Hello { protocol: PROTOCOL_VERSION, client: client.to_owned() };
        let answer = connection.ask(&hello).map_err(|error| match error {
            ClientError::Broken(source) if source.kind() == io::ErrorKind::WouldBlock => {
                ClientError::Silent { limit }
            }
            other => other,
        })?;
        if !matches!(answer, FromHolder::Hello { .. }) {
            return Err(ClientError::OutOfPlace(format!("{answer:?}")));
        }
        connection.set_read_limit(None)?;
        Ok((connection, answer))
    }

    /// A conversation over a connected blocking socket.
    pub fn over(socket: UnixStream) -> Self {
        Self {
            socket,
            decoder: Decoder::new(),
            buffer: vec![0; READ_LENGTH],
            pending: 0..0,
            last_tag: 0,
            input_offset: 0,
        }
    }

    /// Bounds each wait for bytes; `receive` then fails with `Broken(WouldBlock)`. `None`: no bound.
    pub fn set_read_limit(&self, limit: Option<Duration>) -> Result<(), ClientError> {
        self.socket.set_read_timeout(limit).map_err(ClientError::Broken)
    }

    /// Sends a request and gives its tag.
    pub fn send(&mut self, request: &ToHolder) -> Result<Tag, ClientError> {
        // 0 is for what the holder says unasked.
        self.last_tag = self.last_tag.checked_add(1).unwrap_or(1);
        let mut bytes = Vec::new();
        encode(self.last_tag, request, &mut bytes)?;
        (&self.socket).write_all(&bytes).map_err(ClientError::Broken)?;
        Ok(self.last_tag)
    }

    /// Sends bytes for the program.
    pub fn send_input(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let mut frames = Vec::with_capacity(bytes.len() + 64);
        encode_data(Stream::Input, self.input_offset, bytes, &mut frames);
        self.input_offset += bytes.len() as u64;
        (&self.socket).write_all(&frames).map_err(ClientError::Broken)
    }

    /// The next message or data; `None` when the holder has closed the connection between two frames.
    pub fn receive(&mut self) -> Result<Option<Incoming<FromHolder>>, ClientError> {
        loop {
            if let Some(incoming) = self.take_decoded()? {
                return Ok(Some(incoming));
            }
            match (&self.socket).read(&mut self.buffer) {
                Ok(0) if self.decoder.is_inside_frame() => return Err(ClientError::Closed),
                Ok(0) => return Ok(None),
                Ok(n_read) => self.pending = 0..n_read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ClientError::Broken(error)),
            }
        }
    }

    /// What has been read already and is whole; never waits. To be drained before one waits for [`AsFd`].
    pub fn take_decoded(&mut self) -> Result<Option<Incoming<FromHolder>>, ClientError> {
        let mut input = &self.buffer[self.pending.clone()];
        let incoming = self.decoder.feed_message(&mut input)?;
        self.pending.start = self.pending.end - input.len();
        Ok(incoming)
    }

    /// Sends a request and waits for its first answer. What the holder says of its own accord meanwhile is
    /// passed over: not for connections that watch or view.
    pub fn ask(&mut self, request: &ToHolder) -> Result<FromHolder, ClientError> {
        let asked = self.send(request)?;
        self.answer_to(asked)
    }

    /// Waits for the next answer to the request `asked`.
    pub fn answer_to(&mut self, asked: Tag) -> Result<FromHolder, ClientError> {
        loop {
            match self.receive()?.ok_or(ClientError::Closed)? {
                Incoming::Message { tag, message } if tag == asked => return Ok(message),
                Incoming::Unknown { tag } if tag == asked => {
                    return Err(ClientError::OutOfPlace("a message of a newer version".to_owned()));
                }
                Incoming::Message { .. } | Incoming::Unknown { .. } | Incoming::Data { .. } => {}
            }
        }
    }

    /// Reads what the terminal shows: `Read` with its parts put together. A refusal comes as it is.
    pub fn read_text(&mut self, request: &ToHolder) -> Result<FromHolder, ClientError> {
        let asked = self.send(request)?;
        let mut all = Vec::new();
        loop {
            match self.answer_to(asked)? {
                FromHolder::TextPart { mut lines } => all.append(&mut lines),
                FromHolder::Text(mut text) => {
                    all.append(&mut text.lines);
                    text.lines = all;
                    return Ok(FromHolder::Text(text));
                }
                other => return Ok(other),
            }
        }
    }

    /// Waits for the answer to a `Follow`, with its parts put together. A refusal comes as it is.
    pub fn followed(&mut self, asked: Tag) -> Result<FromHolder, ClientError> {
        let mut all = Vec::new();
        loop {
            match self.answer_to(asked)? {
                FromHolder::FollowPart { mut lines } => all.append(&mut lines),
                FromHolder::Followed(mut followed) => {
                    all.append(&mut followed.lines);
                    followed.lines = all;
                    return Ok(FromHolder::Followed(followed));
                }
                other => return Ok(other),
            }
        }
    }

    /// The socket, for a second thread that writes or to shut it down.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
