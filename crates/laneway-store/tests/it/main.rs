//! The store as its users see it: real files, real processes, nothing replaced.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod crash;
mod events;
mod failing;
mod main_path;
mod model;
mod no_room;
mod opening;
mod pool;
mod support;
mod together;
