//! Waiting until something holds of a worker: each that can tell has a thread of its own, and the first word counts.
//!
//! ```text
//! holder ──lines, exit────► terminal, pipes ─┐
//! holder ──silence────────► quiet ───────────┼─► News ─► whoever waits, with a limit
//! daemon ──status─────────► status ──────────┘
//! ```
//!
//! Nothing is asked twice: each answer comes when it is so. A daemon that is killed meanwhile is found or started again
//! by the one that asks it; the others do not need it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use laneway_api::request::AwaitStatus;
use laneway_api::routes;
use laneway_api::view::WorkerView;
use laneway_core::id::WorkerId;
use laneway_core::run::Exit;
use laneway_core::worker::WorkerStatus;
use laneway_wire::client::{ClientError, Connection};
use laneway_wire::message::{FromHolder, Incoming, refusal};
use laneway_wire::{Stream, ToHolder};
use regex::bytes::Regex;

use crate::client::{Client, Request, WENT_AWAY};
use crate::failure::Failure;
use crate::output::pipes::{PipeOutput, Written};
use crate::output::terminal::TerminalOutput;
use crate::output::{CLIENT, HELLO_LIMIT, OutputError, exit_of};
use laneway_core::duration;

/// The stable word of the problem that the daemon was just ending.
pub(crate) const ENDING: &str = "daemon_ending";

/// How long a terminal has to be silent if nothing else is said.
const IDLE: Duration = Duration::from_secs(2);

/// Something that is waited for.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    /// The program has ended.
    Exit,
    /// Nothing was written or typed for so long.
    Idle(Duration),
    /// A line matches.
    Output(Regex),
    /// The worker's status is this.
    State(WorkerStatus),
}

impl Condition {
    /// Reads `exit`, `idle`, `idle=5s`, `output=REGEX`, `state=running`. The error is a sentence for people.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "exit" => Ok(Self::Exit),
            None if text == "idle" => Ok(Self::Idle(IDLE)),
            Some(("idle", how_long)) => duration::parse(how_long).map(Self::Idle),
            Some(("output", pattern)) => {
                Regex::new(pattern).map(Self::Output).map_err(|error| error.to_string())
            }
            Some(("state", word)) => WorkerStatus::from_word(word).map(Self::State).ok_or_else(|| {
                let known = WorkerStatus::ALL.map(WorkerStatus::as_str).join(", ");
                format!("no worker is {word:?}; they are {known}")
            }),
            _ => Err("what can be waited for is exit, idle, idle=5s, output=REGEX and state=WORD".to_owned()),
        }
    }

    /// Whether it can still come to hold when the program has ended.
    pub(crate) fn survives_the_end(&self) -> bool {
        match self {
            Self::State(_) => true,
            Self::Exit | Self::Idle(_) | Self::Output(_) => false,
        }
    }
}

/// What shows that something holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// How the program ended.
    Exit(Exit),
    /// The output offset at which it was silent.
    Idle { offset: u64 },
    /// The line that matches, and how far the output was.
    Output { line: Vec<u8>, offset: u64 },
    /// The worker's status.
    State(WorkerStatus),
}

/// What a thread has to tell.
#[derive(Debug)]
pub(crate) enum News {
    /// The condition of this index holds.
    Held(usize, Evidence),
    /// The program has ended, and all it had written was looked at.
    Ended(Exit),
    /// Lines went by before they could be looked at.
    Missed,
    /// The worker is not starting any more.
    Began,
    /// The holder went away without a word.
    HolderGone,
    /// It cannot be known.
    Failed(Failure),
}

/// Whoever is told hangs up when it has heard enough.
struct HungUp;

/// What is waited for, with its place among all that is.
pub(crate) type Indexed = Vec<(usize, Condition)>;

/// What the holder of a live run is asked about.
#[derive(Debug)]
pub(crate) struct Run {
    /// The folder of its socket.
    pub(crate) folder: PathBuf,
    /// It has a terminal.
    pub(crate) tty: bool,
    /// Only lines that were changed after this output offset.
    pub(crate) since: Option<u64>,
}

