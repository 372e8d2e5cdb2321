//! What waits to be taken by the program: typed, sent, or answers of the terminal.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use laneway_wire::message::{MAX_SEND, Tag};
use rustix::io::Errno;

use crate::peer::PeerId;

/// A sender is told about its progress each time so many more bytes are in the terminal: 64 KiB, so that 16 MiB
/// give 256 messages.
const PROGRESS_STEP: u64 = 64 << 10;

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
    pub(crate) fn push_send(&mut self, bytes: &[u8], asker: Asker, offset: u64) {
        let begin = self.n_written + self.bytes.len() as u64;
        let end = begin + bytes.len() as u64;
        self.bytes.extend(bytes);
        self.sends.push_back(PendingSend { asker, begin, end, offset, n_told: 0 });
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
        if self.bytes.is_empty() && self.bytes.capacity() > PROGRESS_STEP as usize {
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
            let n_written = self.n_written.saturating_sub(send.begin);
            if n_written >= send.n_told + PROGRESS_STEP {
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

    #[test]
    fn senders_are_told_when_their_own_last_byte_was_taken() {
        let (reading, writing) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writing, true).unwrap();
        let asker = |tag| Asker { peer: PeerId(1), tag };
        let mut queue = InputQueue::default();
        queue.push(b"typed");
        queue.push_send(&vec![b'x'; 300_000], asker(1), 7);
        queue.push_send(b"", asker(2), 8);
        queue.write_to(&writing).unwrap();
        let notices = queue.take_notices();
        // A pipe holds 64 KiB: not yet a step, since some of it was typed.
        assert_eq!(notices, []);
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
        queue.push_send(b"abc", Asker { peer: PeerId(1), tag: 4 }, 0);
        assert_eq!(queue.clear(), (3, vec![Asker { peer: PeerId(1), tag: 4 }]));
        assert!(queue.is_empty() && queue.take_notices().is_empty());
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
