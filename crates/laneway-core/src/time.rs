//! A moment, as a number; the clock is read by whoever calls in.

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Milliseconds from `earlier` to this moment; 0 if the clock went backwards between them.
    pub fn millis_since(self, earlier: Timestamp) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0) / 1000).unwrap_or(0)
    }

    /// So many milliseconds later; at most the last moment there is.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        let micros = i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1000);
        Self(self.0.saturating_add(micros))
    }
    /// As RFC 3339 in UTC with microseconds: `2026-11-20T06:14:00.000000Z`.
    pub fn in_utc(self) -> String {
        // After these the calendar begins anew: what is left is fewer than 400 years of steps.
        const DAYS_PER_400_YEARS: i64 = 146_097;
        const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;
        let (mut days, micros) = (self.0.div_euclid(MICROS_PER_DAY), self.0.rem_euclid(MICROS_PER_DAY));
        let mut year = 1970 + 400 * days.div_euclid(DAYS_PER_400_YEARS);
        days = days.rem_euclid(DAYS_PER_400_YEARS);
        while days >= days_of_year(year) {
            days -= days_of_year(year);
            year += 1;
        }
        let february = days_of_year(year) - 337;
        let mut month = 1;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let seconds = micros / 1_000_000;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let (day, micros) = (days + 1, micros % 1_000_000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

const fn days_of_year(year: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if is_leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_utc() {
        for (micros, shown) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_795_155_240_000_001, "2026-11-20T06:14:00.000001Z"),
            (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (1_735_689_599_000_000, "2024-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(Timestamp(micros).in_utc(), shown);
        }
        // The ends of all time are somewhere, too.
        assert!(Timestamp(i64::MAX).in_utc().len() > 20 && Timestamp(i64::MIN).in_utc().len() > 20);
    }

    #[test]
    fn millis_are_added_and_taken_without_running_over() {
        assert_eq!(Timestamp(5).plus_millis(2), Timestamp(2_005));
        assert_eq!(Timestamp(5).plus_millis(u64::MAX), Timestamp(i64::MAX));
        assert_eq!(Timestamp(2_005).millis_since(Timestamp(5)), 2);
        assert_eq!(Timestamp(5).millis_since(Timestamp(2_005)), 0);
    }
}
