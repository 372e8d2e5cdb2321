//! The standard streams, read and written without ever waiting in the call.
//!
//! `O_NONBLOCK` belongs to an open file, which is shared with the shell and others; setting it on an inherited
//! stream would change it for them, and stay after a crash. So a pipe or terminal is opened once more, as an
//! open file of our own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::pipe::PIPE_BUF;

/// Waits until one of `watched` is ready, for `limit` at most. A signal ends the wait too.
pub(crate) fn wait(watched: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let limit =
        limit.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    match rustix::event::poll(watched, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Bytes that wait to be written, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    n_written: usize,
}

impl Queue {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.n_written
    }

    /// The buffer to append to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.n_written > self.bytes.len() / 2 {
            self.bytes.drain(..self.n_written);
            self.n_written = 0;
        }
        &mut self.bytes
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.n_written = 0;
    }

    /// Gives `write` what waits until all is written or it would have to wait.
    pub(crate) fn flush(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        while self.len() > 0 {
            match write(&self.bytes[self.n_written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n_written) => self.n_written += n_written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.clear();
        Ok(())
    }
}

/// How a descriptor is used without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// An open file of our own that does not block.
    Own,
    /// A socket: each call says that it does not wait.
    Socket,
    /// A file or `/dev/null`: it never waits.
    Prompt,
    /// Shared and blocking: asked first, and given no more than fits.
    Careful,
}

fn without_waiting(inherited: BorrowedFd<'_>, access: OFlags) -> io::Result<(OwnedFd, Way)> {
    let status = fstat(inherited)?;
    let is_terminal = rustix::termios::isatty(inherited);
    let way = match FileType::from_raw_mode(status.st_mode) {
        FileType::Fifo => Way::Own,
        // Opening the master of a terminal would make a new one.
        FileType::CharacterDevice if is_terminal && !is_master(status.st_rdev) => Way::Own,
        FileType::CharacterDevice if is_terminal => Way::Careful,
        FileType::Socket => Way::Socket,
        _ => Way::Prompt,
    };
    if way == Way::Own {
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let path = format!("/proc/self/fd/{}", inherited.as_raw_fd());
        if let Ok(own) = rustix::fs::open(path, flags, Mode::empty()) {
            return Ok((own, Way::Own));
        }
        // It belongs to another user (after `su`), or there is no /proc.
        return Ok((inherited.try_clone_to_owned()?, Way::Careful));
    }
    Ok((inherited.try_clone_to_owned()?, way))
}

fn is_master(device: u64) -> bool {
    const MULTIPLEXER: (u32, u32) = (5, 2);
    (rustix::fs::major(device), rustix::fs::minor(device)) == MULTIPLEXER
}

/// Where output goes: standard output or standard error.
#[derive(Debug)]
pub(crate) struct Outlet {
    fd: OwnedFd,
    way: Way,
    queue: Queue,
}

impl Outlet {
    /// Output to what `inherited` is.
    pub(crate) fn new(inherited: BorrowedFd<'_>) -> io::Result<Self> {
        let (fd, way) = without_waiting(inherited, OFlags::WRONLY)?;
        Ok(Self { fd, way, queue: Queue::default() })
    }

    /// How many bytes wait.
    pub(crate) fn n_waiting(&self) -> usize {
        self.queue.len()
    }

