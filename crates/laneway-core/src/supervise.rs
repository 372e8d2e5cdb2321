//! Supervision: whether a worker whose run has ended is started again, when, and when no more.
//!
//! ```text
//!  a run ends ──done, stopped, or its policy says no──► rests ◄──stop──┐
//!      │                                                               │
//!      ├──its policy wants it again──► retries ──the moment has come──► a new run
//!      └──failed too often──► given up ──somebody starts it──────────► a new run
//! ```
//!
//! The delay before restart n is `base · 2^(n-1)`, ±20 %, up to the ceiling. It begins anew when a run stays up; a
//! failure counts for as long as the window. Both are forgotten when somebody starts the worker.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::WorkerId;
use crate::run::{Exit, Run, RunState};
use crate::time::Timestamp;
use crate::worker::{Desired, Worker};

/// Whether a worker is started again when its run has ended by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It is not: what a person typed, and tasks.
    #[default]
    Never,
    /// It is if the run failed.
    OnFailure,
    /// It is, however the run ended.
    Always,
}

impl RestartPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Never, Self::OnFailure, Self::Always];

    /// The word for it, which is typed, stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            RestartPolicy::Never => "never",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Always => "always",
        }
    }

    /// Whether it wants a worker started again after this end.
    pub fn wants_again(self, exit: &Exit, done_codes: &[u8]) -> bool {
        match self {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => is_failure(exit, done_codes),
            // Who closes its window has decided that it is over.
            RestartPolicy::Always => *exit != Exit::ClosedByHand,
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no restart policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no restart policy; they are never, on-failure, always")]
pub struct NotARestartPolicy(pub String);

impl FromStr for RestartPolicy {
    type Err = NotARestartPolicy;
    fn from_str(text: &str) -> Result<Self, NotARestartPolicy> {
        let found = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| NotARestartPolicy(text.to_owned()))
    }
}

/// Whether a run that ended so by itself has failed: a code other than 0 and those named, any signal, a holder that
/// was lost, a limit that it was ended at, a start that came to nothing.
pub fn is_failure(exit: &Exit, done_codes: &[u8]) -> bool {
    match exit {
        Exit::Code { code } => *code != 0 && !done_codes.contains(code),
        Exit::Signal { .. }
        | Exit::Lost
        | Exit::Unresponsive { .. }
        | Exit::Limit { .. }
        | Exit::NotStarted { .. } => true,
        Exit::ClosedByHand => false,
    }
}

/// How restarts are paced, as the user has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Milliseconds before the first restart; twice as many before each one after it.
    pub base_ms: u64,
    /// The most milliseconds before a restart.
    pub ceiling_ms: u64,
    /// So many failures within the window are borne; one more, and it is given up.
    pub max_failures: u32,
    /// Milliseconds for which a failure counts.
    pub window_ms: u64,
    /// Milliseconds after which a run has stayed up: the delay is that of a first restart again.
    pub steady_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { base_ms: 1_000, ceiling_ms: 60_000, max_failures: 5, window_ms: 600_000, steady_ms: 120_000 }
    }
}

impl Pace {
    /// Milliseconds between two restarts when many begin at once, after the daemon was away.
    pub const fn step_ms(&self) -> u64 {
        self.base_ms / 4
    }

    /// Milliseconds before restart `n`, counted from 1. `random` says where in the ±20 %.
    pub fn delay_ms(&self, n: u32, random: u64) -> u64 {
        let doubled = 1_u64.checked_shl(n.saturating_sub(1)).unwrap_or(u64::MAX);
        let delay = self.base_ms.saturating_mul(doubled).min(self.ceiling_ms);
        // 800 to 1200 thousandths.
        let jittered = u128::from(delay) * u128::from(800 + random % 401) / 1_000;
        u64::try_from(jittered).unwrap_or(u64::MAX).min(self.ceiling_ms)
    }
}

/// What the end of a run is decided with beyond the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// The user's settings.
    pub pace: Pace,
    /// Any number; it says where in the jitter a delay lies.
    pub random: u64,
}

impl Default for Pacing {
    /// The settings without a file, and no jitter.
    fn default() -> Self {
        Self { pace: Pace::default(), random: 200 }
    }
}

