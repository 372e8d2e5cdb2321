//! How a verb fails: with a problem for the user, or because its output could not be written.

use std::io;

use laneway_api::error::{ErrorKind, Problem};

/// Why a verb did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to tell the user.
    Problem {
        /// What was tried, what is there, what to type next.
        problem: Box<Problem>,
        /// The exit code.
        code: u8,
    },
    /// Standard output does not take any more.
    Output(io::Error),
}

impl Failure {
    /// A problem without hint or details.
    pub(crate) fn new(kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Problem::new(kind, code, message).into()
    }

    /// The same with another exit code: `exec` has codes of its own.
    #[must_use]
    pub(crate) fn with_code(self, code: u8) -> Self {
        match self {
            Failure::Problem { problem, .. } => Failure::Problem { problem, code },
            Failure::Output(error) => Failure::Output(error),
        }
    }

    /// The problem, if it is one.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        match self {
            Failure::Problem { problem, .. } => Some(problem),
            Failure::Output(_) => None,
        }
    }

    /// True if the daemon must execute itself anew first.
    pub(crate) fn is_older_daemon(&self) -> bool {
        self.problem().is_some_and(|problem| problem.kind == ErrorKind::DaemonOlder)
    }

    /// True for a problem with this stable word.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let code = problem.kind.exit_code();
        Failure::Problem { problem: Box::new(problem), code }
    }
}

/// An error with all its causes on one line: `cannot open x: permission denied`.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_follows_the_kind_unless_a_verb_has_its_own() {
        let failure = Failure::new(ErrorKind::Refused, "x", "no");
        assert!(matches!(failure, Failure::Problem { code: 5, .. }));
        assert!(matches!(failure.with_code(125), Failure::Problem { code: 125, .. }));
    }

    #[test]
    fn causes_are_told_with_the_error() {
        let inner = io::Error::other("disk on fire");
        let error = laneway_daemon::home::HomeError::Unusable { path: "/x".into(), source: inner };
        assert_eq!(with_causes(&error), "the folder \"/x\" cannot be used: disk on fire");
    }
}
