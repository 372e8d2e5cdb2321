//! The holder as its users see it: the real binary with real programs.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod channel;
mod ending;
mod flood;
mod inside;
mod limits;
mod pipes;
mod recording;
mod shortage;
mod start;
mod stop;
mod support;
mod terminal;
mod viewers;
mod waiting;
