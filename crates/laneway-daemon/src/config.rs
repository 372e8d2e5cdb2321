//! Settings. [`workspace`]: those of a repository, in its `laneway.toml`.
//!
//! Here the user's own: `$XDG_CONFIG_HOME/laneway/config.toml`, or `config.toml` in a home that is not the
//! default one.
//!
//! ```toml
//! detach_keys = "ctrl-a"   # what leaves an attached terminal
//! record = true            # record every run on a terminal
//!
//! [terminal]               # or only: terminal = "tmux"
//! kind = "tmux"            # where workers have their terminals: holder (default), tmux, auto
//! history_lines = 50000    # lines that a terminal keeps
//!
//! [runs]
//! keep_days = 30           # how long what programs said is kept after their lane was closed
//!
//! [restart]
//! base = "1s"              # before the first restart of a worker
//!
//! [channel]
//! heartbeat = "30s"        # between two pings to a program with a channel
//! ```
//!
//! A file that is not there is an empty one. Whoever needs a setting reads the file at that moment; what needs none
//! (a stop, a status) never looks at it, so that a broken file breaks nothing else.

mod channel;
mod detach_key;
mod file;
pub mod place;
mod restart;
mod settings;
mod size;
mod terminal;
pub mod workspace;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::home::Home;

pub use channel::ChannelConfig;
pub use detach_key::{DetachKey, NotADetachKey};
pub use file::ConfigError;
pub use restart::RestartConfig;
pub use terminal::{TerminalChoice, TerminalConfig};

/// The file's name.
const FILE_NAME: &str = "config.toml";

/// The most days that the folders of runs may be kept: ten years.
const MAX_KEEP_DAYS: u32 = 3_650;

/// Every key there is, with the tables it stands in.
const KEYS: [&str; 13] = [
    "channel.heartbeat",
    "channel.ready_timeout",
    "detach_keys",
    "record",
    "restart.base",
    "restart.ceiling",
    "restart.max",
    "restart.steady",
    "restart.window",
    "runs.keep_days",
    "terminal",
    "terminal.history_lines",
    "terminal.kind",
];

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
    /// Of restarts.
    pub restart: RestartConfig,
    /// Of programs that talk to their supervisor.
    pub channel: ChannelConfig,
    /// Of the folders of runs.
    pub runs: RunsConfig,
}

/// `[runs]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RunsConfig {
    /// Days that what a lane's programs said is kept after the lane was closed.
    #[serde(deserialize_with = "keep_days")]
    pub keep_days: u32,
}

impl Default for RunsConfig {
    fn default() -> Self {
        Self { keep_days: 30 }
    }
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
        let text = file::read(path)?.unwrap_or_default();
        file::parse(&text, &KEYS).map_err(|mistake| mistake.in_file(path, &text))
    }
}

fn keep_days<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let days = i64::deserialize(from)?;
    let possible = u32::try_from(days).ok().filter(|days| *days <= MAX_KEEP_DAYS);
    possible.ok_or_else(|| {
        serde::de::Error::custom(format!("keep_days is {days}: it can be 0 to {MAX_KEEP_DAYS}"))
    })
}

#[cfg(test)]
mod tests {
    use super::file::place;
    use super::*;

    fn parse(text: &str) -> Result<Config, file::Mistake> {
        file::parse(text, &KEYS)
    }

    #[test]
    fn what_is_set_counts_and_the_rest_is_as_without_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(Config::read(&path).unwrap(), Config::default());
        std::fs::write(&path, "# mine\ndetach_keys = \"Ctrl-A\"\n\n[terminal]\nhistory_lines = 5\n").unwrap();
        let read = Config::read(&path).unwrap();
        assert_eq!(read.detach_keys, "ctrl-a".parse().unwrap());
        assert_eq!((read.record, read.terminal.history_lines), (false, 5));
        assert!(parse("record = true").unwrap().record);
        assert_eq!(parse("terminal.history_lines = 0").unwrap().terminal.history_lines, 0);
        assert_eq!(Config::default().terminal.history_lines, 10_000);
        assert_eq!(Config::default().terminal.kind, TerminalChoice::Holder);
        for text in ["terminal = \"tmux\"", "terminal.kind = \"tmux\"", "[terminal]\nkind = \"tmux\""] {
            let terminal = TerminalConfig { kind: TerminalChoice::Tmux, ..TerminalConfig::default() };
            assert_eq!(parse(text).unwrap().terminal, terminal, "{text}");
        }
        assert_eq!(parse("runs.keep_days = 0").unwrap().runs.keep_days, 0);
        assert_eq!(Config::default().runs.keep_days, 30);
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        #[track_caller]
        fn check(text: &str, line: usize, column: usize, said: &str) {
            let mistake = parse(text).unwrap_err();
            assert!(mistake.message.contains(said), "{text:?}: {mistake:?}");
            assert_eq!(place(text, mistake.at), (line, column), "{text:?}: {mistake:?}");
        }
        check("\n  detatch_keys = \"ctrl-a\"", 2, 3, "`detatch_keys`; the nearest is `detach_keys`");
        check("[terminal]\nhistory = 5", 2, 1, "the nearest is `terminal.history_lines`");
        check("history_lines = 5", 1, 1, "the nearest is `terminal.history_lines`");
        check("[terminals]\nhistory_lines = 5", 1, 2, "the nearest is `terminal");
        check("terminal = 5", 1, 12, "a table");
        check("terminal = \"x\"", 1, 12, "holder, tmux or auto");
        check("[terminal]\nkind = \"x\"", 2, 8, "holder, tmux or auto");
        check("[channel]\nheartbeat = \"99ms\"", 2, 13, "at least 100 ms");
        check("record = 1", 1, 10, "invalid type");
        check("detach_keys = \"ü\"", 1, 15, "no detach key");
        check("[terminal]\nhistory_lines = -1", 2, 17, "0 to 1000000");
        check("[terminal]\nhistory_lines = 9999999999", 2, 17, "0 to 1000000");
        check("[runs]\nkeep_days = -1", 2, 13, "0 to 3650");
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
