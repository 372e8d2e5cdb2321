//! The lines of a program on pipes, as they are written.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use laneway_wire::client::{ClientError, Connection};
use laneway_wire::message::{Exited, FromHolder, Incoming, Offsets, Role, Size};
use laneway_wire::{Stream, ToHolder};

use super::{CLIENT, HELLO_LIMIT, OutputError};

/// The longest line that is waited for: 1 MiB. A longer one comes in pieces.
const MAX_LINE: usize = 1 << 20;

/// What has come from a program on pipes.
#[derive(Debug)]
pub(crate) enum Written {
    /// Lines of one of its streams.
    Lines(Stream, Vec<PipeLine>),
    /// It wrote faster than this was read, and some of it is lost.
    Missed,
    /// It has ended; its output up to then has come.
    Exited(Exited),
}

/// A line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PipeLine {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Where it ends in its stream, its line end counted.
    pub(crate) end: u64,
}

/// A conversation with the holder of a run on pipes: all that is kept of its output, and then what comes.
#[derive(Debug)]
pub(crate) struct PipeOutput {
    connection: Connection,
    stdout: Splitter,
    stderr: Splitter,
    /// Where the streams were when this began.
    pub(crate) present: Offsets,
}

impl PipeOutput {
    /// Follows the run in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, OutputError> {
        let (mut connection, _) = Connection::open(folder, CLIENT, HELLO_LIMIT)?;
        // A program on pipes has no use for it.
        let size = Size { columns: 80, rows: 24 };
        let answer = connection.ask(&ToHolder::Attach { role: Role::Observer, size, since: None })?;
        match answer {
            FromHolder::Attached { offsets, .. } => Ok(Self {
                connection,
                stdout: Splitter::default(),
                stderr: Splitter::default(),
                present: offsets,
            }),
            FromHolder::Refused { code, message } => Err(OutputError::Refused { code, message }),
            other => Err(ClientError::OutOfPlace(format!("{other:?}")).into()),
        }
    }

    /// Waits for what comes next. Lines may be none, if no line has ended.
    pub(crate) fn next(&mut self) -> Result<Written, OutputError> {
        loop {
            let incoming = self.connection.receive()?.ok_or(ClientError::Closed)?;
            if let Some(written) = self.look_at(incoming) {
                return Ok(written);
            }
        }
    }

    /// What has come already; to be taken before one waits until this is readable.
    pub(crate) fn take(&mut self) -> Result<Option<Written>, OutputError> {
        while let Some(incoming) = self.connection.take_decoded()? {
            if let Some(written) = self.look_at(incoming) {
                return Ok(Some(written));
            }
        }
        Ok(None)
    }

    fn look_at(&mut self, incoming: Incoming<FromHolder>) -> Option<Written> {
        match incoming {
            Incoming::Data { stream: Stream::Stdout, offset, bytes } => {
                Some(Written::Lines(Stream::Stdout, self.stdout.take(offset, &bytes)))
            }
            Incoming::Data { stream: Stream::Stderr, offset, bytes } => {
                Some(Written::Lines(Stream::Stderr, self.stderr.take(offset, &bytes)))
            }
            Incoming::Message { message: FromHolder::Resync, .. } => Some(Written::Missed),
            Incoming::Message { message: FromHolder::Exited(exited), .. } => Some(Written::Exited(exited)),
            Incoming::Data { .. } | Incoming::Message { .. } | Incoming::Unknown { .. } => None,
        }
    }

    /// How much of a stream has come.
    pub(crate) fn position(&self, stream: Stream) -> u64 {
        if stream == Stream::Stdout { self.stdout.end } else { self.stderr.end }
    }

    /// The beginning of a line that has not ended.
    pub(crate) fn unfinished(&self, stream: Stream) -> Option<PipeLine> {
        let splitter = if stream == Stream::Stdout { &self.stdout } else { &self.stderr };
        (!splitter.line.is_empty()).then(|| PipeLine { bytes: splitter.line.clone(), end: splitter.end })
    }
}

impl AsFd for PipeOutput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

/// Cuts a stream into lines.
#[derive(Debug, Default)]
struct Splitter {
    /// The line that has not ended.
    line: Vec<u8>,
    /// The end of what has come.
    end: u64,
}

impl Splitter {
    fn take(&mut self, offset: u64, bytes: &[u8]) -> Vec<PipeLine> {
        if offset != self.end {
            // What is between is lost.
            self.line.clear();
            self.end = offset;
        }
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.end += piece.len() as u64;
            let ended = piece.strip_suffix(b"\n");
            self.line.extend_from_slice(ended.unwrap_or(piece));
            if ended.is_some() || self.line.len() >= MAX_LINE {
                lines.push(PipeLine { bytes: std::mem::take(&mut self.line), end: self.end });
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end_however_they_come() {
        let mut splitter = Splitter::default();
        let line = |text: &str, end| PipeLine { bytes: text.as_bytes().to_vec(), end };
        assert_eq!(splitter.take(0, b"on"), []);
        assert_eq!(splitter.take(2, b"e\ntwo\n\nthr"), [line("one", 4), line("two", 8), line("", 9)]);
        assert_eq!(splitter.take(12, b"ee\n"), [line("three", 15)]);
        assert_eq!(splitter.take(15, b"lost"), []);
        assert_eq!(splitter.take(100, b"after\n"), [line("after", 106)], "a gap ends a line");
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let mut splitter = Splitter::default();
        let lines: Vec<_> = (0..20).flat_map(|n| splitter.take(n << 17, &vec![b'x'; 1 << 17])).collect();
        let lengths: Vec<_> = lines.iter().map(|line| line.bytes.len()).collect();
        assert_eq!((lengths, splitter.line.len()), (vec![MAX_LINE, MAX_LINE], 4 << 17));
    }
}
