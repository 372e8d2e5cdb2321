//! The loop of a task: waits for streams, holder and signals, feeds the task, carries out what it answers.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

use laneway_wire::client::ClientError;
use laneway_wire::message::Size;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, getppid};
use rustix::termios::tcgetwinsize;

use super::guard::{LAST_WORDS, RawMode};
use super::link::{Link, Received};
use super::modes::{self, Changes};
use super::stream::{Inlet, Outlet, ReadOutcome, wait};
use super::task::{Action, Ending, Event, Task};
use crate::sys::SignalDescriptor;

/// From this on nothing more is read from the holder until our reader has taken some, and so the program waits:
/// 256 KiB, four times what a pipe holds.
const OUTPUT_LIMIT: usize = 256 << 10;

/// From this on standard input is not read until the holder has taken some: 256 KiB.
const INPUT_LIMIT: usize = 256 << 10;

/// How much is read from standard input at once: what a pipe holds.
const READ_LENGTH: usize = 64 << 10;

/// The most that is kept of a stream for `--json`: its first 1 MiB.
const KEPT_LENGTH: usize = 1 << 20;

/// Why a task could not be waited for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// Our own streams, signals or terminal cannot be used.
    #[error("the standard streams cannot be used")]
    Streams(#[from] io::Error),
    /// The holder cannot be understood.
    #[error("the holder cannot be understood")]
    Holder(#[from] ClientError),
    /// The guard of the terminal was killed; the task ends with its connection.
    #[error("the process that waited for the terminal was killed")]
    GuardGone,
}

/// How a task is joined to its caller.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The folder of the holder's socket.
    pub(crate) holder_folder: PathBuf,
    /// The caller's terminal is the program's: in raw mode, with its size.
    pub(crate) tty: bool,
    /// Output is kept instead of written.
    pub(crate) keep_output: bool,
    /// When the task is stopped.
    pub(crate) deadline: Option<Instant>,
}

/// What became of a task.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) ending: Ending,
    /// What was kept of standard output.
    pub(crate) stdout: Kept,
    /// What was kept of standard error.
    pub(crate) stderr: Kept,
}

/// The beginning of a stream.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Its first bytes.
    pub(crate) bytes: Vec<u8>,
    /// There was more.
    pub(crate) truncated: bool,
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let room = KEPT_LENGTH - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
    }
}

/// Owns the task over `link` until it has ended.
pub(crate) fn run(link: Link, terms: Terms) -> Result<Finished, ExecError> {
    let raw = terms.tty.then(RawMode::enter).transpose()?;
    let mut taken = vec![Signal::INT, Signal::TERM];
    if terms.tty {
        taken.extend([Signal::WINCH, Signal::TTIN, Signal::TTOU]);
    }
    let signals = SignalDescriptor::open(&taken)?;
    // Asked after signals are taken, so that no change is missed.
    let size = terms.tty.then(size_of_terminal).transpose()?;
    let (task, actions) = Task::begin(size);
    let mut pump = Pump {
        task,
        link,
        aside: None,
        signals,
        // A terminal whose guard is gone is given back.
        guard: if terms.tty { getppid() } else { None },
        inlet: Some(Inlet::new(io::stdin().as_fd())?),
        stdout: Outlet::new(io::stdout().as_fd())?,
        stderr: Outlet::new(io::stderr().as_fd())?,
        kept: [Kept::default(), Kept::default()],
        buffer: vec![0; READ_LENGTH],
        terms,
    };
    let begun = pump.carry_out(actions);
    let ended = match begun {
        None => pump.run(),
        Some(ending) => Ok(ending),
    };
    let ending = pump.end(ended)?;
    drop(raw);
    let [stdout, stderr] = pump.kept;
    Ok(Finished { ending, stdout, stderr })
}

fn size_of_terminal() -> io::Result<Size> {
    let size = tcgetwinsize(io::stdout())?;
    Ok(Size { columns: size.ws_col, rows: size.ws_row })
}

struct Pump {
    task: Task,
    link: Link,
    /// For signals and the stop, made when it is needed first.
    aside: Option<Link>,
    signals: SignalDescriptor,
    /// The process that guards the terminal, if there is one.
    guard: Option<Pid>,
    /// None when it has ended.
    inlet: Option<Inlet>,
    stdout: Outlet,
    stderr: Outlet,
    kept: [Kept; 2],
    buffer: Vec<u8>,
    terms: Terms,
}

