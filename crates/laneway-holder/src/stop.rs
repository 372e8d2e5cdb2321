//! The stop of a run, as a machine without clock, processes or signals of its own.
//!
//! ```text
//! Told ──100 ms──► Heeded? ──it waits for the next message instead──► Asked: signal
//!   │                 └──half the grace over──► Asked: signal
//!   └──the program has ended──► Asked: signal to who is left
//!
//! Asked ──grace over──► Forcing: freeze ──nobody can fork, or 2 s──► kill ──10 s──► given up
//!   │                              ▲                                   │
//!   │                              └──────── something is left ────────┤
//!   └──────────── nothing is left (the reaper's proof) ────────────────┴──► the holder forgets the stop
//! ```
//!
//! Freezing before killing: a process that forks faster than it is looked at can be killed for ever, but a
//! stopped one forks no more.

use std::time::{Duration, Instant};

use laneway_wire::message::ProcessIdentity;

use crate::tree::Look;

/// How long processes are frozen before they are killed whether or not all are frozen.
const FREEZE_LIMIT: Duration = Duration::from_secs(2);

/// How long a program that was told has to act on that before it is looked at: long for a program that waits for
/// messages, and short enough that a stop which is obeyed takes less than 0.3 s.
const TOLD_FIRST: Duration = Duration::from_millis(100);

/// How long it is tried to kill, freezing included, before the rest is listed.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two attempts to end what is left. Most is reaped before, which ends the stop at once.
const KILL_STEP: Duration = Duration::from_millis(10);

/// A grace beyond the clock's range is one for ever; a year is long enough.
const A_YEAR: Duration = Duration::from_hours(366 * 24);

/// What came of an attempt to stop everything.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// What was met.
    pub(crate) look: Look,
    /// Nobody was met who had not been sent SIGSTOP before, and so could have forked.
    pub(crate) is_whole: bool,
}

/// A stop under way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// The program was told over its channel, is looked at at `look_at`, and is sent no signal before `signal_at`
    /// unless it is seen then that it does nothing about it.
    Told { look_at: Option<Instant>, signal_at: Instant, until: Instant },
    /// The tree was asked to end and has time until then.
    Asked { until: Instant },
    /// The grace is over.
    Forcing { since: Instant, next: Instant },
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing before the next deadline.
    Wait,
    /// See whether the program acts on what it was told; if not: [`Stop::ask_the_rest`].
    Look,
    /// Ask the tree by a signal.
    Signal,
    /// Send SIGKILL to what was met.
    Kill(Look),
    /// It has failed; these are left.
    GiveUp(Vec<ProcessIdentity>),
}

impl Stop {
    /// A stop whose first signal was sent at `now`.
    pub(crate) fn asked(now: Instant, grace: Duration) -> Self {
        Self::Asked { until: now + grace.min(A_YEAR) }
    }

    /// A stop of which the program was told at `now`: it has half the grace before it is asked by a signal.
    pub(crate) fn told(now: Instant, grace: Duration) -> Self {
        let grace = grace.min(A_YEAR);
        Self::Told { look_at: Some(now + TOLD_FIRST), signal_at: now + grace / 2, until: now + grace }
    }

    /// A further request: the earlier end of grace counts.
    pub(crate) fn hasten(&mut self, now: Instant, grace: Duration) {
        let grace = grace.min(A_YEAR);
        match self {
            Self::Told { signal_at, until, .. } => {
                *signal_at = (*signal_at).min(now + grace / 2);
                *until = (*until).min(now + grace);
            }
            Self::Asked { until } => *until = (*until).min(now + grace),
            Self::Forcing { .. } => {}
        }
    }

    /// The program has ended, and who is left was told nothing; or it does nothing about what it was told.
    pub(crate) fn ask_the_rest(&mut self, now: Instant) {
        if let Self::Told { signal_at, .. } = self {
            *signal_at = now;
        }
    }

    /// When `step` is to be called if nothing happens before.
    pub(crate) fn deadline(&self) -> Instant {
        match self {
            Self::Told { look_at, signal_at, .. } => look_at.map_or(*signal_at, |at| at.min(*signal_at)),
            Self::Asked { until } => *until,
            Self::Forcing { next, .. } => *next,
        }
    }

    /// Whether the grace is over.
    pub(crate) fn is_forcing(&self) -> bool {
        matches!(self, Self::Forcing { .. })
    }

