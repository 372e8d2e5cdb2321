//! The least that can be done with a terminal: open it, start a program on it, read it in a loop.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::bench::program::QUESTION;
use crate::bench::program::workload::{COLUMNS, ROWS};

/// How much is asked for at once, in bytes; the kernel gives 4 KiB.
const READ_LENGTH: usize = 64 << 10;

/// How long something that is expected may take to come.
const LIMIT: Duration = Duration::from_secs(10);

/// A program on a terminal of its own.
pub(crate) struct BarePty {
    master: OwnedFd,
    child: Child,
}

impl BarePty {
    /// Opens a terminal and starts the program on it. The program is no leader of a session: nothing is quicker.
    pub(crate) fn open(mut command: Command) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).context("no new terminal")?;
        unlockpt(&master)?;
        tcsetwinsize(&master, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 })?;
        let terminal = ioctl_tiocgptpeer(&master, flags)?;
        let (input, output) = (terminal.try_clone()?, terminal.try_clone()?);
        let child = command.stdin(input).stdout(output).stderr(terminal).spawn();
        Ok(Self { master, child: child.with_context(|| format!("{command:?}"))? })
    }

    /// A second descriptor of the terminal.
    pub(crate) fn master(&self) -> Result<OwnedFd> {
        Ok(self.master.try_clone()?)
    }

    /// Types a key and reads until it comes back.
    pub(crate) fn press(&self, key: u8) -> Result<()> {
        rustix::io::write(&self.master, &[key])?;
        let mut buffer = [0; 4 << 10];
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(self.is_readable_within(left)?, "the key {:?} never came back", char::from(key));
            let n_read = rustix::io::read(&self.master, &mut buffer)?;
            if buffer[..n_read].contains(&key) {
                return Ok(());
            }
        }
    }

    /// Reads until nothing has come for a time.
    pub(crate) fn read_until_quiet_for(&self, time: Duration) -> Result<()> {
        let mut buffer = [0; 4 << 10];
        while self.is_readable_within(time)? {
            rustix::io::read(&self.master, &mut buffer)?;
        }
        Ok(())
    }

    fn is_readable_within(&self, limit: Duration) -> Result<bool> {
        let limit = Timespec::try_from(limit)?;
        Ok(poll(&mut [PollFd::new(&self.master, PollFlags::IN)], Some(&limit))? > 0)
    }

    /// Waits until the program has ended by itself.
    pub(crate) fn wait(&mut self) -> Result<()> {
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for BarePty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a terminal until its program is gone; gives the answer to the question at the end of the output.
pub(crate) fn drain(master: impl AsFd) -> Result<()> {
    let mut buffer = vec![0; READ_LENGTH];
    // The last bytes so far, since the question may be cut.
    let mut tail = Vec::with_capacity(2 * QUESTION.len());
    loop {
        let read = match rustix::io::read(&master, &mut buffer) {
            Ok(0) | Err(Errno::IO) => return Ok(()),
            Ok(n_read) => &buffer[..n_read],
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        tail.extend_from_slice(&read[read.len().saturating_sub(QUESTION.len())..]);
        tail.drain(..tail.len().saturating_sub(QUESTION.len()));
        if tail == QUESTION {
            rustix::io::write(&master, b"\x1b[1;1R")?;
        }
    }
}
