//! Other programs that know something: started with nothing to read, in the C locale, for a short time.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// How long one may take. They ask a daemon of the system at most.
const LIMIT: Duration = Duration::from_secs(10);

/// The most that is read of what one says, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// It ended with 0.
    pub(crate) success: bool,
    /// On standard output, without blanks around it.
    pub(crate) out: String,
    /// On standard error, without blanks around it.
    pub(crate) err: String,
}

/// Why a program said nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silent {
    /// There is no such program.
    #[error("{0} is not installed")]
    Missing(String),
    /// It cannot be run or read.
    #[error("{program} cannot be run")]
    Failed {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not end.
    #[error("{program} did not end within {} s", LIMIT.as_secs())]
    TooSlow {
        /// The program.
        program: String,
    },
}

impl Said {
    /// Why it failed, in its own words.
    pub(crate) fn complaint(&self) -> &str {
        if self.err.is_empty() { &self.out } else { &self.err }
    }
}

/// Runs a program to its end. `program`: a path, or a name to be looked for in `PATH`.
#[expect(clippy::disallowed_methods, reason = "the one place of the command line that asks other programs")]
pub(crate) fn ask(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Said, Silent> {
    let program = program.as_ref();
    let shown = || program.to_string_lossy().into_owned();
    let failed = |source| Silent::Failed { program: shown(), source };
    crate::sys::hide_descriptors_from_children();
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Silent::Missing(shown())),
        Err(error) => return Err(failed(error)),
    };
    let mut out = Stream::new(child.stdout.take().expect("it is piped"));
    let mut err = Stream::new(child.stderr.take().expect("it is piped"));
    let heard = listen(&mut out, &mut err, Instant::now() + LIMIT);
    if !matches!(heard, Ok(true)) {
        // It may have ended by itself meanwhile.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    if !heard.map_err(failed)? {
        return Err(Silent::TooSlow { program: shown() });
    }
    Ok(Said { success: status.success(), out: out.text(), err: err.text() })
}

/// One end of a pipe, until nobody writes to it any more.
struct Stream<R> {
    pipe: Option<R>,
    read: Vec<u8>,
}

impl<R: Read + AsFd> Stream<R> {
    fn new(pipe: R) -> Self {
        Self { pipe: Some(pipe), read: Vec::new() }
    }

    /// Reads once; to be called when there is something, or the end.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut buffer = [0; 4096];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(n_read) => {
                let room = MAX_LENGTH.saturating_sub(self.read.len());
                self.read.extend_from_slice(&buffer[..n_read.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.read).trim().to_owned()
    }
}

/// Reads both until both have ended; false if that takes too long.
fn listen(
    out: &mut Stream<impl Read + AsFd>,
    err: &mut Stream<impl Read + AsFd>,
    deadline: Instant,
) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = left.try_into().expect("some seconds are a time that the system knows");
        let (out_ready, err_ready) = {
            let (out, err) = (out.pipe.as_ref(), err.pipe.as_ref());
            let mut watched: Vec<PollFd<'_>> =
                out.map(|pipe| PollFd::new(pipe, PollFlags::IN)).into_iter().collect();
            watched.extend(err.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            if watched.is_empty() {
                return Ok(true);
            }
            match poll(&mut watched, Some(&limit)) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let is_ready = |index: usize| watched.get(index).is_some_and(|one| !one.revents().is_empty());
            (out.is_some() && is_ready(0), err.is_some() && is_ready(usize::from(out.is_some())))
        };
        if out_ready {
            out.read()?;
        }
        if err_ready {
            err.read()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_heard_to_its_end() {
        let said = ask("sh", &["-c", "echo out; echo $LC_ALL >&2; exit 3"]).unwrap();
        assert_eq!(said, Said { success: false, out: "out".into(), err: "C".into() });
        assert_eq!(said.complaint(), "C");
        let much = ask("sh", &["-c", "head -c 3000000 /dev/zero | tr '\\0' x; head -c 200000 /dev/zero >&2"]);
        let much = much.unwrap();
        assert!(much.success);
        assert_eq!(much.out.len(), MAX_LENGTH);
    }

    #[test]
    fn what_is_not_there_or_cannot_be_run_is_told_apart() {
        assert!(
            matches!(ask("no-such-program", &[]), Err(Silent::Missing(name)) if name == "no-such-program")
        );
        assert!(matches!(ask("/etc/passwd", &[]), Err(Silent::Failed { .. })));
    }
}
