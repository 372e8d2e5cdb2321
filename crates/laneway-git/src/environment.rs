//! The environment git is started with: what the caller gives, without what would send git elsewhere.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Variables for every git that is started. An inherited `GIT_DIR` would send `git -C lane` to another
/// repository, so all of `GIT_*` is left out, and `LANEWAY_*` of a run has no business in git either.
/// `HOME`, `PATH`, `SSH_AUTH_SOCK` and the like stay: the user's configuration and credentials are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process, scrubbed.
    pub fn of_this_process() -> Self {
        Self::scrubbed(std::env::vars_os())
    }

    /// The given variables, scrubbed.
    pub fn scrubbed(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let variables = variables.into_iter().filter(|(name, _)| !is_scrubbed(name)).collect();
        Self { variables }
    }

    /// Sets a variable on purpose, also one that scrubbing would have left out (`GIT_SSH_COMMAND`, or
    /// `GIT_CONFIG_GLOBAL` in tests).
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter()
    }
}

fn is_scrubbed(name: &OsStr) -> bool {
    let name = name.as_bytes();
    // LANGUAGE outranks LC_ALL in gettext, and git's words are read here.
    name.starts_with(b"GIT_") || name.starts_with(b"LANEWAY_") || name == b"LANGUAGE"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_and_laneway_variables_are_left_out_and_the_rest_stays() {
        let given = ["GIT_DIR", "GIT_INDEX_FILE", "LANEWAY_RUN", "LANGUAGE", "HOME", "SSH_AUTH_SOCK"];
        let environment = Environment::scrubbed(given.map(|name| (name.into(), "x".into())));
        let kept: Vec<_> = environment.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(kept, ["HOME", "SSH_AUTH_SOCK"]);
        assert_eq!(environment.with("GIT_SSH", "ssh").get("GIT_SSH"), Some(OsStr::new("ssh")));
    }
}
