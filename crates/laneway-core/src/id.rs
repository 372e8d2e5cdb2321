//! Ids: `{prefix}_{26 Crockford base-32 characters}` (a ULID). Each kind is a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id: expected {prefix}_ and 26 base-32 characters")]
pub struct NotAnId {
    /// The text as it was given.
    pub text: String,
    /// The prefix that was expected, without the underscore.
    pub prefix: &'static str,
}

fn parse(text: &str, prefix: &'static str) -> Result<Ulid, NotAnId> {
    let not_an_id = || NotAnId { text: text.to_owned(), prefix };
    let tail = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or_else(not_an_id)?;
    Ulid::from_string(tail).map_err(|_| not_an_id())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// The prefix of this kind of id, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The id with this ULID; whoever makes ids chooses it.
            pub const fn from_ulid(ulid: Ulid) -> Self {
                Self(ulid)
            }

            /// The ULID itself, for hashing and marks.
            pub const fn ulid(self) -> Ulid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                parse(text, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// One machine (user account) with a Laneway home.
    HostId = "ho";
    /// A git repository known by its common directory.
    WorkspaceId = "ws";
    /// An isolated track of work: worktree, branch and the workers in it.
    LaneId = "ln";
    /// The durable identity of one supervised program.
    WorkerId = "wk";
    /// One process lifetime of a worker.
    RunId = "rn";
    /// Somebody's use of a lane.
    AttachmentId = "at";
    /// A tree that is kept ready for a lane to come.
    PoolTreeId = "pt";
    /// A named worker made from a configured program.
    InstanceId = "in";
    /// The request that caused an event.
    CorrelationId = "cor";
}

/// True for a text that begins like an id of a kind that can be typed (`wk_…`); names must not.
pub fn looks_like_an_id(text: &str) -> bool {
    const PREFIXES: [&str; 8] = ["ho_", "ws_", "ln_", "wk_", "rn_", "at_", "pt_", "cor_"];
    PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself_and_not_as_another_kind() {
        let lane = LaneId::from_ulid(Ulid::from(7_u128));
        let text = lane.to_string();
        assert_eq!(text, "ln_00000000000000000000000007");
        assert_eq!(text.parse::<LaneId>(), Ok(lane));
        assert!(text.parse::<WorkerId>().is_err());
        assert!("ln_7".parse::<LaneId>().is_err());
        assert!("ln00000000000000000000000007".parse::<LaneId>().is_err());
    }
}
