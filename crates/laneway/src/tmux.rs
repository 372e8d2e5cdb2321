//! Which tmux server a command means, and whether it was typed inside of it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use laneway_api::error::ErrorKind;
use laneway_api::tmux::TmuxPlace;
use laneway_core::os_text::OsText;

use crate::failure::Failure;

/// The variable that names a server: the path of a socket, or the name of one as `tmux -L` takes it.
pub(crate) const SOCKET_VARIABLE: &str = "LANEWAY_TMUX_SOCKET";

/// `--tmux-socket`.
#[derive(Debug, clap::Args)]
pub(crate) struct SocketArgs {
    /// The tmux server: the path of its socket, or a name as for tmux -L (or set `LANEWAY_TMUX_SOCKET`)
    #[arg(long, value_name = "SOCKET", value_hint = clap::ValueHint::FilePath)]
    tmux_socket: Option<OsString>,
}

impl SocketArgs {
    /// The server that is meant: the one that is named, else the one that this is typed in, else tmux's own default.
    pub(crate) fn place(&self) -> Result<TmuxPlace, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let named = self.tmux_socket.clone().or_else(|| variable(SOCKET_VARIABLE));
        let folder = folder_of_sockets(variable("TMUX_TMPDIR").as_deref());
        let (tmux, pane) = (variable("TMUX"), variable("TMUX_PANE"));
        let place = place(named.as_deref(), &folder, tmux.as_deref(), pane.as_deref());
        let Some(socket) = std::path::absolute(place.0).ok() else {
            let message = "the tmux socket is a relative path, and the folder that this is typed in is gone";
            return Err(Failure::new(ErrorKind::Usage, "bad_socket", message));
        };
        Ok(TmuxPlace { socket: socket.into(), pane: place.1 })
    }
}

/// Whether this is typed inside the server at a socket.
pub(crate) fn is_typed_in(socket: &Path) -> bool {
    let tmux = std::env::var_os("TMUX").filter(|value| !value.is_empty());
    let same = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    tmux.is_some_and(|tmux| same(&place(None, Path::new("/"), Some(&tmux), None).0) == same(socket))
}

/// The socket of the server that is meant where no option names one.
pub(crate) fn socket_of_caller() -> Option<OsText> {
    SocketArgs { tmux_socket: None }.place().ok().map(|place| place.socket)
}

/// Where tmux has its sockets if it is not told where.
fn folder_of_sockets(folder: Option<&OsStr>) -> PathBuf {
    let folder = Path::new(folder.unwrap_or("/tmp".as_ref()));
    // tmux resolves links in it, and $TMUX then names the result.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.join(format!("tmux-{}", rustix::process::getuid().as_raw()))
}

/// The socket, and the pane that this is typed in if that is in the same server. `tmux`: `$TMUX`, which is a socket, a
/// process id and a number with commas between them.
fn place(
    named: Option<&OsStr>,
    folder: &Path,
    tmux: Option<&OsStr>,
    pane: Option<&OsStr>,
) -> (PathBuf, Option<String>) {
    let around = tmux.map(|tmux| {
        let end = tmux.as_bytes().iter().rposition(|byte| *byte == b',').unwrap_or(tmux.len());
        let end = tmux.as_bytes()[..end].iter().rposition(|byte| *byte == b',').unwrap_or(end);
        PathBuf::from(OsStr::from_bytes(&tmux.as_bytes()[..end]))
    });
    let named =
        named.map(
            |named| if named.as_bytes().contains(&b'/') { PathBuf::from(named) } else { folder.join(named) },
        );
    let socket = named.or_else(|| around.clone()).unwrap_or_else(|| folder.join("default"));
    let pane = pane.filter(|_| around.as_ref() == Some(&socket)).and_then(OsStr::to_str);
    (socket, pane.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_that_is_named_comes_before_the_one_around_and_that_before_the_default() {
        let place = |named: Option<&str>, tmux: Option<&str>| {
            let (socket, pane) = place(
                named.map(OsStr::new),
                Path::new("/tmp/tmux-7"),
                tmux.map(OsStr::new),
                Some(OsStr::new("%3")),
            );
            (socket.display().to_string(), pane)
        };
        let inside = Some("/tmp/tmux-7/a,b,1234,0");
        for (named, tmux, expected, is_inside) in [
            (None, None, "/tmp/tmux-7/default", false),
            (None, inside, "/tmp/tmux-7/a,b", true),
            (Some("work"), inside, "/tmp/tmux-7/work", false),
            (Some("a,b"), inside, "/tmp/tmux-7/a,b", true),
            (Some("./s"), None, "./s", false),
            (Some("/x/s"), inside, "/x/s", false),
        ] {
            let pane = is_inside.then(|| "%3".to_owned());
            assert_eq!(place(named, tmux), (expected.to_owned(), pane), "{named:?} {tmux:?}");
        }
    }
}
