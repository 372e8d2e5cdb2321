//! Durations as people type them: `500ms`, `1.5s`, `2m`, `1h`; a plain number is seconds.

use std::time::Duration;

/// Reads a duration. The error is a sentence for people.
pub fn parse(text: &str) -> Result<Duration, String> {
    let is_number = |character: char| character.is_ascii_digit() || character == '.';
    let (number, unit) = text.split_at(text.find(|character| !is_number(character)).unwrap_or(text.len()));
    let no_duration = || format!("{text:?} is not a duration; durations are like 500ms, 1.5s, 2m or 1h");
    let ms_in_unit: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(no_duration()),
    };
    let (whole, part) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    // Three digits behind the point are more than enough.
    let part = match part {
        None => 0,
        Some(part) if (1..=3).contains(&part.len()) && !part.contains('.') => {
            part.parse::<u64>().map_err(|_| no_duration())? * 10_u64.pow(3 - part.len() as u32)
        }
        Some(_) => return Err(no_duration()),
    };
    if whole.is_empty() {
        return Err(no_duration());
    }
    let whole: Option<u64> = whole.parse().ok();
    let ms = whole.and_then(|whole| whole.checked_mul(ms_in_unit)?.checked_add(part * ms_in_unit / 1_000));
    ms.map(Duration::from_millis).ok_or_else(|| format!("{text} is too long"))
}

/// Reads a duration of at least a millisecond, for a limit. The error is a sentence for people.
pub fn parse_some(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err(format!("{text} is no limit: it would be over at once")),
        some => Ok(some),
    }
}

/// Whole milliseconds, as requests carry them.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_no_limit() {
        assert_eq!(parse_some("5s").map(millis), Ok(5_000));
        assert!(parse_some("0").is_err() && parse_some("0.0001s").is_err() && parse_some("x").is_err());
    }

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
        check("0.3s", Some(300));
        check("1.5s", Some(1_500));
        check("0.25m", Some(15_000));
        check("1.0625", None);
        check("1.", None);
        check(".5s", None);
        check("1.2.3s", None);
        check("5 s", None);
        check("5d", None);
        check("99999999999999999999", None);
        check("18446744073709551615h", None);
    }
}
