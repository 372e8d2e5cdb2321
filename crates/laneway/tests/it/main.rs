//! The command line as its users call it: the real binary, a real daemon, real git and real terminals.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod adopting;
mod api;
mod attach;
mod auditing;
mod bad_input;
mod busy;
mod channels;
mod closing;
mod colour;
mod completions;
mod config;
mod crash;
mod crowd;
mod daemon;
mod day;
mod diffing;
mod docs;
mod doctor;
mod elsewhere;
mod exec;
mod following;
mod gone_repositories;
mod hardship;
mod help;
mod hostile;
mod hostile_requests;
mod instances;
mod json;
mod lanes;
mod limits;
mod no_room;
mod owners_settings;
mod places;
mod pooling;
mod programs;
mod progress;
mod recording;
mod renaming;
mod rescuing;
mod restarting;
mod sending;
mod serving;
mod setup;
mod sharing;
mod strangers;
mod supervising;
mod support;
mod surroundings;
mod systemd;
mod targets;
mod terminals;
mod tmux_further;
mod tmux_panes;
mod tmux_server;
mod tmux_splits;
mod tmux_viewers;
mod tmux_workers;
mod versions;
mod viewers;
mod waiting;
mod web_limits;
mod web_login;
mod web_logs;
mod web_terminal;
mod websocket;
mod workers;

use laneway_testkit::TestEnvironment;

/// A world of its own for one test.
#[track_caller]
fn environment() -> TestEnvironment {
    TestEnvironment::new(env!("CARGO_BIN_EXE_lane"), env!("CARGO_TARGET_TMPDIR"))
}
