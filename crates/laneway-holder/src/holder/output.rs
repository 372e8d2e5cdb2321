//! From the program to those who look on.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use laneway_wire::message::{FromHolder, Offsets, Role};
use laneway_wire::{FinalScreen, Stream, final_screen};
use rustix::io::Errno;

use super::terminal::{Pipe, Shown, Terminal};
use super::{FLOOD, Holder, Ownership, PAUSE, READ_LENGTH, wire_size};
use crate::clock::Moment;
use crate::log;
use crate::peer::{OWNER_LIMIT, Peer, PeerId, VIEWER_LIMIT, View};
use crate::reader::{FULL_READ, Progress, Reader};
use crate::screen;
use crate::start::set_window_size;
use crate::sys;

impl Holder {
    /// The descriptor of a stream that can still give something: readable when [`Self::read_output`] is of use.
    pub(super) fn output_descriptor(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        match (&self.terminal, stream) {
            (Terminal::Pty(_) | Terminal::Pane(_), Stream::Pty) => {
                let shown = self.terminal.shown()?;
                match &shown.reader {
                    Some(reader) => Some(reader.ready()),
                    None => shown.source.as_ref().map(|source| source.as_fd()),
                }
            }
            (Terminal::Pipes(pipes), _) => pipes.pipe(stream)?.fd.as_ref().map(AsFd::as_fd),
            (Terminal::Pty(_) | Terminal::Pane(_), _) => None,
        }
    }

    /// Whether a stream is not read for now, so that its owner loses nothing: it is not here yet and what is
    /// kept for it is full, or it has not taken what it was given.
    pub(super) fn is_held_back(&self, stream: Stream) -> bool {
        match self.ownership {
            Ownership::NotOwned | Ownership::Gone => false,
            Ownership::Present(id) => {
                self.peers.get(&id).is_some_and(|owner| owner.n_waiting() > OWNER_LIMIT)
            }
            // For this and for what is read at an exit; each time the emulator may pass on what it had held back.
            Ownership::Awaited(_) => self.tail_free(stream) < 3 * READ_LENGTH,
        }
    }

    fn tail_free(&self, stream: Stream) -> usize {
        match &self.terminal {
            Terminal::Pty(pty) => pty.shown.tail.n_free(),
            Terminal::Pipes(pipes) => pipes.pipe(stream).map_or(0, |pipe| pipe.tail.n_free()),
            // It has no owner.
            Terminal::Pane(_) => 0,
        }
    }

