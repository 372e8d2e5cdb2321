//! A program's channel: what it says is kept until somebody has recorded it, what is said to it until it reads that.
//!
//! What the program says is numbered from 1. No more is read from it than may wait here: a program that says more has
//! to wait, and nothing is lost.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use laneway_wire::ByteVec;
use laneway_wire::message::{self, MAX_LINE, Said};

use crate::peer::PeerId;
use crate::sys;

/// So many lines wait to be recorded: some seconds of a talkative program, and no more than a frame takes.
const MAX_LINES: usize = 1_000;

/// So many bytes of them wait: 4 MiB, four of the longest lines.
const MAX_WAITING: usize = 4 << 20;

/// So many bytes wait for the program: 4 MiB.
const MAX_OUTBOX: usize = 4 << 20;

/// How much is read at once: the most that a socket holds by default, roughly.
const READ_LENGTH: usize = 64 << 10;

/// Why nothing can be said to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSaid {
    /// The program has closed its side.
    Closed,
    /// It does not read what was said before.
    QueueFull,
}

/// Both ends of a new channel, as the holder has them when its program runs.
#[derive(Debug)]
pub(crate) struct Line {
    /// The holder's end, non-blocking.
    pub(crate) socket: UnixStream,
    /// The inode of the program's end, by which its descriptor is known in `/proc`.
    pub(crate) far_inode: u64,
}

/// How a program is told that it is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// It is not: it has no channel, has closed it, or was never seen to read it.
    Unheard,
    /// It reads its channel, and so learns of it.
    Said,
}

/// Whether the program has closed its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Open,
    /// It has; whether that is its end is not known yet.
    Closed,
    /// It has, and that is among what it has said.
    Told,
}

/// The holder's side of a channel.
#[derive(Debug)]
pub(crate) struct Channel {
    /// None once the program has closed its side, or has ended and all that it said was read.
    socket: Option<UnixStream>,
    far_inode: u64,
    side: Side,
    /// Something was written to it.
    was_written: bool,
    /// It was seen to have read all that was written.
    has_read: bool,
    /// It has said something that is no answer to a ping, or was told something that is none, since this was asked.
    has_sign: bool,
    /// Bytes that were read and are not cut into lines yet.
    unread: Vec<u8>,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// How many bytes of a line were dropped that is too long.
    n_dropped: u64,
    said: VecDeque<Said>,
    n_waiting: usize,
    /// The number of the first in `said`.
    first: u64,
    /// The number up to which the watcher was told.
    told: u64,
    watcher: Option<PeerId>,
    outbox: Vec<u8>,
    farewell: ByteVec,
    /// The program has ended: what the socket has is all.
    is_over: bool,
    /// Who has recorded the end does not know channels: nobody is waited for.
    is_given_up: bool,
}

impl Channel {
    /// The channel of a program that was executed; `socket` is non-blocking.
    pub(crate) fn new(line: Line, launch: &message::Channel) -> Self {
        let mut channel = Self {
            socket: Some(line.socket),
            far_inode: line.far_inode,
            side: Side::Open,
            was_written: false,
            has_read: false,
            has_sign: false,
            unread: Vec::new(),
            partial: Vec::new(),
            n_dropped: 0,
            said: VecDeque::new(),
            n_waiting: 0,
            first: 1,
            told: 0,
            watcher: None,
            outbox: Vec::new(),
            farewell: launch.farewell.clone(),
            is_over: false,
            is_given_up: false,
        };
        for line in &launch.greeting {
            channel.push_line(line);
        }
        channel
    }

