//! Lines that programs write, for those who want them as they come. They are not recorded.
//!
//! ```text
//! holder of a run ─► tap: whole lines, UTF-8 ─┐
//! holder of a run ─► tap ─────────────────────┼─► one ring of batches ─► each client that listens
//! ```
//!
//! There are taps only while somebody listens. A tap waits while the quickest client has taken too little: then its
//! holder passes over what is written meanwhile, and the program is held up by nobody. A client that is slower than the
//! quickest one misses lines, and is told how many. So memory is bounded by the ring, however many listen.

mod lines;
mod tap;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use laneway_core::event::{Event, Recorded, Subject};
use laneway_core::id::RunId;
use laneway_core::time::Timestamp;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::now;
use crate::engine::Engine;
use crate::problem::chain;

pub(crate) use lines::Line;

/// Batches in the ring. With [`tap::MAX_BATCH`] bytes in each it holds 16 MiB at most.
const RING: usize = 256;

/// Batches that may be in front of the quickest client.
const AHEAD: usize = 32;

/// Lines of one run.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Whose they are.
    pub(crate) of: Subject,
    /// When they came here.
    pub(crate) at: Timestamp,
    pub(crate) lines: Vec<Line>,
    /// In front of these the program wrote others, which its holder has passed over.
    pub(crate) missed: bool,
    number: u64,
    /// How many lines were sent before these.
    n_before: u64,
}

/// Where lines go, for as long as somebody listens.
#[derive(Debug)]
struct Hub {
    ring: broadcast::Sender<Arc<Batch>>,
    /// What was sent last: its number, and how many lines by then.
    sent: Mutex<(u64, u64)>,
    /// The greatest number that a client has taken.
    taken: AtomicU64,
    /// For so many batches there is room in front of the quickest client.
    room: Semaphore,
    stop: CancellationToken,
}

/// The lines of all programs. A clone is another handle on the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Listening>>);

#[derive(Debug, Default)]
struct Listening {
    n_clients: usize,
    hub: Option<Arc<Hub>>,
}

impl Logs {
    /// Lines that are written from now on.
    pub(crate) fn listen(&self, engine: &Engine) -> Listener {
        let mut listening = self.lock();
        listening.n_clients += 1;
        let hub = Arc::clone(listening.hub.get_or_insert_with(|| {
            let hub = Arc::new(Hub::new());
            tokio::spawn(collect(engine.clone(), Arc::clone(&hub)));
            hub
        }));
        let (ring, n_seen) = hub.begin();
        Listener { logs: self.clone(), hub, ring, n_seen }
    }

