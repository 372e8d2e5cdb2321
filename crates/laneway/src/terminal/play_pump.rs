//! The loop of a player: waits for the moment of the next output, for keys and for signals, and draws.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use rustix::termios::{QueueSelector, tcflush, tcgetwinsize};

use super::guard::{LAST_WORDS, RawMode};
use super::modes;
use super::output_filter::OutputFilter;
use super::player::{Pace, Player, Response};
use super::stream::{Inlet, Outlet, ReadOutcome, wait};
use crate::cast::{CastError, Output, Recording};
use crate::sys::SignalDescriptor;

/// From this on nothing more is drawn until the terminal has taken some: 256 KiB, a few full screens.
const SCREEN_LIMIT: usize = 256 << 10;

/// How much is read from the keyboard at once: the most a terminal holds.
const READ_LENGTH: usize = 4 << 10;

/// Why playing could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlayError {
    /// The user's terminal cannot be used.
    #[error("the terminal cannot be used")]
    Terminal(#[from] io::Error),
    /// The recording cannot be read.
    #[error("the recording cannot be played")]
    Recording(#[from] CastError),
}

/// How playing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All of it was shown.
    AtTheEnd,
    /// The user has left.
    Quit,
    /// This process is to end by this signal, or by its key.
    Signalled(Signal),
    /// There is no terminal any more.
    TerminalGone,
}

/// Plays the recording on the user's terminal, as fast as `pace` says.
pub(crate) fn run(recording: &mut Recording, pace: Pace) -> Result<Ended, PlayError> {
    // In the background this stops the process before it has touched anything.
    let stage = Stage::take()?;
    let endings = [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT];
    let others = [Signal::TSTP, Signal::TTIN, Signal::TTOU];
    let signals = SignalDescriptor::open(&[endings.as_slice(), &others].concat())?;
    let player = Player::new(pace, Instant::now());
    let mut pump =
        Pump { recording, next: None, player, stage, inlet: Inlet::new(io::stdin().as_fd())?, signals };
    pump.load()?;
    loop {
        if let Some(ended) = pump.step()? {
            return Ok(ended);
        }
    }
}

/// The user's terminal in raw mode, with room made for what is played; dropping it gives it back.
struct Stage {
    outlet: Outlet,
    filter: OutputFilter,
    /// The cursor stands at the beginning of a line.
    is_at_line_start: bool,
    _raw: RawMode,
}

impl Stage {
    fn take() -> io::Result<Self> {
        let mut outlet = Outlet::new(io::stdout().as_fd())?;
        let raw = RawMode::enter()?;
        outlet.buffer().extend(modes::make_room(tcgetwinsize(io::stdout())?.ws_row));
        Ok(Self { outlet, filter: OutputFilter::of_recording(), is_at_line_start: true, _raw: raw })
    }

    fn show(&mut self, text: &str) {
        // A recording never needs a picture.
        let _ = self.filter.pass(text.as_bytes(), self.outlet.buffer());
        self.is_at_line_start = text.chars().next_back().map_or(self.is_at_line_start, |last| last == '\n');
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is not drawn yet will not be seen, and a stopped terminal must not hold up leaving it.
        self.outlet.clear();
        self.outlet.buffer().extend(modes::give_back_in_place(self.filter.changes()));
        if !self.is_at_line_start {
            self.outlet.buffer().extend_from_slice(b"\r\n");
        }
        // The terminal may be gone.
        let _ = self.outlet.finish(LAST_WORDS);
        // Answers to what was asked in the recording are not for the shell.
        let _ = tcflush(io::stdin(), QueueSelector::IFlush);
    }
}

struct Pump<'a> {
    recording: &'a mut Recording,
    /// What is to be shown next; none at the end.
    next: Option<Output>,
    player: Player,
    stage: Stage,
    inlet: Inlet,
    signals: SignalDescriptor,
}

impl Pump<'_> {
    fn load(&mut self) -> Result<(), CastError> {
        self.next = self.recording.next()?;
        if let Some(next) = &self.next {
            self.player.expect(next.at);
        }
        Ok(())
    }

    fn show_next(&mut self) -> Result<(), CastError> {
        if let Some(output) = self.next.take() {
            self.stage.show(&output.text);
        }
        self.load()
    }

    /// Draws what is due, then one wait and what it brings; how it ended, if it was the last.
    fn step(&mut self) -> Result<Option<Ended>, PlayError> {
        let now = Instant::now();
        while self.next.is_some() && self.player.is_due(now) && self.has_room() {
            self.show_next()?;
        }
        if self.stage.outlet.flush().is_err() {
            return Ok(Some(Ended::TerminalGone));
        }
        if self.next.is_none() && self.stage.outlet.n_waiting() == 0 {
            return Ok(Some(Ended::AtTheEnd));
        }
        let (keyboard, signalled) = self.wait(now)?;
        if signalled && let Some(signal) = self.ending_signal() {
            return Ok(Some(Ended::Signalled(signal)));
        }
        if keyboard { self.take_from_keyboard() } else { Ok(None) }
    }

    fn has_room(&self) -> bool {
        self.stage.outlet.n_waiting() < SCREEN_LIMIT
    }

    /// Waits for anything; answers whether keyboard and signals are ready.
    fn wait(&self, now: Instant) -> io::Result<(bool, bool)> {
        let outlet = &self.stage.outlet;
        let mut watched = vec![
            PollFd::from_borrowed_fd(self.inlet.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        if outlet.n_waiting() > 0 {
            watched.push(PollFd::from_borrowed_fd(outlet.as_fd(), PollFlags::OUT));
        }
        // What is due and finds no room waits for the terminal.
        let due = self.player.deadline().filter(|_| self.next.is_some() && self.has_room());
        wait(&mut watched, due.map(|due| due.saturating_duration_since(now)))?;
        let is_ready = |index: usize| !watched[index].revents().is_empty();
        Ok((is_ready(0), is_ready(1)))
    }

    fn ending_signal(&self) -> Option<Signal> {
        let is_ending =
            |signal: &Signal| matches!(*signal, Signal::TERM | Signal::HUP | Signal::INT | Signal::QUIT);
        self.signals.take().into_iter().find(is_ending)
    }

    fn take_from_keyboard(&mut self) -> Result<Option<Ended>, PlayError> {
        let mut buffer = [0; READ_LENGTH];
        let n_read = match self.inlet.read(&mut buffer) {
            Ok(ReadOutcome::Bytes(n_read)) => n_read,
            Ok(ReadOutcome::Nothing) => return Ok(None),
            // A terminal that was hung up reads as ended, or as broken.
            Ok(ReadOutcome::End) | Err(_) => return Ok(Some(Ended::TerminalGone)),
        };
        Ok(match self.player.typed(&buffer[..n_read], Instant::now()) {
            (Response::Quit, _) => Some(Ended::Quit),
            (Response::Interrupt, _) => Some(Ended::Signalled(Signal::INT)),
            (Response::Stay, shows_next) => {
                if shows_next {
                    self.show_next()?;
                }
                None
            }
        })
    }
}
