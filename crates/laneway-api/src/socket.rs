//! What is said on `WebSockets`: on that of events, beside the events themselves ([`crate::view::EventView`]), and on that
//! of a terminal.

use laneway_core::attachment::Role;
use laneway_core::id::WorkerId;
use laneway_core::run::Exit;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What a client says: one of `subscribe`, `unsubscribe` and `type`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientMessage {
    /// Events of these names are to be sent from now on: a name, `prefix.*`, `prefix:*`, or `*` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Vec<String>>,
    /// Those patterns no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<Vec<String>>,
    /// `ping`, or `replay` with `since`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For `replay`: all events after this number are sent again, and then those to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first word.
    Connected {
        /// The number of the last event so far: those after it can be subscribed to.
        seq: u64,
    },
    /// Answers `subscribe` and `unsubscribe`.
    Subscribed {
        /// All patterns of this client now.
        patterns: Vec<String>,
    },
    /// Answers `ping`.
    Pong,
    /// What was said could not be understood or done. The connection goes on.
    Error {
        /// Why.
        message: String,
    },
    /// So many lines of programs (`worker.log`) came faster than they were taken, and do not follow.
    Skipped {
        /// How many. 0: how many is not known, since they were passed over where they were written.
        lines: u64,
        /// Whose; none if they are of several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
    },
    /// This client read too slowly. These events follow, from the record; none is left out.
    Lagged {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
}

/// How events are named to a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// As in the catalogue.
    #[default]
    Catalogue,
    /// Events of workers as `worker:spawned`, `worker:exit`…
    Colon,
}

/// The query of the WebSocket of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SocketQuery {
    /// How events are named.
    #[serde(default)]
    #[param(inline)]
    pub names: Names,
}

/// What a binary frame of a terminal's WebSocket begins with; 8 bytes follow, big endian: where its first byte stands in
/// the output, or for a snapshot where the output goes on behind it. The rest are the bytes.
pub mod terminal_frame {
    /// The begin of a picture: to be written to an emptied terminal.
    pub const SNAPSHOT: u8 = 0;
    /// More of that picture.
    pub const MORE_OF_SNAPSHOT: u8 = 1;
    /// Output of the terminal.
    pub const OUTPUT: u8 = 2;
    /// Standard output of a program without a terminal.
    pub const STDOUT: u8 = 3;
    /// Standard error of a program without a terminal.
    pub const STDERR: u8 = 4;
    /// How many bytes stand in front of those of the terminal.
    pub const HEAD: usize = 9;
}

/// The query of a terminal's WebSocket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TerminalQuery {
    /// Who types and gives the size, or looks on. None: an observer.
    #[serde(default)]
    pub role: Option<Role>,
    /// The client's own size, with `rows`; a driver's becomes the terminal's. None: it stays as it is.
    #[serde(default)]
    pub columns: Option<u16>,
    /// With `columns`.
    #[serde(default)]
    pub rows: Option<u16>,
    /// Go on after this offset, as frames tell it, without a picture, if what came since is still there.
    #[serde(default)]
    pub since: Option<u64>,
}

/// What a client of a terminal says in a text frame; in binary frames it types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TerminalWish {
    /// The driver's size has changed.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// Be this from now on.
    Role {
        /// Who types, or looks on.
        role: Role,
    },
    /// A sign of life is wanted.
    Ping {},
}

/// What the daemon says of a terminal in a text frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TerminalWord {
    /// What this client is from now on: also when another became the driver.
    Role {
        /// Who types, or looks on.
        role: Role,
    },
    /// The size that the terminal has from now on.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The program has ended; the connection ends.
    Exit {
        /// How; none where that is not recorded yet.
        exit: Option<Exit>,
    },
    /// Answers a ping.
    Pong {},
    /// What was said could not be understood or done. The connection goes on.
    Error {
        /// Why.
        message: String,
    },
}

/// Close codes of a terminal's WebSocket beside the usual ones.
pub mod terminal_close {
    /// The program has ended, and all of its output was sent.
    pub const ENDED: u16 = 1000;
    /// There is no such worker, or it never ran.
    pub const UNKNOWN: u16 = 4404;
}
