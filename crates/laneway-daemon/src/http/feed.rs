//! Events in order, for one client: first from the record, then as they come, and from the record again after a lag.
//! Nothing falls in between, and nothing comes twice.

use std::collections::VecDeque;
use std::sync::Arc;

use laneway_api::error::Problem;
use laneway_core::event::Recorded;
use laneway_core::id::WorkerId;
use laneway_core::instance::InstanceName;
use laneway_store::Store;
use tokio::sync::broadcast;

use crate::engine::{EVENT_PAGE, Engine, briefly};

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// An event.
    Event(Arc<Recorded>),
    /// So many came while nobody took them; they follow from the record.
    Lagged { from: u64, to: u64 },
    /// There is no more: the daemon ends, or only what was recorded was wanted.
    End,
}

/// The events of one client.
pub(super) struct Feed {
    engine: Engine,
    /// The last number that was told or skipped.
    after: u64,
    ready: VecDeque<Arc<Recorded>>,
    /// None if only what is recorded is wanted.
    live: Option<broadcast::Receiver<Arc<Recorded>>>,
    /// The record has no more than what was read.
    caught_up: bool,
}

impl Feed {
    /// Those after `since`, and with `follow` also those to come. To be made before anything else is read of the
    /// record, so that nothing falls in between.
    pub(super) fn since(engine: &Engine, since: u64, follow: bool) -> Self {
        let live = follow.then(|| engine.store.subscribe());
        Self { engine: engine.clone(), after: since, ready: VecDeque::new(), live, caught_up: false }
    }

    /// Those to come; the number of the last one before them.
    pub(super) async fn to_come(engine: &Engine) -> Result<(Self, u64), Problem> {
        let mut feed = Self::since(engine, 0, true);
        feed.after = engine.read(Store::last_seq).await?;
        feed.caught_up = true;
        let after = feed.after;
        Ok((feed, after))
    }

    /// The last `limit` of those that are recorded, and no more.
    pub(super) async fn last(engine: &Engine, limit: u32) -> Result<Self, Problem> {
        let last = engine.read(|store| store.events_before(u64::MAX, limit)).await?;
        let mut feed = Self::since(engine, last.last().map_or(0, |event| event.seq), false);
        feed.ready = last.into_iter().map(Arc::new).collect();
        feed.caught_up = true;
        Ok(feed)
    }

    /// Goes on with those after `since`, whatever was told before. Refused if there is no such number yet.
    pub(super) async fn go_back_to(&mut self, since: u64) -> Result<(), u64> {
        let last = self.engine.read(Store::last_seq).await.unwrap_or(self.after);
        if since > last {
            return Err(last);
        }
        self.after = since;
        self.ready.clear();
        self.caught_up = false;
        Ok(())
    }

    /// The instance that a worker is, if it is one.
    pub(super) fn instance_of(&self, worker: WorkerId) -> Option<InstanceName> {
        let found = briefly(|| self.engine.store.instance_of_worker(worker));
        found.ok().flatten().map(|instance| instance.name)
    }

    /// What comes next, and is waited for. May be dropped and asked for again.
    pub(super) async fn next(&mut self) -> Result<Next, Problem> {
        loop {
            if let Some(next) = self.at_once().await? {
                return Ok(next);
            }
            let Some(live) = self.live.as_mut() else { return Ok(Next::End) };
            let received = live.recv().await;
            if let Some(next) = self.take(received).await? {
                return Ok(next);
            }
        }
    }

    /// What comes next, if that is there already.
    pub(super) async fn at_once(&mut self) -> Result<Option<Next>, Problem> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = self.after.max(event.seq);
                return Ok(Some(Next::Event(event)));
            }
            if !self.caught_up {
                let after = self.after;
                let page = self.engine.read(move |store| store.events_since(after, EVENT_PAGE)).await?;
                self.caught_up = page.is_empty();
                self.ready.extend(page.into_iter().map(Arc::new));
                continue;
            }
            let Some(live) = self.live.as_mut() else { return Ok(None) };
            let received = match live.try_recv() {
                Ok(event) => Ok(event),
                Err(broadcast::error::TryRecvError::Empty) => return Ok(None),
                Err(broadcast::error::TryRecvError::Closed) => Err(broadcast::error::RecvError::Closed),
                Err(broadcast::error::TryRecvError::Lagged(n)) => Err(broadcast::error::RecvError::Lagged(n)),
            };
            if let Some(next) = self.take(received).await? {
                return Ok(Some(next));
            }
        }
    }

    async fn take(
        &mut self,
        received: Result<Arc<Recorded>, broadcast::error::RecvError>,
    ) -> Result<Option<Next>, Problem> {
        match received {
            Ok(event) if event.seq > self.after => {
                self.after = event.seq;
                Ok(Some(Next::Event(event)))
            }
            // It was told from the record.
            Ok(_) => Ok(None),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                self.caught_up = false;
                let to = self.engine.read(Store::last_seq).await?;
                let from = self.after + 1;
                Ok((from <= to).then_some(Next::Lagged { from, to }))
            }
            Err(broadcast::error::RecvError::Closed) => Ok(Some(Next::End)),
        }
    }
}
