//! Laneway as it is used: `lane`, the daemon's API, the holders' sockets. One daemon and home per measurement.

mod api;
mod viewer;

pub(crate) use api::{Api, Events, encoded};
pub(crate) use viewer::{Seen, Viewer};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_wire::client::Connection;
use laneway_wire::message::FromHolder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::measure::processes;
use super::peers::again;
use super::peers::git::Repository;
use super::peers::tmux::Tmux;
use super::program::workload::{COLUMNS, ROWS};
use crate::event_socket::EventSocket;

/// How long a holder may take to answer.
const LIMIT: Duration = Duration::from_secs(30);

/// How many workers are stopped at once.
const N_STOPPING: usize = 4;

/// A daemon with its home and repository. When it is dropped, its workers and itself are ended.
pub(crate) struct Laneway {
    lane: Command,
    home: TempDir,
    /// The repository it works on.
    pub(crate) repository: Repository,
}

/// A worker of ours.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    /// Its id.
    pub(crate) id: String,
    /// The folder of its holder's socket.
    pub(crate) folder: PathBuf,
}

impl Laneway {
    /// The lane that terminals are in.
    pub(crate) const LANE: &str = "terminals";

    /// Its daemon is started by the first command.
    pub(crate) fn new(lane: Command, home: TempDir, repository: Repository) -> Self {
        Self { lane, home, repository }
    }

    /// `lane` with these arguments.
    pub(crate) fn command(&self, arguments: &[impl AsRef<str>]) -> Command {
        let mut command = again(&self.lane);
        command.args(arguments.iter().map(AsRef::as_ref)).stdin(Stdio::null());
        command
    }

    /// Runs `lane`, which must succeed; what it prints.
    pub(crate) fn lane(&self, arguments: &[impl AsRef<str>]) -> Result<Vec<u8>> {
        let output = self.command(arguments).output()?;
        let words: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lane {}: {}", words.join(" "), said.trim());
        Ok(output.stdout)
    }

    /// Its home.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A connection to the daemon.
    pub(crate) fn api(&self) -> Result<Api> {
        Api::connect(self.home.path(), &self.repository.root())
    }

    /// The events from now on.
    pub(crate) fn events(&self) -> Result<Events> {
        Events::follow(self.api()?)
    }

    /// A client at the WebSocket that gets all events from now on.
    pub(crate) fn subscriber(&self) -> Result<EventSocket> {
        let mut socket = EventSocket::connect(self.home.path())?;
        socket.subscribe(&["*"])?;
        Ok(socket)
    }

    /// The daemon's process.
    pub(crate) fn daemon_pid(&self) -> Result<u32> {
        let status = self.api()?.get("/api/v1/daemon")?;
        Ok(u32::try_from(status["pid"].as_u64().context("the daemon's pid")?)?)
    }

    /// What is asked of the API to start a worker.
    pub(crate) fn launch(&self, words: &[impl AsRef<str>]) -> Value {
        let environment =
            self.lane.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
        json!({
            "name": null,
            "launch": {
                "argv": words.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
                "environment": environment.collect::<Vec<_>>(),
                "umask": 0o022,
                "limits": [],
                "terminal": { "kind": "pty", "columns": COLUMNS, "rows": ROWS },
            },
        })
    }

    /// Starts a worker, by the API.
    pub(crate) fn start(&self, api: &mut Api, words: &[impl AsRef<str>]) -> Result<Worker> {
        Self::start_so(api, &self.launch(words))
    }

    /// Starts a worker with a channel, without a terminal.
    pub(crate) fn start_with_channel(&self, api: &mut Api, words: &[impl AsRef<str>]) -> Result<Worker> {
        let mut asked = self.launch(words);
        asked["launch"]["terminal"] = json!({ "kind": "pipes" });
        asked["launch"]["channel"] = json!("jsonl");
        Self::start_so(api, &asked)
    }

    /// Starts a worker that is started again when it fails.
    pub(crate) fn start_supervised(&self, api: &mut Api, words: &[impl AsRef<str>]) -> Result<Worker> {
        let mut asked = self.launch(words);
        asked["launch"]["restart"] = json!("on-failure");
        Self::start_so(api, &asked)
    }

    fn start_so(api: &mut Api, asked: &Value) -> Result<Worker> {
        let started = api.post(&format!("/api/v1/lanes/{}/workers", Self::LANE), asked)?;
        let id = started["worker"]["id"].as_str().context("the worker's id")?.to_owned();
        let folder = started["holder_folder"].as_str().map(PathBuf::from);
        Ok(Worker { id, folder: folder.unwrap_or_default() })
    }

    /// Starts a worker in a window of the session that every server has.
    pub(crate) fn start_in_tmux(
        &self,
        api: &mut Api,
        socket: &str,
        words: &[impl AsRef<str>],
    ) -> Result<Worker> {
        let mut asked = self.launch(words);
        asked["launch"]["terminal"] = json!({ "kind": "tmux", "socket": socket, "session": Tmux::SESSION });
        Self::start_so(api, &asked)
    }

    /// Stops workers, without grace, and waits for it.
    pub(crate) fn stop(&self, workers: &[Worker]) -> Result<()> {
        let part = workers.len().div_ceil(N_STOPPING).max(1);
        std::thread::scope(|scope| {
            let stopping: Vec<_> = workers
                .chunks(part)
                .map(|workers| {
                    scope.spawn(move || {
                        let mut api = self.api()?;
                        for worker in workers {
                            let path = format!("/api/v1/workers/{}/stop", worker.id);
                            api.post(&path, &json!({ "grace_ms": 0 }))?;
                        }
                        anyhow::Ok(())
                    })
                })
                .collect();
            stopping.into_iter().try_for_each(|one| one.join().expect("stopping does not panic"))
        })
    }

    /// Ends what runs, then the daemon.
    fn end(&self) -> Result<()> {
        if !self.home.path().join("socket").exists() {
            return Ok(());
        }
        let view = self.api()?.get("/api/v1/workers")?;
        let live = view["workers"].as_array().into_iter().flatten().filter(|worker| worker["exit"].is_null());
        let workers: Vec<Worker> = live
            .filter_map(|worker| {
                Some(Worker { id: worker["id"].as_str()?.to_owned(), folder: PathBuf::new() })
            })
            .collect();
        self.stop(&workers)?;
        let daemon = processes::open(self.daemon_pid()?);
        self.lane(&["daemon", "stop"])?;
        if let Some(daemon) = daemon {
            ensure!(processes::ends_within(&daemon, LIMIT)?, "the daemon does not end");
        }
        Ok(())
    }
}

impl Drop for Laneway {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            anstream::eprintln!("left to the janitor: {error:#}");
            let log = fs::read_to_string(self.home.path().join("daemon.log")).unwrap_or_default();
            for line in log.lines().rev().take(5) {
                anstream::eprintln!("  {line}");
            }
        }
    }
}

impl Worker {
    /// Waits until its end is recorded.
    pub(crate) fn wait_for_exit(&self, api: &mut Api) -> Result<()> {
        let view = api.get(&format!("/api/v1/workers/{}/exit", self.id))?;
        ensure!(!view["exit"].is_null(), "the end of {} was not recorded", self.id);
        Ok(())
    }

    /// A connection to its holder, and the holder's process.
    pub(crate) fn holder(&self) -> Result<(Connection, u32)> {
        let (connection, hello) = Connection::open(&self.folder, "bench", LIMIT)?;
        let FromHolder::Hello { pid, .. } = hello else { anyhow::bail!("the holder said {hello:?}") };
        Ok((connection, pid))
    }
}
