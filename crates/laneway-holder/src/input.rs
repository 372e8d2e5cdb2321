//! What waits to be taken by the program: typed, sent, or answers of the terminal.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::AsFd;

use laneway_wire::message::{MAX_SEND, Tag};
use rustix::io::Errno;

use crate::peer::PeerId;
use crate::typing::{BRACKET_LENGTH, Typed};

/// An empty queue gives back memory above this.
const KEPT_CAPACITY: usize = 64 << 10;

/// Bytes on their way to the program, at most [`MAX_SEND`] of them.
#[derive(Debug, Default)]
pub(crate) struct InputQueue {
    bytes: VecDeque<u8>,
    /// How many bytes the program's side has taken since the start.
    n_written: u64,
    sends: VecDeque<PendingSend>,
}

#[derive(Debug)]
struct PendingSend {
    asker: Asker,
    begin: u64,
    end: u64,
    /// The part of it that is a bracketed paste, counted from its begin.
    paste: Option<Range<usize>>,
    /// The output offset when it was asked for.
    offset: u64,
    n_told: u64,
}

/// Who is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) peer: PeerId,
    pub(crate) tag: Tag,
}

/// What a sender is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Progress { asker: Asker, n_written: u64, n_total: u64 },
    Sent { asker: Asker, offset: u64 },
}

/// What became of a send that was dropped, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) n_written: u64,
    pub(crate) n_dropped: u64,
}

