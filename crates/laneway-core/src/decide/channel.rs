//! What comes of what programs say over their channels.

use crate::channel::{ChannelProgress, Heard};
use crate::command::LaneFacts;
use crate::decide::instance::Following;
use crate::decide::run::{find_run, subject, update};
use crate::decision::{Decision, Effect};
use crate::event::Event;
use crate::id::RunId;
use crate::launch::DEFAULT_GRACE_MS;
use crate::refusal::Refusal;
use crate::run::{Run, RunState};
use crate::time::Timestamp;

/// Records what follows on what is recorded. What came before is passed over; after a gap nothing is recorded, so that
/// it is heard again from where it is missing. It counts also when the run is over.
pub(super) fn heard(
    facts: &LaneFacts,
    id: RunId,
    (first, heard): (u64, &[Heard]),
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let (worker, run) = find_run(facts, id)?;
    let Some(known) = run.channel.as_ref().filter(|known| first <= known.taken + 1) else {
        return Ok(Decision::unchanged());
    };
    let n_known = usize::try_from(known.taken + 1 - first).unwrap_or(usize::MAX);
    let mut channel = known.clone();
    let about = subject(&facts.lane, worker.worker.id, Some(id));
    let mut decision = Decision::default();
    let mut following = Following::of(facts, &worker.worker, run);
    for heard in heard.iter().skip(n_known) {
        channel.taken += 1;
        let event = match heard {
            Heard::Ready if channel.ready_at.is_none() => {
                channel.ready_at = Some(now);
                Event::WorkerReady { number: run.number }
            }
            Heard::Unreadable => {
                channel.n_unreadable += 1;
                continue;
            }
            Heard::Closed if run.state.is_wanted() => Event::WorkerChannelClosed { number: run.number },
            Heard::Ready | Heard::Pong | Heard::Closed => continue,
            Heard::Status(status) => Event::WorkerStatusSaid { status: status.clone() },
            Heard::Error(message) => Event::WorkerErrorSaid { message: message.clone() },
            Heard::Event { name, data } => {
                following.event(name, data, now);
                Event::WorkerSaid { name: name.clone(), data: following.own(data) }
            }
        };
        decision.events.push((about, event));
    }
    if channel != *known {
        decision.changes.push(update(run, Run { channel: Some(channel), ..run.clone() }));
    }
    let Decision { changes, events, .. } = following.decided();
    decision.changes.extend(changes);
    decision.events.extend(events);
    Ok(decision)
}

/// A program that runs and does not answer is ended; how its run ended is decided when it has.
pub(super) fn unresponsive(facts: &LaneFacts, id: RunId, why: &str) -> Result<Decision, Refusal> {
    let (worker, run) = find_run(facts, id)?;
    let (RunState::Running(process), Some(known)) = (&run.state, &run.channel) else {
        return Ok(Decision::unchanged());
    };
    let channel = ChannelProgress { unresponsive: Some(why.to_owned()), ..known.clone() };
    let state = RunState::Stopping(Some(process.clone()));
    let event = Event::WorkerUnhealthy { number: run.number, why: why.to_owned() };
    Ok(Decision {
        changes: vec![update(run, Run { state, channel: Some(channel), ..run.clone() })],
        events: vec![(subject(&facts.lane, worker.worker.id, Some(id)), event)],
        effects: vec![Effect::StopRun { run: id, grace_ms: DEFAULT_GRACE_MS }],
    })
}
