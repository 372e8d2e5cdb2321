//! Who uses a lane: joining, leaving, the mark, and one timer for the lease that ends first.

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::actor::Actor;
use laneway_core::attachment::User;
use laneway_core::command::{Command, Join};
use laneway_core::event::Event;
use laneway_core::id::{AttachmentId, LaneId, WorkerId};
use laneway_fault::fault_point;

use super::{Engine, Request, parse_name};
use crate::alarm::Alarm;
use crate::clock::now;
use crate::http::Caller;
use crate::login;

impl Engine {
    /// Who asks, as lanes know those who use them: a worker, or a person by the login name. A task is nobody.
    pub(crate) async fn user_of(&self, actor: Actor) -> Result<Option<User>, Problem> {
        match actor {
            Actor::Worker { id } => self.user_of_worker(id).await,
            Actor::Person { uid } => Ok(Some(User::person(login::name_of(uid)))),
            // A token is one that the user has made.
            Actor::Token { .. } => {
                Ok(Some(User::person(login::name_of(rustix::process::geteuid().as_raw()))))
            }
            Actor::Daemon => Ok(None),
        }
    }

    async fn user_of_worker(&self, id: WorkerId) -> Result<Option<User>, Problem> {
        let row = self.read(move |store| store.worker(id)).await?;
        let name = row.and_then(|row| row.worker.name);
        Ok(name.map(|name| User { name, worker: Some(id) }))
    }

    /// Who is meant: the one who asks, if nobody is named or that is its own name; a worker that is named as one
    /// (`LANE/WORKER`, or its id); else a person.
    pub(crate) async fn who_is_meant(&self, named: Option<&str>, caller: &Caller) -> Result<User, Problem> {
        let asks = self.user_of(caller.request.actor).await?;
        let user = match named {
            None => asks,
            Some(named) if named.contains('/') || named.parse::<WorkerId>().is_ok() => {
                let worker = self.worker_target(caller, named).await?;
                self.user_of_worker(worker).await?
            }
            Some(named) => {
                let name = parse_name(named)?;
                let itself = asks.filter(|asks| asks.worker.is_some() && asks.name == name);
                Some(itself.unwrap_or_else(|| User::person(name)))
            }
        };
        user.ok_or_else(|| {
            Problem::new(ErrorKind::Usage, "who", "a task has no name, and none was given").hint("--as WHO")
        })
    }

    /// Who is to leave a lane: as [`Self::who_is_meant`], or if no person of that name uses it a worker that is
    /// called so.
    pub(crate) async fn who_is_to_leave(
        &self,
        lane: LaneId,
        named: Option<&str>,
        caller: &Caller,
    ) -> Result<User, Problem> {
        let meant = self.who_is_meant(named, caller).await?;
        let use_it = self.read(move |store| store.attachments(Some(lane))).await?;
        if meant.worker.is_some() || use_it.iter().any(|known| known.user.is(&meant)) {
            return Ok(meant);
        }
        let mut called_so = use_it.into_iter().map(|known| known.user).filter(|user| user.name == meant.name);
        match (called_so.next(), called_so.next()) {
            (Some(worker), None) => Ok(worker),
            (Some(_), Some(_)) => {
                let message = format!("several workers that use this lane are called {}", meant.name);
                Err(Problem::new(ErrorKind::Ambiguous, "ambiguous", message)
                    .hint("--as LANE/WORKER, or its id"))
            }
            (None, _) => Ok(meant),
        }
    }

    /// Joins a lane or renews the lease; true if it is a renewal.
    pub(crate) async fn join(&self, lane: LaneId, asked: Join, request: Request) -> Result<bool, Problem> {
        let committed = self.submit(Command::JoinLane { lane, join: asked }, request).await?;
        Ok(committed.events.iter().any(|event| matches!(event.event, Event::LaneAttachmentRenewed { .. })))
    }

    /// Leaves a lane; false if `user` did not use it.
    pub(crate) async fn leave(&self, lane: LaneId, user: User, request: Request) -> Result<bool, Problem> {
        let committed = self.submit(Command::LeaveLane { lane, user }, request).await?;
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
                        fault_point!("lease.looked-at");
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
