//! From the program to those who look on.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use laneway_wire::message::{FromHolder, Offsets, Role};
use laneway_wire::{FinalScreen, Stream, final_screen};
use rustix::io::Errno;

use super::{FLOOD, Holder, Ownership, PAUSE, Pipe, Pipes, Pty, READ_LENGTH, Terminal, wire_size};
use crate::clock::Moment;
use crate::log;
use crate::peer::{OWNER_LIMIT, Peer, PeerId, VIEWER_LIMIT, View};
use crate::reader::{FULL_READ, Progress, Reader};
use crate::screen;
use crate::start::set_window_size;
use crate::sys;

impl Pipes {
    pub(super) fn pipe(&self, stream: Stream) -> Option<&Pipe> {
        match stream {
            Stream::Stdout => Some(&self.stdout),
            Stream::Stderr => Some(&self.stderr),
            _ => None,
        }
    }

    fn pipe_mut(&mut self, stream: Stream) -> Option<&mut Pipe> {
        match stream {
            Stream::Stdout => Some(&mut self.stdout),
            Stream::Stderr => Some(&mut self.stderr),
            _ => None,
        }
    }
}

impl Holder {
    /// The descriptor of a stream that can still give something: readable when [`Self::read_output`] is of use.
    pub(super) fn output_descriptor(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        match (&self.terminal, stream) {
            (Terminal::Pty(pty), Stream::Pty) => match &pty.reader {
                Some(reader) => Some(reader.ready()),
                None => pty.is_open.then(|| pty.master.as_fd()),
            },
            (Terminal::Pipes(pipes), _) => pipes.pipe(stream)?.fd.as_ref().map(AsFd::as_fd),
            (Terminal::Pty(_), _) => None,
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
            Terminal::Pty(pty) => pty.tail.n_free(),
            Terminal::Pipes(pipes) => pipes.pipe(stream).map_or(0, |pipe| pipe.tail.n_free()),
        }
    }

