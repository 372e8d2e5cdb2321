//! Where things are kept: the home, its filesystem, the room on it, its sockets, the settings, the database.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use laneway_core::os_text::OsText;
use laneway_daemon::config::Config;
use laneway_daemon::home::Home;
use laneway_daemon::probe::{self, OpenError};
use laneway_wire::record::is_in_memory;

use super::{About, Check, Daemon, Machine, State};
use crate::failure::with_causes;

/// Room for the database's log, run records and last screens of a busy day, in bytes.
const LITTLE_ROOM: u64 = 512 << 20;

/// With less nothing can be recorded, in bytes.
const NO_ROOM: u64 = 16 << 20;

/// New files that a day's work makes.
const FEW_FILES: u64 = 10_000;

/// Filesystems that are another machine's, by what the kernel calls them. Locks and the shared memory of a database
/// do not hold there when two machines use it.
const OF_OTHER_MACHINES: [&str; 9] =
    ["9p", "afs", "ceph", "cifs", "fuse.sshfs", "ncpfs", "nfs", "nfs4", "smb3"];

/// All of them.
pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    let home = match &machine.home {
        Ok(home) => home,
        Err(problem) => {
            let check = check("home", State::Wrong, problem.message.clone());
            return vec![check.advice("set LANEWAY_HOME to a folder of yours, as an absolute path")];
        }
    };
    let existing = nearest(home.root());
    let mut checks = vec![folder(home), filesystem(&existing), room(&existing), sockets(machine, home)];
    checks.extend([settings(home), database(machine, home)]);
    checks
}

fn check(name: &'static str, state: State, found: impl Into<String>) -> Check {
    Check::new(About::Places, name, state, found)
}

/// The folder, or the nearest one above it that is there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn folder(home: &Home) -> Check {
    const NAME: &str = "home";
    let shown = OsText::from(home.root());
    let metadata = match fs::metadata(home.root()) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return check(NAME, State::Ok, format!("{shown}; not there yet, and made when it is needed"));
        }
        Err(error) => return check(NAME, State::Wrong, format!("{shown}: {error}")),
    };
    let uid = rustix::process::geteuid().as_raw();
    let elsewhere = "set LANEWAY_HOME to a folder of your own";
    if !metadata.is_dir() {
        return check(NAME, State::Wrong, format!("{shown} is not a folder")).advice(elsewhere);
    }
    if metadata.uid() != uid {
        let found = format!("{shown} belongs to uid {}, not to you (uid {uid})", metadata.uid());
        return check(NAME, State::Wrong, found).advice(elsewhere);
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(errno) = rustix::fs::access(home.root(), access) {
        let error = io::Error::from(errno);
        return check(NAME, State::Wrong, format!("{shown} cannot be written to: {error}")).advice(elsewhere);
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let check = check(NAME, State::Warning, format!("{shown} is open to others (mode {mode:04o})"));
        return check.advice(format!("chmod 700 {shown}; the next start of the daemon does it too"));
    }
    check(NAME, State::Ok, format!("{shown}, private"))
}

fn filesystem(folder: &Path) -> Check {
    const NAME: &str = "filesystem";
    let Some(mount) = mount_of(folder) else {
        return check(NAME, State::Unknown, "the kernel does not say which it is");
    };
    let found = format!("{}, mounted at {}", mount.kind, OsText::from(mount.at.as_path()));
    let on_a_disk = "set LANEWAY_HOME to a folder on a disk of this machine";
    match File::open(folder).and_then(is_in_memory) {
        Ok(true) => check(
            NAME,
            State::Wrong,
            format!("{found}: in memory only; runs would not survive a reboot, and are refused"),
        )
        .advice(on_a_disk),
        Ok(false) if OF_OTHER_MACHINES.contains(&mount.kind.as_str()) => {
            check(NAME, State::Warning, format!("{found}: of another machine, where locks may not hold"))
                .advice(on_a_disk)
        }
        Ok(false) => check(NAME, State::Ok, found),
        Err(error) => check(NAME, State::Unknown, format!("{found}; {error}")),
    }
}

/// A mounted filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    kind: String,
}

fn mount_of(folder: &Path) -> Option<Mount> {
    let folder = fs::canonicalize(folder).ok()?;
    mount_in(&fs::read("/proc/self/mountinfo").ok()?, &folder)
}

/// The one with the longest path; of several at one place the last, which hides the others.
fn mount_in(mounts: &[u8], folder: &Path) -> Option<Mount> {
    let mounts = mounts.split(|byte| *byte == b'\n').filter_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let end_of_options = fields.iter().position(|field| *field == b"-")?;
        let at = PathBuf::from(OsString::from_vec(unescaped(fields.get(4)?)));
        let kind = String::from_utf8_lossy(fields.get(end_of_options + 1)?).into_owned();
        Some(Mount { at, kind })
    });
    mounts.filter(|mount| folder.starts_with(&mount.at)).max_by_key(|mount| mount.at.as_os_str().len())
}

