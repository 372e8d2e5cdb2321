//! One text on its way into a terminal: its steps, and its end if the terminal stops taking it.

use std::io;
use std::path::Path;
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{Cut, SendStep};
use laneway_core::id::WorkerId;
use laneway_wire::client::{ClientError, Connection};
use laneway_wire::message::{FromHolder, Incoming, Send, Tag, ToHolder, refusal};
use tokio::sync::mpsc;

use super::{CLIENT, HOLDER_LIMIT, is_gone, odd, unreachable};
use crate::problem::of_holder;

/// Why not all of a text was typed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The holder does not accept it.
    #[error("the holder refused: {message}")]
    Refused {
        /// One of [`refusal`].
        code: String,
        /// Why, for people.
        message: String,
    },
    /// The terminal took nothing for this long, and the rest was dropped.
    #[error("the terminal took nothing more within {limit:?}")]
    NotTaken { limit: Duration, cut: Cut },
    /// The same, with a holder that cannot drop a part of what waits.
    #[error("the terminal took nothing more within {limit:?}, and the rest waits")]
    NotDropped { limit: Duration },
    /// The holder answered something else.
    #[error("the holder gave an answer to another question")]
    Odd(Box<FromHolder>),
    /// The holder could not be talked to.
    #[error("the holder could not be talked to")]
    Holder(#[from] ClientError),
}

impl SendError {
    /// As it is shown.
    pub(super) fn into_problem(self, id: WorkerId) -> Problem {
        let problem = match self {
            Self::Refused { code, message } => return of_holder(&code, message),
            Self::Odd(message) => return odd(&message),
            Self::Holder(error) if is_gone(&error) => {
                return of_holder(refusal::ENDED, format!("the program of {id} has ended"));
            }
            Self::Holder(error) => return unreachable(&error),
            Self::NotTaken { limit, cut } => {
                let Cut { n_written, n_dropped } = cut;
                let n_total = n_written + n_dropped;
                let message = format!(
                    "{n_written} of {n_total} bytes are in its terminal, which took no more within {limit:?}; the other {n_dropped} were dropped"
                );
                Problem::new(ErrorKind::TimedOut, "not_read", message).details(serde_json::json!(cut))
            }
            Self::NotDropped { limit } => {
                let message = format!(
                    "its terminal took nothing more within {limit:?}; the rest waits, as its holder is of an older version and cannot drop it"
                );
                Problem::new(ErrorKind::TimedOut, "not_read", message)
            }
        };
        problem.hint(format!("lane read {id} shows what it is doing instead of reading"))
    }
}

/// Types into the terminal of the run in `folder`, and gives the output offset at which that began. When nothing is
/// taken for `limit`, what is left is dropped.
pub(super) fn send(
    folder: &Path,
    send: Send,
    limit: Duration,
    steps: &mpsc::Sender<SendStep>,
) -> Result<u64, SendError> {
    let (mut connection, _) = Connection::open(folder, CLIENT, HOLDER_LIMIT)?;
    let asked = connection.send(&ToHolder::Send(send))?;
    // A limit of zero would mean none.
    connection.set_read_limit(Some(limit.max(Duration::from_millis(1))))?;
    loop {
        match connection.answer_to(asked) {
            Ok(FromHolder::SendProgress { n_written, n_total }) => {
                // One that nobody takes is not missed: the next one says more.
                let _ = steps.try_send(SendStep::Progress { n_written, n_total });
            }
            Ok(FromHolder::Sent { offset }) => return Ok(offset),
            Ok(FromHolder::Refused { code, message }) => return Err(SendError::Refused { code, message }),
            Ok(other) => return Err(SendError::Odd(Box::new(other))),
            Err(ClientError::Broken(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return drop_rest(&mut connection, asked, limit);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// It may be taken at this very moment: then it was sent.
fn drop_rest(connection: &mut Connection, send: Tag, limit: Duration) -> Result<u64, SendError> {
    connection.set_read_limit(Some(HOLDER_LIMIT))?;
    let dropping = connection.send(&ToHolder::DropSend { send })?;
    loop {
        let Incoming::Message { tag, message } = connection.receive()?.ok_or(ClientError::Closed)? else {
            continue;
        };
        match message {
            FromHolder::Sent { offset } if tag == send => return Ok(offset),
            FromHolder::Refused { code, message } if tag == send && code != refusal::DROPPED => {
                return Err(SendError::Refused { code, message });
            }
            FromHolder::Dropped { n_bytes, n_written } if tag == dropping => {
                let cut = Cut { n_written: n_written.unwrap_or_default(), n_dropped: n_bytes };
                return Err(SendError::NotTaken { limit, cut });
            }
            FromHolder::Refused { .. } if tag == dropping => return Err(SendError::NotDropped { limit }),
            _ => {}
        }
    }
}
