//! `lane-holder`: started by the daemon, once per run.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
