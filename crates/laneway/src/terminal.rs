//! The caller's own terminal and streams, while they are joined to a program's or a recording's: what `attach`,
//! `exec` and `replay` are made of.
//!
//! * [`view`], [`task`] and [`player`]: what happens to an attachment, to a task that is waited for, and to a
//!   recording that is played, as pure machines
//! * [`attach_pump`], [`exec_pump`] and [`play_pump`]: their loops: wait, feed the machine, carry out
//! * [`guard`]: a waiting parent that gives the terminal back whatever happens to the child that uses it
//! * [`detach`], [`output_filter`], [`modes`]: what is typed, what is drawn, and what is brought back afterwards
//! * [`link`]: a connection to a holder that never blocks; [`stream`]: the same for the standard streams

pub(crate) mod attach_pump;
pub(crate) mod detach;
pub(crate) mod exec_pump;
pub(crate) mod guard;
pub(crate) mod link;
pub(crate) mod modes;
pub(crate) mod output_filter;
pub(crate) mod play_pump;
pub(crate) mod player;
pub(crate) mod stream;
pub(crate) mod task;
pub(crate) mod view;
