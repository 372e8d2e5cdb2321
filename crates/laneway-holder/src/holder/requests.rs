//! What peers ask for.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::time::Duration;

use laneway_wire::frame::MAX_DATA;
use laneway_wire::message::{
    FromHolder, Incoming, Lines, Phase, Program, Role, Send, Size, Status, Text, refusal,
};
use laneway_wire::{PROTOCOL_VERSION, Stream, ToHolder};
use rustix::process::Signal;
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};

use super::output::{give_tail, given_role, wire_cursor};
use super::pane::Pane;
use super::terminal::{Pty, Terminal};
use super::{DEFAULT_GRACE, Holder, Ownership, wire_size};
use crate::clock::Moment;
use crate::input::{Asker, Cut};
use crate::peer::{AwaitedChange, PeerId, View};
use crate::screen::{self, Screen};
use crate::sys::{self, Executable};
use crate::typing::{self, SendRefusal, Typed};

/// How the holder names its version.
pub(crate) const HOLDER_VERSION: &str = concat!("lane-holder ", env!("CARGO_PKG_VERSION"));

/// Why nobody types by the holder of a pane.
const IN_A_PANE: &str = "the run is in a pane: who types there does so through its multiplexer";

impl Holder {
    /// Answers one message or takes the data of one frame.
    pub(super) fn answer(&mut self, id: PeerId, incoming: Incoming<ToHolder>, now: Moment) {
        match incoming {
            Incoming::Data { stream: Stream::Input, bytes, .. } => {
                self.last_activity = now.instant;
                self.take_input(id, &bytes);
            }
            // Streams of newer clients.
            Incoming::Data { .. } => {}
            Incoming::Unknown { tag } => {
                let message = format!("{HOLDER_VERSION} does not know this request");
                self.refuse(Asker { peer: id, tag }, refusal::UNKNOWN_REQUEST, &message);
            }
            Incoming::Message { tag, message } => self.answer_request(Asker { peer: id, tag }, message, now),
        }
    }

    fn answer_request(&mut self, asker: Asker, request: ToHolder, now: Moment) {
        match request {
            ToHolder::Hello { .. } => {
                let hello = FromHolder::Hello {
                    protocol: PROTOCOL_VERSION,
                    holder: HOLDER_VERSION.to_owned(),
                    run: self.run.clone(),
                    pid: self.started.holder.pid,
                };
                self.say(asker, &hello);
            }
            ToHolder::Launch(_) => self.refuse(asker, refusal::OUT_OF_PLACE, "the run was launched before"),
            ToHolder::Watch => {
                if let Some(peer) = self.peers.get_mut(&asker.peer) {
                    peer.is_watching = true;
                }
                self.say_status(asker, None);
            }
            ToHolder::Status => {
                let n_others = self.count_others();
                self.say_status(asker, Some(n_others));
            }
            ToHolder::Attach { role, size, since } => self.attach(asker, role, size, since),
            ToHolder::Own => self.own(asker),
            ToHolder::CloseInput => self.close_input(asker),
            ToHolder::TakeDriver { size } => self.take_driver(asker, size),
            ToHolder::Resize { size } => self.resize_for(asker, size),
            ToHolder::Send(send) => {
                self.last_activity = now.instant;
                self.send(asker, &send);
            }
            ToHolder::Read { lines, ansi, since } => self.read(asker, lines, ansi, since),
            ToHolder::Follow { since, last, ansi } => {
                self.follow(asker.peer, AwaitedChange { tag: asker.tag, since, last, ansi });
            }
            ToHolder::Signal { signal } => self.signal(asker, signal),
            ToHolder::Stop { signal, grace_ms } => self.stop_for(asker, signal, grace_ms, now),
            ToHolder::Acknowledge => self.acknowledge(asker),
            ToHolder::StartDaemon(program) => self.start_daemon(asker, &program),
            ToHolder::DropInput => {
                let n_bytes = self.drop_input(refusal::DROPPED, "it was dropped on request") as u64;
                self.say(asker, &FromHolder::Dropped { n_bytes, n_written: None });
            }
            ToHolder::AwaitQuiet { quiet_ms } => self.await_quiet(asker, quiet_ms),
            ToHolder::Tap(tap) => self.tap(asker, &tap, now),
            ToHolder::WatchChannel { after } => self.watch_channel(asker, after),
            ToHolder::ChannelTaken { up_to } => self.forget_channel(asker, up_to),
            ToHolder::ChannelSend { line } => self.send_to_channel(asker, &line),
            ToHolder::DropSend { send } => self.drop_send(asker, Asker { tag: send, ..asker }),
        }
    }

