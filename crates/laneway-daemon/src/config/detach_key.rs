//! The key that leaves an attached terminal, by its name.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The name is not that of a key that could detach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no detach key: take ctrl- with a letter or one of \\ ] ^ _ @ [, as in ctrl-\\")]
pub struct NotADetachKey(String);

/// A control key that ends the attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DetachKey {
    /// What is pressed with control: a small letter or one of `\ ] ^ _ @ [`.
    symbol: u8,
}

impl DetachKey {
    /// What is pressed with control: a small letter or one of `\ ] ^ _ @ [`.
    pub const fn symbol(self) -> u8 {
        self.symbol
    }

    /// The byte it sends in its plain form.
    pub fn byte(self) -> u8 {
        self.symbol & 0x1f
    }
}

impl Default for DetachKey {
    fn default() -> Self {
        Self { symbol: b'\\' }
    }
}

impl FromStr for DetachKey {
    type Err = NotADetachKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NotADetachKey(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let symbol = lower.strip_prefix("ctrl-").ok_or_else(refused)?;
        match symbol.as_bytes() {
            [symbol @ (b'a'..=b'z' | b'\\' | b']' | b'^' | b'_' | b'@' | b'[')] => {
                Ok(Self { symbol: *symbol })
            }
            _ => Err(refused()),
        }
    }
}

impl TryFrom<String> for DetachKey {
    type Error = NotADetachKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for DetachKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ctrl-{}", char::from(self.symbol))
    }
}
