//! What systemd does for a user: a unit that starts the daemon, and what it ends when he logs out.
//!
//! `systemctl --user` and `loginctl` are asked; where they are not there, or nobody answers them, that is said and
//! nothing is assumed.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use laneway_daemon::home::{self, Home};

use super::program::{Said, Silent, ask};

/// The unit's name.
pub(crate) const UNIT: &str = "laneway.service";

/// What the first line of a unit of ours begins with; the home follows. Any other file is not touched.
const MARK: &str = "# Made by `lane daemon install` for ";

/// What is passed on to the daemon from the environment of whoever installs it: where things are.
const VARIABLES: [&str; 4] = ["LANEWAY_HOME", "PATH", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];

/// Why no unit can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSystemd {
    /// `systemctl` is not there, or cannot be run.
    #[error("there is no systemd that could start it")]
    Silent(#[source] Silent),
    /// Nobody answers it.
    #[error("systemd starts nothing for this user here: {0}")]
    Unreachable(String),
}

/// A path that a unit cannot hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be written into a unit: it is not plain text")]
pub(crate) struct NotPlain(PathBuf);

/// What stands where the unit's file should be.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A unit of ours.
    Ours {
        /// For this home.
        home: String,
        /// All of it.
        text: String,
    },
    /// Something else.
    Foreign,
}

/// Where the unit's file is. None if no variable says where this user's settings are.
pub(crate) fn unit_path() -> Option<PathBuf> {
    Some(home::config_base()?.join("systemd/user").join(UNIT))
}

/// What stands there now.
pub(crate) fn look(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        // A link leads to a file that something else takes care of.
        Ok(metadata) if !metadata.is_file() => return Ok(Found::Foreign),
        Ok(_) => {}
    }
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    Ok(match text.lines().next().and_then(|line| line.strip_prefix(MARK)) {
        Some(home) => Found::Ours { home: home.to_owned(), text },
        None => Found::Foreign,
    })
}

/// The unit that runs this program as the daemon of `home`, whose files have this umask. `variable` gives the
/// environment of whoever installs it.
pub(crate) fn unit(
    program: &Path,
    home: &Home,
    umask: u32,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<String, NotPlain> {
    let mut environment = String::new();
    for name in VARIABLES {
        if let Some(value) = variable(name).filter(|value| !value.as_os_str().is_empty()) {
            let value = plain(&value)?;
            writeln!(environment, "Environment={}", quoted(&format!("{name}={value}")))
                .expect("a String takes every text");
        }
    }
    let (program, home) = (quoted(plain(program)?), plain(home.root())?);
    Ok(format!(
        "{MARK}{home}\n\
         # `lane daemon uninstall` removes it.\n\
         [Unit]\n\
         Description=Laneway: lanes and what runs in them\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} daemon serve\n\
         {environment}\
         UMask={umask:04o}\n\
         # The programs that run are not the daemon's to end, and go on without it.\n\
         KillMode=process\n\
         OOMPolicy=continue\n\
         Restart=on-failure\n\
         # Another daemon serves this home already.\n\
         RestartPreventExitStatus=6\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n"
    ))
}

fn plain(path: &Path) -> Result<&str, NotPlain> {
    let text = std::str::from_utf8(path.as_os_str().as_bytes()).ok();
    text.filter(|text| !text.contains(char::is_control)).ok_or_else(|| NotPlain(path.to_owned()))
}

/// As systemd reads it back: in double quotes, with its specifiers doubled.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{escaped}\"")
}

/// Whether the unit is one that systemd starts by itself.
pub(crate) fn is_enabled(unit: &Path) -> bool {
    let wanted = unit.parent().map(|folder| folder.join("default.target.wants").join(UNIT));
    wanted.is_some_and(|wanted| fs::symlink_metadata(wanted).is_ok())
}

/// Whether systemd starts things for this user here.
pub(crate) fn is_there() -> Result<(), NoSystemd> {
    let said = systemctl(&["show", "--property=Version"])?;
    if said.success { Ok(()) } else { Err(NoSystemd::Unreachable(said.complaint().to_owned())) }
}

/// Runs `systemctl --user …`.
pub(crate) fn systemctl(arguments: &[&str]) -> Result<Said, NoSystemd> {
    ask("systemctl", &[&["--user", "--no-pager"], arguments].concat()).map_err(NoSystemd::Silent)
}

/// Whether what this user has systemd start begins at boot and goes on when he logs out. None if nobody says.
pub(crate) fn lingers() -> Option<bool> {
    let uid = rustix::process::getuid().as_raw().to_string();
    property_of(&["show-user", &uid, "--property=Linger"], "Linger")
}

/// Whether logging out ends everything that was started from the login. None if nobody says.
pub(crate) fn logout_kills() -> Option<bool> {
    // Without a user it tells of the login manager itself.
    property_of(&["show-user", "--property=KillUserProcesses"], "KillUserProcesses")
}

fn property_of(arguments: &[&str], name: &str) -> Option<bool> {
    let said = ask("loginctl", &[&["--no-pager"], arguments].concat()).ok().filter(|said| said.success)?;
    said.out.lines().find_map(|line| match line.strip_prefix(name)?.strip_prefix('=')? {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(program: &str, home: &str, variables: &[(&str, &str)]) -> Result<String, NotPlain> {
        let variable = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| PathBuf::from(value))
        };
        unit(Path::new(program), &Home::at(home.into()), 0o027, variable)
    }

    #[test]
    fn a_unit_keeps_what_runs_and_holds_any_path() {
        let text =
            of("/opt/a b/100%/\"lane\"", "/h", &[("LANEWAY_HOME", "/h"), ("PATH", ""), ("HOME", "/x")])
                .unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "# Made by `lane daemon install` for /h");
        for line in [
            "ExecStart=\"/opt/a b/100%%/\\\"lane\\\"\" daemon serve",
            "Environment=\"LANEWAY_HOME=/h\"",
            "KillMode=process",
            "Restart=on-failure",
            "UMask=0027",
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        assert_eq!(text.matches("Environment=").count(), 1, "{text}");
    }

    #[test]
    fn a_path_that_a_unit_cannot_hold_is_refused() {
        assert!(of("/a\nExecStart=/bin/evil", "/h", &[]).is_err());
        assert!(of("/a", "/h\n", &[]).is_err());
        assert!(of("/a", "/h", &[("PATH", "/x\n[Service]")]).is_err());
    }
}