    fn say_status(&mut self, asker: Asker, n_others: Option<u32>) {
        let (title, alternate_screen) = match self.terminal.shown() {
            Some(shown) => (shown.screen.title().map(str::to_owned), shown.screen.alternate_screen()),
            None => (None, false),
        };
        let phase = match (self.exited, &self.stop) {
            (Some(_), _) => Phase::Exited,
            (None, Some(_)) => Phase::Stopping,
            (None, None) => Phase::Running,
        };
        let n_viewers = self.peers.values().filter(|peer| peer.view != View::None).count();
        let status = Status {
            run: self.run.clone(),
            phase,
            started: self.started.clone(),
            size: self.terminal.size(),
            offsets: self.offsets(),
            title,
            alternate_screen,
            n_viewers: n_viewers as u32,
            has_driver: self.peers.values().any(crate::peer::Peer::is_driver),
            n_others,
            n_input_queued: self.input.len() as u64,
            exited: self.exited,
            screen_written: self.screen_is_written,
            tapped: matches!(self.terminal, Terminal::Pane(_)).then(|| self.terminal.shown().is_some()),
        };
        self.say(asker, &FromHolder::Status(Box::new(status)));
    }

    fn attach(&mut self, asker: Asker, role: Role, size: Size, since: Option<u64>) {
        if self.ownership == Ownership::Present(asker.peer) {
            self.refuse(asker, refusal::OUT_OF_PLACE, "the owner has all output already");
            return;
        }
        if self.refuse_untapped(asker) {
            return;
        }
        let role = given_role(role, &self.terminal);
        if role == Role::Driver {
            self.unseat_driver(asker.peer);
            // Before the peer is a viewer, so that it gets one snapshot and not two.
            self.resize(size);
        }
        let (offsets, size) = (self.offsets(), self.terminal.size());
        let Some(peer) = self.peers.get_mut(&asker.peer) else { return };
        peer.view = View::Viewer { role, lost_at: None };
        let shown = self.terminal.shown();
        let resumable = since.zip(shown).filter(|(since, shown)| shown.tail.since(*since).is_some());
        peer.say(asker.tag, &FromHolder::Attached { role, resumed: resumable.is_some(), offsets, size });
        match resumable {
            Some((since, shown)) => {
                give_tail(peer, Stream::Pty, &shown.tail, since);
            }
            None => self.show_present(asker.peer, laneway_wire::message::Offsets::default()),
        }
        self.say_exit_if_told(asker.peer);
    }

    fn own(&mut self, asker: Asker) {
        let Ownership::Awaited(_) = self.ownership else {
            self.refuse(asker, refusal::NOT_OWNABLE, "the run has no owner, or has had it");
            return;
        };
        self.unseat_driver(asker.peer);
        self.ownership = Ownership::Present(asker.peer);
        let attached = FromHolder::Attached {
            role: Role::Driver,
            resumed: true,
            offsets: self.offsets(),
            size: self.terminal.size(),
        };
        let Some(peer) = self.peers.get_mut(&asker.peer) else { return };
        peer.view = View::Owner { is_driver: true };
        peer.say(asker.tag, &attached);
        let is_whole = match &self.terminal {
            Terminal::Pty(pty) => give_tail(peer, Stream::Pty, &pty.shown.tail, 0),
            Terminal::Pane(_) => unreachable!("a run in a pane is not launched as owned"),
            Terminal::Pipes(pipes) => {
                give_tail(peer, Stream::Stdout, &pipes.stdout.tail, 0)
                    && give_tail(peer, Stream::Stderr, &pipes.stderr.tail, 0)
            }
        };
        debug_assert!(is_whole, "streams are held back until the owner has come");
        self.say_exit_if_told(asker.peer);
    }

    fn say_exit_if_told(&mut self, id: PeerId) {
        if let (true, Some(exited), Some(peer)) = (self.exit_is_told, self.exited, self.peers.get_mut(&id)) {
            peer.say(0, &FromHolder::Exited(exited));
        }
    }

    /// Takes the role from whoever has it, other than `successor`.
    fn unseat_driver(&mut self, successor: PeerId) {
        for (id, peer) in &mut self.peers {
            if *id == successor || !peer.is_driver() {
                continue;
            }
            peer.view = match peer.view {
                View::Viewer { lost_at, .. } => View::Viewer { role: Role::Observer, lost_at },
                View::Owner { .. } => View::Owner { is_driver: false },
                View::None => View::None,
            };
            peer.was_told_not_driver = false;
            peer.say(0, &FromHolder::DriverLost);
        }
    }

