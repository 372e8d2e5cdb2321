//! The loop: waits for the system, turns what it reports into events, and carries on until the holder leaves.

use std::time::Instant;

use laneway_wire::message::Exited;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock::Moment;
use crate::holder::{Event, Holder, Response, Source};

/// Runs until nothing depends on the holder any more. Answers how the program ended.
pub(crate) fn run(mut holder: Holder) -> Result<Option<Exited>, Errno> {
    loop {
        if holder.flush(Moment::now()) == Response::Leave {
            return Ok(holder.leave());
        }
        let events = wait(&holder)?;
        for event in events {
            holder.handle(event, Moment::now());
        }
    }
}

/// Waits until something happens; without a deadline as long as it takes.
fn wait(holder: &Holder) -> Result<Vec<Event>, Errno> {
    let sources = holder.sources();
    let mut descriptors: Vec<_> =
        sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    let timeout = holder.deadline().map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
    });
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno),
    }
    let ready = descriptors.iter().map(PollFd::revents).zip(&sources);
    let mut events: Vec<_> = ready.filter_map(|(revents, (source, ..))| event_of(*source, revents)).collect();
    if holder.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
        events.push(Event::DeadlineReached);
    }
    Ok(events)
}

fn event_of(source: Source, ready: PollFlags) -> Option<Event> {
    if ready.is_empty() {
        return None;
    }
    match source {
        Source::Listener => Some(Event::Knock),
        Source::Signals => Some(Event::Signalled),
        Source::Channel => {
            let ends = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
            ready.intersects(PollFlags::IN | ends).then_some(Event::ChannelReadable)
        }
        Source::Tty => Some(Event::TtyReadable),
        Source::Output(stream) => Some(Event::OutputReadable(stream)),
        // Room to write is used by the flush that follows.
        Source::Input => None,
        Source::Peer(id) => {
            let ends = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
            ready.intersects(PollFlags::IN | ends).then_some(Event::PeerReadable(id))
        }
    }
}
