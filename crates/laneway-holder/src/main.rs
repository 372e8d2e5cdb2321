//! `lane-holder run --dir FOLDER`: started by the daemon, once per run, with the launch on standard input.
//! `lane-holder run --inside-tty --dir FOLDER --log FILE`: started by a terminal multiplexer in a pane of its own; the
//! launch comes over a socket in the folder, and it ends with the code of its program.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// How people who start it by hand are told what it is.
const USAGE: &str =
    "usage: lane-holder run --dir FOLDER   (started by the Laneway daemon)\n       lane-holder --version\n";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    match words.iter().map(AsRef::as_ref).collect::<Vec<&str>>().as_slice() {
        ["run", "--dir", _] => hold(|| laneway_holder::run(&PathBuf::from(&arguments[2]))),
        ["run", "--inside-tty", "--dir", _, "--log", _] => {
            let (folder, log) = (PathBuf::from(&arguments[3]), PathBuf::from(&arguments[5]));
            hold(|| laneway_holder::run_inside_tty(&folder, &log))
        }
        ["--version"] => {
            let version = concat!("lane-holder ", env!("CARGO_PKG_VERSION"), "\n");
            let written = std::io::stdout().write_all(version.as_bytes());
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => {
            drop(std::io::stderr().write_all(USAGE.as_bytes()));
            ExitCode::from(2)
        }
    }
}

fn hold(run: impl FnOnce() -> Result<u8, laneway_holder::RunError>) -> ExitCode {
    match run() {
        Ok(code) => code.into(),
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            drop(writeln!(std::io::stderr(), "lane-holder: {error}{}", source.unwrap_or_default()));
            ExitCode::FAILURE
        }
    }
}
