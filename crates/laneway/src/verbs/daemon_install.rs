//! `lane daemon install` and `uninstall`: a unit of systemd that starts the daemon, also after a reboot.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use laneway_api::error::{ErrorKind, Problem, exit_code};
use laneway_core::os_text::OsText;
use serde::Serialize;

use super::daemon::running;
use crate::client::own_program;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, with_causes};
use crate::machine::program::Said;
use crate::machine::systemd::{self, Found, NoSystemd, UNIT, systemctl};

/// The command with which systemd starts things for a user at boot.
pub(crate) const ENABLE_LINGER: &str = "loginctl enable-linger";

/// Have systemd start it when you log in, or at boot
#[derive(Debug, clap::Args)]
#[command(after_help = "EXAMPLES:
  lane daemon install
  lane daemon install --print   show the unit, and do nothing

What runs goes on when systemd stops or restarts the daemon.")]
pub(super) struct InstallArgs {
    /// Print the unit, and do nothing
    #[arg(long)]
    print: bool,
}

/// `lane daemon install --json`.
#[derive(Serialize)]
struct Installed {
    /// The unit's file.
    unit: OsText,
    /// It was not there before, or said something else.
    changed: bool,
    /// Systemd has started the daemon now; false if one ran already.
    started: bool,
    /// Systemd starts it at boot, not only at the login. None: not known.
    linger: Option<bool>,
}

/// `lane daemon install --print --json`.
#[derive(Serialize)]
struct Printed {
    unit: OsText,
    text: String,
}

/// `lane daemon uninstall --json`.
#[derive(Serialize)]
struct Uninstalled {
    unit: OsText,
    was_installed: bool,
}

pub(super) fn install(args: &InstallArgs, context: &Context) -> Outcome {
    let home = context.home()?;
    let path = unit_path()?;
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let text = systemd::unit(&own_program()?, &home, crate::launch::umask()?, variable)
        .map_err(|error| Failure::new(ErrorKind::Failed, "unit_not_written", error.to_string()))?;
    if args.print {
        if context.json() {
            context.printer.json(&Printed { unit: path.into(), text })?;
        } else {
            context.printer.bytes(text.as_bytes())?;
        }
        return Ok(exit_code::OK);
    }
    let former = match look(&path)? {
        Found::Nothing => None,
        Found::Ours { home: of, text } if Path::new(&of) == home.root() => Some(text),
        Found::Ours { home: of, .. } => {
            let message = format!("{} starts the daemon of another home, {of}", path.display());
            let problem = Problem::new(ErrorKind::Refused, "unit_of_another_home", message);
            return Err(problem.hint("lane daemon uninstall, then install it again").into());
        }
        Found::Foreign => return Err(foreign(&path)),
    };
    systemd::is_there().map_err(|error| no_systemd(&error))?;
    let changed = former.as_ref() != Some(&text);
    if changed {
        write(&path, &text).map_err(|error| unwritable(&path, &error))?;
    }
    if let Err(failure) = told(&["daemon-reload"]).and_then(|()| told(&["enable", UNIT])) {
        put_back(&path, former.as_deref());
        return Err(failure);
    }
    let running = running(context)?;
    if running.is_none() {
        told(&["start", UNIT])?;
    }
    let linger = systemd::lingers();
    if context.json() {
        let unit = path.into();
        context.printer.json(&Installed { unit, changed, started: running.is_none(), linger })?;
        return Ok(exit_code::OK);
    }
    let mut lines = vec![format!("the daemon is started by systemd from now on: {}", path.display())];
    lines.extend(running.map(|pid| format!("  now       the one that runs goes on: process {pid}")));
    lines.push(format!("  at boot   {}", at_boot(linger)));
    context.printer.line(&lines.join("\n"))?;
    Ok(exit_code::OK)
}

/// When systemd starts it, in words.
pub(crate) fn at_boot(linger: Option<bool>) -> String {
    match linger {
        Some(true) => "it is started (linger is on)".to_owned(),
        Some(false) => {
            format!("it is not started before you log in (linger is off); to have it so: {ENABLE_LINGER}")
        }
        None => format!("not known (no login manager answers); where there is one: {ENABLE_LINGER}"),
    }
}

pub(super) fn uninstall(context: &Context) -> Outcome {
    let path = unit_path()?;
    let was_installed = match look(&path)? {
        Found::Nothing => false,
        Found::Foreign => return Err(foreign(&path)),
        Found::Ours { .. } => {
            // Without systemd nobody uses the file, and it can go all the same.
            if systemd::is_there().is_ok() {
                told(&["disable", UNIT])?;
            }
            fs::remove_file(&path).map_err(|error| unwritable(&path, &error))?;
            if systemd::is_there().is_ok() {
                told(&["daemon-reload"])?;
            }
            true
        }
    };
    if context.json() {
        context.printer.json(&Uninstalled { unit: path.into(), was_installed })?;
    } else if was_installed {
        context.printer.line(&format!("{} is removed; a daemon that runs goes on", path.display()))?;
    } else {
        context.printer.line("it is not installed")?;
    }
    Ok(exit_code::OK)
}

fn unit_path() -> Result<PathBuf, Failure> {
    systemd::unit_path().ok_or_else(|| {
        let problem =
            Problem::new(ErrorKind::Usage, "no_config_folder", "neither XDG_CONFIG_HOME nor HOME is set");
        problem.hint("set HOME").into()
    })
}

fn look(path: &Path) -> Result<Found, Failure> {
    systemd::look(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(ErrorKind::Failed, "unit_unreadable", message)
    })
}

/// Has systemd do something; what it says against it is a failure.
fn told(arguments: &[&str]) -> Result<(), Failure> {
    match systemctl(arguments).map_err(|error| no_systemd(&error))? {
        Said { success: true, .. } => Ok(()),
        said => {
            let command = format!("systemctl --user {}", arguments.join(" "));
            let message = format!("{command} failed: {}", said.complaint());
            Err(Problem::new(ErrorKind::Failed, "systemd_failed", message)
                .hint(format!("journalctl --user -u {UNIT}"))
                .into())
        }
    }
}

/// Under a temporary name first: systemd may read it at any moment.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension(format!("service.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The failure before this one is what counts.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// As it was before an install that failed. What fails here was told by the failure before it.
fn put_back(path: &Path, former: Option<&str>) {
    let _ = match former {
        Some(text) => write(path, text),
        None => fs::remove_file(path),
    };
}

fn foreign(path: &Path) -> Failure {
    let message =
        format!("{} is there and was not made by lane daemon install: it is left alone", path.display());
    Problem::new(ErrorKind::Refused, "unit_is_foreign", message)
        .hint("move it away; lane daemon install --print shows what it would be")
        .into()
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ErrorKind::Failed, "unit_not_written", format!("cannot write {}: {error}", path.display()))
}

fn no_systemd(error: &NoSystemd) -> Failure {
    let program = own_program().map_or_else(|_| "lane".to_owned(), |program| program.display().to_string());
    Problem::new(ErrorKind::Failed, "no_systemd", with_causes(error))
        .hint(format!(
            "the first command starts the daemon in any case; to have it after a reboot: @reboot {program} daemon start, in crontab -e"
        ))
        .into()
}
