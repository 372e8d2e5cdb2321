//! The stop of a run, as a machine without clock, processes or signals of its own.
//!
//! ```text
//! Asked ──grace over──► Freezing ──nobody runs, or 2 s──► Killing ──10 s──► GivenUp
//!   │                      │  ▲                             │  │
//!   │                      │  └──── somebody new runs ──────┘  │
//!   └──────── nothing is left (the reaper's proof) ────────────┴──► the holder forgets the stop
//! ```
//!
//! Freezing before killing: a process that forks faster than it is looked at can be killed for ever, but a
//! stopped one forks no more.

use std::time::{Duration, Instant};

use laneway_wire::message::ProcessIdentity;

use laneway_wire::process::Process;

/// How long processes are frozen before they are killed whether or not all are frozen.
const FREEZE_LIMIT: Duration = Duration::from_secs(2);

/// How long it is tried to kill, freezing included, before the rest is listed.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two looks while processes are frozen: a signal takes effect when its target is next
/// scheduled, of which nobody but its parent is told.
const FREEZE_STEP: Duration = Duration::from_millis(1);

/// The pause between two looks while processes are killed. Most are reaped before, which ends the stop at once.
const KILL_STEP: Duration = Duration::from_millis(10);

/// A stop under way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// The tree was asked to end and has time until then.
    Asked { until: Instant },
    /// The grace is over.
    Forcing { since: Instant, is_frozen: bool, next: Instant },
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before the next deadline.
    Wait,
    /// Send SIGSTOP to these.
    Freeze(Vec<ProcessIdentity>),
    /// Send SIGKILL to these.
    Kill(Vec<ProcessIdentity>),
    /// It has failed; these are left.
    GiveUp(Vec<ProcessIdentity>),
}

impl Stop {
    /// A stop whose first signal was sent at `now`.
    pub(crate) fn asked(now: Instant, grace: Duration) -> Self {
        // A grace beyond the clock's range is one for ever; a year is long enough.
        let year = Duration::from_hours(366 * 24);
        Self::Asked { until: now + grace.min(year) }
    }

    /// A further request: the earlier end of grace counts.
    pub(crate) fn hasten(&mut self, now: Instant, grace: Duration) {
        if let (Self::Asked { until }, Self::Asked { until: other }) = (self, Self::asked(now, grace)) {
            *until = other.min(*until);
        }
    }

    /// When `step` is to be called if nothing happens before.
    pub(crate) fn deadline(&self) -> Instant {
        match self {
            Self::Asked { until } => *until,
            Self::Forcing { next, .. } => *next,
        }
    }

    /// Whether the grace is over.
    pub(crate) fn is_forcing(&self) -> bool {
        matches!(self, Self::Forcing { .. })
    }

    /// What to do about the processes that `look` finds; it is only called when a look is due.
    pub(crate) fn step(&mut self, now: Instant, look: impl FnOnce() -> Vec<Process>) -> Step {
        if now < self.deadline() {
            return Step::Wait;
        }
        let (since, is_frozen) = match *self {
            Self::Asked { .. } => (now, false),
            Self::Forcing { since, is_frozen, .. } => (since, is_frozen),
        };
        let processes = look();
        let alive = processes.iter().filter(|process| !process.is_zombie()).map(|process| process.identity);
        let running = processes.iter().filter(|process| process.is_running()).map(|process| process.identity);
        if now >= since + KILL_LIMIT {
            return Step::GiveUp(alive.collect());
        }
        let running: Vec<_> = running.collect();
        let freezes = !running.is_empty() && now < since + FREEZE_LIMIT;
        if freezes {
            *self = Self::Forcing { since, is_frozen: false, next: now + FREEZE_STEP };
            return Step::Freeze(running);
        }
        // Between two looks a kill may be under way still; to send it twice does no harm.
        let pause = if is_frozen { KILL_STEP } else { FREEZE_STEP };
        *self = Self::Forcing { since, is_frozen: true, next: now + pause };
        Step::Kill(alive.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, state: u8) -> Process {
        Process { identity: ProcessIdentity { pid, start_ticks: 1 }, state, parent: 1 }
    }

    fn identities(pids: &[u32]) -> Vec<ProcessIdentity> {
        pids.iter().map(|pid| process(*pid, b'S').identity).collect()
    }

    #[test]
    fn nothing_is_forced_within_the_grace() {
        let now = Instant::now();
        let mut stop = Stop::asked(now, Duration::from_secs(5));
        assert_eq!(stop.step(now + Duration::from_secs(4), || panic!("no look is due")), Step::Wait);
        stop.hasten(now, Duration::from_secs(1));
        stop.hasten(now, Duration::from_mins(1));
        assert_eq!(stop.deadline(), now + Duration::from_secs(1));
    }

    #[test]
    fn nobody_is_killed_while_somebody_runs_and_can_fork() {
        let now = Instant::now();
        let mut stop = Stop::asked(now, Duration::ZERO);
        let what = stop.step(now, || vec![process(1, b'S'), process(2, b'R'), process(3, b'Z')]);
        assert_eq!(what, Step::Freeze(identities(&[1, 2])));
        let next = stop.deadline();
        let what = stop.step(next, || vec![process(1, b'T'), process(2, b'T'), process(4, b'R')]);
        assert_eq!(what, Step::Freeze(identities(&[4])));
        let next = stop.deadline();
        let what = stop.step(next, || vec![process(1, b'T'), process(2, b'T'), process(4, b'T')]);
        assert_eq!(what, Step::Kill(identities(&[1, 2, 4])));
    }

    #[test]
    fn what_cannot_be_frozen_is_killed_after_two_seconds_and_listed_after_ten() {
        let start = Instant::now();
        let mut stop = Stop::asked(start, Duration::ZERO);
        let stuck = || vec![process(9, b'D')];
        assert_eq!(stop.step(start, stuck), Step::Freeze(identities(&[9])));
        assert_eq!(stop.step(start + FREEZE_LIMIT, stuck), Step::Kill(identities(&[9])));
        assert_eq!(stop.step(start + KILL_LIMIT, stuck), Step::GiveUp(identities(&[9])));
    }
}
