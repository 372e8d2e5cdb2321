//! The verbs: each file has its arguments beside its function.

pub(crate) mod adopt;
pub(crate) mod attach;
pub(crate) mod close;
pub(crate) mod completions;
pub(crate) mod daemon;
pub(crate) mod daemon_install;
mod daemon_logs;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod ls;
pub(crate) mod new;
pub(crate) mod overview;
pub(crate) mod path;
pub(crate) mod ps;
pub(crate) mod read;
pub(crate) mod rename;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod serve;
mod several;
pub(crate) mod show;
pub(crate) mod stop;
pub(crate) mod version;
