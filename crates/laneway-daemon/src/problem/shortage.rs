//! What a call that failed was short of: a word of its own for each, and what to do about it. Nothing is lost by
//! any of these, and all of it works again when there is enough.

use std::error::Error;
use std::io;

use laneway_api::error::{ErrorKind, Problem};
use laneway_git::{Complaint, RunError};
use laneway_wire::message::{StartFailure, StartStage};
use rustix::io::Errno;

use crate::holders::StartError;

/// What there is not enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Room on a disk, or in a quota.
    Disk,
    /// Files that this process may have open.
    Files,
    /// Files that the machine may have open.
    FilesOfAll,
    /// Memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Terminals.
    Terminals,
}

impl Shortage {
    /// Of an error, by its causes.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        let mut starts_something = false;
        while let Some(error) = cause {
            match error.downcast_ref::<RunError>() {
                Some(RunError::Failed { complaint: Complaint::NoSpace, .. }) => return Some(Self::Disk),
                Some(RunError::NotRun { .. }) => starts_something = true,
                _ => {}
            }
            match error.downcast_ref::<StartError>() {
                Some(StartError::Program(failure)) => return Self::of_start(failure),
                Some(StartError::HolderEnded { said, .. }) => return Self::in_words(said),
                Some(StartError::Holder(_)) => starts_something = true,
                _ => {}
            }
            if let Some(errno) = error.downcast_ref::<io::Error>().and_then(Errno::from_io_error) {
                return Self::of_errno(errno, starts_something);
            }
            cause = error.source();
        }
        None
    }

    /// Of a start that a holder has tried.
    fn of_start(failure: &StartFailure) -> Option<Self> {
        // As a holder said it, which may be 0 where there is none.
        let errno = Errno::from_io_error(&io::Error::from_raw_os_error(failure.errno))?;
        match (failure.stage, errno) {
            // Older holders tell it by the other number.
            (StartStage::Terminal, Errno::NOSPC | Errno::AGAIN) => Some(Self::Terminals),
            (stage, errno) => Self::of_errno(errno, stage == StartStage::Exec),
        }
    }

    /// `starts_something`: the call was to start a process.
    fn of_errno(errno: Errno, starts_something: bool) -> Option<Self> {
        match errno {
            Errno::NOSPC | Errno::DQUOT => Some(Self::Disk),
            Errno::MFILE => Some(Self::Files),
            Errno::NFILE => Some(Self::FilesOfAll),
            Errno::NOMEM => Some(Self::Memory),
            Errno::AGAIN if starts_something => Some(Self::Processes),
            _ => None,
        }
    }

    /// Of the words of a program that had no other way to tell.
    pub(super) fn in_words(said: &str) -> Option<Self> {
        let said = said.to_ascii_lowercase();
        let known = [
            ("memory allocation of", Self::Memory),
            ("cannot allocate memory", Self::Memory),
            ("out of memory", Self::Memory),
            ("failed to map segment", Self::Memory),
            ("no space left on device", Self::Disk),
            ("disk quota exceeded", Self::Disk),
            ("out of diskspace", Self::Disk),
            ("too many open files", Self::Files),
        ];
        known.into_iter().find(|(words, _)| said.contains(words)).map(|(_, shortage)| shortage)
    }

    /// The problem that something failed for this.
    pub(crate) fn problem(self, message: impl Into<String>) -> Problem {
        let (word, hint) = match self {
            Self::Disk => ("disk_full", "make room, then repeat it; what runs goes on"),
            Self::Files => (
                "too_many_files",
                "end what is not needed, or raise the limit: ulimit -n, then lane daemon stop and lane daemon start",
            ),
            Self::FilesOfAll => {
                ("too_many_files", "end something else on this machine, or: sysctl fs.file-max")
            }
            Self::Memory => ("no_memory", "end something else first: free -h, ulimit -v"),
            Self::Processes => (
                "too_many_processes",
                "end what is not needed, or raise the limit: ulimit -u, or pids.max of the control group",
            ),
            Self::Terminals => {
                ("no_terminals", "end programs that have a terminal, or: sysctl kernel.pty.max")
            }
        };
        Problem::new(ErrorKind::Failed, word, message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_git::NoRepository;

    fn failed(stage: StartStage, errno: Errno) -> StartError {
        StartError::Program(StartFailure { stage, errno: errno.raw_os_error(), message: String::new() })
    }

    fn with_number(errno: i32) -> StartError {
        StartError::Program(StartFailure { stage: StartStage::Exec, errno, message: String::new() })
    }

    #[test]
    fn a_shortage_is_found_behind_what_failed_for_it() {
        let os = |errno: Errno| io::Error::from(errno);
        let unreadable = |errno| NoRepository::Unreadable { path: "/x".into(), source: os(errno) };
        let not_run = RunError::NotRun { what: "git x", source: os(Errno::AGAIN) };
        let no_space = RunError::Failed {
            what: "git x",
            code: Some(128),
            complaint: Complaint::NoSpace,
            stderr: String::new(),
        };
        let cases: [(&(dyn Error + 'static), Option<Shortage>); 15] = [
            (&os(Errno::NOSPC), Some(Shortage::Disk)),
            (&os(Errno::DQUOT), Some(Shortage::Disk)),
            (&unreadable(Errno::MFILE), Some(Shortage::Files)),
            (&unreadable(Errno::NFILE), Some(Shortage::FilesOfAll)),
            (&unreadable(Errno::ACCESS), None),
            // A time that is over has the same number as a process that cannot be made.
            (&os(Errno::AGAIN), None),
            (&not_run, Some(Shortage::Processes)),
            (&no_space, Some(Shortage::Disk)),
            (&StartError::Holder(os(Errno::NOMEM)), Some(Shortage::Memory)),
            (&failed(StartStage::Terminal, Errno::NOSPC), Some(Shortage::Terminals)),
            (&failed(StartStage::Record, Errno::NOSPC), Some(Shortage::Disk)),
            (&failed(StartStage::Exec, Errno::AGAIN), Some(Shortage::Processes)),
            (&with_number(0), None),
            (&with_number(-7), None),
            (&with_number(100_000), None),
        ];
        for (error, expected) in cases {
            assert_eq!(Shortage::of(error), expected, "{error:?}");
        }
    }

    #[test]
    fn the_last_words_of_a_holder_are_understood() {
        assert_eq!(Shortage::in_words("memory allocation of 65536 bytes failed"), Some(Shortage::Memory));
        assert_eq!(
            Shortage::in_words(
                "lane-holder: error while loading shared libraries: libc.so.6: Cannot allocate memory"
            ),
            Some(Shortage::Memory)
        );
        assert_eq!(Shortage::in_words("lane-holder: the holder cannot open its folder"), None);
    }
}