/// Has the end of the run watched, and what it writes if a condition is about that.
pub(crate) fn watch_run(run: Run, name: String, conditions: Indexed, tell: Sender<News>) {
    std::thread::spawn(move || {
        let watcher = Watcher { tell, conditions };
        let watches_output = watcher.patterns().next().is_some();
        let outcome = match (watches_output, run.tty) {
            (true, true) => watcher.terminal(&run),
            (true, false) => watcher.pipes(&run),
            (false, _) => watcher.end_of_run(&run.folder),
        };
        watcher.say_why(outcome, &name);
    });
}

/// Has it watched whether the run is silent for so long.
pub(crate) fn watch_silence(folder: PathBuf, name: String, condition: (usize, Duration), tell: Sender<News>) {
    std::thread::spawn(move || {
        let watcher = Watcher { tell, conditions: Vec::new() };
        watcher.say_why(watcher.silence(&folder, condition), &name);
    });
}

/// Has the worker's status watched by the daemon.
pub(crate) fn watch_status(client: Client, worker: WorkerId, conditions: Indexed, tell: Sender<News>) {
    std::thread::spawn(move || {
        let states: Vec<(usize, WorkerStatus)> = conditions
            .iter()
            .filter_map(|(index, condition)| match condition {
                Condition::State(status) => Some((*index, *status)),
                Condition::Exit | Condition::Idle(_) | Condition::Output(_) => None,
            })
            .collect();
        let statuses: Vec<WorkerStatus> = states.iter().map(|(_, status)| *status).collect();
        let news = match status_is(&client, worker, &statuses) {
            Ok(view) => {
                let held = states.iter().find(|(_, status)| *status == view.status);
                held.map(|(index, status)| News::Held(*index, Evidence::State(*status)))
            }
            Err(failure) => Some(News::Failed(failure)),
        };
        // Whoever waited may have left.
        let _ = news.map(|news| tell.send(news));
    });
}

/// Has it watched when the worker is not starting any more.
pub(crate) fn watch_start(client: Client, worker: WorkerId, tell: Sender<News>) {
    std::thread::spawn(move || {
        let news = match until_begun(&client, worker) {
            Ok(()) => News::Began,
            Err(failure) => News::Failed(failure),
        };
        let _ = tell.send(news);
    });
}

/// Waits until the worker is not starting any more.
pub(crate) fn until_begun(client: &Client, worker: WorkerId) -> Result<(), Failure> {
    let others = WorkerStatus::ALL.into_iter().filter(|status| *status != WorkerStatus::Starting);
    status_is(client, worker, &others.collect::<Vec<_>>()).map(drop)
}

/// Waits until the worker's status is one of these. A daemon that ends meanwhile is started again.
fn status_is(client: &Client, worker: WorkerId, statuses: &[WorkerStatus]) -> Result<WorkerView, Failure> {
    let is = statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(",");
    let path = routes::with_target(routes::WORKER_STATUS, &worker.to_string());
    let request = Request::get(format!("waiting for {worker}"), path).query(&AwaitStatus { is })?;
    loop {
        match client.ask_quietly(&request) {
            Err(failure) if failure.is(ENDING) || failure.is(WENT_AWAY) => {}
            answer => return answer,
        }
    }
}

struct Watcher {
    tell: Sender<News>,
    conditions: Indexed,
}

enum WatchError {
    Output(OutputError),
    /// Whoever waits has heard enough.
    HungUp,
}

impl From<OutputError> for WatchError {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

impl From<ClientError> for WatchError {
    fn from(error: ClientError) -> Self {
        Self::Output(error.into())
    }
}

impl From<HungUp> for WatchError {
    fn from(_: HungUp) -> Self {
        Self::HungUp
    }
}

impl Watcher {
    fn tell(&self, news: News) -> Result<(), HungUp> {
        self.tell.send(news).map_err(|_| HungUp)
    }

    fn say_why(&self, outcome: Result<(), WatchError>, name: &str) {
        let news = match outcome {
            Ok(()) | Err(WatchError::HungUp) => return,
            Err(WatchError::Output(OutputError::Gone(_))) => News::HolderGone,
            Err(WatchError::Output(error)) => News::Failed(error.into_failure(name)),
        };
        // Whoever waited may have left.
        let _ = self.tell(news);
    }

    fn patterns(&self) -> impl Iterator<Item = (usize, &Regex)> {
        self.conditions.iter().filter_map(|(index, condition)| match condition {
            Condition::Output(pattern) => Some((*index, pattern)),
            Condition::Exit | Condition::Idle(_) | Condition::State(_) => None,
        })
    }

