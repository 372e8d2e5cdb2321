//! A run in a pane: its terminal is the one that the holder was started on, and somebody else's.
//!
//! What the pane shows is known to the multiplexer. The holder knows it only while the pane is tapped, when its output
//! comes on a named pipe too; without that it has no screen and nothing to do.
//!
//! * **Hang-up.** The pane or its multiplexer is gone: the run is stopped, and its end says why.
//! * **End.** What the program wrote last may still be on its way. So the terminal is asked how it is when the program
//!   has ended: whoever answers has read all that was written before. Only then is the exit told.
//! * **Suspension.** Nobody is there who would bring a suspended program back; it goes on at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use laneway_wire::message::{FromHolder, Launch, Record, Tap, refusal};
use laneway_wire::{ByteVec, Stream};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr, tcsetpgrp};

use super::terminal::{Shown, Terminal};
use super::{Holder, wire_size};
use crate::clock::Moment;
use crate::input::Asker;
use crate::log;
use crate::recording::Recording;
use crate::screen;

/// How long the terminal is waited for to have read what the program has written: a multiplexer that is busy, not
/// one that has stopped.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(1);

/// "How are you?", which draws nothing: a device status report is asked for.
const HOW_ARE_YOU: &[u8] = b"\x1b[5n";

/// "Well."
const WELL: &[u8] = b"\x1b[0n";

/// A pane's terminal.
pub(super) struct Pane {
    /// The terminal, non-blocking.
    pub(super) tty: OwnedFd,
    /// What it shows, while that is known.
    pub(super) shown: Option<Shown>,
    /// The pipe that output comes from.
    pipe: Option<PathBuf>,
    history_lines: usize,
    /// What is to be recorded, with the program's environment.
    record: Option<(Record, Vec<(ByteVec, ByteVec)>)>,
    /// The terminal was closed while the program ran.
    pub(super) hung_up: bool,
    /// The program has ended, and the terminal was asked whether it has read all.
    last_word: Option<LastWord>,
}

struct LastWord {
    until: Instant,
    /// The end of what was read that may be the beginning of the answer.
    heard: Vec<u8>,
}

impl Pane {
    pub(super) fn new(tty: OwnedFd, launch: &Launch) -> Self {
        Self {
            tty,
            shown: None,
            pipe: None,
            history_lines: launch.history_lines as usize,
            record: launch.record.map(|plan| (plan, launch.env.clone())),
            hung_up: false,
            last_word: None,
        }
    }

    /// Hears an answer of the terminal; true if it is the one that is waited for.
    fn hears(&mut self, bytes: &[u8]) -> bool {
        let Some(last_word) = &mut self.last_word else { return false };
        last_word.heard.extend_from_slice(bytes);
        let has_answered = last_word.heard.windows(WELL.len()).any(|heard| heard == WELL);
        let n_done = last_word.heard.len().saturating_sub(WELL.len());
        last_word.heard.drain(..n_done);
        has_answered
    }
}

/// Removes the pipe that a tap came from; one that is gone is fine.
fn remove_pipe(pipe: Option<PathBuf>) {
    if let Some(path) = pipe
        && let Err(error) = std::fs::remove_file(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        log(&format!("{} was not removed: {error}", path.display()));
    }
}

/// Opens a named pipe so that it never ends, whoever opens and closes it.
fn open_pipe(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let pipe = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&pipe)?;
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw();
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo || !is_ours {
        return Err(Errno::INVAL);
    }
    Ok(pipe)
}

