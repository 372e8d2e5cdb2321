//! Those who wait for something on the terminal: each peer for one thing of a kind at a time.
//!
//! Nothing is kept or counted down for anybody who does not ask.

use std::time::{Duration, Instant};

use laneway_wire::FromHolder;
use laneway_wire::frame::MAX_DATA;
use laneway_wire::message::{Exited, Followed, FollowedLine, refusal};

use super::Holder;
use super::terminal::{Shown, Terminal};
use crate::clock::Moment;
use crate::input::Asker;
use crate::peer::{AwaitedChange, AwaitedQuiet, Peer, PeerId};
use crate::screen::Change;

impl Holder {
    /// Notes that somebody wants to hear when nothing has happened for so long.
    pub(super) fn await_quiet(&mut self, asker: Asker, quiet_ms: u64) {
        if self.exited.is_some() {
            self.refuse(asker, refusal::ENDED, "the program has ended");
            return;
        }
        if self.refuse_untapped(asker) {
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

    /// Notes that somebody wants to hear what changes. Whoever wants to hear more asks again: so nobody is told more
    /// than it takes, and what changes meanwhile is told at once.
    pub(super) fn follow(&mut self, id: PeerId, wanted: AwaitedChange) {
        let asker = Asker { peer: id, tag: wanted.tag };
        if let Terminal::Pipes(_) = self.terminal {
            self.refuse(asker, refusal::NO_TERMINAL, "the run has no terminal");
            return;
        }
        if self.refuse_untapped(asker) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.awaited_change.is_some() {
            self.refuse(asker, refusal::OUT_OF_PLACE, "this connection waits for that already");
        } else {
            peer.awaited_change = Some(wanted);
        }
    }

    /// Tells those who follow what has changed since they were told last.
    pub(super) fn tell_the_changes(&mut self) {
        let Some(shown) = self.terminal.shown() else { return };
        let (offset, exited) = (shown.tail.end(), self.exited.filter(|_| self.exit_is_told));
        let has_come =
            |wanted: &mut AwaitedChange| exited.is_some() || wanted.since.is_none_or(|since| offset > since);
        for peer in self.peers.values_mut() {
            if let Some(wanted) = peer.awaited_change.take_if(has_come) {
                say_changes(peer, shown, wanted, exited);
            }
        }
    }
}

/// Says what has changed, in parts that fit frames.
fn say_changes(peer: &mut Peer, shown: &Shown, wanted: AwaitedChange, exited: Option<Exited>) {
    let AwaitedChange { tag, since, last, ansi } = wanted;
    let changes = shown.screen.changes(since, ansi);
    let n_primary = changes.lines.iter().filter(|line| !line.alternate).count();
    let n_skipped = last.map_or(0, |last| n_primary.saturating_sub(last as usize));
    let (mut part, mut length) = (Vec::new(), 0);
    // Those of the alternate screen come last.
    for Change { line, alternate, text, .. } in changes.lines.into_iter().skip(n_skipped) {
        if length > 0 && length + text.len() > MAX_DATA {
            peer.say(tag, &FromHolder::FollowPart { lines: std::mem::take(&mut part) });
            length = 0;
        }
        // With what the encoding takes beside the text.
        length += text.len() + 16;
        part.push(FollowedLine { number: line, text, alternate });
    }
    let followed = Followed {
        lines: part,
        offset: shown.tail.end(),
        screen: changes.screen,
        n_finished: changes.n_finished as u32,
        missed: changes.missed,
        alternate_screen: shown.screen.alternate_screen(),
        exited,
    };
    peer.say(tag, &FromHolder::Followed(followed));
}
