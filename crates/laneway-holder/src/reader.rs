//! A thread that reads a flooding terminal.
//!
//! The kernel hands over at most 4 KiB of a terminal's output at a time, and the next piece only after that one was
//! taken: who works on each piece before he takes the next one has the program wait. So while a program floods, a
//! thread does nothing but take pieces, and the loop works on what has been gathered meanwhile. The thread ends by
//! itself when nothing comes any more: an idle holder has none.
//!
//! What is gathered is bounded. When nobody takes it, the thread stops reading, and the program waits.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// How much is gathered at most.
const GATHERED: usize = crate::holder::READ_LENGTH;

/// What Linux gives of a terminal's output at once if there is as much: all that its line discipline holds.
pub(crate) const FULL_READ: usize = 4095;

/// Room for that.
const PIECE: usize = 4096;

/// How much is worth to be worked on at once: half of it, so that the other half fills meanwhile.
const WORTHWHILE: usize = GATHERED / 2;

/// How long more is waited for before what there is is worked on: 200 microseconds. In a flood some 40 pass between two
/// pieces.
const PATIENCE: Duration = Duration::from_micros(200);

/// When there was nothing to do for so long, the flood is over.
const OVER_AFTER: Duration = Duration::from_millis(100);

/// The thread needs next to nothing.
const STACK_SIZE: usize = 64 << 10;

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More may come.
    Goes,
    /// The thread has ended: the flood is over for now, or it was told to stop.
    Over,
    /// The thread has ended, as nobody has the terminal open any more.
    Closed,
}

#[derive(Debug)]
struct Gathered {
    bytes: Vec<u8>,
    progress: Progress,
    /// It was told that there is something to take.
    is_told: bool,
    is_to_stop: bool,
}

#[derive(Debug)]
struct Shared {
    gathered: Mutex<Gathered>,
    /// There is room again, or the thread is to stop.
    room: Condvar,
    /// Readable when there is something gathered, or the thread has ended.
    ready: OwnedFd,
    /// Readable when the thread is to stop.
    stop: OwnedFd,
}

/// A thread that reads. When this is dropped, it goes on until the flood is over: [`Self::stop`] ends it.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// What was taken last; its memory is what the thread gathers in next.
    taken: Vec<u8>,
}

