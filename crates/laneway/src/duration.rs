//! Durations as people type them: `500ms`, `5s`, `2m`, `1h`; a plain number is seconds.

use std::time::Duration;

/// Reads a duration. The error is a sentence for people.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let ms_in_unit: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} is not a duration; durations are like 500ms, 5s, 2m or 1h")),
    };
    if number.is_empty() {
        return Err(format!("{text:?} has no number; durations are like 500ms, 5s, 2m or 1h"));
    }
    let number: Option<u64> = number.parse().ok();
    let ms = number.and_then(|number| number.checked_mul(ms_in_unit));
    ms.map(Duration::from_millis).ok_or_else(|| format!("{text} is too long"))
}

/// Whole milliseconds, as requests carry them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_duration_and_what_is_not() {
        #[track_caller]
        fn check(text: &str, ms: Option<u64>) {
            assert_eq!(parse(text).ok().map(millis), ms, "{text:?}");
        }
        check("500ms", Some(500));
        check("5s", Some(5_000));
        check("2m", Some(120_000));
        check("1h", Some(3_600_000));
        check("7", Some(7_000));
        check("0", Some(0));
        check("", None);
        check("s", None);
        check("-1s", None);
        check("1.5s", None);
        check("5 s", None);
        check("5d", None);
        check("99999999999999999999", None);
        check("18446744073709551615h", None);
    }
}
