//! Those who wait for something on the terminal: each peer for one thing of a kind at a time.
//!
//! Nothing is kept or counted down for anybody who does not ask.

use std::time::{Duration, Instant};

use laneway_wire::FromHolder;
use laneway_wire::message::refusal;

use super::Holder;
use crate::clock::Moment;
use crate::input::Asker;
use crate::peer::AwaitedQuiet;

impl Holder {
    /// Notes that somebody wants to hear when nothing has happened for so long.
    pub(super) fn await_quiet(&mut self, asker: Asker, quiet_ms: u64) {
        if self.exited.is_some() {
            self.refuse(asker, refusal::ENDED, "the program has ended");
            return;
        }
        let Some(peer) = self.peers.get_mut(&asker.peer) else { return };
        let wanted = AwaitedQuiet { tag: asker.tag, quiet: Duration::from_millis(quiet_ms) };
        if peer.awaited_quiet.is_some() {
            self.refuse(asker, refusal::OUT_OF_PLACE, "this connection waits for that already");
        } else {
            peer.awaited_quiet = Some(wanted);
        }
    }

    /// When the next of those will have been quiet enough, if nothing happens before.
    pub(super) fn quiet_deadline(&self) -> Option<Instant> {
        let waits = self.peers.values().filter_map(|peer| peer.awaited_quiet);
        // What is further away than the clock goes never comes.
        waits.filter_map(|wait| self.last_activity.checked_add(wait.quiet)).min()
    }

    /// Tells those for whom it has been quiet long enough; and all of them when the program has ended.
    pub(super) fn tell_the_quiet(&mut self, now: Moment) {
        let quiet = now.instant.saturating_duration_since(self.last_activity);
        let offset = self.main_offset();
        let has_ended = self.exit_is_told;
        for peer in self.peers.values_mut() {
            let Some(wait) = peer.awaited_quiet.take_if(|wait| has_ended || quiet >= wait.quiet) else {
                continue;
            };
            if quiet >= wait.quiet && !has_ended {
                peer.say(wait.tag, &FromHolder::Quiet { offset });
            } else {
                let message = "the program has ended".to_owned();
                peer.say(wait.tag, &FromHolder::Refused { code: refusal::ENDED.to_owned(), message });
            }
        }
    }
}
