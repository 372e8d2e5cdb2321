//! Runs: one process lifetime of a worker.
//!
//! ```text
//!  starting ──exec proven──► running ──stop──► stopping
//!     │  │                      │                 │
//!     │  └──stop──► stopping    └────ended───► exited ◄──ended──┘
//!     └──could not start──► exited
//! ```
//!
//! The exit is keyed by the run's id: a late exit of run 3 never touches run 4.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::channel::ChannelProgress;
use crate::id::{RunId, WorkerId};
use crate::limits::LimitKind;
use crate::time::Timestamp;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Recorded; its program has not been proven to run.
    Starting,
    /// Its program runs.
    Running(ProcessIdentity),
    /// It was asked to end. No identity if that was before its program was proven to run.
    Stopping(Option<ProcessIdentity>),
    /// It is over. Final.
    Exited(Exit),
}

impl RunState {
    /// The word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            RunState::Starting => "starting",
            RunState::Running(_) => "running",
            RunState::Stopping(_) => "stopping",
            RunState::Exited(_) => "exited",
        }
    }

    /// True until it is over.
    pub const fn is_live(&self) -> bool {
        match self {
            RunState::Starting | RunState::Running(_) | RunState::Stopping(_) => true,
            RunState::Exited(_) => false,
        }
    }

    /// True until it is over, or asked to be.
    pub const fn is_wanted(&self) -> bool {
        match self {
            RunState::Starting | RunState::Running(_) => true,
            RunState::Stopping(_) | RunState::Exited(_) => false,
        }
    }

    /// The program's identity while it is known and alive.
    pub const fn process(&self) -> Option<&ProcessIdentity> {
        match self {
            RunState::Running(process) | RunState::Stopping(Some(process)) => Some(process),
            RunState::Starting | RunState::Stopping(None) | RunState::Exited(_) => None,
        }
    }
}

/// A process that cannot be mistaken for another: pids are used again, this triple is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
    /// The kernel's boot id.
    pub boot_id: String,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Exit {
    /// The program returned.
    Code {
        /// 0 to 255.
        code: u8,
    },
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// Its holder or the machine went away: how the program ended is not known.
    Lost,
    /// Somebody closed its pane of tmux, or ended that server: it was ended with it.
    ClosedByHand,
    /// It was ended, because over its channel it was not ready in time or did not answer.
    Unresponsive {
        /// Which of both, for people.
        reason: String,
    },
    /// It was ended at a limit of its worker.
    Limit {
        /// Which.
        limit: LimitKind,
    },
    /// It never ran.
    NotStarted {
        /// Why, for people.
        reason: String,
    },
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code { code } => write!(f, "exited {code}"),
            Exit::Signal { signal } => write!(f, "ended by signal {signal}"),
            Exit::Lost => f.write_str("lost"),
            Exit::ClosedByHand => f.write_str("closed by hand"),
            Exit::Unresponsive { reason } => write!(f, "ended: {reason}"),
            Exit::Limit { limit: LimitKind::Wall } => f.write_str("over its time limit"),
            Exit::Limit { limit: LimitKind::Idle } => f.write_str("over its idle limit"),
            Exit::NotStarted { reason } => write!(f, "not started: {reason}"),
        }
    }
}

/// A run, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The worker it is a life of.
    pub worker: WorkerId,
    /// Numbered from 1 per worker: the worker's generation.
    pub number: u32,
    /// The launch spec it used.
    pub spec: u32,
    /// Where it stands.
    pub state: RunState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its program was proven to run.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How far its channel is, if it has one.
    pub channel: Option<ChannelProgress>,
}

impl Run {
    /// It has a channel, and has not said that it is ready.
    pub fn is_getting_ready(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.ready_at.is_none())
    }

    /// Why it is being ended, if that is because it did not answer.
    pub fn unresponsive(&self) -> Option<&str> {
        self.channel.as_ref()?.unresponsive.as_deref()
    }
}