/// What a wait brought.
#[derive(Debug, Default)]
struct Ready {
    input: bool,
    signals: bool,
    aside: bool,
}

impl Pump {
    fn run(&mut self) -> Result<Ending, ExecError> {
        loop {
            if let Some(ending) = self.step()? {
                return Ok(ending);
            }
        }
    }

    /// One wait and what it brings; the ending, if it was the last.
    fn step(&mut self) -> Result<Option<Ending>, ExecError> {
        if let ending @ Some(_) = self.take_from_holder()? {
            return Ok(ending);
        }
        self.link.flush();
        if let Some(aside) = &mut self.aside {
            aside.flush();
        }
        if let ending @ Some(_) = self.flush_output()? {
            return Ok(ending);
        }
        let ready = self.wait()?;
        if ready.signals
            && let ending @ Some(_) = self.take_signals()?
        {
            return Ok(ending);
        }
        if ready.aside
            && let ending @ Some(_) = self.take_from_aside()?
        {
            return Ok(ending);
        }
        if self.terms.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.terms.deadline = None;
            if let ending @ Some(_) = self.handle(Event::TimeUp) {
                return Ok(ending);
            }
        }
        Ok(if ready.input { self.take_input() } else { None })
    }

    fn has_room(&self) -> bool {
        self.stdout.n_waiting() < OUTPUT_LIMIT && self.stderr.n_waiting() < OUTPUT_LIMIT
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut from_holder = PollFlags::empty();
        from_holder.set(PollFlags::IN, self.has_room());
        from_holder.set(PollFlags::OUT, self.link.n_waiting() > 0);
        let inlet =
            self.inlet.as_ref().filter(|_| self.task.takes_input() && self.link.n_waiting() < INPUT_LIMIT);
        let mut watched = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        let mut watch = |fd, flags| {
            watched.push(PollFd::from_borrowed_fd(fd, flags));
            watched.len() - 1
        };
        let input_at = inlet.map(|inlet| watch(inlet.as_fd(), PollFlags::IN));
        let aside_at = self.aside.as_ref().map(|aside| {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, aside.n_waiting() > 0);
            watch(aside.as_fd(), flags)
        });
        // A descriptor in which nothing is of interest would still report its end, again and again.
        if !from_holder.is_empty() {
            watch(self.link.as_fd(), from_holder);
        }
        for outlet in [&self.stdout, &self.stderr] {
            if outlet.n_waiting() > 0 {
                watch(outlet.as_fd(), PollFlags::OUT);
            }
        }
        let left = self.terms.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        wait(&mut watched, left)?;
        let is_ready = |at: Option<usize>| at.is_some_and(|at| !watched[at].revents().is_empty());
        Ok(Ready { input: is_ready(input_at), signals: is_ready(Some(0)), aside: is_ready(aside_at) })
    }

    fn handle(&mut self, event: Event<'_>) -> Option<Ending> {
        let actions = self.task.handle(event);
        self.carry_out(actions)
    }

    fn carry_out(&mut self, actions: Vec<Action>) -> Option<Ending> {
        for action in actions {
            match action {
                Action::Stdout(bytes) if self.terms.keep_output => self.kept[0].take(&bytes),
                Action::Stderr(bytes) if self.terms.keep_output => self.kept[1].take(&bytes),
                Action::Stdout(bytes) => self.stdout.buffer().extend_from_slice(&bytes),
                Action::Stderr(bytes) => self.stderr.buffer().extend_from_slice(&bytes),
                Action::Input(bytes) => self.link.input(&bytes),
                Action::Ask(request) => {
                    self.link.ask(&request);
                }
                Action::AskAside(request) => {
                    if self.aside.is_none() {
                        self.aside = Link::open(&self.terms.holder_folder).ok();
                    }
                    // A holder that takes no more connections may still take it here.
                    self.aside.as_mut().unwrap_or(&mut self.link).ask(&request);
                }
                Action::End(ending) => return Some(ending),
            }
        }
        None
    }

    fn take_from_holder(&mut self) -> Result<Option<Ending>, ExecError> {
        while self.has_room() {
            let ending = match self.link.receive()? {
                Received::Incoming(incoming) => self.handle(Event::Holder(incoming)),
                Received::Nothing => break,
                Received::End => self.handle(Event::HolderGone),
            };
            if ending.is_some() {
                return Ok(ending);
            }
        }
        Ok(None)
    }

    fn take_from_aside(&mut self) -> Result<Option<Ending>, ExecError> {
        loop {
            let Some(aside) = &mut self.aside else { return Ok(None) };
            match aside.receive()? {
                Received::Incoming(incoming) => {
                    if let ending @ Some(_) = self.handle(Event::Aside(incoming)) {
                        return Ok(ending);
                    }
                }
                Received::Nothing => return Ok(None),
                // What became of the holder is told by the task's connection.
                Received::End => self.aside = None,
            }
        }
    }

    fn take_input(&mut self) -> Option<Ending> {
        let inlet = self.inlet.as_ref()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = inlet.read(&mut buffer);
        let ending = match outcome {
            Ok(ReadOutcome::Bytes(n_read)) => self.handle(Event::Input(&buffer[..n_read])),
            Ok(ReadOutcome::Nothing) => None,
            // A terminal that was hung up, or a folder: it gives nothing.
            Ok(ReadOutcome::End) | Err(_) => {
                self.inlet = None;
                self.handle(Event::InputEnded)
            }
        };
        self.buffer = buffer;
        ending
    }

    fn take_signals(&mut self) -> Result<Option<Ending>, ExecError> {
        for signal in self.signals.take() {
            let ending = match signal {
                Signal::WINCH => {
                    let size = size_of_terminal()?;
                    self.handle(Event::Resized(size))
                }
                Signal::TERM if self.guard.is_some() && self.guard != getppid() => {
                    return Err(ExecError::GuardGone);
                }
                Signal::INT | Signal::TERM => self.handle(Event::Signalled(signal)),
                _ => None,
            };
            if ending.is_some() {
                return Ok(ending);
            }
        }
        Ok(None)
    }

    fn flush_output(&mut self) -> Result<Option<Ending>, ExecError> {
        match self.stdout.flush().and_then(|()| self.stderr.flush()) {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(self.handle(Event::OutputGone)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what is left, and brings a terminal back that the program had no chance to.
    fn end(&mut self, ended: Result<Ending, ExecError>) -> Result<Ending, ExecError> {
        let has_cleaned_up = matches!(&ended, Ok(Ending::Exited(exited)) if exited.code.is_some());
        if self.terms.tty && !has_cleaned_up {
            self.stdout.buffer().extend(modes::plain_on_first_screen(Changes::default()));
        }
        match ended {
            Ok(Ending::OutputGone) => Ok(Ending::OutputGone),
            Ok(ending) => self.write_the_rest(ending),
            Err(error) => {
                // A terminal that somebody else writes to at this moment takes nothing at the first try. What
                // fails here has nobody to be told: the error before it is what counts.
                let _ = self.stdout.finish(LAST_WORDS);
                Err(error)
            }
        }
    }

    /// Waits until all output is taken. There is no program any more that a signal could be for: it ends this.
    fn write_the_rest(&mut self, ending: Ending) -> Result<Ending, ExecError> {
        loop {
            match self.stdout.flush().and_then(|()| self.stderr.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ending::OutputGone),
                Err(error) => return Err(error.into()),
            }
            let mut watched = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
            let outlets = [&self.stdout, &self.stderr].into_iter().filter(|outlet| outlet.n_waiting() > 0);
            watched.extend(outlets.map(|outlet| PollFd::from_borrowed_fd(outlet.as_fd(), PollFlags::OUT)));
            if watched.len() == 1 {
                return Ok(ending);
            }
            wait(&mut watched, None)?;
            if self.signals.take().iter().any(|signal| matches!(*signal, Signal::INT | Signal::TERM)) {
                return Ok(Ending::OutputGone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_stream_is_kept_and_more_is_told() {
        let mut kept = Kept::default();
        kept.take(&vec![b'a'; KEPT_LENGTH - 1]);
        kept.take(b"b");
        assert!(!kept.truncated);
        assert_eq!(kept.bytes.len(), KEPT_LENGTH);
        kept.take(b"c");
        assert!(kept.truncated);
        assert_eq!(kept.bytes.last(), Some(&b'b'));
    }
}
