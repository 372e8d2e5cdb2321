//! The sockets of holders and daemons: where they are, and how they are reached whatever the length of the path.
//!
//! A socket stands in the folder of its holder or daemon under a name that is known. Where that folder's filesystem
//! cannot hold sockets, it stands in a private folder under the system's temp folder, and a file beside where it
//! should be tells the place:
//!
//! ```text
//! FOLDER/sock                 the socket, or
//! FOLDER/sock.at              a file with a path: $TMPDIR/laneway-UID/NUMBER
//! $TMPDIR/laneway-UID/        0700, of this user, no symbolic link; else it is refused
//! ```
//!
//! Folders are opened first and everything in them is reached through `/proc/self/fd/N`: a socket's address has room
//! for 107 bytes only, and what was checked is what is used.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, chmodat, fstat, mkdirat, mknodat, openat, renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The variable with the system's temp folder, for a holder, which inherits nothing else.
pub const TEMP_VARIABLE: &str = "TMPDIR";

/// What the name of the file has behind the socket's name.
const POINTER: &str = ".at";

/// The longest path that is read from such a file, in bytes: the system's own limit.
const MAX_PATH: u64 = 4096;

/// Binds a listening socket as `name` in `folder`, `0600`: bound under a temporary name, made private, listened on,
/// then renamed, so that whoever finds the name can connect. A socket that was there is replaced. `backlog`:
/// connections that wait to be accepted. Neither it nor what is accepted blocks.
pub fn listen(folder: impl AsFd, name: &str, backlog: i32) -> io::Result<UnixListener> {
    let folder = folder.as_fd();
    match listen_in(folder, name, backlog) {
        Ok(listener) => {
            // One that a holder or daemon has left when the folder was elsewhere.
            remove_pointer(folder, name)?;
            Ok(listener)
        }
        Err(errno) if cannot_hold(errno) => listen_elsewhere(folder, name, backlog),
        Err(errno) => Err(errno.into()),
    }
}

/// Connects to the socket `name` in `folder`. `limit` bounds the wait for a listener with a full queue:
/// `WouldBlock` then. Whose process the peer is has still to be looked at.
pub fn connect(folder: impl AsFd, name: &str, limit: Duration) -> io::Result<UnixStream> {
    let folder = folder.as_fd();
    match connect_in(folder, name, limit) {
        Err(Errno::NOENT) => match elsewhere(folder, name)? {
            Some(place) => Ok(connect_in(place.open()?.as_fd(), &place.name, limit)?),
            None => Err(Errno::NOENT.into()),
        },
        connected => Ok(connected?),
    }
}

