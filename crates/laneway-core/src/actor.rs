//! Who asked.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::WorkerId;
use crate::name::{MAX_LENGTH, Name};

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
    /// Whoever shows a token, over TCP: the system does not say more of him.
    Token {
        /// What the token is called.
        #[cfg_attr(feature = "schema", schema(value_type = Name))]
        name: TokenName,
    },
    /// Laneway itself, following up on something recorded.
    Daemon,
}

impl Actor {
    /// The worker whose program asked.
    pub const fn worker(self) -> Option<WorkerId> {
        match self {
            Actor::Worker { id } => Some(id),
            Actor::Person { .. } | Actor::Token { .. } | Actor::Daemon => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Person { uid } => write!(f, "uid {uid}"),
            Actor::Worker { id } => write!(f, "{id}"),
            Actor::Token { name } => write!(f, "token {name}"),
            Actor::Daemon => f.write_str("daemon"),
        }
    }
}

/// The name of a token, held in place: who asked is passed on by value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenName {
    length: u8,
    bytes: [u8; MAX_LENGTH],
}

impl TokenName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("it was made of a name")
    }
}

impl From<&Name> for TokenName {
    fn from(name: &Name) -> Self {
        let text = name.as_str().as_bytes();
        let mut bytes = [0; MAX_LENGTH];
        bytes[..text.len()].copy_from_slice(text);
        Self { length: u8::try_from(text.len()).expect("a name has at most 64 characters, all ASCII"), bytes }
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for TokenName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TokenName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Name::deserialize(deserializer).map(|name| Self::from(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_by_its_name_whatever_the_length_of_that() {
        for name in ["a".to_owned(), "laptop".to_owned(), "x".repeat(MAX_LENGTH)] {
            let actor = Actor::Token { name: TokenName::from(&name.parse().unwrap()) };
            let json = serde_json::to_string(&actor).unwrap();
            assert_eq!(json, format!("{{\"kind\":\"token\",\"name\":\"{name}\"}}"));
            assert_eq!(serde_json::from_str::<Actor>(&json).unwrap(), actor);
            assert_eq!(actor.to_string(), format!("token {name}"));
        }
        let too_long = format!("{{\"kind\":\"token\",\"name\":\"{}\"}}", "x".repeat(MAX_LENGTH + 1));
        assert!(serde_json::from_str::<Actor>(&too_long).is_err());
    }
}
