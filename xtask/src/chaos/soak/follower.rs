//! A client at the WebSocket who wants everything from the first event on, and comes back for the rest after each death
//! of the daemon.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program::COUNT;
use crate::chaos::world::{LIMIT, World};
use crate::event_socket::EventSocket;

/// As many things that are wrong are told.
const MOST_TOLD: usize = 20;

/// He.
#[derive(Default)]
pub(super) struct Follower {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// What he has seen.
#[derive(Default)]
struct Seen {
    /// The number of the last event.
    last: u64,
    /// He has come back, and was not told yet what follows on that.
    comes_back: bool,
    /// How far each run has counted.
    counts: BTreeMap<String, u64>,
    /// The run of each worker that has begun and not ended.
    live: BTreeMap<String, String>,
    n_runs: u64,
    n_connections: u64,
    n_lagged: u64,
    broken: Vec<String>,
    is_over: bool,
}

impl Follower {
    /// Follows until [`Self::end`] is said and the daemon has ended.
    pub(super) fn follow(&self, world: &World) -> Result<()> {
        while !self.lock().is_over {
            let went = connect(world).and_then(|socket| self.take_from(socket));
            if let Err(error) = went {
                self.with(|seen| seen.note(format!("the follower cannot go on: {error:#}")));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes what is told until the connection ends.
    fn take_from(&self, mut socket: EventSocket) -> Result<()> {
        let since = self.with(|seen| {
            seen.n_connections += 1;
            seen.comes_back = true;
            if socket.seq < seen.last {
                seen.note(format!("event {} was told, and a later daemon knows {}", seen.last, socket.seq));
            }
            seen.last
        });
        // One that is killed just now is missed when something is read from it.
        drop(socket.subscribe(&["*"]).and_then(|()| socket.replay(since)));
        while let Some(told) = socket.text()? {
            let told = serde_json::from_str(&told)?;
            self.with(|seen| seen.take(&told));
        }
        Ok(())
    }

    /// Who ends the daemon after this does not see him come back.
    pub(super) fn end(&self) {
        self.with(|seen| seen.is_over = true);
    }

    /// Waits until he has seen the event of this number, or something that is wrong.
    pub(super) fn wait_for(&self, seq: u64) -> Result<()> {
        let is_behind = |seen: &mut Seen| seen.last < seq && seen.broken.is_empty();
        let seen = self.lock();
        let (seen, _) =
            self.changed.wait_timeout_while(seen, LIMIT, is_behind).unwrap_or_else(PoisonError::into_inner);
        ensure!(seen.last >= seq || !seen.broken.is_empty(), "the follower stays at event {}", seen.last);
        Ok(())
    }

    /// Waits for so long, or until something is wrong. Answers whether nothing is.
    pub(super) fn peace(&self, time: Duration) -> bool {
        let is_well = |seen: &mut Seen| seen.broken.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), time, is_well);
        waited.unwrap_or_else(PoisonError::into_inner).0.broken.is_empty()
    }

    /// What was wrong.
    pub(super) fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// How far each run has counted.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    pub(super) fn in_words(&self) -> String {
        let seen = self.lock();
        let n_counted: u64 = seen.counts.values().sum();
        format!(
            "{} events, {n_counted} of them said by programs, of {} runs, over {} connections, {} times behind",
            seen.last, seen.n_runs, seen.n_connections, seen.n_lagged
        )
    }

    fn with<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Comes back to whichever daemon there is; it is started as by any command.
fn connect(world: &World) -> Result<EventSocket> {
    let deadline = Instant::now() + LIMIT;
    loop {
        // It may be killed before it has started, and again before anybody is connected.
        drop(world.try_lane(&["daemon", "start"])?);
        match EventSocket::connect(&world.home()) {
            Err(error) if Instant::now() > deadline => return Err(error).context("there is no daemon"),
            Err(_) => {}
            Ok(socket) => return Ok(socket),
        }
    }
}

impl Seen {
    fn note(&mut self, what: String) {
        if self.broken.len() < MOST_TOLD {
            self.broken.push(what);
        }
    }

    fn take(&mut self, told: &Value) {
        let Some(seq) = told["seq"].as_u64() else {
            match told["type"].as_str() {
                Some("lagged") => self.n_lagged += 1,
                Some("subscribed") => {}
                _ => self.note(format!("the daemon said {told}")),
            }
            return;
        };
        // Until it is heard that he wants those that he missed, others come.
        if self.comes_back && seq > self.last + 1 {
            return;
        }
        self.comes_back = false;
        if seq != self.last + 1 {
            self.note(format!("event {seq} was told after event {}", self.last));
        }
        self.last = seq;
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        match told["event"].as_str() {
            Some("run.started") => {
                self.n_runs += 1;
                if let Some(other) = self.live.insert(text("worker"), text("run")) {
                    self.note(format!("run {} of {} began beside {other}", text("run"), text("worker")));
                }
            }
            Some("worker.exited") => {
                self.live.retain(|_, run| *run != text("run"));
            }
            Some("worker.event") if told["data"]["name"] == COUNT => {
                let number = told["data"]["data"]["n"].as_u64().unwrap_or(0);
                let before = self.counts.insert(text("run"), number).unwrap_or(0);
                if number != before + 1 {
                    self.note(format!("run {} said {number} after {before}: event {seq}", text("run")));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(told: &[Value]) -> Seen {
        let mut seen = Seen::default();
        for told in told {
            seen.take(told);
        }
        seen
    }

    fn event(seq: u64, name: &str, run: &str, n: u64) -> Value {
        json!({ "seq": seq, "event": name, "worker": "w", "run": run, "data": { "name": COUNT, "data": { "n": n } } })
    }

    #[test]
    fn a_gap_a_double_and_two_runs_at_once_are_seen() {
        let (began, said, ended) = ("run.started", "worker.event", "worker.exited");
        let well = [
            event(1, began, "a", 0),
            event(2, said, "a", 1),
            event(3, ended, "a", 0),
            event(4, began, "b", 0),
        ];
        assert_eq!(seen(&well).broken, Vec::<String>::new());
        assert_eq!(seen(&[event(1, began, "a", 0), event(3, said, "a", 1)]).broken.len(), 1);
        assert_eq!(seen(&[event(1, began, "a", 0), event(1, said, "a", 1)]).broken.len(), 1);
        assert_eq!(seen(&[event(1, said, "a", 1), event(2, said, "a", 3)]).broken.len(), 1);
        assert_eq!(seen(&[event(1, began, "a", 0), event(2, began, "b", 0)]).broken.len(), 1);
        let mut back = seen(&well);
        back.comes_back = true;
        back.take(&event(9, said, "b", 2));
        back.take(&event(5, said, "b", 1));
        assert_eq!((back.last, back.broken.len()), (5, 0));
        back.take(&event(9, said, "b", 2));
        assert_eq!(back.broken.len(), 1);
    }
}
