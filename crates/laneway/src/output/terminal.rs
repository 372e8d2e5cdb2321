//! The lines of a terminal that change, asked for again and again: each answer comes when there is something new, and
//! holds all of it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use laneway_wire::ToHolder;
use laneway_wire::client::{ClientError, Connection};
use laneway_wire::message::{Followed, FromHolder, Tag};

use super::{CLIENT, HELLO_LIMIT, OutputError};

/// A conversation with the holder of a run on a terminal.
#[derive(Debug)]
pub(crate) struct TerminalOutput {
    connection: Connection,
    ansi: bool,
    asked: Tag,
}

impl TerminalOutput {
    /// Follows the run in `folder`: first what was changed after `since`, at most the `last` so many lines; `None`:
    /// all that is kept. With `ansi` lines carry colours and attributes.
    pub(crate) fn open(
        folder: &Path,
        since: Option<u64>,
        last: Option<u32>,
        ansi: bool,
    ) -> Result<Self, OutputError> {
        let (mut connection, _) = Connection::open(folder, CLIENT, HELLO_LIMIT)?;
        let asked = connection.send(&ToHolder::Follow { since, last, ansi })?;
        Ok(Self { connection, ansi, asked })
    }

    /// Waits for what is new, and has asked for what comes next before it answers.
    pub(crate) fn next(&mut self) -> Result<Followed, OutputError> {
        let followed = match self.connection.followed(self.asked)? {
            FromHolder::Followed(followed) => followed,
            FromHolder::Refused { code, message } => return Err(OutputError::Refused { code, message }),
            other => return Err(ClientError::OutOfPlace(format!("{other:?}")).into()),
        };
        if followed.exited.is_none() {
            let next = ToHolder::Follow { since: Some(followed.offset), last: None, ansi: self.ansi };
            self.asked = self.connection.send(&next)?;
        }
        Ok(followed)
    }
}

impl AsFd for TerminalOutput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
