//! Where everything lies: `LANEWAY_HOME`, else `$XDG_STATE_HOME/laneway`, else `~/.local/state/laneway`.
//!
//! ```text
//! HOME/daemon.lock      held (flock) by the daemon that lives
//! HOME/start.lock       held while a daemon begins
//! HOME/socket           the daemon's socket
//! HOME/daemon.log       its log
//! HOME/holder.log       what holders have to say
//! HOME/laneway.db       the database
//! HOME/launch/…         environments of workers, by reference
//! HOME/trust/…         which settings of a repository you have agreed to
//! HOME/port             the port of 127.0.0.1 that is listened at, if one is
//! HOME/tokens           names and hashes of the tokens that let a client in there
//! HOME/repeats/…        answers of requests with an Idempotency-Key, for 24 hours
//! HOME/config.toml      settings, unless this is the default home (see `config`)
//! HOME/runs/rn_…/       one folder per run: sock, record, screen, recording-….cast
//! HOME/splits/…        panes of tmux that are just being added
//! HOME/scratch/…        what is needed for one request only; emptied at every start
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use laneway_core::id::{InstanceId, RunId};

/// The variable that says where the home is.
pub const HOME_VARIABLE: &str = "LANEWAY_HOME";

/// The folder of the user's settings: `$XDG_CONFIG_HOME/laneway`, else `~/.config/laneway`. None if neither variable
/// is an absolute path, as the XDG rules have it.
pub fn config_folder() -> Option<PathBuf> {
    Some(config_base()?.join("laneway"))
}

/// The folder of the settings of all the user's programs: `$XDG_CONFIG_HOME`, else `~/.config`.
pub fn config_base() -> Option<PathBuf> {
    let config = absolute("XDG_CONFIG_HOME").ok().flatten();
    config.or_else(|| Some(absolute("HOME").ok().flatten()?.join(".config")))
}

/// The path in a variable; none if it is not set or empty.
fn absolute(variable: &'static str) -> Result<Option<PathBuf>, HomeError> {
    match std::env::var_os(variable) {
        Some(value) if !value.is_empty() => {
            let path = PathBuf::from(value);
            if path.is_absolute() { Ok(Some(path)) } else { Err(HomeError::NotAbsolute { variable, path }) }
        }
        _ => Ok(None),
    }
}

/// The folder that holds all of Laneway's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Why there is no usable home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// None of the variables is set.
    #[error("neither LANEWAY_HOME, XDG_STATE_HOME nor HOME is set")]
    NoVariable,
    /// A relative path would be another folder for every caller.
    #[error("{variable} is {path:?}, which is not an absolute path")]
    NotAbsolute {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// It cannot be made or written to.
    #[error("the folder {path:?} cannot be used")]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It belongs to someone else.
    #[error("the folder {path:?} belongs to uid {owner}, not to you (uid {uid})")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The caller.
        uid: u32,
    },
}

impl Home {
    /// The home that the environment names; nothing is made or checked yet.
    pub fn from_environment() -> Result<Self, HomeError> {
        match absolute(HOME_VARIABLE)? {
            Some(root) => Ok(Self { root }),
            None => Self::default_place(),
        }
    }

    /// The home of a user who has not set [`HOME_VARIABLE`].
    pub fn default_place() -> Result<Self, HomeError> {
        if let Some(state) = absolute("XDG_STATE_HOME")? {
            return Ok(Self { root: state.join("laneway") });
        }
        match absolute("HOME")? {
            Some(home) => Ok(Self { root: home.join(".local/state/laneway") }),
            None => Err(HomeError::NoVariable),
        }
    }

