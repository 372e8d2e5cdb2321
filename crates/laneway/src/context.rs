//! What every verb is given: where it stands, how it prints, and the way to the daemon.

use std::path::Path;
use std::time::SystemTime;

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::os_text::OsText;
use laneway_core::time::Timestamp;
use laneway_daemon::config::Config;
use laneway_daemon::home::{Home, HomeError};

use crate::client::{Client, Start};
use crate::failure::{Failure, with_causes};
use crate::printer::Printer;

/// What a verb ends with: its exit code, or why it failed.
pub(crate) type Outcome = Result<u8, Failure>;

/// What every verb is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// All output goes through it.
    pub(crate) printer: Printer,
    /// The folder the caller stands in, or says to stand in; none if it is gone.
    pub(crate) cwd: Option<OsText>,
    /// When the command was given.
    pub(crate) now: Timestamp,
    home: Result<Home, HomeError>,
}

impl Context {
    /// As the process stands, but for the folder if another is named.
    pub(crate) fn new(json: bool, folder: Option<&Path>) -> Self {
        let folder = folder.map_or_else(std::env::current_dir, std::path::absolute);
        Self {
            printer: Printer::new(json),
            cwd: folder.ok().map(OsText::from),
            now: now(),
            home: Home::from_environment(),
        }
    }

    /// True if JSON was asked for.
    pub(crate) fn json(&self) -> bool {
        self.printer.is_json()
    }

    /// Where everything lies.
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        match &self.home {
            Ok(home) => Ok(home.clone()),
            Err(error) => Err(home_problem(error).into()),
        }
    }

    /// The user's settings. To be asked for only by what needs one: a broken file is a failure.
    pub(crate) fn settings(&self) -> Result<Config, Failure> {
        let path = Config::path(&self.home()?);
        Config::read(&path).map_err(|error| error.problem().into())
    }

    /// The way to the daemon, which is started if it does not run.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(self.home()?, self.cwd.clone(), Start::OnDemand)
    }

    /// The way to a daemon that runs; asking fails with [`crate::client::NOT_RUNNING`] if none does.
    pub(crate) fn client_of_running_daemon(&self) -> Result<Client, Failure> {
        Client::new(self.home()?, self.cwd.clone(), Start::Never)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of this program that reads the clock")]
fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}

/// A home that cannot be used, as a problem.
pub(crate) fn home_problem(error: &HomeError) -> Problem {
    let kind = match error {
        HomeError::NoVariable | HomeError::NotAbsolute { .. } => ErrorKind::Usage,
        HomeError::Unusable { .. } | HomeError::Foreign { .. } => ErrorKind::Failed,
    };
    Problem::new(kind, "home_unusable", with_causes(error))
        .hint("set LANEWAY_HOME to a folder of yours, as an absolute path")
}