/// Blanks and backslashes stand there as octal numbers.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        (plain, rest) = match octal {
            Some(byte) => ([plain, vec![byte]].concat(), &after[3..]),
            None => ([plain, vec![*first]].concat(), after),
        };
    }
    plain
}

fn room(folder: &Path) -> Check {
    const NAME: &str = "disk";
    let stat = match rustix::fs::statvfs(folder) {
        Ok(stat) => stat,
        Err(errno) => return check(NAME, State::Unknown, io::Error::from(errno).to_string()),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    // Filesystems that make room for files as they go say 0 of 0.
    let n_files = (stat.f_files > 0).then_some(stat.f_favail);
    let state = match (free, n_files) {
        (..NO_ROOM, _) | (_, Some(0)) => State::Wrong,
        (..LITTLE_ROOM, _) | (_, Some(..FEW_FILES)) => State::Warning,
        _ => State::Ok,
    };
    let files = n_files.map(|n_files| format!(", room for {n_files} files")).unwrap_or_default();
    let check = check(NAME, state, format!("{} MiB free{files}", free >> 20));
    if state == State::Ok {
        check
    } else {
        check.advice("make room: what runs goes on, and cannot be recorded on a full disk")
    }
}

fn sockets(machine: &Machine, home: &Home) -> Check {
    const NAME: &str = "sockets";
    let place = home.socket();
    if place != home.named_socket() {
        let found =
            format!("in {}, since the home cannot hold them", place.parent().unwrap_or(&place).display());
        return check(NAME, State::Ok, found);
    }
    match &machine.daemon {
        Daemon::Answers(_) => check(NAME, State::Ok, "in the home"),
        Daemon::Odd(_) => check(NAME, State::Unknown, "not known while the daemon does not answer"),
        Daemon::None => check(NAME, State::Ok, "where the daemon finds a place for them, when it runs"),
    }
}

fn settings(home: &Home) -> Check {
    const NAME: &str = "settings";
    let path = Config::path(home);
    let shown = OsText::from(path.as_path());
    match Config::read(&path) {
        Ok(_) if path.exists() => check(NAME, State::Ok, shown.to_string()),
        Ok(_) => check(NAME, State::Ok, format!("none; they would be in {shown}")),
        Err(error) => check(NAME, State::Wrong, with_causes(&error)).advice(format!("correct it in {shown}")),
    }
}

fn database(machine: &Machine, home: &Home) -> Check {
    const NAME: &str = "database";
    let is_in_use = matches!(machine.daemon, Daemon::Answers(_) | Daemon::Odd(_));
    match probe::glance(&home.database()) {
        Ok(None) => check(NAME, State::Ok, "none yet"),
        Ok(Some(seen)) => {
            let found = format!("version {}, {} KiB", seen.version, seen.n_bytes >> 10);
            if seen.n_log_bytes > 0 && !is_in_use {
                let found =
                    format!("{found}; the last daemon was killed, and the next one looks at all of it");
                return check(NAME, State::Ok, found);
            }
            let found = if seen.version < seen.known_version && !is_in_use {
                format!("{found}; the next daemon brings it to version {}", seen.known_version)
            } else {
                found
            };
            check(NAME, State::Ok, found)
        }
        Err(error) => {
            let advice = match &error {
                OpenError::Newer { .. } => "install the newer lane again",
                OpenError::Damaged { .. } | OpenError::NotOurs { .. } => {
                    "put a copy of it back; what runs goes on"
                }
                _ => "see what else has it open, and whether the disk is sound",
            };
            check(NAME, State::Wrong, with_causes(&error)).advice(advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 22 0:28 / /dev/shm rw,nosuid - tmpfs tmpfs rw\n\
        31 22 0:29 / /mnt/a\\040b rw - vfat /dev/sdb1 rw\n\
        32 22 0:30 / /mnt/a\\040b rw - nfs4 server:/x rw\n\
        nonsense\n";

    #[test]
    fn the_innermost_and_latest_mount_counts() {
        let kind = |folder: &str| mount_in(MOUNTS, Path::new(folder)).map(|mount| mount.kind);
        assert_eq!(kind("/home/x").as_deref(), Some("ext4"));
        assert_eq!(kind("/dev/shm/x/y").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/dev/shmem").as_deref(), Some("ext4"));
        assert_eq!(kind("/mnt/a b/c").as_deref(), Some("nfs4"));
        assert!(mount_of(Path::new("/")).is_some());
    }

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&folder.path().join("a/b/c")), folder.path());
    }
}