/// The program has closed its side.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl InputQueue {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether so many more bytes fit.
    pub(crate) fn has_room(&self, n_bytes: usize) -> bool {
        self.bytes.len() + n_bytes <= MAX_SEND
    }

    /// Appends bytes that nobody wants to hear about again.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Appends bytes whose sender is told when the last one was taken.
    pub(crate) fn push_send(&mut self, typed: &Typed, asker: Asker, offset: u64) {
        let begin = self.n_written + self.bytes.len() as u64;
        let end = begin + typed.bytes.len() as u64;
        self.bytes.extend(&typed.bytes);
        let paste = typed.paste.clone();
        self.sends.push_back(PendingSend { asker, begin, end, paste, offset, n_told: 0 });
    }

    /// Forgets what was not taken of one send, and that its sender waits. `None` if all of it was taken, or there
    /// is no such send. A paste that has begun is still ended: the program would take all that is typed later for a
    /// part of it.
    pub(crate) fn drop_send(&mut self, asker: Asker) -> Option<Cut> {
        let is_it = |send: &PendingSend| send.asker == asker && send.end > self.n_written;
        let index = self.sends.iter().position(is_it)?;
        let send = self.sends.remove(index)?;
        let n_written = self.n_written.saturating_sub(send.begin);
        let n_left = send.end - send.begin - n_written;
        // What is in memory fits its sizes.
        let begin = (send.begin.max(self.n_written) - self.n_written) as usize;
        let behind = self.bytes.split_off(begin + n_left as usize);
        let rest = self.bytes.split_off(begin);
        if let Some(paste) = send.paste.filter(|_| n_written > 0) {
            let brackets =
                (paste.start..paste.start + BRACKET_LENGTH).chain(paste.end - BRACKET_LENGTH..paste.end);
            let not_written = brackets.filter_map(|at| at.checked_sub(n_written as usize));
            self.bytes.extend(not_written.map(|at| rest[at]));
        }
        let n_dropped = n_left - (self.bytes.len() - begin) as u64;
        self.bytes.extend(behind);
        for later in self.sends.range_mut(index..) {
            later.begin -= n_dropped;
            later.end -= n_dropped;
        }
        Some(Cut { n_written, n_dropped })
    }

    /// Writes what the other side takes without waiting.
    pub(crate) fn write_to(&mut self, fd: impl AsFd) -> Result<(), Closed> {
        while !self.bytes.is_empty() {
            match rustix::io::write(fd.as_fd(), self.bytes.as_slices().0) {
                Ok(n_written) => {
                    self.bytes.drain(..n_written);
                    self.n_written += n_written as u64;
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => return Err(Closed),
            }
        }
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_CAPACITY {
            self.bytes = VecDeque::new();
        }
        Ok(())
    }

    /// What is to be told since the last call.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Some(send) = self.sends.pop_front_if(|send| send.end <= self.n_written) {
            notices.push(Notice::Sent { asker: send.asker, offset: send.offset });
        }
        if let Some(send) = self.sends.front_mut() {
            // Each time, and not in steps: who waits with a limit has to know of every byte. A terminal takes at
            // most 4 KiB at once, so that 16 MiB give some 4 000 short messages.
            let n_written = self.n_written.saturating_sub(send.begin);
            if n_written > send.n_told {
                send.n_told = n_written;
                let n_total = send.end - send.begin;
                notices.push(Notice::Progress { asker: send.asker, n_written, n_total });
            }
        }
        notices
    }

    /// Forgets everything that was not taken. Answers how much that is, and whose.
    pub(crate) fn clear(&mut self) -> (usize, Vec<Asker>) {
        let n_dropped = self.bytes.len();
        self.bytes = VecDeque::new();
        (n_dropped, self.sends.drain(..).map(|send| send.asker).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8]) -> Typed {
        Typed { bytes: bytes.to_vec(), paste: None }
    }

    #[test]
    fn senders_are_told_when_their_own_last_byte_was_taken() {
        let (reading, writing) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writing, true).unwrap();
        let asker = |tag| Asker { peer: PeerId(1), tag };
        let mut queue = InputQueue::default();
        queue.push(b"typed");
        queue.push_send(&plain(&vec![b'x'; 300_000]), asker(1), 7);
        queue.push_send(&plain(b""), asker(2), 8);
        assert_eq!(queue.take_notices(), []);
        queue.write_to(&writing).unwrap();
        let n_written = 300_000 - queue.len() as u64;
        let progress = Notice::Progress { asker: asker(1), n_written, n_total: 300_000 };
        assert_eq!(queue.take_notices(), [progress]);
        let mut buffer = vec![0; 400_000];
        rustix::io::read(&reading, &mut buffer).unwrap();
        queue.write_to(&writing).unwrap();
        let n_written = 300_000 - queue.len() as u64;
        let progress = Notice::Progress { asker: asker(1), n_written, n_total: 300_000 };
        assert_eq!(queue.take_notices(), [progress]);
        assert_eq!(queue.take_notices(), []);
        while !queue.is_empty() {
            rustix::io::read(&reading, &mut buffer).unwrap();
            queue.write_to(&writing).unwrap();
        }
        let told = queue.take_notices();
        assert_eq!(
            told,
            [Notice::Sent { asker: asker(1), offset: 7 }, Notice::Sent { asker: asker(2), offset: 8 }]
        );
    }

    #[test]
    fn what_is_dropped_is_told_to_its_senders() {
        let mut queue = InputQueue::default();
        queue.push_send(&plain(b"abc"), Asker { peer: PeerId(1), tag: 4 }, 0);
        assert_eq!(queue.clear(), (3, vec![Asker { peer: PeerId(1), tag: 4 }]));
        assert!(queue.is_empty() && queue.take_notices().is_empty());
    }

    #[test]
    fn one_send_is_dropped_from_among_others() {
        let (reading, writing) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writing, true).unwrap();
        let asker = |tag| Asker { peer: PeerId(1), tag };
        let mut queue = InputQueue::default();
        queue.push_send(&plain(&vec![b'a'; 100_000]), asker(1), 0);
        queue.push_send(&plain(b"never begun"), asker(2), 0);
        queue.push_send(&plain(b"last"), asker(3), 0);
        queue.write_to(&writing).unwrap();
        let n_written = 100_000 + 15 - queue.len() as u64;
        queue.take_notices();
        assert_eq!(queue.drop_send(asker(2)), Some(Cut { n_written: 0, n_dropped: 11 }));
        let n_dropped = 100_000 - n_written;
        assert_eq!(queue.drop_send(asker(1)), Some(Cut { n_written, n_dropped }));
        assert_eq!(queue.drop_send(asker(1)), None, "there is none any more");
        rustix::io::read(&reading, &mut vec![0; 100_000]).unwrap();
        queue.write_to(&writing).unwrap();
        let mut buffer = [0; 100];
        let n_read = rustix::io::read(&reading, &mut buffer).unwrap();
        assert_eq!(&buffer[..n_read], b"last");
        assert_eq!(queue.take_notices(), [Notice::Sent { asker: asker(3), offset: 0 }]);
    }

    #[test]
    fn a_paste_that_was_begun_is_ended_when_the_rest_is_dropped() {
        let asker = Asker { peer: PeerId(1), tag: 1 };
        let typed = Typed { bytes: b"\x1b[200~a long text\x1b[201~\r".to_vec(), paste: Some(0..23) };
        for (n_written, left) in
            [(0, &b""[..]), (2, b"200~\x1b[201~"), (9, b"\x1b[201~"), (20, b"01~"), (23, b"")]
        {
            let mut queue = InputQueue::default();
            queue.push_send(&typed, asker, 0);
            queue.push(b"|behind");
            queue.bytes.drain(..n_written);
            queue.n_written += n_written as u64;
            let n_dropped = (24 - n_written - left.len()) as u64;
            let cut = queue.drop_send(asker);
            assert_eq!(cut, Some(Cut { n_written: n_written as u64, n_dropped }), "{n_written}");
            assert_eq!(queue.bytes.make_contiguous(), [left, b"|behind"].concat(), "{n_written}");
        }
    }

    #[test]
    fn a_closed_other_side_is_told() {
        let (reading, writing) = std::io::pipe().unwrap();
        drop(reading);
        let mut queue = InputQueue::default();
        queue.push(b"x");
        assert_eq!(queue.write_to(&writing), Err(Closed));
    }
}
