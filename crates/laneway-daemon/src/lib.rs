//! The daemon: the one background process per user that decides and records.
//!
//! * [`home`]: where everything lies; [`config`]: the user's settings;
//!   [`startup`]: how a daemon begins, and hands over to its successor
//! * [`serve`]: the whole of its life; [`probe`]: what it would find
//! * `engine`: has commands decided and carries out what was decided (lanes, runs, reconciling)
//! * `holders`: the holders of this host, and the only place that starts a program
//! * `panes`: tmux, for runs that are there
//! * `http`, `targets`, `views`, `terminals`: requests and their answers; [`openapi`]: the description of them
//! * `serving`, `tokens`: whether requests also come over TCP, and who may send them
//! * `tmux`: the one of this machine; `viewers`: windows in it that show workers
//! * `repeats`: requests that are sent twice because the first answer was lost
//! * `problem`: the one place where errors become what a person reads
//! * `launches`: environments of workers, kept by reference; `files`: small files replaced as a whole; `clock`: time
//!   and ids

mod alarm;
mod clock;
pub mod config;
mod engine;
mod files;
mod holders;
pub mod home;
mod http;
mod launches;
mod life;
mod login;
mod logs;
mod panes;
pub mod probe;
mod problem;
mod recordings;
mod repeats;
mod serving;
pub mod startup;
mod sys;
mod targets;
mod terminals;
mod tmux;
mod tokens;
mod viewers;
mod views;

pub use http::openapi;
pub use life::{Options, ServeError, serve};
pub use startup::Handed;