    /// Reads up to 64 KiB of what the program has written, as much as is there: it is shown, kept and given to the
    /// viewers. Answers whether there was something.
    pub(super) fn read_output(&mut self, stream: Stream) -> bool {
        self.follow_size();
        if let Some(reader) = self.terminal.shown_mut().and_then(|shown| shown.reader.take()) {
            return self.take_from(reader);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut n_filled = 0;
        let mut has_ended = false;
        while n_filled < buffer.len() {
            let Some(fd) = self.output_descriptor(stream) else { break };
            let limit = buffer.len();
            let room = match self.n_left_at_exit(stream) {
                // First exactly what was there at the exit, so that the exit is told right after it.
                Some(n_left) if n_left > 0 => limit.min(n_filled.saturating_add(n_left as usize)),
                _ => limit,
            };
            match rustix::io::read(fd, &mut buffer[n_filled..room]) {
                Ok(0) => has_ended = true,
                Ok(n_read) => n_filled += n_read,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                // A terminal that nobody has open any more says EIO.
                Err(_) => has_ended = true,
            }
            if has_ended || room < limit {
                break;
            }
        }
        if n_filled > 0 {
            self.take_output(stream, &buffer[..n_filled]);
        }
        self.buffer = buffer;
        if has_ended {
            self.end_output(stream);
        }
        self.read_flood_apart(n_filled);
        n_filled > 0
    }

    /// Has a thread read if the program floods: if each time when there was something to read, there was as much as
    /// can be.
    fn read_flood_apart(&mut self, n_read: usize) {
        // Until the owner has come, reading goes on only as long as all of it is kept.
        let is_awaited = matches!(self.ownership, Ownership::Awaited(_));
        let Some(shown) = self.terminal.shown_mut() else { return };
        let (Some(n_flooded), Some(source)) = (&mut shown.n_flooded, &shown.source) else { return };
        *n_flooded = if n_read >= FULL_READ { *n_flooded + n_read } else { 0 };
        if *n_flooded < FLOOD || is_awaited {
            return;
        }
        *n_flooded = 0;
        match Reader::start(Arc::clone(source)) {
            Ok(reader) => shown.reader = Some(reader),
            Err(error) => {
                log(&format!("floods are read without a thread: {error}"));
                shown.n_flooded = None;
            }
        }
    }

    /// Takes what a thread has read so far, if there is one.
    pub(super) fn take_gathered(&mut self, now: Moment) {
        let has_reader = self.terminal.shown().is_some_and(|shown| shown.reader.is_some());
        if has_reader && !self.is_held_back(Stream::Pty) && self.read_output(Stream::Pty) {
            self.note_activity(now);
        }
    }

    /// The program has written something.
    pub(super) fn note_activity(&mut self, now: Moment) {
        self.last_activity = now.instant;
        self.limits.sign(now.instant);
    }

    /// Whether the program may have to wait for others before it can write or say something.
    pub(super) fn is_held_up(&self) -> bool {
        let is_unread = |stream| self.output_descriptor(stream).is_some() && self.is_held_back(stream);
        [Stream::Pty, Stream::Stdout, Stream::Stderr].into_iter().any(is_unread)
            || self.channel.as_ref().is_some_and(|channel| !channel.has_room())
    }

    /// Takes what a thread has read. Answers whether there was something.
    fn take_from(&mut self, mut reader: Reader) -> bool {
        let (bytes, progress) = reader.take();
        let has_come = !bytes.is_empty();
        if has_come {
            self.take_output(Stream::Pty, bytes);
        }
        if progress == Progress::Goes
            && let Some(shown) = self.terminal.shown_mut()
        {
            shown.reader = Some(reader);
            return has_come;
        }
        drop(reader);
        sys::give_back_free_memory();
        if progress == Progress::Closed {
            self.end_output(Stream::Pty);
        }
        has_come
    }

    /// Takes all that a thread has read, and reads the terminal here again.
    pub(super) fn stop_reader(&mut self) {
        if let Some(reader) = self.terminal.shown_mut().and_then(|shown| shown.reader.take()) {
            let bytes = reader.stop();
            self.take_output(Stream::Pty, &bytes);
        }
    }

    fn n_left_at_exit(&self, stream: Stream) -> Option<u64> {
        match &self.terminal {
            Terminal::Pty(_) | Terminal::Pane(_) => None,
            Terminal::Pipes(pipes) => pipes.pipe(stream).map(|pipe| pipe.n_left_at_exit),
        }
    }

    fn end_output(&mut self, stream: Stream) {
        match &mut self.terminal {
            Terminal::Pty(_) | Terminal::Pane(_) => {
                if let Some(shown) = self.terminal.shown_mut() {
                    shown.source = None;
                }
            }
            Terminal::Pipes(pipes) => {
                if let Some(pipe) = pipes.pipe_mut(stream) {
                    pipe.fd = None;
                    pipe.n_left_at_exit = 0;
                }
            }
        }
    }

    pub(super) fn take_output(&mut self, stream: Stream, bytes: &[u8]) {
        let (mut answers, mut passed) = (Vec::new(), Vec::new());
        let (offset, bytes) = if let Some(shown) = self.terminal.shown_mut() {
            passed.reserve(bytes.len());
            shown.screen.advance(bytes, &mut answers, &mut passed);
            let offset = shown.tail.end();
            shown.tail.push(&passed);
            if let Some(recording) = &mut shown.recording {
                recording.output(&passed, &shown.screen);
            }
            (offset, passed.as_slice())
        } else {
            let Terminal::Pipes(pipes) = &mut self.terminal else { return };
            let Some(pipe) = pipes.pipe_mut(stream) else { return };
            let offset = pipe.tail.end();
            pipe.tail.push(bytes);
            pipe.n_left_at_exit = pipe.n_left_at_exit.saturating_sub(bytes.len() as u64);
            (offset, bytes)
        };
        match &self.terminal {
            // A program that asks without end and reads no answer loses answers, not the holder memory.
            Terminal::Pty(_) if self.exited.is_none() && self.input.has_room(answers.len()) => {
                self.input.push(&answers);
            }
            // The multiplexer answers the program.
            Terminal::Pane(_) => self.hear_answers(&answers),
            Terminal::Pty(_) | Terminal::Pipes(_) => {}
        }
        let before = self.offsets();
        let before = match stream {
            Stream::Stdout => Offsets { stdout: offset, ..before },
            Stream::Stderr => Offsets { stderr: offset, ..before },
            _ => Offsets { pty: offset, ..before },
        };
        for peer in self.peers.values_mut() {
            give_output(peer, stream, offset, bytes, before);
        }
        self.tell_title();
    }

    fn tell_title(&mut self) {
        let Some(Shown { screen, title, .. }) = self.terminal.shown_mut() else { return };
        if screen.title() == title.as_deref() {
            return;
        }
        *title = screen.title().map(str::to_owned);
        let title = title.clone().unwrap_or_default();
        // Who does not read is not told; a `Status` has the title too.
        let concerns = |peer: &Peer| peer.is_watching && peer.n_waiting() <= VIEWER_LIMIT;
        self.tell(&FromHolder::TitleChanged { title }, concerns);
    }

    /// When the screen is to be settled: when the program pauses, if there is something to settle.
    pub(super) fn settle_deadline(&self) -> Option<Instant> {
        self.terminal.shown()?.screen.is_unsettled().then(|| self.last_activity + PAUSE)
    }

    pub(super) fn settle(&mut self, now: Moment) {
        let is_due = self.settle_deadline().is_some_and(|deadline| deadline <= now.instant);
        if is_due && let Some(shown) = self.terminal.shown_mut() {
            shown.screen.settle();
            sys::give_back_free_memory();
        }
    }

    /// Gives a viewer that was cut off the present state, once it has taken what it was given before. Answers
    /// whether there was something to give.
    pub(super) fn catch_up(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        let View::Viewer { lost_at: Some(lost_at), role } = peer.view else { return false };
        if peer.n_waiting() > 0 {
            return false;
        }
        peer.view = View::Viewer { role, lost_at: None };
        peer.say(0, &FromHolder::Resync);
        self.show_present(id, lost_at);
        // It was not told of the exit while it was cut off.
        if self.exit_is_told
            && let (Some(exited), Some(peer)) = (self.exited, self.peers.get_mut(&id))
        {
            peer.say(0, &FromHolder::Exited(exited));
        }
        true
    }

    /// Gives a viewer the present state: a snapshot, or on pipes what is kept after `known`.
    pub(super) fn show_present(&mut self, id: PeerId, known: Offsets) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match &self.terminal {
            Terminal::Pty(_) | Terminal::Pane(_) => {
                if let Some(shown) = self.terminal.shown() {
                    give_snapshot(peer, shown);
                }
            }
            Terminal::Pipes(pipes) => {
                give_kept(peer, Stream::Stdout, &pipes.stdout, known.stdout);
                give_kept(peer, Stream::Stderr, &pipes.stderr, known.stderr);
            }
        }
    }

