//! A reader of a terminal that takes what its holder gives.

use anyhow::{Result, bail, ensure};
use laneway_wire::client::Connection;
use laneway_wire::frame::Stream;
use laneway_wire::message::{FromHolder, Incoming, Role, Size, ToHolder};

use crate::bench::measure::clock;
use crate::bench::program::workload::{COLUMNS, ROWS};

/// What came in one round.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// When the first byte came.
    pub(crate) first: u64,
    /// When the last one did.
    pub(crate) last: u64,
    /// How many did.
    pub(crate) n_bytes: u64,
    /// How many the holder left out since they were not read in time.
    pub(crate) n_lost: u64,
}

/// An observer.
pub(crate) struct Viewer {
    connection: Connection,
    offset: u64,
}

impl Viewer {
    /// Joins, and takes what is there.
    pub(crate) fn join(mut connection: Connection) -> Result<Self> {
        let size = Size { columns: COLUMNS, rows: ROWS };
        connection.send(&ToHolder::Attach { role: Role::Observer, size, since: None })?;
        let mut left = None;
        let mut offset = 0;
        while left != Some(0) {
            match connection.receive()? {
                Some(Incoming::Message {
                    message: FromHolder::Snapshot { length, offset: at, .. }, ..
                }) => {
                    (left, offset) = (Some(length), at);
                }
                Some(Incoming::Data { stream: Stream::Snapshot, bytes, .. }) => {
                    left = left.map(|left: u64| left.saturating_sub(bytes.len() as u64));
                }
                Some(Incoming::Message { message: FromHolder::Refused { message, .. }, .. }) => {
                    bail!(message)
                }
                Some(_) => {}
                None => bail!("the holder closed the connection"),
            }
        }
        Ok(Self { connection, offset })
    }

    /// Reads until `end` has come, near the end of the output.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut tail = Vec::new();
        loop {
            let Some(incoming) = self.connection.receive()? else {
                bail!("the holder closed the connection")
            };
            let bytes = match incoming {
                Incoming::Data { stream: Stream::Pty, offset, bytes } => {
                    seen.n_lost += offset.saturating_sub(self.offset);
                    self.offset = offset + bytes.len() as u64;
                    seen.n_bytes += bytes.len() as u64;
                    bytes
                }
                // Drawn anew after a loss.
                Incoming::Data { stream: Stream::Snapshot, bytes, .. } => bytes,
                Incoming::Message { message: FromHolder::Exited(_), .. } => bail!("the program has ended"),
                Incoming::Message { message: FromHolder::Snapshot { offset, .. }, .. } => {
                    ensure!(offset >= self.offset, "the holder's offset went back");
                    seen.n_lost += offset - self.offset;
                    self.offset = offset;
                    continue;
                }
                _ => continue,
            };
            seen.last = clock::now();
            if seen.first == 0 {
                seen.first = seen.last;
            }
            tail.extend_from_slice(&bytes[bytes.len().saturating_sub(64)..]);
            tail.drain(..tail.len().saturating_sub(64));
            if tail.windows(end.len()).any(|window| window == end) {
                return Ok(seen);
            }
        }
    }
}