    fn take_driver(&mut self, asker: Asker, size: Size) {
        let view = self.peers.get(&asker.peer).map_or(View::None, |peer| peer.view);
        let view = match (&self.terminal, view) {
            (Terminal::Pipes(_), _) => {
                self.refuse(asker, refusal::NO_TERMINAL, "the run has no terminal");
                return;
            }
            (Terminal::Pane(_), _) => {
                self.refuse(asker, refusal::NO_TERMINAL, IN_A_PANE);
                return;
            }
            (Terminal::Pty(_), View::None) => {
                self.refuse(asker, refusal::OUT_OF_PLACE, "only a viewer becomes the driver");
                return;
            }
            (Terminal::Pty(_), View::Viewer { lost_at, .. }) => View::Viewer { role: Role::Driver, lost_at },
            (Terminal::Pty(_), View::Owner { .. }) => View::Owner { is_driver: true },
        };
        self.unseat_driver(asker.peer);
        if let Some(peer) = self.peers.get_mut(&asker.peer) {
            peer.view = view;
        }
        self.say(asker, &FromHolder::Done);
        self.resize(size);
    }

    fn resize_for(&mut self, asker: Asker, size: Size) {
        if !self.peers.get(&asker.peer).is_some_and(crate::peer::Peer::is_driver) {
            self.refuse(asker, refusal::NOT_DRIVER, "the size is the driver's");
            return;
        }
        self.say(asker, &FromHolder::Done);
        self.resize(size);
    }

    fn take_input(&mut self, id: PeerId, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.is_driver() {
            if !peer.was_told_not_driver {
                peer.was_told_not_driver = true;
                self.refuse(Asker { peer: id, tag: 0 }, refusal::NOT_DRIVER, "only the driver types");
            }
            return;
        }
        if self.exited.is_some() {
            return;
        }
        match &self.terminal {
            Terminal::Pty(_) => self.type_bytes(bytes),
            // Nobody is its driver.
            Terminal::Pane(_) => {}
            Terminal::Pipes(pipes) => {
                if pipes.stdin.is_some() && !pipes.stdin_ends {
                    self.input.push(bytes);
                }
            }
        }
    }

    /// Types what a driver typed. When the terminal is full, a key that makes it send a signal goes around
    /// what waits, and what waits is dropped, as the terminal itself does with what it holds.
    fn type_bytes(&mut self, bytes: &[u8]) {
        self.flush_input();
        let Terminal::Pty(pty) = &self.terminal else { return };
        let mut rest = bytes;
        if !self.input.is_empty()
            && let Ok(attributes) = tcgetattr(&pty.master)
        {
            let found = bytes.iter().enumerate().rev();
            let mut found = found.filter_map(|(at, byte)| Some((at, typing::signal_of(*byte, &attributes)?)));
            if let Some((at, signal)) = found.next()
                && sys::signal_through_terminal(&pty.master, signal).is_ok()
            {
                drop(found);
                self.drop_input(refusal::DROPPED, "a key typed by the driver interrupted it");
                rest = &bytes[at + 1..];
            }
        }
        self.input.push(rest);
    }

    fn send(&mut self, asker: Asker, send: &Send) {
        if self.exited.is_some() {
            self.refuse(asker, refusal::ENDED, "the program has ended");
            return;
        }
        let typed = match &self.terminal {
            Terminal::Pty(pty) => compose_for(pty, send),
            Terminal::Pane(_) => {
                self.refuse(asker, refusal::NO_TERMINAL, IN_A_PANE);
                return;
            }
            Terminal::Pipes(pipes) if pipes.stdin.is_none() || pipes.stdin_ends => {
                self.refuse(asker, refusal::NO_INPUT, "the program's input is closed");
                return;
            }
            Terminal::Pipes(_) if !send.keys.is_empty() => {
                self.refuse(asker, refusal::NO_TERMINAL, "keys can only be typed at a terminal");
                return;
            }
            Terminal::Pipes(_) => {
                let end: &[u8] = if send.enter { b"\n" } else { b"" };
                Ok(Typed { bytes: [send.text.as_slice(), end].concat(), paste: None })
            }
        };
        let typed = typed.and_then(|typed| {
            let n_bytes = typed.bytes.len();
            let fits = self.input.has_room(n_bytes);
            if fits { Ok(typed) } else { Err(SendRefusal::QueueFull(self.input.len() + n_bytes)) }
        });
        match typed {
            Err(refused) => self.refuse(asker, refused.code(), &refused.to_string()),
            // One key that is a signal must not wait behind a full terminal.
            Ok(typed) if send.text.is_empty() && typed.bytes.len() == 1 => {
                let offset = self.main_offset();
                self.type_bytes(&typed.bytes);
                self.input.push_send(&Typed::default(), asker, offset);
            }
            Ok(typed) => self.input.push_send(&typed, asker, self.main_offset()),
        }
    }