/// What becomes of a worker none of whose runs is alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing: it was stopped, is done, or is not wanted again.
    #[default]
    Rests,
    /// Its next run begins.
    Retries {
        /// When.
        at: Timestamp,
    },
    /// It failed too often: only somebody who asks for it starts it again.
    GivenUp {
        /// How often within what time, for people.
        why: String,
    },
}

/// What supervision remembers of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supervision {
    /// Grows with everything that is planned or given up, so that a timer that was set before is void.
    pub epoch: u64,
    /// Restarts by its policy that count for the delay of the next one.
    pub n_restarts: u32,
    /// When it failed, as far as that counts; the oldest first.
    pub failed_at: Vec<Timestamp>,
    /// What becomes of it.
    pub outlook: Outlook,
}

/// How a run ended, as far as that counts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// It failed.
    pub failed: bool,
    /// Milliseconds it was up.
    pub up_ms: u64,
    /// When it ended.
    pub at: Timestamp,
}

impl Supervision {
    /// After a run that ended by itself and whose worker is wanted again. The delay begins `now`.
    #[must_use]
    pub fn after_end(&self, ended: &Ended, now: Timestamp, pacing: &Pacing) -> Self {
        let Ended { failed, up_ms, at } = *ended;
        let Pacing { pace, random } = pacing;
        let n_restarts = if up_ms >= pace.steady_ms { 0 } else { self.n_restarts };
        let mut failed_at = self.failed_at.clone();
        // A failure that lies ahead was counted before the clock was set back.
        failed_at.retain(|failed_at| *failed_at <= at && at.millis_since(*failed_at) < pace.window_ms);
        if failed {
            failed_at.push(at);
        }
        let n_failures = failed_at.len();
        let outlook = if failed && n_failures > pace.max_failures as usize {
            Outlook::GivenUp { why: format!("failed {n_failures} times within {}", shown(pace.window_ms)) }
        } else {
            Outlook::Retries { at: now.plus_millis(pace.delay_ms(n_restarts.saturating_add(1), *random)) }
        };
        Self { epoch: self.epoch + 1, n_restarts, failed_at, outlook }
    }

    /// With nothing counted, and this planned.
    #[must_use]
    pub fn fresh(&self, outlook: Outlook) -> Self {
        Self { epoch: self.epoch + 1, n_restarts: 0, failed_at: Vec::new(), outlook }
    }

    /// With another outlook.
    #[must_use]
    pub fn with(&self, outlook: Outlook) -> Self {
        Self { epoch: self.epoch + 1, outlook, ..self.clone() }
    }

    /// When its next run begins.
    pub const fn next_try_at(&self) -> Option<Timestamp> {
        match &self.outlook {
            Outlook::Retries { at } => Some(*at),
            Outlook::Rests | Outlook::GivenUp { .. } => None,
        }
    }

    /// Why it is not started again by itself.
    pub fn given_up(&self) -> Option<&str> {
        match &self.outlook {
            Outlook::GivenUp { why } => Some(why),
            Outlook::Rests | Outlook::Retries { .. } => None,
        }
    }
}

/// Why a worker is in the state that it is in, for people.
pub fn why(worker: &Worker, latest: Option<&Run>) -> String {
    let Some(run) = latest else {
        return "it has never run".to_owned();
    };
    let (number, policy) = (run.number, worker.restart);
    match (&run.state, &worker.supervision.outlook, worker.desired) {
        (RunState::Starting, _, _) => format!("run {number} is being started"),
        (RunState::Running(_), _, _) if run.is_getting_ready() => {
            format!("run {number} runs, and has not said that it is ready")
        }
        (RunState::Running(_), _, _) => format!("run {number} runs"),
        (RunState::Stopping(_), _, Desired::Stopped) => {
            format!("run {number} was asked to end, and has not ended yet")
        }
        (RunState::Stopping(_), _, Desired::Running) => {
            format!("run {number} was asked to end, and the next one begins then")
        }
        (RunState::Exited(exit), Outlook::Retries { .. }, _) => {
            format!("run {number} {}, and is followed by another: its policy is {policy}", ended(exit))
        }
        (RunState::Exited(exit), Outlook::GivenUp { why }, _) => {
            format!(
                "run {number} {}; it {why}, and is started again only if somebody asks for it",
                ended(exit)
            )
        }
        (RunState::Exited(exit), Outlook::Rests, Desired::Stopped) => {
            format!("it was stopped, and is left alone (run {number} {})", ended(exit))
        }
        (RunState::Exited(exit), Outlook::Rests, Desired::Running) => {
            let is_over = is_failure(exit, &worker.done_codes) || *exit == Exit::ClosedByHand;
            let done = if is_over { "" } else { ": its work is done" };
            format!("run {number} {}{done}, and its policy ({policy}) leaves it at that", ended(exit))
        }
    }
}

