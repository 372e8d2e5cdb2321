//! `lane daemon serve`: what this program executes itself as to be the daemon. Not for people: it is no part
//! of the help, and `lane daemon start` does it right.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use laneway_api::error::exit_code;
use laneway_daemon::home::Home;
use laneway_daemon::startup::StartupError;
use laneway_daemon::{Handed, Options, ServeError};
use laneway_wire::own::DAEMON_WORDS;

use crate::failure::with_causes;
use crate::printer::Printer;

/// Be the daemon
#[derive(Debug, Parser)]
#[command(name = "lane daemon serve")]
struct ServeArgs {
    /// The pipe to say through how the start went
    #[arg(long, value_name = "FIFO")]
    report: Option<PathBuf>,
    /// The umask of the files that git makes, octal
    #[arg(long, value_parser = octal)]
    umask: Option<u32>,
    /// The descriptors of the lock and the socket, from the daemon that executes this one in its place
    #[arg(long, value_name = "LOCK,SOCKET", value_parser = handed)]
    handed: Option<Handed>,
}

/// True if these are the words of the daemon, `lane` itself first.
pub(crate) fn is_meant(arguments: &[OsString]) -> bool {
    arguments.get(1..=DAEMON_WORDS.len()).is_some_and(|words| words == DAEMON_WORDS)
}

pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let args = ServeArgs::parse_from(&arguments[DAEMON_WORDS.len()..]);
    // Out of the caller's session, so that no terminal's end or ctrl-c reaches it. Refused where it leads a
    // session already: started by a holder, or by itself.
    let _ = rustix::process::setsid();
    let served = Home::from_environment().map_err(ServeError::from).and_then(|home| {
        let options = Options { home, report: args.report, handed: args.handed, umask: args.umask };
        laneway_daemon::serve(&options)
    });
    let Err(error) = served else { return ExitCode::from(exit_code::OK) };
    Printer::new(false).note(&format!("error: {}", with_causes(&error)));
    ExitCode::from(match error {
        // Whoever keeps it running need not try again.
        ServeError::Startup(StartupError::Held { .. }) => exit_code::UNREACHABLE,
        _ => exit_code::FAILED,
    })
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|_| format!("{text:?} is not an octal number"))
}

fn handed(text: &str) -> Result<Handed, String> {
    let parsed = text.split_once(',').and_then(|(lock, listener)| {
        Some(Handed { lock: lock.parse::<RawFd>().ok()?, listener: listener.parse::<RawFd>().ok()? })
    });
    parsed.ok_or_else(|| format!("{text:?} is not two descriptors"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_daemon_and_what_it_is_handed_are_understood() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(is_meant(&words(&["lane", "daemon", "serve", "--report", "/x"])));
        assert!(!is_meant(&words(&["lane", "daemon"])));
        assert!(!is_meant(&words(&["lane", "daemon", "start"])));
        let args = words(&["serve", "--handed", "3,4", "--umask", "0027"]);
        let args = ServeArgs::try_parse_from(args).unwrap();
        assert_eq!(args.handed, Some(Handed { lock: 3, listener: 4 }));
        assert_eq!(args.umask, Some(0o027));
        assert!(ServeArgs::try_parse_from(words(&["serve", "--handed", "3"])).is_err());
    }
}
