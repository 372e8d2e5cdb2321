//! The limits of a run, as a machine without a clock of its own: when one is reached, it says which.

use std::time::{Duration, Instant};

use laneway_wire::message::{Limit, RunLimits};

/// What a run is limited to, and how far it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    wall_at: Option<Instant>,
    idle: Option<Duration>,
    /// When the program gave a sign of life last: output, or a message.
    sign_at: Instant,
}

impl Limits {
    /// Of a program that was executed at `now`.
    pub(crate) fn new(limits: Option<RunLimits>, now: Instant) -> Self {
        let RunLimits { wall_ms, idle_ms } = limits.unwrap_or_default();
        // What is further away than the clock goes never comes.
        let wall_at = wall_ms.and_then(|ms| now.checked_add(Duration::from_millis(ms)));
        Self { wall_at, idle: idle_ms.map(Duration::from_millis), sign_at: now }
    }

    /// The program has given a sign of life, or could not give one.
    pub(crate) fn sign(&mut self, now: Instant) {
        self.sign_at = now;
    }

    fn idle_at(&self) -> Option<Instant> {
        self.idle.and_then(|idle| self.sign_at.checked_add(idle))
    }

    /// When the next limit is reached if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.wall_at, self.idle_at()].into_iter().flatten().min()
    }

    /// The limit that is reached by now.
    pub(crate) fn reached(&self, now: Instant) -> Option<Limit> {
        let is_over = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if is_over(self.wall_at) { Some(Limit::Wall) } else { is_over(self.idle_at()).then_some(Limit::Idle) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reached_at_its_moment_and_a_sign_of_life_puts_off_only_idleness() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let both = RunLimits { wall_ms: Some(10_000), idle_ms: Some(3_000) };
        let mut limits = Limits::new(Some(both), start);
        assert_eq!((limits.deadline(), limits.reached(start + 2 * second)), (Some(start + 3 * second), None));
        limits.sign(start + 2 * second);
        assert_eq!(limits.reached(start + 4 * second), None);
        assert_eq!(limits.reached(start + 5 * second), Some(Limit::Idle));
        limits.sign(start + 9 * second);
        assert_eq!(limits.deadline(), Some(start + 10 * second));
        assert_eq!(limits.reached(start + 10 * second), Some(Limit::Wall));
    }

    #[test]
    fn what_is_not_limited_or_beyond_the_clock_is_never_reached() {
        let now = Instant::now();
        let far = RunLimits { wall_ms: Some(u64::MAX), idle_ms: Some(u64::MAX) };
        for limits in [None, Some(far)] {
            let limits = Limits::new(limits, now);
            assert_eq!(limits.reached(now + Duration::from_hours(1_000_000)), None);
        }
        assert_eq!(Limits::new(None, now).deadline(), None);
    }
}
