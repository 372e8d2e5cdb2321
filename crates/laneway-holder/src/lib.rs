//! The holder: one small process per run that starts the program, owns its terminal or pipes, and outlives the
//! daemon.
//!
//! * [`run`](fn@run) and [`run_inside_tty`]: from the launch to the end of the run
//! * [`screen`]: what a terminal's output looks like
//! * `start`: the program's start; `sys`: what of it needs `unsafe`
//! * `holder`: the run and its peers; `event_loop` drives it; `peer` is one connection; `reader` reads a flood
//! * `input`, `typing`, `keys`: what goes to the program; `tail`: what came from it; `recording`: the same in files
//! * `channel`: what the program and its supervisor say to each other; `attention`: whether it only waits for that
//! * `tree`, `stop`, `limits`: the run's processes and their end; `clock`: the time

mod attention;
mod channel;
mod clock;
mod event_loop;
mod holder;
mod input;
mod keys;
mod limits;
mod peer;
mod reader;
mod recording;
mod run;
pub mod screen;
mod start;
mod stop;
mod sys;
mod tail;
mod tree;
mod typing;

pub use run::{RunError, run, run_inside_tty};

/// Says something to whoever looks after this process. What cannot be said is lost: nobody is there to hear it.
fn log(text: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stderr(), "lane-holder: {text}"));
}
