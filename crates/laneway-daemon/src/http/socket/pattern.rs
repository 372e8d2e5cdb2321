//! Which events a client wants, by name.

use std::fmt;

/// The longest pattern, in bytes: names of events are much shorter.
const MAX_LENGTH: usize = 128;

/// A name, all that begin alike, or all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pattern {
    All,
    /// With the `.` or `:` at its end.
    Prefix(String),
    Exactly(String),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern: there are names (worker.exited), prefixes (lane.* or worker:*), and * for all")]
pub(super) struct NotAPattern(String);

impl std::str::FromStr for Pattern {
    type Err = NotAPattern;
    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let bare = text.strip_suffix('*').unwrap_or(text);
        let is_prefix = bare.ends_with(['.', ':']) && bare.len() > 1;
        let is_plain = !bare.contains('*') && !bare.chars().any(char::is_control);
        if text.len() > MAX_LENGTH || !is_plain {
            return Err(NotAPattern(text.chars().take(MAX_LENGTH).collect()));
        }
        match text {
            "*" => Ok(Self::All),
            _ if is_prefix => Ok(Self::Prefix(bare.to_owned())),
            // A star behind anything else, or nothing at all.
            _ if bare.len() < text.len() || bare.trim_end_matches(['.', ':']).is_empty() => {
                Err(NotAPattern(text.to_owned()))
            }
            _ => Ok(Self::Exactly(text.to_owned())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exactly(name) => f.write_str(name),
        }
    }
}

impl Pattern {
    /// Whether events of this name are meant.
    pub(super) fn fits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
            Self::Exactly(exactly) => name == exactly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_a_prefix_or_all() {
        for (pattern, name, fits) in [
            ("*", "lane.created", true),
            ("lane.*", "lane.created", true),
            ("lane.*", "lane.state.changed", true),
            ("lane.", "lane.created", true),
            ("lane.*", "lanes", false),
            ("lane.*", "lane", false),
            ("worker:*", "worker:exit", true),
            ("worker:", "worker:exit", true),
            ("worker:*", "worker.exited", false),
            ("worker.exited", "worker.exited", true),
            ("worker.exited", "worker.exited.twice", false),
            ("worker", "worker.exited", false),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.fits(name), fits, "{pattern} {name}");
            assert_eq!(parsed.to_string().parse::<Pattern>().unwrap(), parsed);
        }
        let long = "x".repeat(MAX_LENGTH + 1);
        for odd in ["", "**", "a*", "*.a", "lane.*.b", ".", ":", ".*", "a\u{0}", "a\n", long.as_str()] {
            assert!(odd.parse::<Pattern>().is_err(), "{odd:?}");
        }
    }
}
