//! Launch specs: what a run is started with. Immutable once a run used one.

use serde::{Deserialize, Serialize};

use crate::id::WorkerId;
use crate::os_text::OsText;

/// Milliseconds a run's processes have to end by themselves, unless the stop says otherwise.
pub const DEFAULT_GRACE_MS: u64 = 5_000;

/// The grace that leaves a stop that is under way the one it was given; where none is, it is [`DEFAULT_GRACE_MS`].
pub const GRACE_TO_GO_ON_MS: u64 = u64::MAX;

/// Where a program's input and output live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TerminalSpec {
    /// A terminal of its own.
    Pty {
        /// Width at the start, in cells.
        columns: u16,
        /// Height at the start, in cells.
        rows: u16,
    },
    /// Pipes: stdout and stderr kept apart, bytes untouched.
    Pipes,
    /// A pane of tmux, in a window of its own. Its size is tmux's.
    Tmux {
        /// The socket of the server, absolute.
        socket: OsText,
        /// The name of the session that its window is opened in. None: one for workers, made where it is missing.
        session: Option<String>,
    },
}

impl TerminalSpec {
    /// It is a terminal, and no pipes.
    pub const fn is_tty(&self) -> bool {
        match self {
            TerminalSpec::Pty { .. } | TerminalSpec::Tmux { .. } => true,
            TerminalSpec::Pipes => false,
        }
    }
}

/// What a run of a worker is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    /// The worker it belongs to.
    pub worker: WorkerId,
    /// Numbered from 1 per worker.
    pub number: u32,
    /// Program and arguments; never empty.
    pub argv: Vec<OsText>,
    /// The folder it starts in.
    pub cwd: OsText,
    /// The name of the private file that holds environment, umask and limits: values of an
    /// environment are secrets, and stand nowhere else.
    pub environment: String,
    /// Its terminal.
    pub terminal: TerminalSpec,
    /// What its terminal shows is recorded; never without one.
    pub record: bool,
}

/// Signals that ask a program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    /// SIGTERM, for nearly all.
    Terminate,
    /// SIGHUP, for shells: an interactive one ignores SIGTERM.
    HangUp,
}

impl StopSignal {
    /// The signal for a program, by the name it is started under.
    pub fn for_program(argv0: &OsText) -> Self {
        const SHELLS: [&str; 11] =
            ["ash", "bash", "csh", "dash", "elvish", "fish", "ksh", "nu", "sh", "tcsh", "zsh"];
        let name = argv0.as_path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.strip_prefix('-').unwrap_or(name);
        if SHELLS.contains(&name) { StopSignal::HangUp } else { StopSignal::Terminate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_are_hung_up_and_programs_terminated() {
        assert_eq!(StopSignal::for_program(&"/bin/bash".into()), StopSignal::HangUp);
        assert_eq!(StopSignal::for_program(&"-zsh".into()), StopSignal::HangUp);
        assert_eq!(StopSignal::for_program(&"bashful".into()), StopSignal::Terminate);
        assert_eq!(StopSignal::for_program(&"".into()), StopSignal::Terminate);
    }
}