    /// Tells of a line that was waited for.
    fn look_at(&self, line: &[u8], offset: u64) -> Result<(), HungUp> {
        for (index, pattern) in self.patterns() {
            if pattern.is_match(line) {
                self.tell(News::Held(index, Evidence::Output { line: line.to_vec(), offset }))?;
            }
        }
        Ok(())
    }

    fn terminal(&self, run: &Run) -> Result<(), WatchError> {
        let mut output = TerminalOutput::open(&run.folder, run.since, None, false)?;
        loop {
            let followed = output.next()?;
            if followed.missed {
                self.tell(News::Missed)?;
            }
            for line in &followed.lines {
                self.look_at(line.text.as_bytes(), followed.offset)?;
            }
            if let Some(exited) = followed.exited {
                return Ok(self.tell(News::Ended(exit_of(&exited)))?);
            }
        }
    }

    fn pipes(&self, run: &Run) -> Result<(), WatchError> {
        let mut output = PipeOutput::open(&run.folder)?;
        // Offsets count standard output: of the other stream they tell only what is new from now on.
        let stderr_since = run.since.map_or(0, |_| output.present.stderr);
        loop {
            match output.next()? {
                Written::Lines(stream, lines) => {
                    let since = if stream == Stream::Stderr { stderr_since } else { run.since.unwrap_or(0) };
                    let position = output.position(Stream::Stdout);
                    for line in lines.into_iter().chain(output.unfinished(stream)) {
                        if line.end > since {
                            self.look_at(&line.bytes, position)?;
                        }
                    }
                }
                Written::Missed => self.tell(News::Missed)?,
                Written::Exited(exited) => return Ok(self.tell(News::Ended(exit_of(&exited)))?),
            }
        }
    }

    fn end_of_run(&self, folder: &Path) -> Result<(), WatchError> {
        let (mut connection, _) = Connection::open(folder, CLIENT, HELLO_LIMIT)?;
        connection.send(&ToHolder::Watch)?;
        loop {
            let exited = match connection.receive()?.ok_or(ClientError::Closed)? {
                Incoming::Message { message: FromHolder::Status(status), .. } => status.exited,
                Incoming::Message { message: FromHolder::Exited(exited), .. } => Some(exited),
                Incoming::Message { .. } | Incoming::Unknown { .. } | Incoming::Data { .. } => None,
            };
            if let Some(exited) = exited {
                return Ok(self.tell(News::Ended(exit_of(&exited)))?);
            }
        }
    }

    fn silence(&self, folder: &Path, (index, how_long): (usize, Duration)) -> Result<(), WatchError> {
        let (mut connection, _) = Connection::open(folder, CLIENT, HELLO_LIMIT)?;
        match connection.ask(&ToHolder::AwaitQuiet { quiet_ms: duration::millis(how_long) })? {
            FromHolder::Quiet { offset } => Ok(self.tell(News::Held(index, Evidence::Idle { offset }))?),
            // The one that watches the run tells of its end.
            FromHolder::Refused { code, .. } if code == refusal::ENDED => Ok(()),
            FromHolder::Refused { code, message } => Err(OutputError::Refused { code, message }.into()),
            other => Err(ClientError::OutOfPlace(format!("{other:?}")).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_waited_for() {
        #[track_caller]
        fn check(text: &str, expected: Result<&str, &str>) {
            let parsed = Condition::parse(text).map(|condition| format!("{condition:?}"));
            let parsed = parsed.as_ref();
            match expected {
                Ok(shown) => assert_eq!(parsed.map(String::as_str), Ok(shown), "{text}"),
                Err(part) => assert!(parsed.is_err_and(|error| error.contains(part)), "{text}: {parsed:?}"),
            }
        }
        check("exit", Ok("Exit"));
        check("idle", Ok("Idle(2s)"));
        check("idle=500ms", Ok("Idle(500ms)"));
        check("output=a=b", Ok("Output(Regex(\"a=b\"))"));
        check("state=failed", Ok("State(Failed)"));
        check("exit=3", Err("what can be waited for"));
        check("idle=soon", Err("not a duration"));
        check("output=(", Err("unclosed group"));
        check("state=happy", Err("starting, running, stopping, stopped, backoff, failed"));
        check("", Err("what can be waited for"));
    }
}