    fn lock(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Hub {
    fn new() -> Self {
        Self {
            ring: broadcast::channel(RING).0,
            sent: Mutex::default(),
            taken: AtomicU64::new(0),
            room: Semaphore::new(AHEAD),
            stop: CancellationToken::new(),
        }
    }

    /// A client that wants what is sent from now on; and how many lines were before. To it all of those are taken.
    fn begin(&self) -> (broadcast::Receiver<Arc<Batch>>, u64) {
        let sent = self.lock_sent();
        self.took(sent.0);
        (self.ring.subscribe(), sent.1)
    }

    /// Sends lines once there is room.
    async fn send(&self, of: Subject, lines: Vec<Line>, missed: bool) {
        if lines.is_empty() && !missed {
            return;
        }
        self.room.acquire().await.expect("it is never closed").forget();
        let mut sent = self.lock_sent();
        let (number, n_before) = (sent.0 + 1, sent.1);
        *sent = (number, n_before + lines.len() as u64);
        // Without a client it is all over.
        let _ = self.ring.send(Arc::new(Batch { of, at: now(), lines, missed, number, n_before }));
    }

    fn took(&self, number: u64) {
        let before = self.taken.fetch_max(number, Ordering::Relaxed);
        if let Some(n_more) = number.checked_sub(before) {
            self.room.add_permits(usize::try_from(n_more).unwrap_or(AHEAD).min(AHEAD));
        }
    }

    fn lock_sent(&self) -> MutexGuard<'_, (u64, u64)> {
        self.sent.lock().expect("no holder of this lock panics")
    }
}

/// One client.
#[derive(Debug)]
pub(crate) struct Listener {
    logs: Logs,
    hub: Arc<Hub>,
    ring: broadcast::Receiver<Arc<Batch>>,
    n_seen: u64,
}

impl Listener {
    /// What comes next, and how many lines before it this client has missed. May be dropped and asked for again.
    pub(crate) async fn next(&mut self) -> (Arc<Batch>, u64) {
        loop {
            match self.ring.recv().await {
                Ok(batch) => {
                    self.hub.took(batch.number);
                    let n_missed = batch.n_before.saturating_sub(self.n_seen);
                    self.n_seen = batch.n_before + batch.lines.len() as u64;
                    return (batch, n_missed);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                // The hub is held by this client, and so is its sender.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listening = self.logs.lock();
        listening.n_clients -= 1;
        if listening.n_clients == 0 {
            listening.hub = None;
            self.hub.stop.cancel();
        }
    }
}

/// Taps the runs that there are and those that begin, until nobody listens any more.
async fn collect(engine: Engine, hub: Arc<Hub>) {
    let stop = hub.stop.clone();
    stop.run_until_cancelled(tap_all(engine, hub)).await;
}

async fn tap_all(engine: Engine, hub: Arc<Hub>) {
    // Before those that there are are asked for, so that none falls in between.
    let mut events = engine.store.subscribe();
    let mut taps = Taps { engine, hub, known: HashSet::new(), tasks: JoinSet::new() };
    taps.look(false).await;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => taps.heard(&event),
                Err(broadcast::error::RecvError::Lagged(_)) => taps.look(true).await,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Some(ended) = taps.tasks.join_next() => {
                if let Ok(run) = ended {
                    taps.known.remove(&run);
                }
            }
        }
    }
}

struct Taps {
    engine: Engine,
    hub: Arc<Hub>,
    known: HashSet<RunId>,
    /// Dropped with this, they end.
    tasks: JoinSet<RunId>,
}

impl Taps {
    /// Taps all that run; with `from_begin` also what those have written before.
    async fn look(&mut self, from_begin: bool) {
        match self.engine.read(laneway_store::Store::live_runs).await {
            Ok(rows) => {
                for row in rows {
                    let of = Subject {
                        workspace: Some(row.worker.workspace),
                        lane: Some(row.worker.lane),
                        worker: Some(row.worker.id),
                        run: Some(row.run.id),
                    };
                    self.tap(row.run.id, of, from_begin);
                }
            }
            Err(problem) => tracing::warn!(problem = problem.message, "what runs is not known"),
        }
    }

    fn heard(&mut self, event: &Recorded) {
        if let (Event::RunStarted { .. }, Some(run)) = (&event.event, event.subject.run) {
            self.tap(run, event.subject, true);
        }
    }

    fn tap(&mut self, run: RunId, of: Subject, from_begin: bool) {
        if !self.known.insert(run) {
            return;
        }
        let (engine, hub) = (self.engine.clone(), Arc::clone(&self.hub));
        self.tasks.spawn(async move {
            if let Err(error) = tap::follow(&engine, run, of, from_begin, &hub).await {
                tracing::info!(%run, error = chain(&error), "what it writes is not told");
            }
            run
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laneway_api::view::OutputStream;

    fn line(text: &str) -> Line {
        Line { stream: OutputStream::Stdout, text: text.to_owned(), cut: false }
    }

    fn listener(hub: &Arc<Hub>) -> Listener {
        let logs = Logs(Arc::new(Mutex::new(Listening { n_clients: 1, hub: None })));
        let (ring, n_seen) = hub.begin();
        Listener { logs, hub: Arc::clone(hub), ring, n_seen }
    }

    #[tokio::test]
    async fn the_quickest_sets_the_pace_and_a_slow_one_is_told_what_it_missed() {
        let hub = Arc::new(Hub::new());
        let mut deaf = listener(&hub);
        let n_batches = 2 * RING as u64;
        let sending = {
            let hub = Arc::clone(&hub);
            async move {
                for number in 0..n_batches {
                    hub.send(Subject::default(), vec![line(&number.to_string()), line("second")], false)
                        .await;
                }
            }
        };
        // Who reads nothing holds up only what nobody wants.
        let mut sending = Box::pin(sending);
        assert!(futures_util::poll!(&mut sending).is_pending());
        assert_eq!(hub.lock_sent().0, AHEAD as u64);
        let mut quick = listener(&hub);
        let reading = async {
            for number in AHEAD as u64..n_batches {
                let (batch, n_missed) = quick.next().await;
                assert_eq!((batch.lines[0].text.clone(), n_missed), (number.to_string(), 0));
            }
        };
        tokio::join!(sending, reading);
        let (batch, n_missed) = deaf.next().await;
        assert_eq!(n_missed, 2 * (n_batches - RING as u64));
        assert_eq!(batch.lines[0].text, (n_batches - RING as u64).to_string());
    }
}