    fn drop_send(&mut self, asker: Asker, sender: Asker) {
        self.flush_input();
        match self.input.drop_send(sender) {
            Some(Cut { n_written, n_dropped }) => {
                self.refuse(sender, refusal::DROPPED, "it was dropped on request");
                self.say(asker, &FromHolder::Dropped { n_bytes: n_dropped, n_written: Some(n_written) });
            }
            None => self.refuse(asker, refusal::OUT_OF_PLACE, "nothing of that request waits"),
        }
    }

    pub(super) fn main_offset(&self) -> u64 {
        let offsets = self.offsets();
        match &self.terminal {
            Terminal::Pty(_) | Terminal::Pane(_) => offsets.pty,
            Terminal::Pipes(_) => offsets.stdout,
        }
    }

    fn close_input(&mut self, asker: Asker) {
        if !self.peers.get(&asker.peer).is_some_and(crate::peer::Peer::is_driver) {
            self.refuse(asker, refusal::NOT_DRIVER, "only the one who writes ends the input");
            return;
        }
        match &mut self.terminal {
            Terminal::Pipes(pipes) => pipes.stdin_ends = true,
            // Nobody is its driver.
            Terminal::Pane(_) => {}
            // A terminal's input never ends; its end-of-file key is the nearest there is.
            Terminal::Pty(pty) => {
                if let Ok(attributes) = tcgetattr(&pty.master)
                    && attributes.local_modes.contains(LocalModes::ICANON)
                {
                    self.input.push(&[attributes.special_codes[SpecialCodeIndex::VEOF]]);
                }
            }
        }
        self.say(asker, &FromHolder::Done);
    }

    fn read(&mut self, asker: Asker, which: Lines, ansi: bool, since: Option<u64>) {
        if self.refuse_untapped(asker) {
            return;
        }
        let offset = self.main_offset();
        let text = match &self.terminal {
            Terminal::Pty(Pty { shown, .. }) | Terminal::Pane(Pane { shown: Some(shown), .. }) => Text {
                lines: terminal_lines(&shown.screen, which, ansi, since),
                cursor: Some(wire_cursor(shown.screen.cursor())),
                size: Some(wire_size(shown.screen.size())),
                alternate_screen: shown.screen.alternate_screen(),
                title: shown.screen.title().map(str::to_owned),
                offset,
                stderr_lines: Vec::new(),
                since,
            },
            Terminal::Pane(_) => unreachable!("one that is not tapped was refused"),
            Terminal::Pipes(pipes) => Text {
                lines: plain_lines(&pipes.stdout.tail.to_vec(), which, since.map(|since| (since, offset))),
                cursor: None,
                size: None,
                alternate_screen: false,
                title: None,
                offset,
                stderr_lines: plain_lines(&pipes.stderr.tail.to_vec(), which, None),
                since,
            },
        };
        self.say_text(asker, text);
    }

    /// Refuses what needs to know what a pane shows that nobody taps.
    pub(super) fn refuse_untapped(&mut self, asker: Asker) -> bool {
        let is_untapped = matches!(&self.terminal, Terminal::Pane(pane) if pane.shown.is_none());
        if is_untapped {
            self.refuse(asker, refusal::NOT_TAPPED, "what the pane shows is not known to its holder");
        }
        is_untapped
    }

    /// Says a text in parts that fit frames.
    fn say_text(&mut self, asker: Asker, mut text: Text) {
        let mut part = Vec::new();
        let mut length = 0;
        for line in std::mem::take(&mut text.lines) {
            if length > 0 && length + line.len() > MAX_DATA {
                self.say(asker, &FromHolder::TextPart { lines: std::mem::take(&mut part) });
                length = 0;
            }
            // With what the encoding takes for an empty line.
            length += line.len() + 8;
            part.push(line);
        }
        text.lines = part;
        self.say(asker, &FromHolder::Text(text));
    }

    fn signal(&mut self, asker: Asker, signal: i32) {
        if self.exited.is_some() {
            self.refuse(asker, refusal::ENDED, "the program has ended");
            return;
        }
        let Some(signal) = Signal::from_named_raw(signal) else {
            self.refuse(asker, refusal::SYSTEM, &format!("there is no signal {signal}"));
            return;
        };
        match self.signal_program(signal) {
            Ok(()) => self.say(asker, &FromHolder::Done),
            Err(errno) => self.refuse(asker, refusal::SYSTEM, &format!("the signal was not sent: {errno}")),
        }
    }

