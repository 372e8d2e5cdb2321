//! Who uses a lane: joins, renews, leaves, is not heard of again; and the mark that it is shared.
//!
//! A lease that is over ends with the next decision about the lane's users, at the latest with the one that its timer
//! asks for. When the last of them goes, so does the mark.

use crate::attachment::{Attachment, DEFAULT_TTL_MS, Role, User};
use crate::command::{Join, LaneFacts};
use crate::decide::about;
use crate::decide::lane::update;
use crate::decision::{Change, Decision, Effect};
use crate::event::{Event, Subject};
use crate::findings::{AttachmentLine, Listed};
use crate::lane::{Lane, Lifecycle};
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Others that are named where a close is refused; more are counted.
const SHOWN: usize = 20;

/// Those who use a lane as a decision leaves them, and what it says of those it changes.
pub(super) struct Users<'a> {
    facts: &'a LaneFacts,
    now_are: Vec<Attachment>,
    events: Vec<(Subject, Event)>,
}

impl<'a> Users<'a> {
    /// As the clock has it: without those whose lease is over, and with leases counted anew if it was set back.
    pub(super) fn as_of(facts: &'a LaneFacts, now: Timestamp) -> Self {
        let mut users = Self { facts, now_are: Vec::new(), events: Vec::new() };
        for known in &facts.attachments {
            if let Some(live) = known.as_of(now) {
                users.now_are.push(live);
            } else {
                let User { name: who, worker } = known.user.clone();
                users.say(Event::LaneAttachmentExpired { attachment: known.id, who, worker });
            }
        }
        users
    }

    /// Those who are not `by`.
    pub(super) fn others(&self, by: Option<&User>) -> Listed<AttachmentLine> {
        listed(self.now_are.iter().filter(|known| is_other(known, by)))
    }

    /// Without those that `go` says.
    pub(super) fn without(mut self, go: impl Fn(&Attachment) -> bool) -> Self {
        let (leaving, staying) = std::mem::take(&mut self.now_are).into_iter().partition(|user| go(user));
        self.now_are = staying;
        for Attachment { id, user: User { name: who, worker }, .. } in leaving {
            self.say(Event::LaneAttachmentLeft { attachment: id, who, worker });
        }
        self
    }

    /// What becomes of the lane's mark: the last one takes it along.
    pub(super) fn mark(&self) -> bool {
        let last_has_gone = self.now_are.is_empty() && !self.facts.attachments.is_empty();
        self.facts.lane.shared && !last_has_gone
    }

    /// Adds the changes, events and effects to a decision that writes the lane with its mark as [`Self::mark`] says.
    pub(super) fn add_to(mut self, decision: &mut Decision) {
        if self.mark() != self.facts.lane.shared {
            self.say(Event::LaneSharedChanged { shared: self.mark() });
        }
        let before = &self.facts.attachments;
        let mut are_others = false;
        for known in before {
            match self.now_are.iter().find(|user| user.id == known.id) {
                None => decision.changes.push(Change::DeleteAttachment(known.id)),
                Some(user) if user == known => {}
                Some(user) => {
                    let (was_until, attachment) = (known.until, user.clone());
                    decision.changes.push(Change::UpdateAttachment { was_until, attachment });
                    are_others = true;
                }
            }
        }
        for user in self.now_are.iter().filter(|user| before.iter().all(|known| known.id != user.id)) {
            decision.changes.push(Change::InsertAttachment(user.clone()));
            are_others = true;
        }
        decision.events.extend(self.events);
        decision.effects.extend(are_others.then_some(Effect::AwaitLeases));
    }

    /// A decision that is about nothing else.
    fn decision(self) -> Decision {
        let lane = &self.facts.lane;
        let marked = Lane { shared: self.mark(), ..lane.clone() };
        let mut decision = Decision::unchanged();
        decision.changes.extend((marked.shared != lane.shared).then(|| update(lane, marked)));
        self.add_to(&mut decision);
        decision
    }