    /// Gives the terminal a new size, and every viewer the screen as it is then.
    pub(super) fn resize(&mut self, size: laneway_wire::message::Size) {
        let Terminal::Pty(pty) = &mut self.terminal else { return };
        let size = screen::Size::new(size.columns, size.rows);
        if size == pty.shown.screen.size() {
            return;
        }
        if let Err(errno) = set_window_size(&pty.master, wire_size(size)) {
            log(&format!("the terminal did not take its size: {errno}"));
        }
        self.show_size(size);
    }

    /// The terminal has a new size.
    pub(super) fn show_size(&mut self, size: screen::Size) {
        let Some(shown) = self.terminal.shown_mut() else { return };
        shown.screen.resize(size);
        let size = wire_size(size);
        if let Some(recording) = &mut shown.recording {
            recording.resized(shown.screen.size());
        }
        for peer in self.peers.values_mut() {
            if peer.n_waiting() > VIEWER_LIMIT {
                // It does not read. A viewer gets the present state when it does again.
                cut_off(peer, Offsets { pty: shown.tail.end(), ..Offsets::default() });
                continue;
            }
            // An owner has every byte from the beginning and is not to get one twice.
            let gets_snapshot = matches!(peer.view, View::Viewer { lost_at: None, .. });
            if gets_snapshot || peer.is_watching {
                peer.say(0, &FromHolder::Resized { size });
            }
            if gets_snapshot {
                give_snapshot(peer, shown);
            }
        }
    }

    /// Writes what is recorded; if that has come to an end, the run's record tells.
    pub(super) fn flush_recording(&mut self) {
        let Some(Shown { recording: Some(recording), .. }) = self.terminal.shown_mut() else { return };
        recording.flush();
        if let Some(reason) = recording.take_end() {
            log(&format!("the recording has ended: {reason}"));
            self.recorded.recording_stopped = Some(reason);
            self.recorded.offsets = self.offsets();
            if let Err(error) = self.record.write(&self.recorded) {
                log(&format!("{error}: {:?}", std::error::Error::source(&error)));
            }
        }
    }

