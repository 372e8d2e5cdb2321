//! One connection: its bytes in both directions, and what it is to the run.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use laneway_wire::frame::encode_data;
use laneway_wire::message::{MessageError, Offsets, Role, Tag, encode};
use laneway_wire::{Decoder, FromHolder, Incoming, Stream, ToHolder};

/// The most output that waits for a viewer before it is cut off and gets a fresh snapshot instead: 1 MiB, some
/// 10 ms of a flood.
pub(crate) const VIEWER_LIMIT: usize = 1 << 20;

/// From this on nothing more is read for the owner until it has taken some: 256 KiB, more than a socket's
/// buffer.
pub(crate) const OWNER_LIMIT: usize = 256 << 10;

/// An empty outbox gives back memory above this.
const KEPT_CAPACITY: usize = 64 << 10;

/// A connection's number; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerId(pub(crate) u64);

/// What a connection gets of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Nothing.
    None,
    /// Output while it keeps up. `lost_at`: it did not, and this is the last it was given.
    Viewer { role: Role, lost_at: Option<Offsets> },
    /// All output, losslessly.
    Owner { is_driver: bool },
}

/// Somebody wants to hear when nothing has happened for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AwaitedQuiet {
    pub(crate) tag: Tag,
    pub(crate) quiet: Duration,
}

/// Somebody wants to hear what has changed on the terminal since an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AwaitedChange {
    pub(crate) tag: Tag,
    pub(crate) since: Option<u64>,
    pub(crate) last: Option<u32>,
    pub(crate) ansi: bool,
}

/// The connection has ended or is not to be understood.
#[derive(Debug)]
pub(crate) struct Gone;

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: UnixStream,
    decoder: Decoder,
    /// Bytes that came and are not yet decoded, while the peer is paused.
    inbox: Vec<u8>,
    n_decoded: usize,
    outbox: Vec<u8>,
    n_flushed: usize,
    pub(crate) is_watching: bool,
    pub(crate) view: View,
    /// It was told that it may not type.
    pub(crate) was_told_not_driver: bool,
    pub(crate) awaited_quiet: Option<AwaitedQuiet>,
    pub(crate) awaited_change: Option<AwaitedChange>,
}

impl Peer {
    /// A connection over a non-blocking socket.
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self::with_decoder(socket, Decoder::new(), Vec::new())
    }

    /// A connection over a non-blocking socket that has been read from.
    pub(crate) fn with_decoder(socket: UnixStream, decoder: Decoder, inbox: Vec<u8>) -> Self {
        Self {
            socket,
            decoder,
            inbox,
            n_decoded: 0,
            outbox: Vec::new(),
            n_flushed: 0,
            is_watching: false,
            view: View::None,
            was_told_not_driver: false,
            awaited_quiet: None,
            awaited_change: None,
        }
    }

    pub(crate) fn is_driver(&self) -> bool {
        matches!(self.view, View::Viewer { role: Role::Driver, .. } | View::Owner { is_driver: true })
    }

    /// Reads what has come. To be called only with an empty inbox.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<(), Gone> {
        match (&self.socket).read(buffer) {
            Ok(0) => Err(Gone),
            Ok(n_read) => {
                self.inbox.extend_from_slice(&buffer[..n_read]);
                Ok(())
            }
            Err(error) if is_passing(&error) => Ok(()),
            Err(_) => Err(Gone),
        }
    }

    /// The next message of what was read.
    pub(crate) fn next_message(&mut self) -> Result<Option<Incoming<ToHolder>>, MessageError> {
        let mut input = &self.inbox[self.n_decoded..];
        let message = self.decoder.feed_message(&mut input)?;
        self.n_decoded = self.inbox.len() - input.len();
        if self.n_decoded == self.inbox.len() {
            self.inbox = Vec::new();
            self.n_decoded = 0;
        }
        Ok(message)
    }

    /// Whether there are bytes that `next_message` has not looked at.
    pub(crate) fn has_inbox(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// How many bytes wait to be taken by the peer.
    pub(crate) fn n_waiting(&self) -> usize {
        self.outbox.len() - self.n_flushed
    }

    /// Queues a message.
    pub(crate) fn say(&mut self, tag: Tag, message: &FromHolder) {
        encode(tag, message, &mut self.outbox)
            .expect("long answers are cut into parts by those who make them");
    }

    /// Queues data.
    pub(crate) fn give(&mut self, stream: Stream, offset: u64, bytes: &[u8]) {
        encode_data(stream, offset, bytes, &mut self.outbox);
    }

    /// Writes what the peer takes without waiting.
    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
        while self.n_waiting() > 0 {
            match (&self.socket).write(&self.outbox[self.n_flushed..]) {
                Ok(0) => return Err(Gone),
                Ok(n_written) => self.n_flushed += n_written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // What is flushed makes room only now and then, so that moving costs less than sending.
                    if self.n_flushed > self.outbox.len() / 2 {
                        self.outbox.drain(..self.n_flushed);
                        self.n_flushed = 0;
                    }
                    return Ok(());
                }
                Err(_) => return Err(Gone),
            }
        }
        self.outbox.clear();
        self.outbox.shrink_to(KEPT_CAPACITY);
        self.n_flushed = 0;
        Ok(())
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
