//! The channel of the program, for those who watch it or say something over it.

use std::time::{Duration, Instant};

use laneway_fault::fault_point;
use laneway_wire::FromHolder;
use laneway_wire::message::refusal;

use super::Holder;
use crate::channel::{Channel, NotSaid};
use crate::clock::Moment;
use crate::input::Asker;

/// Why nothing is heard of a program.
const NONE: &str = "the run has no channel";

/// How long a program that has closed its channel may take to end for that to be nothing but a part of its end: the
/// system closes what it had open before it tells that it has ended.
const ENDING: Duration = Duration::from_millis(100);

impl Holder {
    /// When it is told that the program has closed its channel and lives on.
    pub(super) fn channel_deadline(&self) -> Option<Instant> {
        let closed_at = self.channel_closed_at.filter(|_| self.exited.is_none());
        closed_at.filter(|_| self.channel.as_ref().is_some_and(Channel::has_closed)).map(|at| at + ENDING)
    }

    /// Reads what the program has said.
    pub(super) fn read_channel(&mut self, now: Moment) {
        if self.channel.as_mut().is_some_and(Channel::read) {
            fault_point!("holder.channel-read");
            self.last_activity = now.instant;
        }
        if self.channel.as_mut().is_some_and(Channel::take_sign) {
            self.limits.sign(now.instant);
        }
    }

    pub(super) fn watch_channel(&mut self, asker: Asker, after: u64) {
        match &mut self.channel {
            Some(channel) => {
                channel.watch(asker.peer, after);
                // There may be room again.
                channel.read();
                self.say(asker, &FromHolder::Done);
            }
            None => self.refuse(asker, refusal::NO_CHANNEL, NONE),
        }
    }

    pub(super) fn forget_channel(&mut self, asker: Asker, up_to: u64) {
        match self.channel.as_mut().filter(|channel| channel.watcher() == Some(asker.peer)) {
            Some(channel) => {
                channel.forget(up_to);
                channel.read();
                self.say(asker, &FromHolder::Done);
            }
            None => {
                self.refuse(asker, refusal::OUT_OF_PLACE, "only who watches the channel takes what it says");
            }
        }
    }

    pub(super) fn send_to_channel(&mut self, asker: Asker, line: &[u8]) {
        let pushed = self.channel.as_mut().map(|channel| channel.push(line));
        match pushed {
            Some(Ok(())) => self.say(asker, &FromHolder::Done),
            Some(Err(NotSaid::Closed)) => {
                self.refuse(asker, refusal::NO_CHANNEL, "the program has closed its channel");
            }
            Some(Err(NotSaid::QueueFull)) => {
                let message = "the program does not read what it was told before";
                self.refuse(asker, refusal::QUEUE_FULL, message);
            }
            None => self.refuse(asker, refusal::NO_CHANNEL, NONE),
        }
    }

    /// Gives the program what waits for it, and the one who watches what it has said.
    pub(super) fn flush_channel(&mut self, now: Moment) {
        let Some(channel) = &mut self.channel else { return };
        if channel.flush() {
            fault_point!("holder.channel-written");
        }
        if channel.has_closed() {
            let closed_at = *self.channel_closed_at.get_or_insert(now.instant);
            if now.instant >= closed_at + ENDING {
                channel.tell_closed();
            }
        }
        // That it has ended comes before that its channel is closed, which follows from it.
        if self.exited.is_some() && !self.watchers_know {
            return;
        }
        if let Some((watcher, first, said)) = channel.untold()
            && let Some(peer) = self.peers.get_mut(&watcher)
        {
            peer.say(0, &FromHolder::ChannelSaid { first, said });
        }
    }
}