    /// What is left of the run for people, in the file that outlives the holder.
    pub(super) fn write_final_screen(&mut self) {
        if matches!(self.terminal, Terminal::Pane(_)) && self.terminal.shown().is_none() {
            return;
        }
        let offsets = self.offsets();
        // Also when it fails: it would fail again.
        self.screen_tried_at = Some(offsets);
        let mut screen = FinalScreen { offsets, terminal: None, pipes: None };
        match &self.terminal {
            Terminal::Pty(_) | Terminal::Pane(_) => {
                screen.terminal = self.terminal.shown().map(final_terminal);
            }
            Terminal::Pipes(pipes) => {
                let (stdout, stderr) = (pipes.stdout.tail.to_vec(), pipes.stderr.tail.to_vec());
                screen.pipes = Some(final_screen::FinalPipes { stdout, stderr });
            }
        }
        match screen.write(&self.folder_path) {
            Ok(()) => self.screen_is_written = true,
            Err(error) => log(&format!("{error}: {:?}", std::error::Error::source(&error))),
        }
    }
}

fn final_terminal(shown: &Shown) -> final_screen::FinalTerminal {
    let all = shown.screen.all_lines(true);
    let (lines, changed) = all.into_iter().map(|line| (line.text, line.changed)).unzip();
    final_screen::FinalTerminal {
        size: wire_size(shown.screen.size()),
        cursor: wire_cursor(shown.screen.cursor()),
        title: shown.screen.title().map(str::to_owned),
        alternate_screen: shown.screen.alternate_screen(),
        lines,
        screen: shown.screen.lines(screen::Lines::Screen, true),
        snapshot: shown.screen.snapshot(),
        changed,
    }
}

pub(super) fn wire_cursor(cursor: screen::Cursor) -> laneway_wire::message::Cursor {
    laneway_wire::message::Cursor { column: cursor.column, row: cursor.row, visible: cursor.visible }
}

/// Gives a peer new output, if it is a viewer that keeps up. `before`: the offsets without these bytes.
fn give_output(peer: &mut Peer, stream: Stream, offset: u64, bytes: &[u8], before: Offsets) {
    match peer.view {
        View::None | View::Viewer { lost_at: Some(_), .. } => {}
        View::Owner { .. } => peer.give(stream, offset, bytes),
        View::Viewer { lost_at: None, .. } => {
            if peer.n_waiting() + bytes.len() > VIEWER_LIMIT {
                cut_off(peer, before);
            } else {
                peer.give(stream, offset, bytes);
            }
        }
    }
}

/// Gives a viewer nothing more until it has read what it was given, which ends at `known`.
fn cut_off(peer: &mut Peer, known: Offsets) {
    if let View::Viewer { role, lost_at: None } = peer.view {
        peer.view = View::Viewer { role, lost_at: Some(known) };
    }
}

fn give_snapshot(peer: &mut Peer, shown: &Shown) {
    let snapshot = shown.screen.snapshot();
    let (offset, size, length) = (shown.tail.end(), wire_size(shown.screen.size()), snapshot.len() as u64);
    peer.say(0, &FromHolder::Snapshot { offset, size, length });
    peer.give(Stream::Snapshot, 0, &snapshot);
}

/// Gives a peer what is kept of a pipe's output from `offset` on.
fn give_kept(peer: &mut Peer, stream: Stream, pipe: &Pipe, offset: u64) {
    let offset = offset.max(pipe.tail.start());
    give_tail(peer, stream, &pipe.tail, offset);
}

/// Gives a peer what is kept from `offset` on. Answers whether all of it is kept.
pub(super) fn give_tail(peer: &mut Peer, stream: Stream, tail: &crate::tail::Tail, offset: u64) -> bool {
    let Some([first, second]) = tail.since(offset) else { return false };
    peer.give(stream, offset, first);
    peer.give(stream, offset + first.len() as u64, second);
    true
}

/// The role a peer gets: there is no driver without a terminal of the holder's own.
pub(super) fn given_role(asked: Role, terminal: &Terminal) -> Role {
    match terminal {
        Terminal::Pty(_) => asked,
        // Who types in a pane does so through its multiplexer.
        Terminal::Pipes(_) | Terminal::Pane(_) => Role::Observer,
    }
}