    fn stop_for(&mut self, asker: Asker, signal: Option<i32>, grace_ms: u64, now: Moment) {
        let known = signal.map_or_else(|| Some(self.stop_signal_or_term()), Signal::from_named_raw);
        let Some(signal) = known else {
            self.refuse(asker, refusal::SYSTEM, "there is no such signal");
            return;
        };
        // "As long as the stop that is under way has", if it is over meanwhile.
        let grace_ms = match grace_ms {
            u64::MAX if self.stop.is_none() => DEFAULT_GRACE.as_millis() as u64,
            grace_ms => grace_ms,
        };
        self.stop_askers.push(asker);
        self.begin_stop(signal, Duration::from_millis(grace_ms), now);
    }

    fn start_daemon(&mut self, asker: Asker, program: &Program) {
        let started =
            executable(program).ok_or_else(|| "a NUL byte in it".to_owned()).and_then(|executable| {
                sys::start_outside_the_tree(&executable).map_err(|error| error.to_string())
            });
        match started {
            Ok(pid) => self.say(asker, &FromHolder::DaemonStarted { pid }),
            Err(reason) => {
                let name = String::from_utf8_lossy(&program.program);
                self.refuse(asker, refusal::SYSTEM, &format!("cannot start {name}: {reason}"));
            }
        }
    }
}

fn compose_for(pty: &Pty, send: &Send) -> Result<Typed, SendRefusal> {
    match tcgetattr(pty.master.as_fd()) {
        Ok(attributes) => typing::compose(send, pty.shown.screen.modes(), &attributes),
        // A terminal that nobody has open: what is typed waits in it, unlooked at.
        Err(_) => Ok(Typed { bytes: send.text.clone(), paste: None }),
    }
}

fn executable(program: &Program) -> Option<Executable> {
    let c_string = |bytes: &[u8]| CString::new(bytes).ok();
    Some(Executable {
        program: c_string(&program.program)?,
        argv: program.argv.iter().map(|argument| c_string(argument)).collect::<Option<_>>()?,
        env: program
            .env
            .iter()
            .map(|(name, value)| c_string(&[name.as_slice(), b"=", value].concat()))
            .collect::<Option<_>>()?,
        cwd: c_string(&program.cwd)?,
    })
}

fn terminal_lines(screen: &Screen, which: Lines, ansi: bool, since: Option<u64>) -> Vec<String> {
    let lines = match (which, since) {
        (Lines::Screen, _) => return screen.lines(screen::Lines::Screen, ansi),
        (Lines::All | Lines::Last(_), Some(since)) => {
            screen.changes(Some(since), ansi).lines.into_iter().map(|line| line.text).collect()
        }
        (Lines::All, None) => return screen.lines(screen::Lines::All, ansi),
        (Lines::Last(n_lines), None) => return screen.lines(screen::Lines::Last(n_lines as usize), ansi),
    };
    last_lines(lines, which)
}

fn last_lines(mut lines: Vec<String>, which: Lines) -> Vec<String> {
    if let Lines::Last(n_lines) = which {
        lines.drain(..lines.len().saturating_sub(n_lines as usize));
    }
    lines
}

/// Lines of plain output, without empty ones at the end. With `since` only those that have something behind that
/// offset, where the output's end has the offset beside it.
fn plain_lines(bytes: &[u8], which: Lines, since: Option<(u64, u64)>) -> Vec<String> {
    let n_new = since
        .map_or(usize::MAX, |(since, end)| usize::try_from(end.saturating_sub(since)).unwrap_or(usize::MAX));
    let first_new = bytes.len().saturating_sub(n_new);
    let begin = bytes[..first_new].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let bytes = if n_new == 0 { &[] } else { &bytes[begin..] };
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    last_lines(lines, which)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_pipe_since_an_offset_are_those_with_something_behind_it() {
        // The first byte that is kept has the offset 10.
        let kept = b"one\ntwo\nthree\n\n";
        let lines = |since| plain_lines(kept, Lines::All, Some((since, 25)));
        assert_eq!(lines(0), ["one", "two", "three"]);
        assert_eq!(lines(13), ["one", "two", "three"], "its end came later");
        assert_eq!(lines(14), ["two", "three"]);
        assert_eq!(lines(19), ["three"]);
        for since in [24, 25, 99] {
            assert_eq!(lines(since), [""; 0]);
        }
        assert_eq!(plain_lines(kept, Lines::Last(1), Some((0, 25))), ["three"]);
    }
}
