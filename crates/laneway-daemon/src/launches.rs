//! What a worker is started with beyond its arguments: environment, umask, limits.
//!
//! It is kept in a private file per worker, by reference from the launch spec: a restart gets the same, and
//! its values stand nowhere else.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use laneway_api::request::{Launch, Limit};
use laneway_core::id::{LaneId, RunId, WorkerId, WorkspaceId};
use laneway_core::os_text::OsText;
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// What describes the caller's own terminal or session, and is wrong in any other.
const OF_THE_CALLERS_TERMINAL: [&str; 24] = [
    "COLORFGBG",
    "COLORTERM",
    "COLUMNS",
    "GPG_TTY",
    "INSIDE_EMACS",
    "LC_TERMINAL",
    "LC_TERMINAL_VERSION",
    "LINES",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "SSH_TTY",
    "STY",
    "TERM",
    "TERMCAP",
    "TERMINFO",
    "TERM_FEATURES",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID",
    "VTE_VERSION",
    "WINDOW",
    "WINDOWID",
    "_",
];

/// Families of variables that are not passed on: of multiplexers, of git (an inherited `GIT_DIR` sends git to
/// another repository), of terminals, and our own.
const FAMILIES: [&str; 10] = [
    "ALACRITTY_",
    "GIT_",
    "ITERM_",
    "KITTY_",
    "KONSOLE_",
    "LANEWAY_",
    // The channel of another program of Node.js.
    "NODE_CHANNEL_",
    "TMUX",
    "WEZTERM_",
    "ZELLIJ",
];

/// The kept part of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The environment, without what is not passed on.
    pub(crate) environment: Vec<(OsText, OsText)>,
    /// The caller's umask.
    pub(crate) umask: u32,
    /// The caller's resource limits.
    pub(crate) limits: Vec<Limit>,
}

impl Kept {
    /// From what a caller sent.
    pub(crate) fn from_launch(launch: &Launch) -> Self {
        let environment = launch.environment.iter().filter(|(name, _)| is_passed_on(name)).cloned().collect();
        Self { environment, umask: launch.umask, limits: launch.limits.clone() }
    }

    /// The value of a variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsText> {
        self.environment.iter().find(|(key, _)| key.as_bytes() == name.as_bytes()).map(|(_, value)| value)
    }

    /// Writes it to a file of its own and gives the file's name. Durable when this returns.
    pub(crate) fn write(&self, home: &Home, worker: WorkerId) -> io::Result<String> {
        let name = format!("{worker}-1.json");
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(home.launches().join(&name))?;
        if let Err(error) = file.write_all(&json).and_then(|()| file.sync_data()) {
            // Half of it is of no use, and is secret as the whole is.
            forget(home, &name);
            return Err(error);
        }
        Ok(name)
    }

    /// Reads it back.
    pub(crate) fn read(home: &Home, name: &str) -> io::Result<Self> {
        let file = File::open(path_of(home, name)?)?;
        serde_json::from_reader(io::BufReader::new(file)).map_err(io::Error::other)
    }

    /// The whole environment of a run. `state`: the folder of its own that an instance has.
    pub(crate) fn environment_of(
        &self,
        home: &Home,
        ids: &RunIds,
        cwd: &Path,
        state: Option<&Path>,
    ) -> Vec<(OsText, OsText)> {
        let own = [
            ("TERM", "xterm-256color".into()),
            ("COLORTERM", "truecolor".into()),
            ("PWD", cwd.into()),
            ("LANEWAY_HOME", home.root().into()),
            ("LANEWAY_SOCKET", home.named_socket().into()),
            ("LANEWAY_WORKSPACE", ids.workspace.to_string().as_str().into()),
            ("LANEWAY_LANE", ids.lane.to_string().as_str().into()),
            ("LANEWAY_WORKER", ids.worker.to_string().as_str().into()),
            (laneway_wire::mark::RUN_VARIABLE, ids.run.to_string().as_str().into()),
        ];
        let state = state.map(|folder| ("LANEWAY_STATE_DIR", folder.into()));
        let own = own.into_iter().chain(state).map(|(name, value)| (OsText::from(name), value));
        self.environment.iter().cloned().chain(own).collect()
    }
}

/// Removes a kept file; one that is gone already is fine.
pub(crate) fn forget(home: &Home, name: &str) {
    let removed = path_of(home, name).and_then(fs::remove_file);
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(name, %error, "a kept environment could not be removed");
    }
}

/// Removes every kept file but these.
pub(crate) fn forget_all_but(home: &Home, needed: &HashSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(home.launches())? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().filter(|name| !needed.contains(*name)) {
            forget(home, name);
        }
    }
    Ok(())
}

fn path_of(home: &Home, name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a kept environment"));
    }
    Ok(home.launches().join(name))
}

/// The ids a run's program finds in its environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunIds {
    /// The repository.
    pub(crate) workspace: WorkspaceId,
    /// The lane.
    pub(crate) lane: LaneId,
    /// The worker.
    pub(crate) worker: WorkerId,
    /// The run.
    pub(crate) run: RunId,
}

fn is_passed_on(name: &OsText) -> bool {
    let name = name.as_bytes();
    !FAMILIES.iter().any(|family| name.starts_with(family.as_bytes()))
        && !OF_THE_CALLERS_TERMINAL.iter().any(|of_terminal| name == of_terminal.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_core::launch::TerminalSpec;

    #[test]
    fn the_callers_own_terminal_and_git_and_multiplexer_are_not_passed_on() {
        let variables =
            ["PATH", "TERM", "TMUX", "TMUX_PANE", "GIT_DIR", "LANEWAY_RUN", "HOME", "TERMINAL_OF_MINE"];
        let launch = Launch {
            argv: vec![],
            environment: variables.iter().map(|name| ((*name).into(), "x".into())).collect(),
            umask: 0o22,
            limits: vec![],
            terminal: TerminalSpec::Pipes,
            record: false,
            restart: None,
            done_codes: vec![],
            channel: None,
            start_message: None,
            run_limits: laneway_core::limits::RunLimits::NONE,
        };
        let kept = Kept::from_launch(&launch);
        let names: Vec<String> = kept.environment.iter().map(|(name, _)| name.shown()).collect();
        assert_eq!(names, ["PATH", "HOME", "TERMINAL_OF_MINE"]);
    }

    #[test]
    fn a_reference_never_leads_out_of_its_folder() {
        let home = Home::at("/nonexistent".into());
        for name in ["../laneway.db", "", ".", "a/b"] {
            assert_eq!(Kept::read(&home, name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
