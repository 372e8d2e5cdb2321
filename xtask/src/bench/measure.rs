//! How things are measured.

pub(crate) mod clock;
pub(crate) mod processes;
pub(crate) mod statistics;