    /// Reads up to 64 KiB of what the program has written, as much as is there: it is shown, kept and given to the
    /// viewers. Answers whether there was something.
    pub(super) fn read_output(&mut self, stream: Stream) -> bool {
        if let Terminal::Pty(pty) = &mut self.terminal
            && let Some(reader) = pty.reader.take()
        {
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
        let Terminal::Pty(pty) = &mut self.terminal else { return };
        let Some(n_flooded) = &mut pty.n_flooded else { return };
        *n_flooded = if n_read >= FULL_READ { *n_flooded + n_read } else { 0 };
        if *n_flooded < FLOOD || is_awaited {
            return;
        }
        *n_flooded = 0;
        match Reader::start(Arc::clone(&pty.master)) {
            Ok(reader) => pty.reader = Some(reader),
            Err(error) => {
                log(&format!("floods are read without a thread: {error}"));
                pty.n_flooded = None;
            }
        }
    }

    /// Takes what a thread has read so far, if there is one.
    pub(super) fn take_gathered(&mut self, now: Moment) {
        let has_reader = matches!(&self.terminal, Terminal::Pty(pty) if pty.reader.is_some());
        if has_reader && !self.is_held_back(Stream::Pty) && self.read_output(Stream::Pty) {
            self.last_activity = now.instant;
        }
    }

    /// Takes what a thread has read. Answers whether there was something.
    fn take_from(&mut self, mut reader: Reader) -> bool {
        let (bytes, progress) = reader.take();
        let has_come = !bytes.is_empty();
        if has_come {
            self.take_output(Stream::Pty, bytes);
        }
        if progress == Progress::Goes
            && let Terminal::Pty(pty) = &mut self.terminal
        {
            pty.reader = Some(reader);
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
        if let Terminal::Pty(pty) = &mut self.terminal
            && let Some(reader) = pty.reader.take()
        {
            let bytes = reader.stop();
            self.take_output(Stream::Pty, &bytes);
        }
    }

    fn n_left_at_exit(&self, stream: Stream) -> Option<u64> {
        match &self.terminal {
            Terminal::Pty(_) => None,
            Terminal::Pipes(pipes) => pipes.pipe(stream).map(|pipe| pipe.n_left_at_exit),
        }
    }

    fn end_output(&mut self, stream: Stream) {
        match &mut self.terminal {
            Terminal::Pty(pty) => pty.is_open = false,
            Terminal::Pipes(pipes) => {
                if let Some(pipe) = pipes.pipe_mut(stream) {
                    pipe.fd = None;
                    pipe.n_left_at_exit = 0;
                }
            }
        }
    }

    fn take_output(&mut self, stream: Stream, bytes: &[u8]) {
        let mut passed = Vec::new();
        let (offset, bytes) = match &mut self.terminal {
            Terminal::Pty(pty) => {
                let mut answers = Vec::new();
                passed.reserve(bytes.len());
                pty.screen.advance(bytes, &mut answers, &mut passed);
                let offset = pty.tail.end();
                pty.tail.push(&passed);
                if let Some(recording) = &mut pty.recording {
                    recording.output(&passed, &pty.screen);
                }
                // A program that asks without end and reads no answer loses answers, not the holder memory.
                if self.exited.is_none() && self.input.has_room(answers.len()) {
                    self.input.push(&answers);
                }
                (offset, passed.as_slice())
            }
            Terminal::Pipes(pipes) => {
                let Some(pipe) = pipes.pipe_mut(stream) else { return };
                let offset = pipe.tail.end();
                pipe.tail.push(bytes);
                pipe.n_left_at_exit = pipe.n_left_at_exit.saturating_sub(bytes.len() as u64);
                (offset, bytes)
            }
        };
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
        let Terminal::Pty(Pty { screen, title, .. }) = &mut self.terminal else { return };
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
        match &self.terminal {
            Terminal::Pty(pty) => pty.screen.is_unsettled().then(|| self.last_activity + PAUSE),
            Terminal::Pipes(_) => None,
        }
    }

    pub(super) fn settle(&mut self, now: Moment) {
        let is_due = self.settle_deadline().is_some_and(|deadline| deadline <= now.instant);
        if let Terminal::Pty(pty) = &mut self.terminal
            && is_due
        {
            pty.screen.settle();
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
            Terminal::Pty(pty) => give_snapshot(peer, pty),
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
        if size == pty.screen.size() {
            return;
        }
        pty.screen.resize(size);
        let size = wire_size(size);
        if let Err(errno) = set_window_size(&pty.master, size) {
            log(&format!("the terminal did not take its size: {errno}"));
        }
        if let Some(recording) = &mut pty.recording {
            recording.resized(pty.screen.size());
        }
        for peer in self.peers.values_mut() {
            if peer.n_waiting() > VIEWER_LIMIT {
                // It does not read. A viewer gets the present state when it does again.
                cut_off(peer, Offsets { pty: pty.tail.end(), ..Offsets::default() });
                continue;
            }
            // An owner has every byte from the beginning and is not to get one twice.
            let gets_snapshot = matches!(peer.view, View::Viewer { lost_at: None, .. });
            if gets_snapshot || peer.is_watching {
                peer.say(0, &FromHolder::Resized { size });
            }
            if gets_snapshot {
                give_snapshot(peer, pty);
            }
        }
    }

    /// Writes what is recorded; if that has come to an end, the run's record tells.
    pub(super) fn flush_recording(&mut self) {
        let Terminal::Pty(Pty { recording: Some(recording), .. }) = &mut self.terminal else { return };
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
        let offsets = self.offsets();
        // Also when it fails: it would fail again.
        self.screen_tried_at = Some(offsets);
        let mut screen = FinalScreen { offsets, terminal: None, pipes: None };
        match &self.terminal {
            Terminal::Pty(pty) => screen.terminal = Some(final_terminal(pty)),
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

fn final_terminal(pty: &Pty) -> final_screen::FinalTerminal {
    let all = pty.screen.all_lines(true);
    let (lines, changed) = all.into_iter().map(|line| (line.text, line.changed)).unzip();
    final_screen::FinalTerminal {
        size: wire_size(pty.screen.size()),
        cursor: wire_cursor(pty.screen.cursor()),
        title: pty.screen.title().map(str::to_owned),
        alternate_screen: pty.screen.alternate_screen(),
        lines,
        screen: pty.screen.lines(screen::Lines::Screen, true),
        snapshot: pty.screen.snapshot(),
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

fn give_snapshot(peer: &mut Peer, pty: &Pty) {
    let snapshot = pty.screen.snapshot();
    let (offset, size, length) = (pty.tail.end(), wire_size(pty.screen.size()), snapshot.len() as u64);
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

/// The role a peer gets: there is no driver without a terminal.
pub(super) fn given_role(asked: Role, terminal: &Terminal) -> Role {
    match terminal {
        Terminal::Pty(_) => asked,
        Terminal::Pipes(_) => Role::Observer,
    }
}
