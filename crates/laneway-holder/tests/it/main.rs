//! The holder as its users see it: the real binary with real programs.

mod ending;
mod pipes;
mod start;
mod stop;
mod support;
mod terminal;
mod viewers;