    /// The socket, while the program can say or be told something.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Whether more may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.said.len() < MAX_LINES && self.n_waiting < MAX_WAITING
    }

    /// Whether something waits for the program.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether something that was said has not been recorded yet by somebody who would.
    pub(crate) fn is_needed(&self) -> bool {
        !self.is_given_up && (self.side != Side::Told || !self.said.is_empty())
    }

    /// Reads what the program has said, as far as there is room. Answers whether it said something.
    pub(crate) fn read(&mut self) -> bool {
        let mut has_said = false;
        loop {
            self.cut();
            let Some(socket) = self.socket.as_mut().filter(|_| self.unread.is_empty()) else {
                return has_said;
            };
            if self.said.len() >= MAX_LINES || self.n_waiting >= MAX_WAITING {
                return has_said;
            }
            self.unread.resize(READ_LENGTH, 0);
            let read = socket.read(&mut self.unread);
            self.unread.truncate(*read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return self.close() || has_said,
                Ok(_) => {
                    has_said = true;
                    self.see_whether_it_reads();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_over {
                        self.close();
                    }
                    return has_said;
                }
                Err(_) => return self.close() || has_said,
            }
        }
    }

    /// Takes whole lines out of what was read, as far as there is room.
    fn cut(&mut self) {
        let mut n_cut = 0;
        while n_cut < self.unread.len() && self.has_room() {
            let rest = &self.unread[n_cut..];
            let Some(length) = memchr::memchr(b'\n', rest) else {
                let rest = rest.to_vec();
                self.add_to_line(&rest);
                n_cut = self.unread.len();
                break;
            };
            let end = rest[..length].to_vec();
            n_cut += length + 1;
            self.add_to_line(&end);
            self.end_line();
        }
        self.unread.drain(..n_cut);
    }

    fn add_to_line(&mut self, bytes: &[u8]) {
        if self.n_dropped > 0 || self.partial.len() + bytes.len() > MAX_LINE {
            self.n_dropped += (self.partial.len() + bytes.len()) as u64;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.partial);
        self.has_sign = self.has_sign || !is_called(&line, "pong");
        match std::mem::take(&mut self.n_dropped) {
            0 => {
                self.n_waiting += line.len();
                self.said.push_back(Said::Line(line));
            }
            length => self.said.push_back(Said::TooLong { length }),
        }
    }

    /// The program says nothing more. Answers true.
    fn close(&mut self) -> bool {
        if !self.partial.is_empty() || self.n_dropped > 0 {
            self.end_line();
        }
        self.socket = None;
        self.outbox = Vec::new();
        if self.side == Side::Open {
            self.side = Side::Closed;
        }
        if self.is_over {
            self.tell_closed();
        }
        true
    }

    /// Whether the program has closed its side, which is not among what it has said yet.
    pub(crate) fn has_closed(&self) -> bool {
        self.side == Side::Closed
    }

    /// That the program has closed its side is the last of what it has said.
    pub(crate) fn tell_closed(&mut self) {
        if self.side == Side::Closed {
            self.side = Side::Told;
            self.said.push_back(Said::Closed);
        }
    }

    /// Whether something was said, by either side, that is neither a ping nor the answer to one, since this was asked.
    pub(crate) fn take_sign(&mut self) -> bool {
        std::mem::take(&mut self.has_sign)
    }

    /// Takes notice if the program has read all that was written to it.
    fn see_whether_it_reads(&mut self) {
        self.has_read = self.has_read || (self.was_written && self.outbox.is_empty() && self.is_all_read());
    }

    /// Whether the program has read all that is in the socket.
    fn is_all_read(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| sys::n_unread(socket).is_ok_and(|n_unread| n_unread == 0))
    }

    /// The inode of the program's end if it has read all that was said to it, and something was.
    pub(crate) fn all_read(&self) -> Option<u64> {
        (self.was_written && self.outbox.is_empty() && self.is_all_read()).then_some(self.far_inode)
    }

    /// The program has ended: what is in the socket is the last of it.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
        self.read();
        self.tell_closed();
    }

    /// Says a line to the program.
    pub(crate) fn push(&mut self, line: &[u8]) -> Result<(), NotSaid> {
        if self.socket.is_none() || self.is_over {
            return Err(NotSaid::Closed);
        }
        if self.outbox.len() + line.len() > MAX_OUTBOX {
            return Err(NotSaid::QueueFull);
        }
        self.see_whether_it_reads();
        self.has_sign = self.has_sign || !is_called(line, "ping");
        self.push_line(line);
        Ok(())
    }

    fn push_line(&mut self, line: &[u8]) {
        self.outbox.extend_from_slice(line);
        self.outbox.push(b'\n');
    }

    /// Tells the program that it is to end.
    pub(crate) fn bid_farewell(&mut self) -> Farewell {
        let farewell = self.farewell.clone();
        let is_said = !farewell.is_empty() && self.push(&farewell).is_ok();
        // Where nothing was written before, nothing is known of it.
        if is_said && (self.has_read || !self.was_written) { Farewell::Said } else { Farewell::Unheard }
    }

    /// Writes what the program takes without waiting. Answers whether that was anything.
    pub(crate) fn flush(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        let mut n_written = 0;
        while n_written < self.outbox.len() {
            match socket.write(&self.outbox[n_written..]) {
                Ok(n) => {
                    n_written += n;
                    self.was_written = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It reads nothing any more; what it has said is still to be read.
                Err(_) => n_written = self.outbox.len(),
            }
        }
        self.outbox.drain(..n_written);
        if self.outbox.is_empty() {
            self.outbox = Vec::new();
        }
        n_written > 0
    }

    /// From now on `peer` takes what is said; up to `after` all was taken.
    pub(crate) fn watch(&mut self, peer: PeerId, after: u64) {
        self.watcher = Some(peer);
        self.is_given_up = false;
        self.forget(after);
        self.told = self.first - 1;
    }

    /// Who takes what is said.
    pub(crate) fn watcher(&self) -> Option<PeerId> {
        self.watcher
    }

    /// A connection is gone.
    pub(crate) fn lose(&mut self, peer: PeerId) {
        self.watcher.take_if(|watcher| *watcher == peer);
    }

    /// Nobody takes what is left: it keeps nobody waiting.
    pub(crate) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// What was said up to `up_to` is recorded.
    pub(crate) fn forget(&mut self, up_to: u64) {
        while self.first <= up_to
            && let Some(said) = self.said.pop_front()
        {
            self.first += 1;
            if let Said::Line(line) = said {
                self.n_waiting -= line.len();
            }
        }
        self.told = self.told.max(self.first - 1);
    }

    /// What the watcher was not told yet, with the number of the first. It counts as told from now on.
    pub(crate) fn untold(&mut self) -> Option<(PeerId, u64, Vec<Said>)> {
        let watcher = self.watcher?;
        let n_told = usize::try_from(self.told + 1 - self.first).expect("what was told still waits");
        let said: Vec<Said> = self.said.range(n_told..).cloned().collect();
        let first = self.told + 1;
        self.told += said.len() as u64;
        (!said.is_empty()).then_some((watcher, first, said))
    }
}

