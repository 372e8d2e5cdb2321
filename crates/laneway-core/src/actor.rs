//! Who asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::WorkerId;

/// Who asked for something: it is in every event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// A person, by the uid of the process at the other end of the socket.
    Person {
        /// The user id.
        uid: u32,
    },
    /// A program inside a worker.
    Worker {
        /// The worker.
        id: WorkerId,
    },
    /// Laneway itself, following up on something recorded.
    Daemon,
}

impl Actor {
    /// The worker whose program asked.
    pub const fn worker(self) -> Option<WorkerId> {
        match self {
            Actor::Worker { id } => Some(id),
            Actor::Person { .. } | Actor::Daemon => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Person { uid } => write!(f, "uid {uid}"),
            Actor::Worker { id } => write!(f, "{id}"),
            Actor::Daemon => f.write_str("daemon"),
        }
    }
}
