//! Whether the parts fit each other: this program, the holder beside it, the daemon, git, the kernel.

use laneway_api::error::ErrorKind;
use laneway_api::version::{VERSION, is_newer};
use laneway_api::view::DaemonStatus;
use laneway_daemon::probe;

use super::program::ask;
use super::{About, Check, Daemon, Machine, State};
use crate::client::own_program;
use crate::failure::with_causes;

/// The oldest kernel that has what holders need (`close_range`, pidfds that can be polled and signalled).
const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// All of them.
pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    vec![own(), holder(), daemon(&machine.daemon), git(), kernel()]
}

fn check(name: &'static str, state: State, found: impl Into<String>) -> Check {
    Check::new(About::Versions, name, state, found)
}

fn own() -> Check {
    match own_program() {
        Ok(program) => check("lane", State::Ok, format!("{VERSION}, {}", program.display())),
        Err(_) => check("lane", State::Unknown, format!("{VERSION}; its file cannot be found")),
    }
}

fn holder() -> Check {
    const NAME: &str = "lane-holder";
    let Ok(program) = own_program() else {
        return check(NAME, State::Unknown, "lane itself cannot be found");
    };
    let path = program.with_file_name(NAME);
    let install = "install both: cargo install lane and lane-holder of one version into one folder";
    match ask(&path, &["--version"]) {
        Ok(said) if said.success => {
            let version = said.out.strip_prefix(NAME).unwrap_or(&said.out).trim().to_owned();
            if version == VERSION {
                check(NAME, State::Ok, format!("{version}, beside it"))
            } else {
                check(NAME, State::Warning, format!("{version}, which is not that of lane")).advice(install)
            }
        }
        Ok(said) => {
            check(NAME, State::Wrong, format!("{} does not work: {}", path.display(), said.complaint()))
        }
        Err(error) => {
            check(NAME, State::Wrong, format!("{}: {}", path.display(), with_causes(&error))).advice(install)
        }
    }
}

fn daemon(daemon: &Daemon) -> Check {
    const NAME: &str = "daemon";
    match daemon {
        Daemon::None => check(NAME, State::Ok, "does not run; the first command that needs it starts it"),
        Daemon::Odd(problem) if problem.kind == ErrorKind::DaemonOlder => {
            let check = check(NAME, State::Warning, problem.message.clone());
            check.advice("lane daemon restart, which any other command does too; what runs goes on")
        }
        Daemon::Odd(problem) => {
            let check = check(NAME, State::Wrong, problem.message.clone());
            check.advice(problem.hint.clone().unwrap_or_else(|| "lane daemon logs".to_owned()))
        }
        Daemon::Answers(status) => running(status),
    }
}

fn running(status: &DaemonStatus) -> Check {
    const NAME: &str = "daemon";
    let DaemonStatus { pid, version, .. } = status;
    let found = format!("{version}, process {pid}");
    if is_newer(version, VERSION) {
        return check(NAME, State::Warning, format!("{found}, newer than this lane"))
            .advice("install the newer lane here too");
    }
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    if program.to_string_lossy().ends_with(" (deleted)") {
        let check = check(NAME, State::Warning, format!("{found}; its program was replaced since"));
        return check.advice("lane daemon restart; what runs goes on");
    }
    check(NAME, State::Ok, found)
}

fn git() -> Check {
    match probe::git() {
        Ok((program, version)) => check("git", State::Ok, format!("{version}, {}", program.display())),
        Err(error) => check("git", State::Wrong, with_causes(&error))
            .advice("install a newer git, and see that it is in PATH"),
    }
}

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST_KERNEL {
        return check("kernel", State::Ok, release);
    }
    let (major, minor) = OLDEST_KERNEL;
    check("kernel", State::Wrong, format!("{release}; Laneway needs {major}.{minor} or newer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_api::error::Problem;

    #[test]
    fn a_daemon_that_is_older_will_be_renewed_and_one_that_is_odd_is_wrong() {
        let state = |kind| daemon(&Daemon::Odd(Problem::new(kind, "x", "so it is"))).state;
        assert_eq!(state(ErrorKind::DaemonOlder), State::Warning);
        assert_eq!(state(ErrorKind::TimedOut), State::Wrong);
        assert_eq!(daemon(&Daemon::None).state, State::Ok);
    }
}