impl Reader {
    /// Starts reading `terminal`, which does not block.
    pub(crate) fn start(terminal: Arc<OwnedFd>) -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        // The memory is from here: in a thread's own heap it would stay behind.
        let gathered = Gathered {
            bytes: Vec::with_capacity(GATHERED),
            progress: Progress::Goes,
            is_told: false,
            is_to_stop: false,
        };
        let shared = Arc::new(Shared {
            gathered: Mutex::new(gathered),
            room: Condvar::new(),
            ready: eventfd(0, flags)?,
            stop: eventfd(0, flags)?,
        });
        let its = Arc::clone(&shared);
        let builder = Builder::new().name("reader".to_owned()).stack_size(STACK_SIZE);
        let thread = builder.spawn(move || {
            let progress = its.read_on(&terminal);
            its.lock().progress = progress;
            raise(&its.ready);
        })?;
        Ok(Self { shared, thread, taken: Vec::with_capacity(GATHERED) })
    }

    /// Readable when [`Self::take`] is of use.
    pub(crate) fn ready(&self) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }

    /// What was read since the last time. Does not wait.
    pub(crate) fn take(&mut self) -> (&[u8], Progress) {
        let mut count = [0; 8];
        // Before the look at it: what comes afterwards makes it readable again.
        let _ = rustix::io::read(&self.shared.ready, &mut count);
        self.taken.clear();
        let progress = {
            let mut gathered = self.shared.lock();
            mem::swap(&mut gathered.bytes, &mut self.taken);
            gathered.is_told = false;
            gathered.progress
        };
        self.shared.room.notify_one();
        (&self.taken, progress)
    }

    /// Has the thread end now; answers what it has read that was not taken. Waits for it, which reads no more.
    pub(crate) fn stop(self) -> Vec<u8> {
        self.shared.lock().is_to_stop = true;
        self.shared.room.notify_one();
        raise(&self.shared.stop);
        self.thread.join().expect("it does nothing that panics");
        mem::take(&mut self.shared.lock().bytes)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads as long as there is something to read, and room for it.
    fn read_on(&self, terminal: &OwnedFd) -> Progress {
        let mut piece = [0; PIECE];
        loop {
            let has_told = self.lock().has_told();
            match self.wait_for_output(terminal, if has_told { OVER_AFTER } else { PATIENCE }) {
                Wait::Stop => return Progress::Over,
                Wait::Nothing if has_told => return Progress::Over,
                Wait::Nothing => self.tell(&mut self.lock()),
                Wait::Output => match rustix::io::read(terminal, &mut piece) {
                    Ok(0) => return Progress::Closed,
                    Ok(n_read) if !self.gather(&piece[..n_read]) => return Progress::Over,
                    Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
                    // A terminal that nobody has open any more says EIO.
                    Err(_) => return Progress::Closed,
                },
            }
        }
    }

    /// Waits until there is something to read.
    fn wait_for_output(&self, terminal: &OwnedFd, limit: Duration) -> Wait {
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
        let mut fds = [PollFd::new(terminal, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
        match poll(&mut fds, Some(&limit)) {
            Ok(0) => Wait::Nothing,
            Ok(_) if fds[1].revents().is_empty() => Wait::Output,
            Err(Errno::INTR) => Wait::Output,
            Ok(_) | Err(_) => Wait::Stop,
        }
    }

    /// Says that there is something to take.
    fn tell(&self, gathered: &mut Gathered) {
        if !gathered.has_told() {
            gathered.is_told = true;
            raise(&self.ready);
        }
    }

    /// Adds what was read, and waits for room for the next piece. `false` if none comes about, or the thread is to
    /// stop.
    fn gather(&self, piece: &[u8]) -> bool {
        let mut gathered = self.lock();
        gathered.bytes.extend_from_slice(piece);
        if gathered.bytes.len() >= WORTHWHILE {
            self.tell(&mut gathered);
        }
        let is_full =
            |gathered: &mut Gathered| gathered.bytes.len() + PIECE > GATHERED && !gathered.is_to_stop;
        let waited = self.room.wait_timeout_while(gathered, OVER_AFTER, is_full);
        let (mut gathered, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !is_full(&mut gathered) && !gathered.is_to_stop
    }
}

impl Gathered {
    /// There is nothing of which nobody was told.
    fn has_told(&self) -> bool {
        self.is_told || self.bytes.is_empty()
    }
}

/// What became of waiting for output.
enum Wait {
    Output,
    Nothing,
    Stop,
}

/// Makes an event's descriptor readable.
fn raise(event: &OwnedFd) {
    // It fails only when it has been raised 2^64 times, and is readable then.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// No wait is longer.
    const LIMIT: Duration = Duration::from_secs(20);

    fn pipe() -> (Arc<OwnedFd>, std::io::PipeWriter) {
        let (reading, writing) = std::io::pipe().unwrap();
        let reading = OwnedFd::from(reading);
        rustix::io::ioctl_fionbio(&reading, true).unwrap();
        (Arc::new(reading), writing)
    }

    /// A byte that says where it stands.
    fn pattern(n_bytes: usize) -> Vec<u8> {
        (0..n_bytes).map(|at| (at % 251) as u8).collect()
    }

    fn wait_until_ready(reader: &Reader) {
        let limit = Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
        let ready = reader.ready();
        assert_eq!(poll(&mut [PollFd::from_borrowed_fd(ready, PollFlags::IN)], Some(&limit)), Ok(1));
    }

    /// Takes what comes until `n_bytes` were taken or the thread has ended.
    fn take_up_to(reader: &mut Reader, n_bytes: usize) -> (Vec<u8>, Progress) {
        let mut all = Vec::new();
        loop {
            wait_until_ready(reader);
            let (bytes, progress) = reader.take();
            assert!(bytes.len() <= GATHERED);
            all.extend_from_slice(bytes);
            if progress != Progress::Goes || all.len() >= n_bytes {
                return (all, progress);
            }
        }
    }

    /// Takes everything, by one thread after the other: on a busy machine a writer may pause.
    fn take_all(reading: &Arc<OwnedFd>) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut reader = Reader::start(Arc::clone(reading)).unwrap();
            let (bytes, progress) = take_up_to(&mut reader, usize::MAX);
            all.extend(bytes);
            if progress == Progress::Closed {
                return all;
            }
        }
    }

    #[test]
    fn everything_comes_in_its_order_up_to_the_end() {
        let (reading, mut writing) = pipe();
        let all = pattern(10_000_000);
        let writer = std::thread::spawn(move || {
            // In pieces of all lengths.
            let mut rest = all.as_slice();
            for length in (1..70_000).step_by(777).cycle() {
                let (piece, later) = rest.split_at(length.min(rest.len()));
                writing.write_all(piece).unwrap();
                rest = later;
                if rest.is_empty() {
                    return all;
                }
            }
            unreachable!()
        });
        let taken = take_all(&reading);
        assert!(taken == writer.join().unwrap());
    }

    #[test]
    fn it_is_over_when_nothing_comes_any_more() {
        let (reading, mut writing) = pipe();
        let mut reader = Reader::start(reading).unwrap();
        writing.write_all(&pattern(5000)).unwrap();
        // The writer stays: only the pause ends it.
        assert_eq!(take_up_to(&mut reader, usize::MAX), (pattern(5000), Progress::Over));
        drop(writing);
    }

    #[test]
    fn a_thread_that_is_stopped_leaves_the_rest_where_it_was() {
        let (reading, mut writing) = pipe();
        let mut reader = Reader::start(Arc::clone(&reading)).unwrap();
        let all = pattern(3_000_000);
        let written = all.clone();
        let writer = std::thread::spawn(move || writing.write_all(&written).unwrap());
        let (mut taken, _) = take_up_to(&mut reader, 1_000_000);
        taken.extend(reader.stop());
        taken.extend(take_all(&reading));
        writer.join().unwrap();
        assert!(taken == all);
    }

    #[test]
    fn what_nobody_takes_is_bounded_and_not_lost() {
        let (reading, mut writing) = pipe();
        let reader = Reader::start(Arc::clone(&reading)).unwrap();
        let all = pattern(1_000_000);
        let written = all.clone();
        let writer = std::thread::spawn(move || writing.write_all(&written).unwrap());
        // It ends by itself, with what it has, and says so.
        while reader.shared.lock().progress == Progress::Goes {
            wait_until_ready(&reader);
            rustix::io::read(&reader.shared.ready, &mut [0; 8]).unwrap();
        }
        let mut taken = reader.stop();
        assert!((GATHERED - 2 * PIECE..=GATHERED).contains(&taken.len()), "{}", taken.len());
        taken.extend(take_all(&reading));
        writer.join().unwrap();
        assert!(taken == all);
    }
}