impl Holder {
    /// The pane's terminal, while its answer is waited for.
    pub(super) fn answering_tty(&self) -> Option<BorrowedFd<'_>> {
        match &self.terminal {
            // What a tapped pane has read is seen in its output.
            Terminal::Pane(pane) if pane.last_word.is_some() && pane.shown.is_none() => {
                Some(pane.tty.as_fd())
            }
            Terminal::Pane(_) | Terminal::Pty(_) | Terminal::Pipes(_) => None,
        }
    }

    /// When the answer is not waited for any more.
    pub(super) fn last_word_deadline(&self) -> Option<Instant> {
        match &self.terminal {
            Terminal::Pane(pane) => pane.last_word.as_ref().map(|last_word| last_word.until),
            Terminal::Pty(_) | Terminal::Pipes(_) => None,
        }
    }

    /// The terminal may still have something of the program to read.
    pub(super) fn awaits_last_word(&self) -> bool {
        self.last_word_deadline().is_some()
    }

    /// Asks the terminal, when the program has ended, whether it has read all.
    pub(super) fn ask_for_last_word(&mut self, now: Moment) {
        let Terminal::Pane(pane) = &mut self.terminal else { return };
        if pane.hung_up {
            return;
        }
        let asked = || {
            // What is typed from here on is for nobody, and is not shown. The holder takes the terminal first, else
            // it might not read what is answered.
            tcsetpgrp(&pane.tty, Pid::from_raw(self.started.holder.pid.cast_signed()).ok_or(Errno::SRCH)?)?;
            let mut attributes = tcgetattr(&pane.tty)?;
            attributes.make_raw();
            attributes.output_modes |= rustix::termios::OutputModes::OPOST;
            tcsetattr(&pane.tty, OptionalActions::Now, &attributes)?;
            rustix::io::write(&pane.tty, HOW_ARE_YOU)
        };
        if asked() == Ok(HOW_ARE_YOU.len()) {
            let until = now.instant + LAST_WORD_LIMIT;
            pane.last_word = Some(LastWord { until, heard: Vec::new() });
        }
    }

    /// Reads what the terminal answers.
    pub(super) fn read_tty(&mut self) {
        let Terminal::Pane(pane) = &mut self.terminal else { return };
        let mut buffer = [0; 256];
        let is_over = match rustix::io::read(&pane.tty, &mut buffer) {
            Ok(n_read @ 1..) => pane.hears(&buffer[..n_read]),
            Err(Errno::AGAIN | Errno::INTR) => false,
            Ok(_) | Err(_) => true,
        };
        if is_over {
            pane.last_word = None;
        }
    }

    /// Hears what the screen of a tapped pane has answered.
    pub(super) fn hear_answers(&mut self, answers: &[u8]) {
        if let Terminal::Pane(pane) = &mut self.terminal
            && pane.hears(answers)
        {
            pane.last_word = None;
        }
    }

    /// Waits no longer.
    pub(super) fn give_up_last_word(&mut self, now: Moment) {
        if let Terminal::Pane(pane) = &mut self.terminal
            && pane.last_word.as_ref().is_some_and(|last_word| last_word.until <= now.instant)
        {
            log("the terminal did not say that it has read all");
            pane.last_word = None;
        }
    }

    /// A hang-up was signalled. Answers whether it is so: that signal is sent by people too.
    pub(super) fn has_hung_up(&mut self) -> bool {
        let Terminal::Pane(pane) = &mut self.terminal else { return false };
        let is_gone = tcgetattr(&pane.tty).is_err();
        pane.hung_up |= is_gone && self.exited.is_none();
        if is_gone {
            pane.last_word = None;
        }
        is_gone
    }

    /// The program was suspended: it gets the terminal, and goes on.
    pub(super) fn bring_back(&mut self, by: i32) {
        let Terminal::Pane(pane) = &self.terminal else { return };
        let by_terminal = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&by);
        if !by_terminal || self.stop.is_some() {
            return;
        }
        // It leads its group, see `signal_program`.
        if let Some(group) = Pid::from_raw(self.started.program.pid.cast_signed())
            && let Err(errno) = tcsetpgrp(&pane.tty, group)
        {
            log(&format!("the program does not get the terminal: {errno}"));
        }
        if let Err(errno) = self.signal_program(Signal::CONT) {
            log(&format!("the program does not go on: {errno}"));
        }
    }

    /// Begins to show what a pane shows.
    pub(super) fn tap(&mut self, asker: Asker, tap: &Tap, now: Moment) {
        let Terminal::Pane(pane) = &mut self.terminal else {
            self.refuse(asker, refusal::OUT_OF_PLACE, "the run is in no pane");
            return;
        };
        if tap.pipe.is_none() && pane.shown.is_some() {
            self.say(asker, &FromHolder::Done);
            return;
        }
        let path = tap.pipe.as_ref().map(|path| {
            use std::os::unix::ffi::OsStrExt as _;
            PathBuf::from(std::ffi::OsStr::from_bytes(path))
        });
        let source = match path.as_deref().map(open_pipe).transpose() {
            Ok(pipe) => pipe.map(Arc::new),
            Err(errno) => {
                self.refuse(asker, refusal::SYSTEM, &format!("the pipe cannot be used: {errno}"));
                return;
            }
        };
        let size = screen::Size::new(tap.size.columns, tap.size.rows);
        let former = std::mem::replace(&mut pane.pipe, path);
        if former != pane.pipe {
            remove_pipe(former);
        }
        let is_anew = pane.shown.is_some();
        if let Some(shown) = &mut pane.shown {
            drop(shown.reader.take());
            shown.source = source;
        } else {
            let recording = pane.record.take();
            let recording =
                recording.map(|(plan, env)| Recording::begin(&self.folder, plan, &env, size, now));
            pane.shown = Some(Shown::new(source, size, pane.history_lines, recording));
        }
        if is_anew {
            self.show_size(size);
            // Whoever looks on has drawn something else: reset, and no lines that have scrolled off.
            self.take_output(Stream::Pty, b"\x1bc\x1b[3J");
        }
        self.take_output(Stream::Pty, &tap.seed);
        if self.exit_is_told {
            self.write_final_screen();
        }
        self.say(asker, &FromHolder::Done);
    }

    /// Follows the size of a tapped pane, which is the multiplexer's. To be called before output is taken: a program
    /// that draws anew does so after it was told of the size.
    pub(super) fn follow_size(&mut self) {
        let Terminal::Pane(Pane { shown: Some(shown), .. }) = &self.terminal else { return };
        let Some(size) = self.terminal.size() else { return };
        if wire_size(shown.screen.size()) != size {
            self.show_size(screen::Size::new(size.columns, size.rows));
        }
    }

    /// The tap ends with the holder.
    pub(super) fn end_tap(&mut self) {
        if let Terminal::Pane(pane) = &mut self.terminal {
            remove_pipe(pane.pipe.take());
        }
    }
}