/// How a run ended, after its number.
fn ended(exit: &Exit) -> String {
    match exit {
        Exit::Code { .. } | Exit::Signal { .. } => exit.to_string(),
        Exit::Limit { .. } => format!("was ended: {exit}"),
        Exit::Lost => "was lost".to_owned(),
        Exit::ClosedByHand => "was closed by hand".to_owned(),
        Exit::Unresponsive { reason } => format!("was ended: {reason}"),
        Exit::NotStarted { reason } => format!("was not started: {reason}"),
    }
}

/// A time as people say it: `10 min`, `90 s`, `50 ms`.
fn shown(ms: u64) -> String {
    match ms {
        0 => "0 s".to_owned(),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

/// A restart that was planned when the daemon went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The worker.
    pub worker: WorkerId,
    /// The epoch of that plan.
    pub epoch: u64,
    /// When it was to begin.
    pub at: Timestamp,
}

/// When they begin now that the daemon is back: in the order of their times, none before its own, none sooner than
/// `step_ms` after the one before it, so that they are no burst. A time further away than the ceiling is a clock that
/// was set back.
pub fn spread(mut planned: Vec<Planned>, now: Timestamp, pace: &Pace) -> Vec<Planned> {
    planned.sort_by_key(|planned| (planned.at, planned.worker));
    let mut earliest = now;
    for planned in &mut planned {
        planned.at = planned.at.min(now.plus_millis(pace.ceiling_ms)).max(earliest);
        earliest = planned.at.plus_millis(pace.step_ms());
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LimitKind;
    use proptest::prelude::*;
    use ulid::Ulid;

    #[test]
    fn a_policy_has_one_word_wherever_it_is_written() {
        for policy in RestartPolicy::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.as_str());
        }
        assert!("on_failure".parse::<RestartPolicy>().is_err());
    }

    #[test]
    fn what_is_a_failure_and_what_is_wanted_again() {
        let not_started = Exit::NotStarted { reason: "gone".into() };
        for (exit, fails) in [
            (Exit::Code { code: 0 }, false),
            (Exit::Code { code: 42 }, false),
            (Exit::Code { code: 1 }, true),
            (Exit::Signal { signal: 15 }, true),
            (Exit::Lost, true),
            (Exit::Limit { limit: LimitKind::Wall }, true),
            (Exit::ClosedByHand, false),
            (not_started, true),
        ] {
            assert_eq!(is_failure(&exit, &[42]), fails, "{exit}");
            assert!(!RestartPolicy::Never.wants_again(&exit, &[42]));
            assert_eq!(RestartPolicy::OnFailure.wants_again(&exit, &[42]), fails);
            assert_eq!(RestartPolicy::Always.wants_again(&exit, &[42]), exit != Exit::ClosedByHand);
        }
    }

    #[test]
    fn the_delay_doubles_up_to_its_ceiling() {
        let pace = Pace::default();
        let delays: Vec<u64> = (1..=8).map(|n| pace.delay_ms(n, 200)).collect();
        assert_eq!(delays, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!((pace.delay_ms(1, 0), pace.delay_ms(1, 400)), (800, 1_200));
        assert_eq!(pace.delay_ms(u32::MAX, 400), 60_000);
    }

    /// Ends one run after the other by a failure, `every_ms` after the restart before it; gives the outlooks.
    fn failing(every_ms: u64, n: usize) -> Vec<Outlook> {
        let (pacing, mut supervision, mut now) = (Pacing::default(), Supervision::default(), Timestamp(0));
        let mut outlooks = Vec::new();
        for _ in 0..n {
            now = now.plus_millis(every_ms);
            supervision =
                supervision.after_end(&Ended { failed: true, up_ms: every_ms, at: now }, now, &pacing);
            if let Some(at) = supervision.next_try_at() {
                (now, supervision.n_restarts) = (at, supervision.n_restarts + 1);
            }
            outlooks.push(supervision.outlook.clone());
        }
        outlooks
    }

    #[test]
    fn five_failures_within_ten_minutes_are_borne_and_the_sixth_is_not() {
        let outlooks = failing(1, 6);
        assert!(outlooks[..5].iter().all(|outlook| matches!(outlook, Outlook::Retries { .. })));
        assert_eq!(outlooks[5], Outlook::GivenUp { why: "failed 6 times within 10 min".into() });
        assert!(failing(100_000, 6).iter().any(|outlook| matches!(outlook, Outlook::GivenUp { .. })));
        let steady = failing(120_000, 50);
        assert!(steady.iter().all(|outlook| matches!(outlook, Outlook::Retries { .. })), "each stayed up");
    }

    #[test]
    fn however_little_is_called_steady_what_fails_too_often_is_given_up() {
        let pace = Pace { steady_ms: 0, ..Pace::default() };
        let (pacing, mut supervision) = (Pacing { pace, ..Pacing::default() }, Supervision::default());
        for n in 0..6 {
            let at = Timestamp(0).plus_millis(n * 1_000);
            assert_eq!(supervision.given_up(), None, "{n}");
            supervision = supervision.after_end(&Ended { failed: true, up_ms: 500, at }, at, &pacing);
        }
        assert_eq!(supervision.given_up(), Some("failed 6 times within 10 min"));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_failure_count_for_longer() {
        let (pacing, hour) = (Pacing::default(), Timestamp(0).plus_millis(3_600_000));
        let known = Supervision { failed_at: vec![Timestamp(5), hour, hour], ..Supervision::default() };
        let now = Timestamp(10);
        let after = known.after_end(&Ended { failed: true, up_ms: 1, at: now }, now, &pacing);
        assert_eq!(after.failed_at, [Timestamp(5), now]);
    }

    #[test]
    fn what_ends_as_it_should_again_and_again_is_slowed_down_and_never_given_up() {
        let (pacing, mut supervision) = (Pacing::default(), Supervision::default());
        let ended = Ended { failed: false, up_ms: 1, at: Timestamp(0) };
        for n in 0..50 {
            supervision = supervision.after_end(&ended, Timestamp(0), &pacing);
            let expected = pacing.pace.delay_ms(n + 1, 200);
            assert_eq!(supervision.next_try_at(), Some(Timestamp(0).plus_millis(expected)));
            supervision.n_restarts += 1;
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_bounds(n in any::<u32>(), random in any::<u64>(), base_ms in 1..100_000_u64) {
            let pace = Pace { base_ms, ..Pace::default() };
            let delay = pace.delay_ms(n, random);
            prop_assert!(delay <= pace.ceiling_ms);
            prop_assert!(delay >= pace.base_ms.min(pace.ceiling_ms) * 8 / 10);
        }

        #[test]
        fn restarts_after_an_absence_are_no_burst(
            times in proptest::collection::vec(-1_000_000..100_000_000_i64, 0..40),
            now in 0..50_000_000_i64,
        ) {
            let pace = Pace::default();
            let planned: Vec<Planned> = times.iter().zip(1_u128..).map(|(at, n)| Planned {
                worker: WorkerId::from_ulid(Ulid::from(n)),
                epoch: 1,
                at: Timestamp(*at),
            }).collect();
            let now = Timestamp(now);
            let after = spread(planned.clone(), now, &pace);
            prop_assert_eq!(after.len(), planned.len());
            for pair in after.windows(2) {
                prop_assert!(pair[1].at.millis_since(pair[0].at) >= pace.step_ms());
            }
            let latest = now.plus_millis(pace.ceiling_ms + pace.step_ms() * after.len() as u64);
            for again in &after {
                let before = planned.iter().find(|planned| planned.worker == again.worker).unwrap();
                prop_assert!(again.at >= now && again.at <= latest);
                prop_assert!(again.at >= before.at.min(now.plus_millis(pace.ceiling_ms)));
            }
        }
    }
}
