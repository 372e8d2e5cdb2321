//! The daemon: the one background process per user that decides.
//!
//! * [`home`]: where everything lies

pub mod home;
