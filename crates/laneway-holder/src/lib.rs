//! The holder: one small process per run that starts the program, owns its terminal and outlives the daemon.

pub mod screen;
