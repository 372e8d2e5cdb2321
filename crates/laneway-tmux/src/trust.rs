//! Whose a socket is. A server of another user's would be told everything, and what it answers would be believed; tmux
//! itself looks only if it is not told where the socket is.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustix::process::getuid;

use crate::error::TmuxError;

/// What others may do: all of it, and writing.
const OTHERS: u32 = 0o007;
const OTHERS_WRITE: u32 = 0o002;
/// Only its owner can remove a file from such a folder.
const STICKY: u32 = 0o1000;

/// Refuses a socket that another user made or could put another in place of. One that is not there is fine.
pub(crate) fn check(socket: &Path) -> Result<(), TmuxError> {
    let refuse = |why: String| Err(TmuxError::Untrusted { socket: socket.to_owned(), why });
    let Some(folder) = socket.parent() else { return Ok(()) };
    if is_default(folder)
        && let Some(facts) = there(fs::symlink_metadata(folder))?
    {
        // As tmux does it for its own folder.
        if !facts.is_dir() {
            return refuse(format!("{} is not a folder", folder.display()));
        }
        if facts.uid() != uid() || facts.mode() & OTHERS != 0 {
            return refuse(format!(
                "{} must be yours, with no rights for others, and is user {}'s, with mode {:o}",
                folder.display(),
                facts.uid(),
                facts.mode() & 0o7777
            ));
        }
    }
    // Links are gone through, for whoever can change where they lead.
    if let Some(folder) = there(fs::canonicalize(folder))? {
        check_folder(socket, &folder)?;
    }
    let Some(facts) = there(fs::symlink_metadata(socket))? else { return Ok(()) };
    if facts.uid() != uid() {
        return refuse(format!("it is user {}'s", facts.uid()));
    }
    if facts.is_symlink()
        && let Some(real) = there(fs::canonicalize(socket))?
    {
        real.parent().map_or(Ok(()), |folder| check_folder(socket, folder))?;
        let facts = fs::metadata(&real)?;
        if facts.uid() != uid() || !facts.file_type().is_socket() {
            return refuse(format!("it leads to {}, which is no socket of yours", real.display()));
        }
    }
    Ok(())
}

/// Refuses a server that another user runs. If nobody listens, tmux says so.
pub(crate) fn check_peer(socket: &Path) -> Result<(), TmuxError> {
    let Ok(address) = SocketAddrUnix::new(socket) else { return Ok(()) };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    if connect(&stream, &address).is_err() {
        return Ok(());
    }
    let peer = sockopt::socket_peercred(&stream)?.uid;
    if peer == getuid() {
        return Ok(());
    }
    let why = format!("the server there is user {}'s", peer.as_raw());
    Err(TmuxError::Untrusted { socket: socket.to_owned(), why })
}

fn check_folder(socket: &Path, folder: &Path) -> Result<(), TmuxError> {
    let Some(facts) = there(fs::metadata(folder))? else { return Ok(()) };
    let is_open = facts.mode() & OTHERS_WRITE != 0 && facts.mode() & STICKY == 0;
    let is_ours = facts.uid() == uid() || facts.uid() == 0;
    let why = match (is_ours, is_open) {
        (true, false) => return Ok(()),
        (false, _) => format!("its folder {} is user {}'s", folder.display(), facts.uid()),
        (true, true) => format!("everybody can write into its folder {}", folder.display()),
    };
    Err(TmuxError::Untrusted { socket: socket.to_owned(), why })
}

/// Whether this is the folder that tmux makes for itself.
fn is_default(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == format!("tmux-{}", uid()).as_str())
}

fn uid() -> u32 {
    getuid().as_raw()
}

fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
