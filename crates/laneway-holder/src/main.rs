//! `lane-holder run --dir FOLDER`: started by the daemon, once per run, with the launch on standard input.

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
        ["run", "--dir", _] => hold(&PathBuf::from(&arguments[2])),
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

fn hold(folder: &std::path::Path) -> ExitCode {
    match laneway_holder::run(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            drop(writeln!(std::io::stderr(), "lane-holder: {error}{}", source.unwrap_or_default()));
            ExitCode::FAILURE
        }
    }
}
