//! The one place of the daemon that reads the clock and makes ids.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use laneway_core::id::CorrelationId;
use laneway_core::time::Timestamp;
use ulid::Ulid;

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub(crate) fn now() -> Timestamp {
    // A clock before 1970 is a broken one; its time is shown as 1970.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// Makes ids that grow, also within one millisecond and when the clock is set back.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    last: Mutex<Option<Ulid>>,
}

impl Ids {
    /// Those that are greater than this one too: what was made before is the older also when the clock was set back since.
    pub(crate) fn after(last: Option<Ulid>) -> Self {
        Self { last: Mutex::new(last) }
    }

    /// A new ULID, greater than all before it.
    pub(crate) fn next(&self) -> Ulid {
        let mut last = self.last.lock().expect("no holder of this lock panics");
        let millis = u64::try_from(now().0 / 1000).unwrap_or(0);
        let next = following(*last, Ulid::from_parts(millis, random()));
        *last = Some(next);
        next
    }

    /// A new id for a request.
    pub(crate) fn correlation(&self) -> CorrelationId {
        CorrelationId::from_ulid(self.next())
    }
}

/// A fresh one, unless the last one is greater: then the one after that.
fn following(last: Option<Ulid>, fresh: Ulid) -> Ulid {
    match last {
        Some(last) if fresh <= last => last.increment().unwrap_or(fresh),
        Some(_) | None => fresh,
    }
}

/// Any number.
pub(crate) fn any_number() -> u64 {
    (random() >> 16) as u64
}

/// 80 random bits (the rest is cut off by the ULID).
fn random() -> u128 {
    let mut bytes = [0_u8; 16];
    let n_read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    if n_read < bytes.len() {
        // Early boot without entropy; ids stay unique within this process by counting up.
        return u128::from(std::process::id());
    }
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow() {
        let ids = Ids::default();
        let made: Vec<Ulid> = (0..1000).map(|_| ids.next()).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn ids_are_greater_than_those_of_a_daemon_whose_clock_was_ahead() {
        let ahead = Ulid::from_parts(u64::try_from(now().0 / 1000).unwrap() + 1_000_000_000, 7);
        assert!(Ids::after(Some(ahead)).next() > ahead);
    }

    #[test]
    fn ids_grow_also_when_the_clock_is_set_back_or_stands_still() {
        let mut last = None;
        // A year on, back to 1970, and on as it was; the same random bits each time.
        for millis in [1_800_000_000_000, 1_831_536_000_000, 0, 0, 1_800_000_000_001, 1_831_536_000_000] {
            let next = following(last, Ulid::from_parts(millis, 7));
            assert!(last.is_none_or(|last| last < next), "{millis}");
            last = Some(next);
        }
        // And from a clock that is right again they have its time.
        assert_eq!(following(last, Ulid::from_parts(1_900_000_000_000, 7)).timestamp_ms(), 1_900_000_000_000);
    }
}
