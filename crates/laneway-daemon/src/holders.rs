//! The holders of this host: starting them, talking to them, knowing when they are gone.
//!
//! One task per holder ([`link`]) owns its control connection. This is the only place that starts a program.

mod conversation;
mod cut_off;
mod inside;
mod link;
mod start;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use laneway_core::id::{LaneId, RunId};
use laneway_core::launch::{DEFAULT_GRACE_MS, GRACE_TO_GO_ON_MS};
use laneway_wire::message::{Exited, ProcessNote, Said};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use conversation::{Conversation, LinkError, meet};
pub(crate) use cut_off::CutOff;
pub(crate) use inside::Door;
pub(crate) use link::{connect, connect_patiently, glance, process};
pub(crate) use start::{HolderProgram, Launched, StartError, keep_some_free, launch};

/// What a holder tells of its own accord.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// The program has ended.
    Exited(Exited),
    /// The program has said something over its channel.
    Said {
        /// The number of the first.
        first: u64,
        /// All of it.
        said: Vec<Said>,
    },
    /// The holder is gone.
    Gone,
}

/// Whom a link tells.
pub(crate) type Teller = mpsc::UnboundedSender<(RunId, Told)>;

/// How long a holder with many who want to talk to it is waited for when it is only to be seen whether it is there.
const QUEUE_LIMIT: Duration = Duration::from_millis(100);

/// Removes the socket of a run whose holder was killed: one that nobody listens at. False if somebody does, or that
/// cannot be found out. Blocks.
pub(crate) fn remove_dead_socket(folder: &Path) -> bool {
    use laneway_wire::{SOCKET_NAME, sockets};
    let Ok(opened) = sockets::open_folder(folder) else { return true };
    match sockets::connect(&opened, SOCKET_NAME, QUEUE_LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        // Sockets get their name when somebody listens at them: he is gone for good.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            sockets::remove(&opened, SOCKET_NAME).is_ok()
        }
        Ok(_) | Err(_) => false,
    }
}

/// Whether nobody listens at the socket of a run any more. Blocks.
pub(crate) fn has_dead_socket(folder: &Path) -> bool {
    use laneway_wire::{SOCKET_NAME, sockets};
    let Ok(opened) = sockets::open_folder(folder) else { return true };
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    sockets::connect(&opened, SOCKET_NAME, QUEUE_LIMIT).is_err_and(|error| gone.contains(&error.kind()))
}

/// What can be asked of a link.
#[derive(Debug)]
pub(crate) enum Ask {
    /// End the run's processes.
    Stop { grace_ms: u64, answer: oneshot::Sender<Vec<ProcessNote>> },
    /// The exit is recorded.
    Release,
    /// What the program has said up to here is recorded.
    Taken { up_to: u64 },
    /// What the program has said after this is to be told once more.
    TellAgain { after: u64 },
    /// Say something to the program over its channel.
    Say { line: Vec<u8>, answer: oneshot::Sender<Result<(), NotSaid>> },
}

/// Why something could not be said to a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NotSaid {
    /// One of [`laneway_wire::message::refusal`].
    pub(crate) code: String,
    /// Why, for people.
    pub(crate) message: String,
}

/// A holder that is there.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    /// The lane its run is in.
    pub(crate) lane: LaneId,
    asks: mpsc::Sender<Ask>,
    /// True once nothing of the run is alive, as the holder has proven, or the holder itself is gone.
    over: watch::Receiver<bool>,
    /// The program has ended, and something it left behind is alive.
    lingering: Arc<AtomicBool>,
    /// A stop was under way when it was found.
    was_stopping: bool,
}

impl Holder {
    /// Milliseconds of grace for a stop that had been asked before this daemon: as then, if that stop is under way.
    pub(crate) const fn grace_to_go_on(&self) -> u64 {
        // The earlier end of grace counts, so this leaves the one that was given.
        if self.was_stopping { GRACE_TO_GO_ON_MS } else { DEFAULT_GRACE_MS }
    }

    /// Ends the run's processes and gives those that could not be ended. Empty also if the holder is gone.
    pub(crate) async fn stop(&self, grace_ms: u64) -> Vec<ProcessNote> {
        loop {
            let (answer, answered) = oneshot::channel();
            if self.asks.send(Ask::Stop { grace_ms, answer }).await.is_err() {
                return Vec::new();
            }
            match answered.await {
                Ok(left) => return left,
                // The link has ended, and the holder with it.
                Err(_) if self.asks.is_closed() => return Vec::new(),
                // The connection was made anew, and the answer was lost with the old one.
                Err(_) => {}
            }
        }
    }

    /// Tells it that the exit is recorded. It leaves when nothing of its run is alive.
    pub(crate) async fn release(&self) {
        // A holder that is gone needs no telling.
        let _ = self.asks.send(Ask::Release).await;
    }

    /// What the program has said up to here is recorded, and may be forgotten.
    pub(crate) async fn taken(&self, up_to: u64) {
        // A holder that is gone has forgotten it.
        let _ = self.asks.send(Ask::Taken { up_to }).await;
    }

    /// Has what the program has said after this told once more.
    pub(crate) async fn tell_again(&self, after: u64) {
        let _ = self.asks.send(Ask::TellAgain { after }).await;
    }

    /// Says a line to the program over its channel. None: the holder is gone, or its connection was lost meanwhile.
    pub(crate) async fn say(&self, line: Vec<u8>) -> Option<Result<(), NotSaid>> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Say { line, answer }).await.ok()?;
        answered.await.ok()
    }

    /// True if the program has ended and something it left behind is alive.
    pub(crate) fn is_lingering(&self) -> bool {
        self.lingering.load(Ordering::Relaxed) && !self.is_over()
    }

    /// Waits until nothing of its run is alive. The holder itself may stay a while, for a reader of the output.
    pub(crate) async fn over(&self) {
        let mut over = self.over.clone();
        // The sender drops when the link ends, which is the same news.
        let _ = over.wait_for(|over| *over).await;
    }

    /// Whether nothing of its run is alive.
    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }
}

/// The holders that are there, by run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holders {
    by_run: Arc<Mutex<HashMap<RunId, Holder>>>,
}

impl Holders {
    /// The holder of a run.
    pub(crate) fn of_run(&self, run: RunId) -> Option<Holder> {
        self.lock().get(&run).cloned()
    }

    /// The holders of a lane's runs.
    pub(crate) fn of_lane(&self, lane: LaneId) -> Vec<(RunId, Holder)> {
        self.lock().iter().filter(|(_, h)| h.lane == lane).map(|(run, h)| (*run, h.clone())).collect()
    }

    /// Makes a holder known, unless it is already: then false, and the one that is known goes on.
    pub(crate) fn insert(&self, run: RunId, holder: Holder) -> bool {
        match self.lock().entry(run) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(holder);
                true
            }
        }
    }

    pub(crate) fn remove(&self, run: RunId) {
        self.lock().remove(&run);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Holder>> {
        self.by_run.lock().expect("no holder of this lock panics")
    }
}
