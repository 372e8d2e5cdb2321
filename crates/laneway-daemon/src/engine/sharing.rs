//! Who uses a lane: joining, leaving, the mark, and one timer for the lease that ends first.

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::actor::Actor;
use laneway_core::command::{Command, Join};
use laneway_core::event::Event;
use laneway_core::id::{AttachmentId, LaneId};
use laneway_core::name::Name;

use super::{Engine, Request};
use crate::alarm::Alarm;
use crate::clock::now;
use crate::login;

impl Engine {
    /// Who asks, as lanes know those who use them: a worker by its name, a person by the login name. A task has none.
    pub(crate) async fn name_of(&self, actor: Actor) -> Result<Option<Name>, Problem> {
        match actor {
            Actor::Worker { id } => {
                let row = self.read(move |store| store.worker(id)).await?;
                Ok(row.and_then(|row| row.worker.name))
            }
            Actor::Person { uid } => Ok(Some(login::name_of(uid))),
            Actor::Daemon => Ok(None),
        }
    }

    /// Who is meant: the one that is named, else the one who asks.
    pub(crate) async fn who_is_meant(&self, named: Option<Name>, actor: Actor) -> Result<Name, Problem> {
        let who = match named {
            Some(named) => Some(named),
            None => self.name_of(actor).await?,
        };
        who.ok_or_else(|| {
            Problem::new(ErrorKind::Usage, "who", "a task has no name, and none was given").hint("--as WHO")
        })
    }

    /// Joins a lane or renews the lease; true if it is a renewal.
    pub(crate) async fn join(&self, lane: LaneId, asked: Join, request: Request) -> Result<bool, Problem> {
        let committed = self.submit(Command::JoinLane { lane, join: asked }, request).await?;
        Ok(committed.events.iter().any(|event| matches!(event.event, Event::LaneAttachmentRenewed { .. })))
    }

    /// Leaves a lane; false if `who` did not use it.
    pub(crate) async fn leave(&self, lane: LaneId, who: Name, request: Request) -> Result<bool, Problem> {
        let committed = self.submit(Command::LeaveLane { lane, who }, request).await?;
        Ok(committed.events.iter().any(|event| matches!(event.event, Event::LaneAttachmentLeft { .. })))
    }

    /// Marks a lane as shared, or no longer; false if it was so before.
    pub(crate) async fn share(&self, lane: LaneId, shared: bool, request: Request) -> Result<bool, Problem> {
        let committed = self.submit(Command::ShareLane { lane, shared }, request).await?;
        Ok(!committed.events.is_empty())
    }

    /// A new id for somebody's use of a lane.
    pub(crate) fn new_attachment(&self) -> AttachmentId {
        AttachmentId::from_ulid(self.ids.next())
    }

    /// Ends leases when they are over, for as long as this process lives: one alarm for the first that ends, set
    /// anew when leases change, and looked at when the clock is set.
    pub(crate) async fn keep_leases(self, alarm: Alarm) {
        loop {
            let next = match self.read(|store| store.leases_to_look_at(now())).await {
                Ok((lanes, next)) => {
                    for lane in lanes {
                        self.report(Command::LookAtLeases { lane }, self.own_request()).await;
                    }
                    next
                }
                Err(problem) => {
                    // What could not be read now is read when leases change next.
                    tracing::warn!(problem = problem.message, "leases could not be looked at");
                    None
                }
            };
            // A lease that ended while this was done, or was counted anew, is seen by the alarm: it rings at once for
            // a moment that is over.
            match alarm.set(next) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the end of leases is not waited for"),
            }
            tokio::select! {
                () = self.leases_changed.notified() => {}
                () = alarm.rings() => {}
            }
        }
    }
}