/// Removes the socket, wherever it is; one that is gone is fine.
pub fn remove(folder: impl AsFd, name: &str) -> io::Result<()> {
    let folder = folder.as_fd();
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    if let Some(place) = elsewhere(folder, name)?
        && let Ok(private) = place.open()
    {
        match unlinkat(private, place.name.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    remove_pointer(folder, name)
}

/// Where the socket `name` of `folder` is, or would be: for people, and to see that there is one.
pub fn place(folder: &Path, name: &str) -> PathBuf {
    let opened = open_folder(folder);
    let elsewhere = opened.ok().and_then(|folder| elsewhere(folder.as_fd(), name).ok().flatten());
    elsewhere.map_or_else(|| folder.join(name), |place| place.folder.join(&place.name))
}

/// Opens a folder to be used with these functions.
pub fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes a named pipe as `name` in `folder`, `0600`; where its filesystem cannot hold pipes, in the private folder. Its
/// path.
pub fn make_pipe(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let make = |path: &Path| {
        // One that a killed process has left.
        match unlinkat(CWD, path, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let made = mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
        if made.is_err() {
            // Some filesystems leave a plain file.
            let _ = unlinkat(CWD, path, AtFlags::empty());
        }
        made
    };
    let path = folder.join(name);
    match make(&path) {
        Ok(()) => return Ok(path),
        Err(errno) if cannot_hold(errno) => {}
        Err(errno) => return Err(with_path(&path, &errno.into())),
    }
    make_private()?;
    let path = private_folder().join(random_name()?);
    make(&path).map(|()| path.clone()).map_err(|errno| with_path(&path, &errno.into()))
}

/// What a filesystem says that has no sockets or pipes: not there (vfat), not allowed (some network filesystems, and
/// what confines this process), not understood, or broken (exfat in user space). A filesystem that is really broken
/// does not take the file that tells the place either, and that is what is said then.
fn cannot_hold(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::IO)
}

/// The one place where a socket is bound.
fn listen_in(folder: BorrowedFd<'_>, name: &str, backlog: i32) -> Result<UnixListener, Errno> {
    let temporary = format!(".{name}.{}", std::process::id());
    // One that a killed process with the same number has left.
    match unlinkat(folder, temporary.as_str(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let named = rustix::net::bind(&socket, &address(folder, &temporary)?)
        .and_then(|()| chmodat(folder, temporary.as_str(), Mode::RUSR | Mode::WUSR, AtFlags::empty()))
        .and_then(|()| rustix::net::listen(&socket, backlog))
        .and_then(|()| renameat(folder, temporary.as_str(), folder, name));
    if let Err(errno) = named {
        // The failure before this one is what counts. Some filesystems leave a plain file when they refuse a socket.
        let _ = unlinkat(folder, temporary.as_str(), AtFlags::empty());
        return Err(errno);
    }
    Ok(socket.into())
}

fn connect_in(folder: BorrowedFd<'_>, name: &str, limit: Duration) -> Result<UnixStream, Errno> {
    let address = address(folder, name)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    rustix::net::connect(&socket, &address)?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket.into())
}

fn address(folder: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// A socket that is not in its folder.
struct Elsewhere {
    folder: PathBuf,
    name: String,
}

impl Elsewhere {
    /// The private folder it is in.
    fn open(&self) -> io::Result<OwnedFd> {
        open_private(&self.folder)
    }
}

/// Where the file beside the socket's name says that it is; none if there is no such file.
fn elsewhere(folder: BorrowedFd<'_>, name: &str) -> io::Result<Option<Elsewhere>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, format!("{name}{POINTER}"), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut path = Vec::new();
    file.take(MAX_PATH).read_to_end(&mut path)?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(path));
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    match (path.parent().filter(|parent| parent.is_absolute()), name) {
        (Some(folder), Some(name)) => Ok(Some(Elsewhere { folder: folder.to_owned(), name })),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the file with the socket's place is damaged")),
    }
}

fn listen_elsewhere(folder: BorrowedFd<'_>, name: &str, backlog: i32) -> io::Result<UnixListener> {
    let private_path = private_folder();
    let private = make_private()?;
    // A daemon takes the place of the one before it, so that no number of them leaves more than one socket.
    let former = elsewhere(folder, name).ok().flatten().filter(|place| place.folder == private_path);
    let socket = match former {
        Some(place) => place.name,
        None => random_name()?,
    };
    let listener = listen_in(private.as_fd(), &socket, backlog)
        .map_err(|errno| with_path(&private_path, &errno.into()))?;
    let told = tell(folder, name, &private_path.join(&socket));
    if told.is_err() {
        // The failure before this one is what counts.
        let _ = unlinkat(private, socket, AtFlags::empty());
    }
    told.map(|()| listener)
}

/// Writes the file that tells the place.
fn tell(folder: BorrowedFd<'_>, name: &str, place: &Path) -> io::Result<()> {
    let temporary = format!(".{name}{POINTER}.{}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, temporary.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
    File::from(file).write_all(place.as_os_str().as_bytes())?;
    Ok(renameat(folder, temporary.as_str(), folder, format!("{name}{POINTER}"))?)
}

fn remove_pointer(folder: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match unlinkat(folder, format!("{name}{POINTER}"), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The private folder of this user.
pub fn private_folder() -> PathBuf {
    let temp = std::env::var_os(TEMP_VARIABLE).map(PathBuf::from).filter(|temp| temp.is_absolute());
    let temp = temp.unwrap_or_else(|| PathBuf::from("/tmp"));
    temp.join(format!("laneway-{}", rustix::process::geteuid().as_raw()))
}

/// The private folder, which is made if it is not there.
fn make_private() -> io::Result<OwnedFd> {
    let path = private_folder();
    match mkdirat(CWD, &path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_private(&path),
        Err(errno) => Err(with_path(&path, &errno.into())),
    }
}

/// Opens the private folder, and makes sure that it is one: everybody may make folders in a temp folder.
fn open_private(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, path, flags, Mode::empty()).map_err(|errno| with_path(path, &errno.into()))?;
    let stat = fstat(&folder)?;
    let uid = rustix::process::geteuid().as_raw();
    if stat.st_uid != uid || stat.st_mode & 0o077 != 0 {
        let (owner, mode) = (stat.st_uid, stat.st_mode & 0o7777);
        let why = format!("it belongs to uid {owner} with mode {mode:04o}, and must be private to uid {uid}");
        return Err(with_path(path, &io::Error::new(io::ErrorKind::PermissionDenied, why)));
    }
    Ok(folder)
}

/// A name that no other socket of this user has.
fn random_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