    /// The buffer to append output to; it is written by [`Self::flush`].
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.queue.buffer()
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    /// Writes what is taken without waiting. `BrokenPipe`: nobody reads any more.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let (fd, way) = (&self.fd, self.way);
        self.queue.flush(|bytes| match way {
            Way::Own | Way::Prompt => Ok(rustix::io::write(fd, bytes)?),
            Way::Socket => Ok(rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?),
            Way::Careful => {
                let mut watched = [PollFd::new(fd, PollFlags::OUT)];
                wait(&mut watched, Some(Duration::ZERO))?;
                if watched[0].revents().is_empty() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                // So much a pipe or terminal that is ready takes at once.
                Ok(rustix::io::write(fd, &bytes[..bytes.len().min(PIPE_BUF)])?)
            }
        })
    }

    /// Writes all that waits, for `limit` at most: for the last words on a terminal that may be stopped.
    pub(crate) fn finish(&mut self, limit: Duration) -> io::Result<()> {
        let deadline = std::time::Instant::now() + limit;
        loop {
            self.flush()?;
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if self.n_waiting() == 0 || left.is_zero() {
                return Ok(());
            }
            wait(&mut [PollFd::new(&self.fd, PollFlags::OUT)], Some(left))?;
        }
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing has come.
    Nothing,
    /// Nothing will come.
    End,
}

/// Where input comes from: standard input.
#[derive(Debug)]
pub(crate) struct Inlet {
    fd: OwnedFd,
}

impl Inlet {
    /// Input from what `inherited` is.
    pub(crate) fn new(inherited: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { fd: without_waiting(inherited, OFlags::RDONLY)?.0 })
    }

    /// Reads what is there. To be called when a poll has said that it is readable.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
        match rustix::io::read(&self.fd, buffer) {
            Ok(0) => Ok(ReadOutcome::End),
            Ok(n_read) => Ok(ReadOutcome::Bytes(n_read)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(ReadOutcome::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Inlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::fcntl_getfl;
    use std::io::{Read, Seek, Write};

    #[test]
    fn a_full_pipe_does_not_wait_and_the_inherited_end_is_left_as_it_was() {
        let (mut reading, writing) = io::pipe().unwrap();
        let mut outlet = Outlet::new(writing.as_fd()).unwrap();
        outlet.buffer().extend(vec![b'x'; 1 << 20]);
        outlet.flush().unwrap();
        assert!(outlet.n_waiting() > 0);
        assert!(!fcntl_getfl(&writing).unwrap().contains(OFlags::NONBLOCK));
        let mut n_read = 0;
        let mut buffer = vec![0; 100_000];
        while n_read < 1 << 20 {
            n_read += reading.read(&mut buffer).unwrap();
            outlet.flush().unwrap();
        }
        assert_eq!((n_read, outlet.n_waiting()), (1 << 20, 0));
        drop(reading);
        outlet.buffer().push(b'x');
        assert_eq!(outlet.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_socket_does_not_wait() {
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut outlet = Outlet::new(near.as_fd()).unwrap();
        outlet.buffer().extend(vec![b'x'; 4 << 20]);
        outlet.flush().unwrap();
        assert!(outlet.n_waiting() > 0);
    }

    #[test]
    fn a_file_goes_on_where_others_have_written() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before ").unwrap();
        let mut outlet = Outlet::new(file.as_fd()).unwrap();
        outlet.buffer().extend(b"after");
        outlet.flush().unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before after");
    }

    #[test]
    fn an_empty_pipe_gives_nothing_and_a_closed_one_its_end() {
        let (reading, mut writing) = io::pipe().unwrap();
        let inlet = Inlet::new(reading.as_fd()).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(inlet.read(&mut buffer).unwrap(), ReadOutcome::Nothing);
        writing.write_all(b"abc").unwrap();
        assert_eq!(inlet.read(&mut buffer).unwrap(), ReadOutcome::Bytes(3));
        drop(writing);
        assert_eq!(inlet.read(&mut buffer).unwrap(), ReadOutcome::End);
    }

    #[test]
    fn last_words_are_given_up_when_nobody_takes_them() {
        let (_reading, writing) = io::pipe().unwrap();
        let mut outlet = Outlet::new(writing.as_fd()).unwrap();
        outlet.buffer().extend(vec![b'x'; 1 << 20]);
        outlet.finish(Duration::from_millis(20)).unwrap();
        assert!(outlet.n_waiting() > 0);
    }
}
