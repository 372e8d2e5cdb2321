//! What a program writes, as it comes, straight from the holder of its run: for who follows it and who waits for
//! something. A daemon that is killed meanwhile changes nothing.
//!
//! * [`terminal`]: the lines of a terminal; [`pipes`]: the lines of a program on pipes
//!   (which of them are whole is told by [`laneway_wire::finished`])

pub(crate) mod pipes;
pub(crate) mod terminal;

use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::limits::LimitKind;
use laneway_core::run::Exit;
use laneway_wire::client::ClientError;
use laneway_wire::message::{Exited, Limit, refusal};

use crate::failure::{Failure, with_causes};

/// How a holder is told who speaks.
pub(crate) const CLIENT: &str = concat!("lane ", env!("CARGO_PKG_VERSION"));

/// How long a holder may take to accept and to say hello.
pub(crate) const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// Why there is nothing more to hear of a program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// The holder has refused.
    #[error("the holder refused: {message}")]
    Refused {
        /// One of [`refusal`].
        code: String,
        /// Why, for people.
        message: String,
    },
    /// The holder is not there, or went away.
    #[error("the holder cannot be asked")]
    Gone(#[source] ClientError),
    /// It cannot be understood.
    #[error("the holder cannot be understood")]
    Odd(#[source] ClientError),
}

impl From<ClientError> for OutputError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Folder { .. }
            | ClientError::Connect { .. }
            | ClientError::Broken(_)
            | ClientError::Closed => Self::Gone(error),
            ClientError::OtherUser { .. }
            | ClientError::Silent { .. }
            | ClientError::Message(_)
            | ClientError::TooLong(_)
            | ClientError::OutOfPlace(_) => Self::Odd(error),
        }
    }
}

impl OutputError {
    /// As it is shown; `name` is the program's worker.
    pub(crate) fn into_failure(self, name: &str) -> Failure {
        let problem = match self {
            Self::Refused { code, .. } if code == refusal::UNKNOWN_REQUEST => {
                let message = format!(
                    "{name} runs under a holder of an older version, which cannot be followed or waited for"
                );
                Problem::new(ErrorKind::Refused, "older_holder", message)
            }
            Self::Refused { code, message } => {
                let message = format!("the holder of {name} refused: {message}");
                Problem::new(ErrorKind::Refused, &code.replace('-', "_"), message)
            }
            Self::Gone(error) | Self::Odd(error) => {
                let message = format!("the holder of {name} cannot be asked: {}", with_causes(&error));
                Problem::new(ErrorKind::Unreachable, "holder_unreachable", message)
            }
        };
        problem.hint(format!("lane read {name}\nlane show {name}")).into()
    }
}

/// How a program ended, as it is shown.
pub(crate) fn exit_of(exited: &Exited) -> Exit {
    match (exited.limit, exited.code, exited.signal) {
        (Some(Limit::Wall), _, _) => Exit::Limit { limit: LimitKind::Wall },
        (Some(Limit::Idle), _, _) => Exit::Limit { limit: LimitKind::Idle },
        (None, Some(code), _) => Exit::Code { code: code as u8 },
        (None, None, Some(signal)) => Exit::Signal { signal },
        (None, None, None) => Exit::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_of_an_older_version_is_told_of_in_plain_words() {
        let code = refusal::UNKNOWN_REQUEST.to_owned();
        let refused = OutputError::Refused { code, message: "it does not know this request".to_owned() };
        let failure = refused.into_failure("fix");
        assert!(failure.is("older_holder"));
        let problem = failure.problem().unwrap();
        assert!(problem.message.contains("fix runs under a holder of an older version"), "{problem:?}");
        assert_eq!(problem.kind, ErrorKind::Refused);
    }

    #[test]
    fn what_cannot_be_understood_is_not_taken_for_gone() {
        assert!(matches!(ClientError::Closed.into(), OutputError::Gone(_)));
        assert!(matches!(ClientError::OutOfPlace("x".to_owned()).into(), OutputError::Odd(_)));
    }
}
