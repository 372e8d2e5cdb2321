//! Folders, programs and environment of one bench.
//!
//! Homes and run folders are on a disk, below `target/`: that is where they are in life, and a memory filesystem
//! is refused for them. Repositories are on a memory filesystem, since the figures of a disk swing tenfold.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use rustix::fs::statfs;
use tempfile::TempDir;

use super::board::Board;
use super::janitor::Janitor;
use super::laneway::Laneway;
use super::peers::git::Repository;
use super::peers::tmux::{self, Tmux};
use super::program::workload::Workload;
use crate::shell;

/// `TMPFS_MAGIC` of `statfs(2)`.
const TMPFS: u64 = 0x0102_1994;

/// What the repositories of the full bench take at once, in bytes.
const MEMORY_NEEDED: u64 = 3 << 30;

/// Where everything of one bench is.
pub(crate) struct Stage {
    /// Fewer rounds, smaller amounts.
    pub(crate) quick: bool,
    /// Whether there is tmux.
    pub(crate) has_tmux: bool,
    /// On a disk.
    folder: PathBuf,
    /// On a memory filesystem, if there is one.
    memory: PathBuf,
    /// Where `lane`, `lane-holder` and this program are.
    binaries: PathBuf,
    remarks: Vec<String>,
    janitor: Janitor,
}

impl Stage {
    /// Makes the folders; installs tmux if it is not there and can be.
    pub(crate) fn new(quick: bool, binaries: &Path) -> Result<Self> {
        let mut remarks = Vec::new();
        let name = format!("laneway-bench-{}", std::process::id());
        let folder = shell::target_folder()?.join("bench").join(&name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        if is_in_memory(&folder) {
            remarks.push(format!(
                "{} is a memory filesystem: starts are quicker than in life",
                folder.display()
            ));
        }
        let memory = ["/dev/shm", "/tmp", "/run"]
            .into_iter()
            .map(Path::new)
            .filter(|place| is_in_memory(place) && n_free(place) >= MEMORY_NEEDED)
            .map(|place| place.join(&name))
            .find(|place| fs::create_dir(place).is_ok());
        let memory = memory.unwrap_or_else(|| {
            let told = "no memory filesystem with 3 GiB to spare: the repositories are on a disk, whose figures swing";
            remarks.push(told.to_owned());
            folder.join("repositories")
        });
        fs::create_dir_all(&memory)?;
        let janitor = Janitor::hire(&[&folder, &memory])?;
        let has_tmux = match tmux::find_or_install() {
            Ok(version) => {
                remarks.push(format!("against {version}"));
                true
            }
            Err(error) => {
                remarks.push(format!("without tmux, whose rows are left out: {error:#}"));
                false
            }
        };
        Ok(Self { quick, has_tmux, folder, memory, binaries: binaries.to_owned(), remarks, janitor })
    }

    /// The amount for the full bench, or for the quick one.
    pub(crate) fn amount<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// A daemon of its own, for a small repository with one lane for terminals.
    pub(crate) fn laneway(&self) -> Result<Laneway> {
        let laneway = self.laneway_for(self.repository(1)?)?;
        laneway.lane(&["new", Laneway::LANE])?;
        Ok(laneway)
    }

    /// A daemon of its own, for this repository.
    pub(crate) fn laneway_for(&self, repository: Repository) -> Result<Laneway> {
        let home = tempfile::Builder::new().prefix("home-").tempdir_in(&self.folder)?;
        let mut lane = self.program(self.binaries.join("lane"));
        lane.current_dir(repository.root()).env("LANEWAY_HOME", home.path());
        Ok(Laneway::new(lane, home, repository))
    }

    /// A new repository with so many files.
    pub(crate) fn repository(&self, n_files: usize) -> Result<Repository> {
        let folder = tempfile::Builder::new().prefix("repository-").tempdir_in(&self.memory)?;
        Repository::make(self.program("git"), folder, n_files)
    }

    /// A tmux server of its own; none where there is no tmux.
    pub(crate) fn tmux(&self) -> Result<Option<Tmux>> {
        self.has_tmux.then(|| Tmux::start(self.program("tmux"))).transpose()
    }

    /// A new folder where homes are.
    pub(crate) fn folder_on_disk(&self) -> Result<TempDir> {
        Ok(TempDir::new_in(&self.folder)?)
    }

    /// The words that run a program of the bench, see [`super::program`].
    pub(crate) fn words(
        &self,
        board: &Board,
        who: &str,
        action: &str,
        workload: Option<Workload>,
    ) -> Vec<String> {
        let own = self.binaries.join("xtask").display().to_string();
        let mut words = vec![own, "bench-program".to_owned()];
        words.extend([board.name(), who, action].map(str::to_owned));
        words.extend(workload.map(|workload| workload.word().to_owned()));
        words
    }

    /// A command of these words.
    pub(crate) fn command(&self, words: &[String]) -> Command {
        let mut command = self.program(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// A program that sees nothing of the developer's own settings. The janitor knows it by its `HOME`.
    fn program(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = shell::program(name);
        command
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.folder)
            .env("LANG", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Bench")
            .env("GIT_AUTHOR_EMAIL", "bench@example.org")
            .env("GIT_COMMITTER_NAME", "Bench")
            .env("GIT_COMMITTER_EMAIL", "bench@example.org");
        command
    }

    /// Leaves nothing behind; what a reader must know about this bench.
    pub(crate) fn clear(self) -> Vec<String> {
        let mut remarks = self.remarks;
        remarks.extend(self.janitor.finish());
        remarks
    }
}

fn is_in_memory(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|facts| facts.f_type as u64 == TMPFS)
}

fn n_free(folder: &Path) -> u64 {
    statfs(folder).map_or(0, |facts| facts.f_bavail * facts.f_bsize as u64)
}