    /// What to do next. `freeze` stops everything and tells what it met; it is only called when that is due.
    pub(crate) fn step(&mut self, now: Instant, freeze: impl FnOnce() -> Frozen) -> Step {
        if now < self.deadline() {
            return Step::Wait;
        }
        let since = match *self {
            Self::Told { look_at: Some(_), signal_at, until } if now < signal_at => {
                *self = Self::Told { look_at: None, signal_at, until };
                return Step::Look;
            }
            Self::Told { until, .. } => {
                *self = Self::Asked { until };
                return Step::Signal;
            }
            Self::Asked { .. } => now,
            Self::Forcing { since, .. } => since,
        };
        let Frozen { look, is_whole } = freeze();
        if now >= since + KILL_LIMIT {
            let alive = look.processes.iter().filter(|process| !process.is_zombie());
            return Step::GiveUp(alive.map(|process| process.identity).collect());
        }
        if !is_whole && now < since + FREEZE_LIMIT {
            // Again at once, but for what else there is to do: each fork is a chance to get away.
            *self = Self::Forcing { since, next: now };
            return Step::Wait;
        }
        // Between two attempts a kill may be under way still; to send it twice does no harm.
        *self = Self::Forcing { since, next: now + KILL_STEP };
        Step::Kill(look)
    }
}

#[cfg(test)]
mod tests {
    use laneway_wire::process::Process;

    use super::*;

    fn frozen(pids: &[u32], is_whole: bool) -> Frozen {
        let process = |pid: &u32| Process {
            identity: ProcessIdentity { pid: *pid, start_ticks: 1 },
            state: b'D',
            parent: 1,
            group: *pid,
        };
        let look = Look { processes: pids.iter().map(process).collect(), ..Look::default() };
        Frozen { look, is_whole }
    }

    fn pids(step: Step) -> Vec<u32> {
        match step {
            Step::Wait | Step::Look | Step::Signal => Vec::new(),
            Step::Kill(look) => look.processes.iter().map(|process| process.identity.pid).collect(),
            Step::GiveUp(left) => left.iter().map(|identity| identity.pid).collect(),
        }
    }

    #[test]
    fn nothing_is_forced_within_the_grace() {
        let now = Instant::now();
        let mut stop = Stop::asked(now, Duration::from_secs(5));
        assert!(matches!(stop.step(now + Duration::from_secs(4), || panic!("nothing is due")), Step::Wait));
        stop.hasten(now, Duration::from_secs(1));
        stop.hasten(now, Duration::from_mins(1));
        assert_eq!(stop.deadline(), now + Duration::from_secs(1));
    }

    #[test]
    fn who_was_told_is_asked_by_a_signal_after_half_the_grace_and_killed_after_all_of_it() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut stop = Stop::told(now, 4 * second);
        assert_eq!(stop.deadline(), now + TOLD_FIRST);
        assert!(matches!(stop.step(now, || panic!("nothing is due")), Step::Wait));
        assert!(matches!(stop.step(now + TOLD_FIRST, || panic!("nobody is frozen yet")), Step::Look));
        assert_eq!(stop.deadline(), now + 2 * second);
        assert!(matches!(stop.step(now + second, || panic!("nothing is due")), Step::Wait));
        assert!(matches!(stop.step(now + 2 * second, || panic!("nobody is frozen yet")), Step::Signal));
        assert_eq!(stop.deadline(), now + 4 * second);
        let mut stop = Stop::told(now, 4 * second);
        stop.hasten(now + second, second);
        assert!(matches!(stop.step(now + second, || panic!("nobody is frozen yet")), Step::Look));
        assert_eq!(stop.deadline(), now + second + second / 2);
        stop.ask_the_rest(now + second);
        assert!(matches!(stop.step(now + second, || panic!("nobody is frozen yet")), Step::Signal));
        assert_eq!(stop.deadline(), now + 2 * second);
    }

    #[test]
    fn nobody_is_killed_while_somebody_was_met_who_can_fork() {
        let now = Instant::now();
        let mut stop = Stop::asked(now, Duration::ZERO);
        assert!(matches!(stop.step(now, || frozen(&[1, 2], false)), Step::Wait));
        assert_eq!(stop.deadline(), now, "it is gone on with at once");
        let what = stop.step(now, || frozen(&[1, 2, 4], true));
        assert!(matches!(what, Step::Kill(_)));
        assert_eq!(pids(what), [1, 2, 4]);
        assert!(stop.deadline() > now);
    }

    #[test]
    fn what_cannot_be_frozen_is_killed_after_two_seconds_and_listed_after_ten() {
        let start = Instant::now();
        let mut stop = Stop::asked(start, Duration::ZERO);
        let stuck = || frozen(&[9], false);
        assert!(matches!(stop.step(start, stuck), Step::Wait));
        let what = stop.step(start + FREEZE_LIMIT, stuck);
        assert!(matches!(what, Step::Kill(_)));
        assert_eq!(pids(what), [9]);
        let what = stop.step(start + KILL_LIMIT, stuck);
        assert!(matches!(what, Step::GiveUp(_)));
        assert_eq!(pids(what), [9]);
    }
}
