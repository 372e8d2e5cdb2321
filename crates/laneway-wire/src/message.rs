//! What is said in control frames, and how it is written: CBOR, `[tag, message]`, every field numbered.
//!
//! A request carries a tag of the asker's choice (not 0) and each of its answers carries the same one; what
//! the holder says of its own accord carries 0. A message that this build does not know is told apart from a
//! broken one, so that a newer peer gets a `Refused` instead of a closed connection.
//!
//! The requests and all they are made of are in `request`, what a holder says is in `answer`.

mod answer;
pub(crate) mod bounded;
mod coding;
pub mod refusal;
mod request;
#[cfg(test)]
pub(crate) mod tests;

pub use answer::{
    Cursor, Exited, Followed, FollowedLine, FromHolder, MAX_LINE, Offsets, Phase, ProcessIdentity,
    ProcessNote, Said, StartFailure, StartStage, Started, Status, StopPhase, Text,
};
pub use coding::{Incoming, MessageError, TooLong, encode};
pub use request::{
    Channel, ChannelKind, Launch, Limit, Lines, MAX_SEND, OWNER_LIMIT_MS, Program, Record, ResourceLimit,
    Role, RunLimits, Send, Size, Tap, Terminal, ToHolder,
};

/// Chosen by the asker, echoed in the answers. 0 is what the holder says unasked.
pub type Tag = u32;
