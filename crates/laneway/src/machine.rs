//! The machine around this program, asked and not changed: other programs, systemd, the kernel, filesystems.
//!
//! [`Machine`] is looked at once, bit by bit, for `lane doctor`: [`versions`], [`limits`], [`places`] and what is in
//! them, [`leftovers`], and from all that [`survival`], what goes on when something else ends.

pub(crate) mod leftovers;
pub(crate) mod limits;
pub(crate) mod places;
pub(crate) mod program;
pub(crate) mod repositories;
pub(crate) mod survival;
pub(crate) mod systemd;
pub(crate) mod versions;

use std::time::Duration;

use laneway_api::error::Problem;
use laneway_api::routes;
use laneway_api::view::{DaemonStatus, Workspaces};
use laneway_daemon::home::Home;
use serde::Serialize;

use crate::client::{NOT_RUNNING, Request};
use crate::context::Context;
use crate::failure::Failure;

/// How long a daemon has to say how it is.
const LIMIT: Duration = Duration::from_secs(2);

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or not as well as it could.
    Warning,
    /// Something does not work.
    Wrong,
    /// It could not be looked at.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What kind of thing it is.
    pub(crate) about: About,
    /// Its name.
    pub(crate) name: &'static str,
    /// How it was found.
    pub(crate) state: State,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    pub(crate) advice: Option<String>,
}

/// The kinds of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum About {
    Versions,
    Limits,
    Places,
    Leftovers,
}

impl Check {
    fn new(about: About, name: &'static str, state: State, found: impl Into<String>) -> Self {
        Self { about, name, state, found: found.into(), advice: None }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The daemon, as far as one that is not started for it can be known.
#[derive(Debug)]
pub(crate) enum Daemon {
    /// None runs.
    None,
    /// It answers.
    Answers(DaemonStatus),
    /// It runs, and does not answer as it should.
    Odd(Problem),
}

/// What all checks begin with.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Where everything is; none if no variable says so.
    pub(crate) home: Result<Home, Problem>,
    /// The daemon of that home.
    pub(crate) daemon: Daemon,
    /// The repositories that it knows; none if it does not answer.
    pub(crate) repositories: Option<Workspaces>,
}

impl Machine {
    /// As it is now. Starts nothing.
    pub(crate) fn look(context: &Context) -> Self {
        let home = context.home().map_err(|failure| in_words(&failure));
        let asked = context.client_of_running_daemon().and_then(|client| {
            client.ask_within(&Request::get("asking for its status", routes::DAEMON), LIMIT)
        });
        let daemon = match asked {
            Ok(status) => Daemon::Answers(status),
            Err(failure) if failure.is(NOT_RUNNING) || home.is_err() => Daemon::None,
            Err(failure) => Daemon::Odd(in_words(&failure)),
        };
        let repositories = context.client_of_running_daemon().and_then(|client| {
            client.ask_within(&Request::get("asking which repositories are known", routes::WORKSPACES), LIMIT)
        });
        Self { home, daemon, repositories: repositories.ok() }
    }

    /// Everything that can be right or wrong.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let checks = [versions::checks(self), limits::checks(), places::checks(self)];
        [checks.concat(), repositories::checks(self), leftovers::checks(self)].concat()
    }

    /// The process of the daemon, if one answers.
    fn daemon_pid(&self) -> Option<u32> {
        match &self.daemon {
            Daemon::Answers(status) => Some(status.pid),
            Daemon::None | Daemon::Odd(_) => None,
        }
    }
}

fn in_words(failure: &Failure) -> Problem {
    failure.problem().cloned().unwrap_or_else(|| {
        Problem::new(laneway_api::error::ErrorKind::Failed, "not_looked_at", "it could not be looked at")
    })
}