    /// The home at `root`.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Sees that the folder, if it is there, is one, and its user's. Nothing is made or changed.
    pub fn check(&self) -> Result<(), HomeError> {
        match self.metadata() {
            Err(HomeError::Unusable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            checked => checked.map(drop),
        }
    }

    fn metadata(&self) -> Result<fs::Metadata, HomeError> {
        let unusable = |source| HomeError::Unusable { path: self.root.clone(), source };
        let metadata = fs::metadata(&self.root).map_err(unusable)?;
        if !metadata.is_dir() {
            return Err(unusable(io::ErrorKind::NotADirectory.into()));
        }
        let uid = rustix::process::geteuid().as_raw();
        if metadata.uid() != uid {
            return Err(HomeError::Foreign { path: self.root.clone(), owner: metadata.uid(), uid });
        }
        Ok(metadata)
    }

    /// Makes the folder if it is missing, private to its user, and checks that it is his.
    pub fn prepare(&self) -> Result<(), HomeError> {
        let unusable = |source| HomeError::Unusable { path: self.root.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(unusable)?;
        let metadata = self.metadata()?;
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        }
        rustix::fs::access(&self.root, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(|errno| unusable(errno.into()))?;
        for folder in [
            self.runs(),
            self.launches(),
            self.scratch(),
            self.splits(),
            self.trust(),
            self.repeats(),
            self.instances(),
        ] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|source| HomeError::Unusable { path: folder, source })?;
        }
        Ok(())
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file name of the daemon's socket in [`Home::root`]: sockets are reached through their folder,
    /// because a socket's path may have only 107 bytes.
    pub const SOCKET_NAME: &'static str = "socket";

    /// The daemon's socket: in the folder, or where its filesystem cannot hold sockets, elsewhere
    /// ([`laneway_wire::sockets`]).
    pub fn socket(&self) -> PathBuf {
        laneway_wire::sockets::place(&self.root, Self::SOCKET_NAME)
    }

    /// The path of the daemon's socket that stays the same, as runs are told it. Where the socket is elsewhere, the
    /// file beside it tells the place.
    pub fn named_socket(&self) -> PathBuf {
        self.root.join(Self::SOCKET_NAME)
    }

    /// The file whose lock the living daemon holds.
    pub fn daemon_lock(&self) -> PathBuf {
        self.root.join("daemon.lock")
    }

    /// The file whose lock is held while a daemon begins.
    pub fn start_lock(&self) -> PathBuf {
        self.root.join("start.lock")
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("laneway.db")
    }

    /// The folder of all runs.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The folder of one run: its holder's socket, run record and last screen.
    pub fn run(&self, run: RunId) -> PathBuf {
        self.runs().join(run.to_string())
    }

    /// The folder of files that are needed for one request only.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// The folder of the files that say which panes are just being added beside workers.
    pub(crate) fn splits(&self) -> PathBuf {
        self.root.join("splits")
    }

    /// The folder of the files that say which settings of a repository the user has agreed to.
    pub fn trust(&self) -> PathBuf {
        self.root.join("trust")
    }

    /// The file with the port that is listened at; there is none while none is.
    pub fn port(&self) -> PathBuf {
        self.root.join("port")
    }

    /// The file with the names and hashes of tokens.
    pub fn tokens(&self) -> PathBuf {
        self.root.join("tokens")
    }

    /// The folder with the answers of requests that may be repeated.
    pub fn repeats(&self) -> PathBuf {
        self.root.join("repeats")
    }

    /// The folder of the state folders of all instances.
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// The state folder of one instance: its program's own, told in `LANEWAY_STATE_DIR`.
    pub fn instance(&self, instance: InstanceId) -> PathBuf {
        self.instances().join(instance.to_string())
    }

    /// The folder of the private files with workers' environments.
    pub fn launches(&self) -> PathBuf {
        self.root.join("launch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_private_from_its_first_moment() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("a/b"));
        home.prepare().unwrap();
        for path in [home.root().to_owned(), home.runs(), home.launches(), home.scratch()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
        fs::set_permissions(home.root(), fs::Permissions::from_mode(0o755)).unwrap();
        home.prepare().unwrap();
        assert_eq!(fs::metadata(home.root()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_home_that_is_a_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "kept").unwrap();
        let error = Home::at(path.clone()).prepare().unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
        assert_eq!(fs::read_to_string(path).unwrap(), "kept");
    }
}
