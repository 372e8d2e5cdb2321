//! One-time links that let a browser in. They are kept in memory only, and of each only its hash: a daemon that begins
//! knows none, and who looks into its memory or files learns none.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// How long a link may be opened, in milliseconds: 5 minutes.
pub(super) const OPEN_FOR_MS: u64 = 5 * 60 * 1_000;

const OPEN_FOR: Duration = Duration::from_millis(OPEN_FOR_MS);

/// The most links that wait to be opened: the oldest makes room.
const MAX_LINKS: usize = 16;

/// Those that were made and not yet opened, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<Vec<Link>>);

#[derive(Debug)]
struct Link {
    hash: [u8; 32],
    until: Instant,
}

impl Links {
    /// A link with this secret may be opened from `now` on, once.
    pub(super) fn add(&self, secret: &str, now: Instant) {
        let mut links = self.lock();
        links.retain(|link| now < link.until);
        if links.len() >= MAX_LINKS {
            links.remove(0);
        }
        links.push(Link { hash: Sha256::digest(secret.as_bytes()).into(), until: now + OPEN_FOR });
    }

    /// Whether there is such a link; there is none from then on. It is compared with all of them.
    pub(super) fn take(&self, secret: &str, now: Instant) -> bool {
        let shown: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let mut links = self.lock();
        links.retain(|link| now < link.until);
        let mut is_there = Choice::from(0);
        links.retain(|link| {
            let this_one = link.hash.ct_eq(&shown);
            is_there |= this_one;
            !bool::from(this_one)
        });
        is_there.into()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Link>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_opened_once_and_not_for_long() {
        let links = Links::default();
        let now = Instant::now();
        links.add("one", now);
        links.add("two", now);
        assert!(!links.take("", now) && !links.take("three", now));
        assert!(links.take("one", now) && !links.take("one", now));
        assert!(!links.take("two", now + OPEN_FOR), "too late");
        assert!(!links.take("two", now), "and gone");
        links.add("first", now);
        for number in 0..MAX_LINKS {
            links.add(&number.to_string(), now);
        }
        assert!(!links.take("first", now) && links.take("0", now) && links.take("15", now));
        assert!(format!("{links:?}").len() < 20 * 400, "no secret is in it");
    }
}
