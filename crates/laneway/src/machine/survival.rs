//! What goes on when something else ends, on this machine as it is now.
//!
//! Programs and their holders are in the control group that their daemon was in when it started them: what ends that
//! group as a whole ends them all. So the group decides, and who may end it.

use std::fs;

use serde::Serialize;

use super::Machine;
use super::systemd::{self, Found};
use crate::verbs::daemon_install::ENABLE_LINGER;

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// It goes on.
    GoesOn,
    /// One of several ends.
    OneEnds,
    /// It ends.
    Ends,
    /// It ends, and is started again.
    ComesBack,
    /// It depends on what cannot be known here.
    Unknown,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Survival {
    /// What ends.
    pub(crate) event: &'static str,
    /// What becomes of programs.
    pub(crate) programs: Fate,
    /// What becomes of the daemon.
    pub(crate) daemon: Fate,
    /// Why it is so.
    pub(crate) because: String,
    /// What changes it.
    pub(crate) advice: Option<String>,
}

/// What decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The control group of the daemon, or where one would be started from here. None: not known.
    group: Option<String>,
    /// It is that of a daemon that runs.
    of_a_daemon: bool,
    lingers: Option<bool>,
    logout_kills: Option<bool>,
    /// Systemd starts the daemon.
    is_installed: bool,
    /// The unit says that what runs is left alone when the daemon is stopped.
    unit_leaves_programs: bool,
    /// The kernel ends the whole group when it is out of memory, as somebody has told it.
    dies_as_a_whole: bool,
}

/// The parts of a system that can end a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A login: ended at the logout, if so configured.
    Session,
    /// What systemd runs for a user: ended with his last login, unless he lingers.
    User,
    /// The unit of the daemon, which is a place of that kind too.
    Unit,
    /// A service of the system, a container: ended with it.
    Other,
}

