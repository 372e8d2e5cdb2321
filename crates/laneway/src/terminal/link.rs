//! A connection to a holder that never blocks: what is said waits in a queue until the socket takes it.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use laneway_wire::client::{ClientError, Connection};
use laneway_wire::frame::encode_data;
use laneway_wire::message::{Incoming, encode};
use laneway_wire::{FromHolder, Stream, ToHolder};

use super::stream::Queue;

/// How long a holder may take to accept and to say hello; it answers within a millisecond unless the machine is
/// overloaded.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message or data.
    Incoming(Incoming<FromHolder>),
    /// Nothing has come.
    Nothing,
    /// The holder has closed the connection, or it broke.
    End,
}

/// A conversation with a holder.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Connection,
    queue: Queue,
    last_tag: u32,
    input_offset: u64,
}

impl Link {
    /// Connects to the holder in `folder` and exchanges greetings; the only calls that wait.
    pub(crate) fn open(folder: &Path) -> Result<Self, ClientError> {
        let client = concat!("lane ", env!("CARGO_PKG_VERSION"));
        let (connection, _) = Connection::open(folder, client, HELLO_LIMIT)?;
        Self::over(connection)
    }

    /// A link over a connection that has exchanged greetings.
    fn over(connection: Connection) -> Result<Self, ClientError> {
        connection.socket().set_nonblocking(true).map_err(ClientError::Broken)?;
        // The first tag was taken by the greeting.
        Ok(Self { connection, queue: Queue::default(), last_tag: 1, input_offset: 0 })
    }

    /// Queues a request and gives its tag.
    pub(crate) fn ask(&mut self, request: &ToHolder) -> u32 {
        self.last_tag = self.last_tag.checked_add(1).unwrap_or(1);
        encode(self.last_tag, request, self.queue.buffer()).expect("the requests made here are short");
        self.last_tag
    }

    /// Queues bytes for the program.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        encode_data(Stream::Input, self.input_offset, bytes, self.queue.buffer());
        self.input_offset += bytes.len() as u64;
    }

    /// How many bytes wait to be taken by the socket.
    pub(crate) fn n_waiting(&self) -> usize {
        self.queue.len()
    }

    /// Writes what the socket takes. A broken connection shows when it is read: what came before it counts.
    pub(crate) fn flush(&mut self) {
        let connection = &self.connection;
        if self.queue.flush(|bytes| connection.socket().write(bytes)).is_err() {
            self.queue.clear();
        }
    }

    /// The next message or data, if it has come.
    pub(crate) fn receive(&mut self) -> Result<Received, ClientError> {
        match self.connection.receive() {
            Ok(Some(incoming)) => Ok(Received::Incoming(incoming)),
            Ok(None) | Err(ClientError::Closed) => Ok(Received::End),
            Err(ClientError::Broken(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(Received::Nothing)
            }
            Err(ClientError::Broken(_)) => Ok(Received::End),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
