//! Errors as they cross the socket, and the exit codes they become.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Exit codes of `lane`. They are part of its interface.
pub mod exit_code {
    /// It is done.
    pub const OK: u8 = 0;
    /// It failed.
    pub const FAILED: u8 = 1;
    /// The command line makes no sense.
    pub const USAGE: u8 = 2;
    /// What was named is not there.
    pub const NOT_FOUND: u8 = 3;
    /// What was named can mean several things.
    pub const AMBIGUOUS: u8 = 4;
    /// It would lose work, or the state does not allow it.
    pub const REFUSED: u8 = 5;
    /// The daemon, a holder or git could not be reached.
    pub const UNREACHABLE: u8 = 6;
    /// It took longer than it was given.
    pub const TIMED_OUT: u8 = 124;
    /// `exec`: a failure of ours, not of the command.
    pub const EXEC_FAILED: u8 = 125;
    /// `exec`: the command is there and cannot be run.
    pub const NOT_RUNNABLE: u8 = 126;
    /// `exec`: the command is not there.
    pub const COMMAND_NOT_FOUND: u8 = 127;
    /// `exec`: the command was ended by signal n: this + n.
    pub const SIGNAL_BASE: u8 = 128;
}

/// The kinds of error; each has one HTTP status and one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request makes no sense.
    Usage,
    /// What was named is not there.
    NotFound,
    /// What was named can mean several things.
    Ambiguous,
    /// It would lose work, or the state does not allow it.
    Refused,
    /// The program is not there.
    CommandNotFound,
    /// The program is there and cannot be run.
    NotRunnable,
    /// Something that is needed does not answer.
    Unreachable,
    /// It took longer than it was given.
    TimedOut,
    /// The client is newer than the daemon, which must execute itself anew first.
    DaemonOlder,
    /// It was tried and failed.
    Failed,
}

impl ErrorKind {
    /// The HTTP status.
    pub const fn http_status(self) -> u16 {
        match self {
            ErrorKind::Usage => 400,
            ErrorKind::NotFound => 404,
            ErrorKind::Ambiguous | ErrorKind::Refused => 409,
            ErrorKind::CommandNotFound | ErrorKind::NotRunnable => 422,
            ErrorKind::DaemonOlder => 426,
            ErrorKind::Failed => 500,
            ErrorKind::Unreachable => 503,
            ErrorKind::TimedOut => 504,
        }
    }

    /// The exit code of a command that ends with it. `exec` has codes of its own for some.
    pub const fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Usage => exit_code::USAGE,
            ErrorKind::NotFound => exit_code::NOT_FOUND,
            ErrorKind::Ambiguous => exit_code::AMBIGUOUS,
            ErrorKind::Refused => exit_code::REFUSED,
            ErrorKind::Unreachable | ErrorKind::DaemonOlder => exit_code::UNREACHABLE,
            ErrorKind::TimedOut => exit_code::TIMED_OUT,
            ErrorKind::CommandNotFound | ErrorKind::NotRunnable | ErrorKind::Failed => exit_code::FAILED,
        }
    }
}

/// An error: what was tried, what is there, what to type next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A short, stable word for programs (`lane_name_taken`).
    pub code: String,
    /// Its kind.
    pub kind: ErrorKind,
    /// What was tried and what is there.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// For `would_lose_work`: what would be lost ([`laneway_core::findings::Losses`]). For others: what
    /// a program may want to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

impl Problem {
    /// A problem with no hint and no details.
    pub fn new(kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), kind, message: message.into(), hint: None, details: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With details for programs.
    #[must_use]
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(details);
        self
    }
}

/// The body of every answer that is an error, and what `--json` prints for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: Problem,
}
