//! The user's own settings: `$XDG_CONFIG_HOME/laneway/config.toml`, or `config.toml` in a home that is not the
//! default one.
//!
//! ```toml
//! detach_keys = "ctrl-a"   # what leaves an attached terminal
//! record = true            # record every run on a terminal
//!
//! [terminal]
//! history_lines = 50000    # lines that a terminal keeps
//! ```
//!
//! A file that is not there is an empty one. Whoever needs a setting reads the file at that moment; what needs none
//! (a stop, a status) never looks at it, so that a broken file breaks nothing else.

mod detach_key;

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::target::distance;
use rustix::fs::OFlags;
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crate::home::Home;
use crate::problem::chain;

pub use detach_key::{DetachKey, NotADetachKey};

/// The file's name.
const FILE_NAME: &str = "config.toml";

/// The largest file that is read, in bytes. A person writes some hundred.
const MAX_LENGTH: u64 = 1 << 20;

/// The most lines of history that may be asked for: at some 160 bytes a coloured line, 160 MiB in one terminal.
const MAX_HISTORY_LINES: u32 = 1_000_000;

/// Every key there is, with the tables it stands in.
const KEYS: [&str; 3] = ["detach_keys", "record", "terminal.history_lines"];

/// What the user has set; the rest as it is without a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The key that leaves an attached terminal.
    pub detach_keys: DetachKey,
    /// Every run on a terminal is recorded.
    pub record: bool,
    /// Of terminals.
    pub terminal: TerminalConfig,
}

/// `[terminal]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TerminalConfig {
    /// Lines that are kept once they have left the screen.
    #[serde(deserialize_with = "history_lines")]
    pub history_lines: u32,
}

impl Default for TerminalConfig {
    fn default() -> Self {
        Self { history_lines: 10_000 }
    }
}

/// Why the settings cannot be used.
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
struct Mistake {
    at: usize,
    message: String,
}

impl Config {
    /// Where the settings for `home` are. Runs and daemons are told the default home like any other, so it is
    /// known by its path and not by who named it.
    pub fn path(home: &Home) -> PathBuf {
        let of_user = Home::default_place().ok().filter(|default| default == home);
        let folder = of_user.and_then(|_| crate::home::config_folder());
        folder.unwrap_or_else(|| home.root().to_owned()).join(FILE_NAME)
    }

    /// Reads the file; without one, everything is as it is by default.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        // Without waiting for the writer of a pipe that somebody has put there.
        let no_wait = OFlags::NONBLOCK.bits().cast_signed();
        match OpenOptions::new().read(true).custom_flags(no_wait).open(path) {
            Ok(file) => {
                let metadata = file.metadata().map_err(unreadable)?;
                if !metadata.is_file() || metadata.len() > MAX_LENGTH {
                    let what = "it is no file of at most 1 MiB";
                    return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, what)));
                }
                file.take(MAX_LENGTH).read_to_string(&mut text).map_err(unreadable)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error)),
        }
        Self::parse(&text).map_err(|Mistake { at, message }| {
            let (line, column) = place(&text, at);
            ConfigError::Invalid { path: path.to_owned(), line, column, message }
        })
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let mistake = |error: &toml::de::Error| Mistake {
            at: error.span().map_or(0, |span| span.start),
            message: error.message().to_owned(),
        };
        let table = DeTable::parse(text).map_err(|error| mistake(&error))?;
        refuse_unknown(table.get_ref(), "")?;
        toml::from_str(text).map_err(|error| mistake(&error))
    }
}

/// Refuses keys that nobody reads: a typing mistake must not look like a setting.
fn refuse_unknown(table: &DeTable<'_>, prefix: &str) -> Result<(), Mistake> {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        if KEYS.contains(&name.as_str()) {
            continue;
        }
        let inside = format!("{name}.");
        let is_table = KEYS.iter().any(|known| known.starts_with(&inside));
        match value.get_ref() {
            DeValue::Table(table) if is_table => refuse_unknown(table, &inside)?,
            _ if is_table => {
                let message = format!("`{name}` is a table: [{name}]");
                return Err(Mistake { at: value.span().start, message });
            }
            _ => {
                let nearest = nearest_key(&name);
                let message = format!("there is no setting `{name}`; the nearest is `{nearest}`");
                return Err(Mistake { at: key.span().start, message });
            }
        }
    }
    Ok(())
}

/// The key that was most likely meant: its table may be missing, or be what was mistyped.
fn nearest_key(name: &str) -> &'static str {
    let edits = |known: &&&str| {
        let (table, last) = known.rsplit_once('.').unwrap_or((known, known));
        [*known, table, last].map(|part| distance(part, name)).into_iter().min()
    };
    KEYS.iter().min_by_key(edits).expect("there are settings")
}

fn history_lines<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let lines = i64::deserialize(from)?;
    u32::try_from(lines).ok().filter(|lines| *lines <= MAX_HISTORY_LINES).ok_or_else(|| {
        serde::de::Error::custom(format!("history_lines is {lines}: it can be 0 to {MAX_HISTORY_LINES}"))
    })
}

/// Line and column of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_counts_and_the_rest_is_as_without_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(Config::read(&path).unwrap(), Config::default());
        std::fs::write(&path, "# mine\ndetach_keys = \"Ctrl-A\"\n\n[terminal]\nhistory_lines = 5\n").unwrap();
        let read = Config::read(&path).unwrap();
        assert_eq!(read.detach_keys, "ctrl-a".parse().unwrap());
        assert_eq!((read.record, read.terminal.history_lines), (false, 5));
        assert!(Config::parse("record = true").unwrap().record);
        assert_eq!(Config::parse("terminal.history_lines = 0").unwrap().terminal.history_lines, 0);
        assert_eq!(Config::default().terminal.history_lines, 10_000);
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        #[track_caller]
        fn check(text: &str, line: usize, column: usize, said: &str) {
            let mistake = Config::parse(text).unwrap_err();
            assert!(mistake.message.contains(said), "{text:?}: {mistake:?}");
            assert_eq!(place(text, mistake.at), (line, column), "{text:?}: {mistake:?}");
        }
        check("\n  detatch_keys = \"ctrl-a\"", 2, 3, "`detatch_keys`; the nearest is `detach_keys`");
        check("[terminal]\nhistory = 5", 2, 1, "the nearest is `terminal.history_lines`");
        check("history_lines = 5", 1, 1, "the nearest is `terminal.history_lines`");
        check("[terminals]\nhistory_lines = 5", 1, 2, "the nearest is `terminal");
        check("terminal = 5", 1, 12, "a table");
        check("record = 1", 1, 10, "invalid type");
        check("detach_keys = \"ü\"", 1, 15, "no detach key");
        check("[terminal]\nhistory_lines = -1", 2, 17, "0 to 1000000");
        check("[terminal]\nhistory_lines = 9999999999", 2, 17, "0 to 1000000");
        check("record = true\nrecord = true", 2, 1, "duplicate key");
        check("# ü\nrecord = ", 2, 10, "");
    }

    #[test]
    fn what_is_no_file_to_read_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [folder.path(), &pipe, Path::new("/dev/zero")] {
            assert!(matches!(Config::read(path), Err(ConfigError::Unreadable { .. })), "{}", path.display());
        }
        let path = folder.path().join("config.toml");
        std::fs::write(&path, b"record = \xff").unwrap();
        assert!(matches!(Config::read(&path), Err(ConfigError::Unreadable { .. })));
    }
}
