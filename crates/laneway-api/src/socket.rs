//! What is said on the WebSocket of events, beside the events themselves ([`crate::view::EventView`]).

use serde::{Deserialize, Serialize};

/// What a client says: one of `subscribe`, `unsubscribe` and `type`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// This client read too slowly. These events follow, from the record; none is left out.
    Lagged {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
}

/// How events are named to a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// As in the catalogue.
    #[default]
    Catalogue,
    /// Events of workers as `worker:spawned`, `worker:exit`…
    Colon,
}

/// The query of the WebSocket of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketQuery {
    /// How events are named.
    #[serde(default)]
    pub names: Names,
}
