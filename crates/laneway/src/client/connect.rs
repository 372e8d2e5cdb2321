//! A connection to the daemon's socket, whatever the length of its path.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::os_text::OsText;
use laneway_daemon::home::Home;
use laneway_wire::client::peer_uid;
use laneway_wire::sockets;

use crate::context::home_problem;
use crate::failure::Failure;
use crate::text::program;

/// How long a daemon with a full queue of connections may take to accept one.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Connects to the daemon of `home`; none if nobody serves there.
pub(crate) fn connect(home: &Home) -> Result<Option<UnixStream>, Failure> {
    connect_within(home, CONNECT_LIMIT)
}

/// The same for a caller with less patience.
pub(super) fn connect_within(home: &Home, limit: Duration) -> Result<Option<UnixStream>, Failure> {
    match try_connect(home, limit) {
        Ok(stream) => {
            let uid = peer_uid(&stream).map_err(|error| unreachable(home, &error.to_string()))?;
            if uid == rustix::process::geteuid().as_raw() {
                return Ok(Some(stream));
            }
            Err(answered_by_another(home, uid))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                Ok(None)
            }
            io::ErrorKind::WouldBlock => {
                Err(unreachable(home, &format!("it accepted no connection within {limit:?}")))
            }
            _ => Err(unreachable(home, &error.to_string())),
        },
    }
}

/// Somebody else serves at the socket: the home is his, or was open to him once.
fn answered_by_another(home: &Home, uid: u32) -> Failure {
    let (root, socket) = (home.root().into(), home.socket().into());
    let hint =
        format!("{} && {}", program(&["chmod".into(), "700".into(), root]), program(&["rm".into(), socket]));
    unusable(home, &format!("who answers there is uid {uid}, not you"), hint)
}

fn try_connect(home: &Home, limit: Duration) -> io::Result<UnixStream> {
    sockets::connect(sockets::open_folder(home.root())?, Home::SOCKET_NAME, limit)
}

fn unreachable(home: &Home, why: &str) -> Failure {
    unusable(home, why, "lane daemon logs".to_owned())
}

/// The socket cannot be used. If that is so because the home cannot be, that is what is said.
fn unusable(home: &Home, why: &str, hint: String) -> Failure {
    if let Err(error) = home.check() {
        return home_problem(&error).into();
    }
    let message = format!("the daemon's socket {} cannot be used: {why}", OsText::from(home.socket()));
    Problem::new(ErrorKind::Unreachable, "daemon_unreachable", message).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    #[test]
    fn nobody_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(connect(&Home::at(folder.path().join("missing"))).unwrap().is_none());
        let home = Home::at(folder.path().to_owned());
        assert!(connect(&home).unwrap().is_none(), "no socket");
        drop(UnixListener::bind(home.socket()).unwrap());
        assert!(connect(&home).unwrap().is_none(), "a stale socket");
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_reached_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(200)).join("e".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        let opened = std::fs::File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/{}", opened.as_raw_fd(), Home::SOCKET_NAME);
        let _listener = UnixListener::bind(short).unwrap();
        assert!(connect(&Home::at(deep)).unwrap().is_some());
    }
}