/// Whether a line is a message of this type that is short and has no other around it: `{"type": "pong", …}`. The
/// holder reads no JSON; one that is written otherwise is taken for another message.
fn is_called(line: &[u8], kind: &str) -> bool {
    const LONGEST: usize = 200;
    if line.len() > LONGEST {
        return false;
    }
    let plain: Vec<u8> = line.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let called = format!("\"type\":\"{kind}\"");
    plain.starts_with(format!("{{{called}").as_bytes()) || plain.ends_with(format!(",{called}}}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let kind = message::ChannelKind::JsonLines;
        let launch = message::Channel { kind, greeting: Vec::new(), farewell: b"bye".to_vec().into() };
        (Channel::new(Line { socket: ours, far_inode: 1 }, &launch), theirs)
    }

    fn line(text: &str) -> Said {
        Said::Line(text.as_bytes().to_vec())
    }

    const PEER: PeerId = PeerId(1);

    #[test]
    fn lines_are_numbered_and_told_once_to_each_watcher_until_they_are_taken() {
        let (mut channel, mut theirs) = pair();
        theirs.write_all(b"one\ntwo\nthr").unwrap();
        assert!(channel.read());
        assert_eq!(channel.untold(), None, "nobody watches");
        channel.watch(PEER, 0);
        assert_eq!(channel.untold(), Some((PEER, 1, vec![line("one"), line("two")])));
        assert_eq!(channel.untold(), None);
        channel.forget(1);
        theirs.write_all(b"ee\n").unwrap();
        channel.read();
        assert_eq!(channel.untold(), Some((PEER, 3, vec![line("three")])));
        channel.watch(PeerId(2), 2);
        assert_eq!(channel.untold(), Some((PeerId(2), 3, vec![line("three")])));
        channel.forget(3);
        channel.forget(3);
        channel.watch(PEER, 9);
        theirs.write_all(b"four").unwrap();
        drop(theirs);
        channel.read();
        assert_eq!(channel.untold(), Some((PEER, 4, vec![line("four")])));
        assert!(channel.has_closed() && channel.is_needed(), "it may be ending just now");
        channel.tell_closed();
        assert_eq!(channel.untold(), Some((PEER, 5, vec![Said::Closed])));
        assert!(channel.is_needed());
        channel.forget(5);
        assert!(!channel.is_needed());
        assert_eq!(channel.push(b"late"), Err(NotSaid::Closed));
    }

    #[test]
    fn no_more_lines_and_bytes_wait_than_may_and_none_is_lost() {
        let (mut channel, mut theirs) = pair();
        theirs.write_all(&b"x\n".repeat(3_000)).unwrap();
        channel.read();
        assert_eq!((channel.said.len(), channel.has_room()), (MAX_LINES, false));
        channel.forget(999);
        channel.read();
        channel.forget(2_500);
        channel.forget(1_999);
        channel.read();
        channel.watch(PEER, 0);
        let (_, first, said) = channel.untold().unwrap();
        assert_eq!((first, said.len()), (2_000, 1_000));
        channel.end();
        channel.forget(2_999);
        channel.end();
        assert_eq!(channel.untold(), Some((PEER, 3_000, vec![line("x"), Said::Closed])));
    }

    #[test]
    fn a_line_that_is_too_long_costs_no_room_and_the_next_one_is_whole() {
        let (mut channel, mut theirs) = pair();
        let writing = std::thread::spawn(move || {
            theirs.write_all(&vec![b'a'; MAX_LINE]).unwrap();
            theirs.write_all(b"\n").unwrap();
            theirs.write_all(&vec![b'b'; 3 * MAX_LINE]).unwrap();
            theirs.write_all(b"\nnext\n").unwrap();
            theirs
        });
        let socket = channel.socket.as_ref().unwrap().try_clone().unwrap();
        while channel.said.len() < 3 {
            let mut fds = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).unwrap();
            channel.read();
            assert!(channel.partial.len() <= MAX_LINE);
        }
        let _theirs = writing.join().unwrap();
        channel.watch(PEER, 1);
        let too_long = Said::TooLong { length: 3 * MAX_LINE as u64 };
        assert_eq!(channel.untold(), Some((PEER, 2, vec![too_long, line("next")])));
    }

    #[test]
    fn pings_and_their_answers_are_no_signs_of_life() {
        let (mut channel, mut theirs) = pair();
        for answer in [r#"{"type":"pong"}"#, r#"{"type": "pong", "n": 1}"#, r#"{ "n": 1, "type" : "pong" }"#]
        {
            theirs.write_all(format!("{answer}\n").as_bytes()).unwrap();
            assert!(channel.read() && !channel.take_sign(), "{answer}");
        }
        channel.push(br#"{"type":"ping"}"#).unwrap();
        assert!(!channel.take_sign());
        for message in [r#"{"type":"tick"}"#, "nonsense", r#"{"type":"event","data":{"a":1,"type":"pong"}}"#]
        {
            theirs.write_all(format!("{message}\n").as_bytes()).unwrap();
            assert!(channel.read() && channel.take_sign(), "{message}");
        }
        channel.push(br#"{"type":"config"}"#).unwrap();
        assert!(channel.take_sign());
    }

    #[test]
    fn a_program_that_never_read_what_it_was_told_is_not_said_to_have_heard() {
        let (mut channel, mut theirs) = pair();
        assert_eq!(channel.bid_farewell(), Farewell::Said, "nothing is known of it");
        let (mut deaf, _theirs) = pair();
        deaf.push(b"init").unwrap();
        deaf.flush();
        assert_eq!((deaf.bid_farewell(), deaf.all_read()), (Farewell::Unheard, None));
        channel.flush();
        assert_eq!(channel.all_read(), None);
        assert_eq!(theirs.read(&mut [0; 64]).unwrap(), 4);
        assert_eq!((channel.all_read(), channel.bid_farewell()), (Some(1), Farewell::Said));
    }

    #[test]
    fn what_the_program_does_not_read_is_bounded() {
        let (mut channel, mut theirs) = pair();
        let long = vec![b'x'; 1 << 20];
        while channel.push(&long).is_ok() {
            channel.flush();
        }
        assert_eq!(channel.push(&long), Err(NotSaid::QueueFull));
        assert!(channel.outbox.len() <= MAX_OUTBOX + 1);
        let mut taken = vec![0; 1 << 20];
        while channel.push(&long).is_err() {
            assert!(theirs.read(&mut taken).unwrap() > 0);
            channel.flush();
        }
    }
}
