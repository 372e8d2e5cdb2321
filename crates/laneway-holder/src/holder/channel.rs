//! The channel of the program, for those who watch it or say something over it.

use laneway_wire::FromHolder;
use laneway_wire::message::refusal;

use super::Holder;
use crate::channel::NotSaid;
use crate::clock::Moment;
use crate::input::Asker;

/// Why nothing is heard of a program.
const NONE: &str = "the run has no channel";

impl Holder {
    /// Reads what the program has said.
    pub(super) fn read_channel(&mut self, now: Moment) {
        if self.channel.as_mut().is_some_and(crate::channel::Channel::read) {
            self.last_activity = now.instant;
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
    pub(super) fn flush_channel(&mut self) {
        let Some(channel) = &mut self.channel else { return };
        channel.flush();
        if let Some((watcher, first, said)) = channel.untold()
            && let Some(peer) = self.peers.get_mut(&watcher)
        {
            peer.say(0, &FromHolder::ChannelSaid { first, said });
        }
    }
}
