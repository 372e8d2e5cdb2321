//! The caller's own terminal and streams, while they are joined to a program's: what `attach` and `exec` are made of.
//!
//! * [`view`] and [`task`]: what happens to an attachment and to a task that is waited for, as pure machines
//! * [`attach_pump`] and [`exec_pump`]: their loops: wait, feed the machine, carry out
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
pub(crate) mod stream;
pub(crate) mod task;
pub(crate) mod view;
