//! Names of lanes and workers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::id::looks_like_an_id;

/// The longest name, in characters.
pub const MAX_LENGTH: usize = 64;

/// A name that people give: `[a-z0-9][a-z0-9._-]{0,63}` without `..`, a final `.`, or `.lock` at the
/// end (git refuses those in a branch), and never one that looks like an id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// Nothing was given.
    #[error("a name cannot be empty")]
    Empty,
    /// More than [`MAX_LENGTH`] characters.
    #[error("a name has at most {MAX_LENGTH} characters")]
    TooLong,
    /// It does not begin with a letter or a digit.
    #[error("a name begins with a lower-case letter or a digit")]
    Start,
    /// A character that names do not have.
    #[error("a name has only lower-case letters, digits, '.', '_' and '-'; {0:?} is none of these")]
    Character(char),
    /// `..`, a final `.` or `.lock`: git allows none of them in a branch.
    #[error("a name cannot contain '..' or end in '.' or '.lock'")]
    Dots,
    /// It would be taken for an id.
    #[error("a name cannot begin like an id (ln_, wk_, rn_ …)")]
    LooksLikeAnId,
}

impl Name {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made from free text such as a branch: what a name cannot hold becomes `-`. None if
    /// nothing usable is left.
    pub fn from_free_text(text: &str) -> Option<Self> {
        let mut made = String::new();
        for character in text.chars().flat_map(char::to_lowercase) {
            let fits =
                character.is_ascii_lowercase() || character.is_ascii_digit() || "._-".contains(character);
            let next = if fits { character } else { '-' };
            let repeats = matches!(next, '.' | '-') && made.ends_with(next);
            if !repeats && made.len() < MAX_LENGTH {
                made.push(next);
            }
        }
        let trimmed = made.trim_matches(['.', '-', '_']);
        let trimmed = trimmed.strip_suffix(".lock").unwrap_or(trimmed);
        trimmed.parse().ok()
    }

    /// The first of `name`, `name-2`, `name-3`… that `taken` does not know.
    #[must_use]
    pub fn first_free(&self, taken: impl Fn(&str) -> bool) -> Self {
        if !taken(&self.0) {
            return self.clone();
        }
        let free = (2_u32..).find_map(|n| {
            let suffix = format!("-{n}");
            let keep = self.0.len().min(MAX_LENGTH - suffix.len());
            let candidate = format!("{}{suffix}", self.0[..keep].trim_end_matches(['.', '-']));
            (!taken(&candidate)).then_some(candidate)
        });
        Self(free.expect("fewer than u32::MAX names are taken"))
    }
}

impl FromStr for Name {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let first = text.chars().next().ok_or(NotAName::Empty)?;
        if let Some(odd) = text
            .chars()
            .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')))
        {
            return Err(NotAName::Character(odd));
        }
        if text.len() > MAX_LENGTH {
            return Err(NotAName::TooLong);
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NotAName::Start);
        }
        if text.contains("..") || text.ends_with('.') || text.strip_suffix(".lock").is_some() {
            return Err(NotAName::Dots);
        }
        if looks_like_an_id(text) {
            return Err(NotAName::LooksLikeAnId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_a_name_and_what_is_not() {
        #[track_caller]
        fn check(text: &str, expected: Result<(), NotAName>) {
            assert_eq!(text.parse::<Name>().map(|_| ()), expected, "{text:?}");
        }
        check("a", Ok(()));
        check("fix-1.2_b", Ok(()));
        check("7", Ok(()));
        check(&"x".repeat(64), Ok(()));
        check(&"x".repeat(65), Err(NotAName::TooLong));
        check(&"x".repeat(300), Err(NotAName::TooLong));
        check("", Err(NotAName::Empty));
        check("-x", Err(NotAName::Start));
        check(".hidden", Err(NotAName::Start));
        check("A", Err(NotAName::Character('A')));
        check("a/b", Err(NotAName::Character('/')));
        check("../a", Err(NotAName::Character('/')));
        check("%1", Err(NotAName::Character('%')));
        check("a b", Err(NotAName::Character(' ')));
        check("a\n", Err(NotAName::Character('\n')));
        check("a..b", Err(NotAName::Dots));
        check("a.", Err(NotAName::Dots));
        check("a.lock", Err(NotAName::Dots));
        check("wk_x", Err(NotAName::LooksLikeAnId));
    }

    #[test]
    fn a_taken_name_gets_the_next_number() {
        let name: Name = "fix".parse().unwrap();
        let taken = ["fix", "fix-2"];
        assert_eq!(name.first_free(|n| taken.contains(&n)).as_str(), "fix-3");
        let long: Name = "y".repeat(64).parse().unwrap();
        let next = long.first_free(|n| n == long.as_str());
        assert_eq!(next.as_str().len(), 64);
        assert!(next.as_str().parse::<Name>().is_ok());
    }

    #[test]
    fn a_branch_becomes_a_readable_name() {
        assert_eq!(Name::from_free_text("Feature/Über Cool!").unwrap().as_str(), "feature-ber-cool");
        assert_eq!(Name::from_free_text("///"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_made_from_free_text_is_a_name(text in "\\PC{0,200}") {
            if let Some(name) = Name::from_free_text(&text) {
                prop_assert!(name.as_str().parse::<Name>().is_ok());
            }
        }
    }
}