    fn say(&mut self, event: Event) {
        self.events.push((about(&self.facts.lane), event));
    }
}

/// Joins, or renews the lease of one who has joined: it is counted from now.
pub(super) fn join(facts: &LaneFacts, join: &Join, now: Timestamp) -> Result<Decision, Refusal> {
    refuse_unless_open(&facts.lane)?;
    let mut users = Users::as_of(facts, now);
    if let Some(user) = users.now_are.iter_mut().find(|known| known.user.is(&join.user)) {
        let ttl_ms = join.ttl_ms.unwrap_or_else(|| user.ttl_ms());
        *user = Attachment { role: join.role.unwrap_or(user.role), ..user.counted_from(now, ttl_ms) };
        let Attachment { id: attachment, user: User { name: who, worker }, role, .. } = user.clone();
        let ttl_ms = user.ttl_ms();
        users.say(Event::LaneAttachmentRenewed { attachment, who, worker, role, ttl_ms });
        return Ok(users.decision());
    }
    let User { name: who, worker } = join.user.clone();
    let role = join.role.unwrap_or(Role::Driver);
    let joined = Attachment {
        id: join.id,
        lane: facts.lane.id,
        user: join.user.clone(),
        role,
        joined_at: now,
        renewed_at: now,
        until: now,
    }
    .counted_from(now, join.ttl_ms.unwrap_or(DEFAULT_TTL_MS));
    users.say(Event::LaneAttachmentJoined {
        attachment: join.id,
        who,
        worker,
        role,
        ttl_ms: joined.ttl_ms(),
    });
    users.now_are.push(joined);
    Ok(users.decision())
}

/// Leaves. Who does not use the lane has left it already.
pub(super) fn leave(facts: &LaneFacts, user: &User, now: Timestamp) -> Decision {
    Users::as_of(facts, now).without(|known| known.user.is(user)).decision()
}

/// Ends the leases that are over, and counts those anew that a clock that was set back has made too long.
pub(super) fn look_at_leases(facts: &LaneFacts, now: Timestamp) -> Decision {
    Users::as_of(facts, now).decision()
}

/// Marks the lane as shared, or takes the mark away.
pub(super) fn share(facts: &LaneFacts, shared: bool) -> Result<Decision, Refusal> {
    let lane = &facts.lane;
    refuse_unless_open(lane)?;
    if lane.shared == shared {
        return Ok(Decision::unchanged());
    }
    Ok(Decision {
        changes: vec![update(lane, Lane { shared, ..lane.clone() })],
        events: vec![(about(lane), Event::LaneSharedChanged { shared })],
        effects: vec![],
    })
}

/// Those of these attachments that are not `by`'s and not over when the clock shows `now`, as a close tells them.
pub fn others_in(attachments: &[Attachment], by: Option<&User>, now: Timestamp) -> Listed<AttachmentLine> {
    let live: Vec<Attachment> = attachments.iter().filter_map(|known| known.as_of(now)).collect();
    listed(live.iter().filter(|known| is_other(known, by)))
}

fn is_other(known: &Attachment, by: Option<&User>) -> bool {
    by.is_none_or(|by| !known.user.is(by))
}

fn listed<'a>(users: impl Iterator<Item = &'a Attachment> + Clone) -> Listed<AttachmentLine> {
    let count = users.clone().count() as u64;
    Listed { first: users.take(SHOWN).map(AttachmentLine::from).collect(), count }
}

fn refuse_unless_open(lane: &Lane) -> Result<(), Refusal> {
    match lane.lifecycle {
        Lifecycle::Open => Ok(()),
        lifecycle @ (Lifecycle::New | Lifecycle::Provisioning | Lifecycle::Cleaning | Lifecycle::Closed) => {
            Err(Refusal::LaneNotOpen { lane: lane.name.clone(), lifecycle })
        }
    }
}
