//! Attachments: somebody uses a lane, in a role, for as long as a lease lasts.
//!
//! A lease is kept in wall-clock time, since it outlives daemons and machines, and clocks jump:
//!
//! * It is over once the clock shows `until`: one that is set forward ends it early.
//! * A clock that shows less than `renewed_at` was set back. Then the lease is counted anew from what the clock
//!   shows: it never has more left than was asked for ([`Attachment::as_of`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AttachmentId, LaneId, WorkerId};
use crate::name::Name;
use crate::time::Timestamp;

/// How long a lease lasts if nothing is said, in milliseconds: half an hour.
pub const DEFAULT_TTL_MS: u64 = 30 * 60 * 1_000;

/// The shortest lease, in milliseconds.
pub const MIN_TTL_MS: u64 = 1_000;

/// The longest lease, in milliseconds: a week. Who uses a lane for longer renews it.
pub const MAX_TTL_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// What somebody is in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// He works in it.
    Driver,
    /// He looks on.
    Observer,
}

/// A word that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is driver or observer")]
pub struct NoRole;

impl Role {
    /// Both of them.
    pub const ALL: [Role; 2] = [Role::Driver, Role::Observer];

    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Driver => "driver",
            Role::Observer => "observer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NoRole;
    fn from_str(text: &str) -> Result<Self, NoRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(NoRole)
    }
}

/// Somebody who can use a lane: a person, known by his name, or a worker, known by its id whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What he is called; a worker as it is called now, or was last.
    pub name: Name,
    /// The worker; None: a person.
    pub worker: Option<WorkerId>,
}

impl User {
    /// A person.
    pub const fn person(name: Name) -> Self {
        Self { name, worker: None }
    }

    /// Whether it is the same one.
    pub fn is(&self, other: &Self) -> bool {
        match (self.worker, other.worker) {
            (Some(own), Some(other)) => own == other,
            (None, None) => self.name == other.name,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Somebody uses a lane. The record goes when the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// The lane.
    pub lane: LaneId,
    /// Who, once per lane.
    pub user: User,
    /// What he is in it.
    pub role: Role,
    /// When he came.
    pub joined_at: Timestamp,
    /// What the clock showed when the lease was last counted.
    pub renewed_at: Timestamp,
    /// What the clock shows when it is over.
    pub until: Timestamp,
}

impl Attachment {
    /// How long its lease lasts, in milliseconds.
    pub fn ttl_ms(&self) -> u64 {
        self.until.millis_since(self.renewed_at)
    }

    /// The same with a lease of this length, counted from `now`.
    #[must_use]
    pub fn counted_from(&self, now: Timestamp, ttl_ms: u64) -> Self {
        let ttl_ms = ttl_ms.clamp(MIN_TTL_MS, MAX_TTL_MS);
        Self { renewed_at: now, until: now.plus_millis(ttl_ms), ..self.clone() }
    }

    /// As it is when the clock shows `now`. None: its lease is over.
    pub fn as_of(&self, now: Timestamp) -> Option<Self> {
        if self.until <= now {
            None
        } else if now < self.renewed_at {
            Some(self.counted_from(now, self.ttl_ms()))
        } else {
            Some(self.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ulid::Ulid;

    fn attachment(renewed_at: i64, ttl_ms: u64) -> Attachment {
        Attachment {
            id: AttachmentId::from_ulid(Ulid::nil()),
            lane: LaneId::from_ulid(Ulid::nil()),
            user: User::person("anna".parse().unwrap()),
            role: Role::Driver,
            joined_at: Timestamp(0),
            renewed_at: Timestamp(0),
            until: Timestamp(0),
        }
        .counted_from(Timestamp(renewed_at), ttl_ms)
    }

    #[test]
    fn a_worker_is_itself_under_any_name_and_never_a_person() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let worker =
            |n: u128, called: &str| User { name: name(called), worker: Some(WorkerId::from_ulid(Ulid(n))) };
        assert!(User::person(name("a")).is(&User::person(name("a"))));
        assert!(!User::person(name("a")).is(&User::person(name("b"))));
        assert!(worker(1, "a").is(&worker(1, "b")));
        assert!(!worker(1, "a").is(&worker(2, "a")));
        assert!(!worker(1, "a").is(&User::person(name("a"))) && !User::person(name("a")).is(&worker(1, "a")));
    }

    #[test]
    fn a_lease_is_over_at_its_end_and_not_before() {
        let lease = attachment(5_000_000, 2_000);
        assert_eq!(lease.until, Timestamp(7_000_000));
        assert_eq!(lease.as_of(Timestamp(6_999_999)), Some(lease.clone()));
        assert_eq!(lease.as_of(Timestamp(7_000_000)), None);
        assert_eq!(lease.as_of(Timestamp(i64::MAX)), None, "a clock that was set forward");
        let set_back = lease.as_of(Timestamp(1_000_000)).unwrap();
        assert_eq!((set_back.renewed_at, set_back.until), (Timestamp(1_000_000), Timestamp(3_000_000)));
    }

    proptest! {
        #[test]
        fn no_clock_makes_a_lease_longer_than_was_asked_for(
            renewed_at in any::<i64>(), ttl_ms in any::<u64>(), clock in proptest::collection::vec(any::<i64>(), 0..8),
        ) {
            let mut lease = attachment(renewed_at, ttl_ms);
            let asked = lease.ttl_ms();
            prop_assert!(asked <= MAX_TTL_MS);
            for now in clock.into_iter().map(Timestamp) {
                let Some(now_as) = lease.as_of(now) else { break };
                prop_assert!(now < now_as.until && now_as.until.millis_since(now) <= asked);
                prop_assert!(now_as.ttl_ms() <= asked);
                lease = now_as;
            }
        }
    }
}