impl Surroundings {
    /// As they are now.
    pub(crate) fn look(machine: &Machine) -> Self {
        let pid = machine.daemon_pid();
        let group = control_group(pid.unwrap_or_else(std::process::id));
        let path = systemd::unit_path();
        let unit = path.as_deref().and_then(|path| systemd::look(path).ok());
        let text = match &unit {
            Some(Found::Ours { text, .. }) => text.as_str(),
            Some(Found::Nothing | Found::Foreign) | None => "",
        };
        let oom = group
            .as_ref()
            .and_then(|group| fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.oom.group")).ok());
        Self {
            of_a_daemon: pid.is_some(),
            lingers: systemd::lingers(),
            logout_kills: systemd::logout_kills(),
            is_installed: !text.is_empty() && path.is_some_and(|path| systemd::is_enabled(&path)),
            unit_leaves_programs: text.lines().any(|line| line.trim() == "KillMode=process"),
            dies_as_a_whole: oom.is_some_and(|value| value.trim() == "1"),
            group,
        }
    }

    fn place(&self) -> Option<Place> {
        let group = self.group.as_deref()?;
        let last = group.rsplit('/').next().unwrap_or_default();
        Some(if last == systemd::UNIT {
            Place::Unit
        } else if last.starts_with("session-") {
            Place::Session
        } else if group.contains("/user@") {
            Place::User
        } else {
            Place::Other
        })
    }

    /// Every row.
    pub(crate) fn table(&self) -> Vec<Survival> {
        vec![
            row(
                "the window or connection closes",
                Fate::GoesOn,
                Fate::GoesOn,
                "nothing of it is in the window",
            ),
            self.logout(),
            self.group_ends(),
            row(
                "the daemon is killed",
                Fate::GoesOn,
                Fate::ComesBack,
                "the next command starts one, which finds everything again",
            ),
            self.upgrade(),
            self.out_of_memory(),
            self.reboot(),
        ]
    }

    fn logout(&self) -> Survival {
        const EVENT: &str = "you log out";
        match (self.place(), self.logout_kills, self.lingers) {
            (Some(Place::Session), Some(true), _) => row(
                EVENT,
                Fate::Ends,
                Fate::Ends,
                "logging out ends all of a login here (KillUserProcesses=yes)",
            )
            .advice(format!("lane daemon install, and {ENABLE_LINGER}")),
            (Some(Place::Session), Some(false), _) => {
                row(EVENT, Fate::GoesOn, Fate::GoesOn, "logging out ends nothing here (KillUserProcesses=no)")
            }
            (Some(Place::User | Place::Unit), _, Some(true)) => {
                row(EVENT, Fate::GoesOn, Fate::GoesOn, "what systemd runs for you stays (linger is on)")
            }
            (Some(Place::User | Place::Unit), _, Some(false)) => row(
                EVENT,
                Fate::Ends,
                Fate::Ends,
                "your last logout ends what systemd runs for you (linger is off)",
            )
            .advice(ENABLE_LINGER),
            (Some(Place::Other), _, _) => row(EVENT, Fate::GoesOn, Fate::GoesOn, "it belongs to no login"),
            (Some(Place::Session | Place::User | Place::Unit) | None, _, _) => {
                row(EVENT, Fate::Unknown, Fate::Unknown, "no login manager says what it does then")
            }
        }
    }

    fn group_ends(&self) -> Survival {
        const EVENT: &str = "its control group is stopped";
        let whose = if self.of_a_daemon { "" } else { "a daemon started here would be in " };
        let group = self.group.as_deref().unwrap_or("one that cannot be read");
        if self.place() == Some(Place::Unit) && self.unit_leaves_programs {
            return row(
                EVENT,
                Fate::GoesOn,
                Fate::Ends,
                &format!("{group} ends the daemon only (KillMode=process)"),
            );
        }
        if group == "/" {
            let because = "it is in none that could be stopped without the machine, or its container";
            return row(EVENT, Fate::GoesOn, Fate::GoesOn, because);
        }
        row(EVENT, Fate::Ends, Fate::Ends, &format!("everything in it ends together: {whose}{group}"))
    }

    fn upgrade(&self) -> Survival {
        const EVENT: &str = "lane is upgraded";
        if self.place() == Some(Place::Unit) && !self.unit_leaves_programs {
            return row(
                EVENT,
                Fate::Ends,
                Fate::ComesBack,
                "its unit lacks KillMode=process: a restart of it ends programs",
            )
            .advice("lane daemon install");
        }
        row(
            EVENT,
            Fate::GoesOn,
            Fate::GoesOn,
            "the daemon executes the new program in its place, holders stay as they are",
        )
    }

    fn out_of_memory(&self) -> Survival {
        const EVENT: &str = "memory runs out";
        if self.dies_as_a_whole {
            return row(EVENT, Fate::Ends, Fate::Ends, "the kernel is told to end the whole control group")
                .advice("set memory.oom.group to 0, or OOMPolicy=continue where a unit sets it");
        }
        row(
            EVENT,
            Fate::OneEnds,
            Fate::GoesOn,
            "the kernel ends one process: if a holder, its program too; systemd-oomd, where it runs, ends a whole control group",
        )
    }

    fn reboot(&self) -> Survival {
        const EVENT: &str = "the machine restarts";
        match (self.is_installed, self.lingers) {
            (true, Some(true)) => row(
                EVENT,
                Fate::Ends,
                Fate::ComesBack,
                "programs end and are recorded as lost, lanes stay; systemd starts the daemon at boot",
            ),
            (true, _) => row(
                EVENT,
                Fate::Ends,
                Fate::ComesBack,
                "programs end and are recorded as lost, lanes stay; systemd starts the daemon at your login",
            )
            .advice(ENABLE_LINGER),
            (false, _) => row(
                EVENT,
                Fate::Ends,
                Fate::ComesBack,
                "programs end and are recorded as lost, lanes stay; the first command starts the daemon",
            )
            .advice("lane daemon install"),
        }
    }
}

fn row(event: &'static str, programs: Fate, daemon: Fate, because: &str) -> Survival {
    Survival { event, programs, daemon, because: because.to_owned(), advice: None }
}

impl Survival {
    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The control group of a process, as a path from their root. None where there are no unified groups.
pub(super) fn control_group(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "/user.slice/user-1000.slice/session-3.scope";
    const TERMINAL: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope";
    const UNIT: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice/laneway.service";

    fn surroundings(group: &str) -> Surroundings {
        Surroundings {
            group: Some(group.to_owned()),
            of_a_daemon: true,
            lingers: Some(false),
            logout_kills: Some(false),
            is_installed: false,
            unit_leaves_programs: true,
            dies_as_a_whole: false,
        }
    }

    fn of(surroundings: &Surroundings, event: &str) -> Survival {
        let table = surroundings.table();
        table.into_iter().find(|row| row.event == event).unwrap_or_else(|| panic!("no row: {event}"))
    }

    #[test]
    fn a_logout_ends_what_belongs_to_the_login_or_to_a_user_who_does_not_linger() {
        #[track_caller]
        fn check(
            group: &str,
            logout_kills: Option<bool>,
            lingers: Option<bool>,
            programs: Fate,
            advice: &str,
        ) {
            let row = of(&Surroundings { lingers, logout_kills, ..surroundings(group) }, "you log out");
            assert_eq!((row.programs, row.daemon), (programs, programs), "{row:?}");
            assert!(row.advice.clone().unwrap_or_default().contains(advice), "{row:?}");
            assert_eq!(row.advice.is_some(), programs == Fate::Ends, "{row:?}");
        }
        check(SESSION, Some(false), Some(false), Fate::GoesOn, "");
        check(SESSION, Some(true), Some(true), Fate::Ends, "lane daemon install");
        check(SESSION, None, None, Fate::Unknown, "");
        for group in [TERMINAL, UNIT] {
            check(group, Some(false), Some(false), Fate::Ends, "loginctl enable-linger");
            check(group, Some(true), Some(true), Fate::GoesOn, "");
            check(group, Some(true), None, Fate::Unknown, "");
        }
        check("/system.slice/ssh.service", None, None, Fate::GoesOn, "");
        check("/", None, None, Fate::GoesOn, "");
        let unknown = Surroundings { group: None, ..surroundings("/") };
        assert_eq!(of(&unknown, "you log out").programs, Fate::Unknown);
    }

    #[test]
    fn what_ends_as_a_whole_takes_programs_along_unless_the_unit_leaves_them() {
        let stopped = |surroundings: &Surroundings| of(surroundings, "its control group is stopped").programs;
        assert_eq!(stopped(&surroundings(SESSION)), Fate::Ends);
        assert_eq!(stopped(&surroundings("/")), Fate::GoesOn);
        assert_eq!(stopped(&surroundings(UNIT)), Fate::GoesOn);
        let edited = Surroundings { unit_leaves_programs: false, ..surroundings(UNIT) };
        assert_eq!(stopped(&edited), Fate::Ends);
        assert_eq!(of(&edited, "lane is upgraded").programs, Fate::Ends);
        assert_eq!(of(&surroundings(SESSION), "lane is upgraded").programs, Fate::GoesOn);
        assert_eq!(of(&surroundings(SESSION), "memory runs out").programs, Fate::OneEnds);
        let whole = Surroundings { dies_as_a_whole: true, ..surroundings(SESSION) };
        assert_eq!(of(&whole, "memory runs out").programs, Fate::Ends);
    }

    #[test]
    fn what_brings_the_daemon_back_after_a_restart_is_told() {
        let advice = |is_installed, lingers| {
            let surroundings = Surroundings { lingers, is_installed, ..surroundings(SESSION) };
            let row = of(&surroundings, "the machine restarts");
            assert_eq!((row.programs, row.daemon), (Fate::Ends, Fate::ComesBack));
            row.advice
        };
        assert_eq!(advice(true, Some(true)), None);
        assert_eq!(advice(true, Some(false)).as_deref(), Some("loginctl enable-linger"));
        assert_eq!(advice(false, Some(true)).as_deref(), Some("lane daemon install"));
    }
}
