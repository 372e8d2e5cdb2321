//! The crate on real tmux servers, one for each test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod connection;
mod panes;
mod support;
mod trust;
mod windows;
