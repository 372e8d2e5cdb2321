//! Finding the git program once, and the limits it works under.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::environment::Environment;
use crate::run::{Run, RunError};

/// The oldest git whose commands this crate uses (`worktree list -z`, `rev-list --no-commit-header`), as tested.
pub const OLDEST_GIT: (u32, u32) = (2, 38);

/// How long things may take before they are ended and reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A command that reads or changes metadata. `status` in a huge tree belongs here.
    pub command: Duration,
    /// Writing the files of a tree, smudge filters included.
    pub checkout: Duration,
    /// The repository's `post-checkout` hook.
    pub hook: Duration,
    /// Fetching one branch.
    pub fetch: Duration,
    /// Waiting for a lock that somebody else holds.
    pub lock: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command: Duration::from_mins(1),
            checkout: Duration::from_mins(30),
            hook: Duration::from_mins(1),
            fetch: Duration::from_mins(2),
            lock: Duration::from_mins(2),
        }
    }
}

/// A git that was found and is new enough. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Git {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    program: PathBuf,
    version: String,
    environment: Environment,
    limits: Limits,
}

/// Why there is no usable git.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitUnusable {
    /// No executable file of that name on `PATH`.
    #[error("git was not found on PATH; Laneway needs git {}.{} or newer", OLDEST_GIT.0, OLDEST_GIT.1)]
    NotFound,
    /// It is there, but too old.
    #[error("{} is git {found}; Laneway needs {}.{} or newer", program.display(), OLDEST_GIT.0, OLDEST_GIT.1)]
    TooOld {
        /// The program that was asked.
        program: PathBuf,
        /// What it said its version is.
        found: String,
    },
    /// `git --version` could not be run.
    #[error("{} could not say its version", program.display())]
    Broken {
        /// The program that was asked.
        program: PathBuf,
        /// What happened.
        #[source]
        source: RunError,
    },
}

impl Git {
    /// Looks for git on the `PATH` of the given environment and checks its version.
    pub fn find(environment: Environment) -> Result<Self, GitUnusable> {
        let program = on_path(&environment).ok_or(GitUnusable::NotFound)?;
        Self::at(program, environment)
    }

    /// Uses the git at an absolute path and checks its version.
    pub fn at(program: PathBuf, environment: Environment) -> Result<Self, GitUnusable> {
        let limits = Limits::default();
        let mut inner = Inner { program, version: String::new(), environment, limits };
        let asked = Self { inner: Arc::new(inner.clone_for_asking()) };
        let said = match asked.run("git --version", Path::new("/")).args(["--version"]).succeed() {
            Ok(said) => String::from_utf8_lossy(&said).trim().to_owned(),
            Err(source) => return Err(GitUnusable::Broken { program: inner.program, source }),
        };
        said.strip_prefix("git version ").unwrap_or(&said).clone_into(&mut inner.version);
        if parse_version(&inner.version).is_none_or(|version| version < OLDEST_GIT) {
            return Err(GitUnusable::TooOld { program: inner.program, found: inner.version });
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same git under other limits.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        let mut inner = self.inner.clone_for_asking();
        inner.limits = limits;
        Self { inner: Arc::new(inner) }
    }

    /// What `git --version` said, without "git version".
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// Major and minor version.
    pub(crate) fn version_number(&self) -> Option<(u32, u32)> {
        parse_version(&self.inner.version)
    }

    /// The absolute path of the program.
    pub fn program(&self) -> &Path {
        &self.inner.program
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.inner.environment
    }

    pub(crate) fn run<'a>(&'a self, what: &'static str, folder: &'a Path) -> Run<'a> {
        Run::new(self, what, folder)
    }
}

impl Inner {
    fn clone_for_asking(&self) -> Self {
        Self {
            program: self.program.clone(),
            version: self.version.clone(),
            environment: self.environment.clone(),
            limits: self.limits.clone(),
        }
    }
}

fn on_path(environment: &Environment) -> Option<PathBuf> {
    let path = environment.get("PATH")?;
    std::env::split_paths(path).filter(|folder| folder.is_absolute()).map(|folder| folder.join("git")).find(
        |program| {
            program.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
        },
    )
}

fn parse_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_a_vendor_suffix() {
        for (said, expected) in [
            ("2.47.3", Some((2, 47))),
            ("2.39.5 (Apple Git-154)", Some((2, 39))),
            ("2.38.0.windows.1", Some((2, 38))),
            ("3.0.rc1", Some((3, 0))),
            ("banana", None),
        ] {
            assert_eq!(parse_version(said), expected, "{said}");
        }
    }
}
