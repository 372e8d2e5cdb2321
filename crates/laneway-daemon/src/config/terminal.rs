//! `[terminal]`: where workers have their terminals, and what those keep.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The most lines of history that may be asked for: at some 160 bytes a coloured line, 160 MiB in one terminal.
const MAX_HISTORY_LINES: u32 = 1_000_000;

/// Where a worker's terminal is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TerminalChoice {
    /// Its holder has it.
    #[default]
    Holder,
    /// It is a pane of tmux.
    Tmux,
    /// In tmux if the one who asks is in tmux, else its holder's.
    Auto,
}

impl TerminalChoice {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Holder, Self::Tmux, Self::Auto];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::Tmux => "tmux",
            Self::Auto => "auto",
        }
    }

    /// What a word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == word)
    }
}

impl<'de> Deserialize<'de> for TerminalChoice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        Self::from_word(&word)
            .ok_or_else(|| D::Error::custom(format!("{word:?} is no kind of terminal: holder, tmux or auto")))
    }
}

/// `[terminal]`, or a word that is its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalConfig {
    /// Where workers have their terminals, if nothing else is said.
    pub kind: TerminalChoice,
    /// Lines that are kept once they have left the screen.
    pub history_lines: u32,
}

impl Default for TerminalConfig {
    fn default() -> Self {
        Self { kind: TerminalChoice::default(), history_lines: 10_000 }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Table {
    kind: TerminalChoice,
    #[serde(deserialize_with = "history_lines")]
    history_lines: u32,
}

impl Default for Table {
    fn default() -> Self {
        let TerminalConfig { kind, history_lines } = TerminalConfig::default();
        Self { kind, history_lines }
    }
}

impl<'de> Deserialize<'de> for TerminalConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TableOrWord;
        impl<'de> Visitor<'de> for TableOrWord {
            type Value = TerminalConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or one of holder, tmux, auto")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<TerminalConfig, E> {
                let kind = TerminalChoice::deserialize(serde::de::value::StrDeserializer::<E>::new(word))?;
                Ok(TerminalConfig { kind, ..TerminalConfig::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TerminalConfig, A::Error> {
                let Table { kind, history_lines } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(TerminalConfig { kind, history_lines })
            }
        }
        from.deserialize_any(TableOrWord)
    }
}

fn history_lines<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let lines = i64::deserialize(from)?;
    u32::try_from(lines).ok().filter(|lines| *lines <= MAX_HISTORY_LINES).ok_or_else(|| {
        D::Error::custom(format!("history_lines is {lines}: it can be 0 to {MAX_HISTORY_LINES}"))
    })
}
