//! The loop of an attachment: waits for keyboard, holder and signals, feeds the view, carries out what it answers.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use laneway_daemon::config::DetachKey;
use laneway_wire::client::ClientError;
use laneway_wire::message::{Role, Size};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use rustix::termios::tcgetwinsize;

use super::guard::FullScreen;
use super::link::{Link, Received};
use super::stream::{Inlet, ReadOutcome, wait};
use super::view::{Event, Leaving, Response, Said, View};
use crate::sys::SignalDescriptor;

/// From this on nothing more is read from the holder until the terminal has taken some: 256 KiB, a few full
/// screens. The holder then makes up for what is lost with a picture.
const SCREEN_LIMIT: usize = 256 << 10;

/// From this on the keyboard is not read until the holder has taken some: 64 KiB.
const INPUT_LIMIT: usize = 64 << 10;

/// How much is read from the keyboard at once: the most a terminal holds.
const READ_LENGTH: usize = 4 << 10;

/// How long the last keys before leaving may wait for a holder that does not read.
const LAST_KEYS: Duration = Duration::from_secs(1);

/// Why an attachment could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// The user's terminal cannot be used.
    #[error("the terminal cannot be used")]
    Terminal(#[from] io::Error),
    /// The holder cannot be understood.
    #[error("the holder cannot be understood")]
    Holder(#[from] ClientError),
}

/// Shows the program called `name` on the user's terminal until the attachment is over.
pub(crate) fn run(link: Link, name: &str, role: Role, key: DetachKey) -> Result<Leaving, AttachError> {
    // In the background this stops the process before it has touched anything.
    let full_screen = FullScreen::take()?;
    let endings = [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT];
    let others = [Signal::WINCH, Signal::TSTP, Signal::TTIN, Signal::TTOU];
    let signals = SignalDescriptor::open(&[endings.as_slice(), &others].concat())?;
    let mut pump = Pump {
        // Read after signals are taken, so that no change is missed.
        view: View::new(name, role, size_of_terminal()?, key, Instant::now()),
        link,
        full_screen,
        inlet: Inlet::new(io::stdin().as_fd())?,
        signals,
    };
    let leaving = pump.run()?;
    pump.say_last_words();
    Ok(leaving)
}

fn size_of_terminal() -> io::Result<Size> {
    let size = tcgetwinsize(io::stdout())?;
    if size.ws_col == 0 || size.ws_row == 0 {
        // A serial line does not know; this is what terminals have been since the VT100.
        return Ok(Size { columns: 80, rows: 24 });
    }
    Ok(Size { columns: size.ws_col, rows: size.ws_row })
}

struct Pump {
    view: View,
    link: Link,
    full_screen: FullScreen,
    inlet: Inlet,
    signals: SignalDescriptor,
}

impl Pump {
    fn run(&mut self) -> Result<Leaving, AttachError> {
        loop {
            if let Response::Leave(leaving) = self.step()? {
                return Ok(leaving);
            }
        }
    }

    /// One wait and what it brings.
    fn step(&mut self) -> Result<Response, AttachError> {
        if let leave @ Response::Leave(_) = self.take_from_holder()? {
            return Ok(leave);
        }
        self.say();
        if self.full_screen.outlet.flush().is_err() {
            return Ok(self.handle(Event::TerminalGone));
        }
        let (keyboard, signalled) = self.wait()?;
        if signalled && let leave @ Response::Leave(_) = self.take_signals()? {
            return Ok(leave);
        }
        if keyboard {
            return Ok(self.take_from_keyboard());
        }
        match self.view.deadline() {
            Some(deadline) if deadline <= Instant::now() => Ok(self.handle(Event::TimePassed)),
            Some(_) | None => Ok(Response::Stay),
        }
    }

    /// Waits for anything; answers whether keyboard and signals are ready.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let outlet = &self.full_screen.outlet;
        let mut from_holder = PollFlags::empty();
        from_holder.set(PollFlags::IN, outlet.n_waiting() < SCREEN_LIMIT);
        from_holder.set(PollFlags::OUT, self.link.n_waiting() > 0);
        let may_type = self.link.n_waiting() < INPUT_LIMIT;
        let mut watched = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        if may_type {
            watched.push(PollFd::from_borrowed_fd(self.inlet.as_fd(), PollFlags::IN));
        }
        // A descriptor in which nothing is of interest would still report its end, again and again.
        if !from_holder.is_empty() {
            watched.push(PollFd::from_borrowed_fd(self.link.as_fd(), from_holder));
        }
        if outlet.n_waiting() > 0 {
            watched.push(PollFd::from_borrowed_fd(outlet.as_fd(), PollFlags::OUT));
        }
        let left = self.view.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        wait(&mut watched, left)?;
        let is_ready = |index: usize| !watched[index].revents().is_empty();
        Ok((may_type && is_ready(1), is_ready(0)))
    }

    fn handle(&mut self, event: Event<'_>) -> Response {
        let response = self.view.handle(event, Instant::now(), self.full_screen.outlet.buffer());
        self.full_screen.changes = self.view.changes();
        response
    }

    fn say(&mut self) {
        for said in self.view.take_said() {
            match said {
                Said::Request(request) => {
                    self.link.ask(&request);
                }
                Said::Input(bytes) => self.link.input(&bytes),
            }
        }
        self.link.flush();
    }

    fn take_from_holder(&mut self) -> Result<Response, AttachError> {
        while self.full_screen.outlet.n_waiting() < SCREEN_LIMIT {
            let response = match self.link.receive()? {
                Received::Incoming(incoming) => self.handle(Event::Holder(incoming)),
                Received::Nothing => break,
                Received::End => self.handle(Event::HolderGone),
            };
            if let Response::Leave(_) = response {
                return Ok(response);
            }
        }
        Ok(Response::Stay)
    }

    fn take_from_keyboard(&mut self) -> Response {
        let mut buffer = [0; READ_LENGTH];
        match self.inlet.read(&mut buffer) {
            Ok(ReadOutcome::Bytes(n_read)) => self.handle(Event::Typed(&buffer[..n_read])),
            Ok(ReadOutcome::Nothing) => Response::Stay,
            // A terminal that was hung up reads as ended, or as broken.
            Ok(ReadOutcome::End) | Err(_) => self.handle(Event::TerminalGone),
        }
    }

    fn take_signals(&mut self) -> Result<Response, AttachError> {
        for signal in self.signals.take() {
            let response = match signal {
                Signal::WINCH => {
                    let size = size_of_terminal()?;
                    self.handle(Event::Resized(size))
                }
                Signal::TERM | Signal::HUP | Signal::INT | Signal::QUIT => {
                    self.handle(Event::Signalled(signal))
                }
                // Only the keyboard stops an attachment, and its keys are the program's.
                _ => Response::Stay,
            };
            if let Response::Leave(_) = response {
                return Ok(response);
            }
        }
        Ok(Response::Stay)
    }

    /// Keys that were typed just before the detach key are still given to the program.
    fn say_last_words(&mut self) {
        let deadline = Instant::now() + LAST_KEYS;
        loop {
            self.say();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.link.n_waiting() == 0 || left.is_zero() {
                return;
            }
            let mut watched = [PollFd::from_borrowed_fd(self.link.as_fd(), PollFlags::OUT)];
            if wait(&mut watched, Some(left)).is_err() {
                return;
            }
        }
    }
}
