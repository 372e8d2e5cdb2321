//! Reading a file of settings: bounded, typed, and with the place and the nearest key in what is said of a mistake.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::target::distance;
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::problem::chain;

/// The largest file that is read, in bytes. A person writes some hundred.
const MAX_LENGTH: u64 = 1 << 20;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it says makes no sense.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
}

impl ConfigError {
    /// As it is shown.
    pub fn problem(&self) -> Problem {
        match self {
            ConfigError::Unreadable { path, .. } => {
                Problem::new(ErrorKind::Failed, "config_unreadable", chain(self))
                    .hint(format!("make it a file that you can read, or remove it: {}", path.display()))
            }
            ConfigError::Invalid { path, .. } => {
                Problem::new(ErrorKind::Usage, "config_invalid", self.to_string())
                    .hint(format!("correct it in {}; what runs goes on", path.display()))
            }
        }
    }
}

/// Something wrong, at a byte of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Mistake {
    /// With the file, and the line and column that a person finds it by.
    pub(super) fn in_file(self, path: &Path, text: &str) -> ConfigError {
        let (line, column) = place(text, self.at);
        ConfigError::Invalid { path: path.to_owned(), line, column, message: self.message }
    }
}

/// Reads a file of text; none if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    // Without waiting for the writer of a pipe that somebody has put there.
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(no_wait).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_LENGTH {
        let what = "it is no file of at most 1 MiB";
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, what)));
    }
    let mut text = String::new();
    file.take(MAX_LENGTH).read_to_string(&mut text).map_err(unreadable)?;
    Ok(Some(text))
}

/// What a text sets. `keys` are all that there are, with the tables they stand in: `terminal.history_lines`; `x[]` is
/// one of a list of tables, and `*` a name of the user's choice.
pub(super) fn parse<T: DeserializeOwned>(text: &str, keys: &[&str]) -> Result<T, Mistake> {
    let mistake = |error: &toml::de::Error| Mistake {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().to_owned(),
    };
    let table = DeTable::parse(text).map_err(|error| mistake(&error))?;
    refuse_unknown(table.get_ref(), ("", ""), keys)?;
    toml::from_str(text).map_err(|error| mistake(&error))
}

/// The key that stands first in a table of a text.
pub(super) fn first_key(text: &str, table: &str) -> Option<String> {
    let parsed = DeTable::parse(text).ok()?;
    let DeValue::Table(keys) = parsed.get_ref().get(table)?.get_ref() else { return None };
    let first = keys.keys().min_by_key(|key| key.span().start)?;
    Some(first.get_ref().to_string())
}

/// Refuses keys that nobody reads: a typing mistake must not look like a setting. The table is the one at `pattern` of
/// the keys, which the text calls `called`.
fn refuse_unknown(
    table: &DeTable<'_>,
    (pattern, called): (&str, &str),
    keys: &[&str],
) -> Result<(), Mistake> {
    for (key, value) in table {
        let name = format!("{called}{}", key.get_ref());
        let any = format!("{pattern}*");
        let is_any = keys.iter().any(|known| *known == any || known.starts_with(&format!("{any}.")));
        let known_as = if is_any { any } else { format!("{pattern}{}", key.get_ref()) };
        let (inside, each) = (format!("{known_as}."), format!("{known_as}[]."));
        let is_table = keys.iter().any(|known| known.starts_with(&inside));
        // One that can be a table or something else is looked into if it is one.
        let is_looked_into = is_table && matches!(value.get_ref(), DeValue::Table(_));
        if keys.contains(&known_as.as_str()) && !is_looked_into {
            continue;
        }
        let is_list = keys.iter().any(|known| known.starts_with(&each));
        let below = format!("{name}.");
        match value.get_ref() {
            DeValue::Table(table) if is_table => refuse_unknown(table, (&inside, &below), keys)?,
            DeValue::Array(tables) if is_list => {
                for table in tables {
                    let DeValue::Table(table) = table.get_ref() else {
                        let message = format!("`{name}` is a list of tables: [[{name}]]");
                        return Err(Mistake { at: table.span().start, message });
                    };
                    refuse_unknown(table, (&each, &below), keys)?;
                }
            }
            _ if is_table => {
                let message = format!("`{name}` is a table: [{name}]");
                return Err(Mistake { at: value.span().start, message });
            }
            _ if is_list => {
                let message = format!("`{name}` is a list of tables: [[{name}]]");
                return Err(Mistake { at: value.span().start, message });
            }
            _ => {
                let nearest = nearest_key(&name, keys);
                let message = format!("there is no setting `{name}`; the nearest is `{nearest}`");
                return Err(Mistake { at: key.span().start, message });
            }
        }
    }
    Ok(())
}

/// The key that was most likely meant: its table may be missing, or be what was mistyped.
fn nearest_key(name: &str, keys: &[&str]) -> String {
    let keys = keys.iter().map(|key| key.replace("[]", "").replace('*', "NAME"));
    let edits = |known: &String| {
        let (table, last) = known.rsplit_once('.').unwrap_or((known, known));
        let typed = name.rsplit_once('.').map_or(name, |(_, last)| last);
        let in_place = distance(known, name).min(distance(table, name)).min(distance(last, name));
        // In a list or in a table of any name only the last part tells.
        if known.contains("NAME") { in_place.min(distance(last, typed)) } else { in_place }
    };
    keys.min_by_key(edits).expect("there are settings")
}

/// Line and column of a byte, from 1.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
