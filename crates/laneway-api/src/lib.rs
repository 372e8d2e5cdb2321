//! What the daemon and its clients say to each other over HTTP, and what `--json` prints.
//!
//! Types without logic; the only decisions here are which HTTP status and exit code belong to a kind of
//! error ([`error`]) and which of two versions is newer ([`version`]).
//!
//! * [`routes`]: the paths, and the headers every request carries
//! * [`view`]: lanes, workers, terminals and the daemon as they are shown
//! * [`program`]: instances of configured programs
//! * [`request`]: the bodies of what changes something, and their answers
//! * [`serving`]: being reached over TCP, and the tokens for that
//! * [`socket`]: what is said on the `WebSockets` of events and of terminals
//! * [`tmux`]: windows of tmux that show workers
//! * [`error`]: `{error: {code, kind, message, hint?, details?}}` and the exit codes
//! * [`time`]: moments as RFC 3339 UTC

pub mod error;
pub mod program;
pub mod request;
pub mod routes;
pub mod serving;
pub mod socket;
pub mod time;
pub mod tmux;
pub mod version;
pub mod view;
