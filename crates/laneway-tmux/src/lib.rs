//! tmux: one control connection per server, and what Laneway does over it.
//!
//! tmux is never needed: everything else works without it. Every call blocks, at most for its limit; an async caller
//! hands it to a thread.
//!
//! * [`Tmux`]: the program, found once; the only place that starts it
//! * [`Server`]: a server at a socket: [`Server::snapshot`], [`Server::session`], [`Server::new_window`],
//!   [`Server::respawn`], [`Server::split`], [`Server::remove`], [`Server::read`], [`Server::tap`],
//!   [`Server::type_text`], [`Server::press`]; the connection is made when it is needed
//! * [`PaneIdentity`]: by what a pane is known again. An id alone is never trusted: whatever is done to a pane is done
//!   after a look at what it is now ([`Snapshot::verify`]).
//! * [`Event`]: what a server tells by itself
//! * [`protocol`]: the parser of what tmux says

mod connection;
mod error;
mod ids;
mod left;
mod line;
mod program;
pub mod protocol;
mod reading;
mod server;
mod snapshot;
mod trust;
mod typing;
mod windows;

pub use connection::Event;
pub use error::{TmuxError, TmuxUnusable};
pub use ids::{NotAnId, PaneId, PaneIdentity, ServerIdentity, SessionId, WindowId};
pub use program::{COMMAND_LIMIT, OLDEST_TMUX, Tmux};
pub use reading::{Back, Reading};
pub use server::Server;
pub use snapshot::{PaneSeen, Snapshot};
pub use typing::{NoSuchKey, TmuxKey};
pub use windows::{Made, Mark, PaneProgram, Removed, Side};
