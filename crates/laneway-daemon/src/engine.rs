//! The engine: has commands decided, and carries out what was decided.
//!
//! ```text
//! request ─► command ─► store (core::decide in one transaction) ─► effects ─► tasks here ─► next command
//! ```
//!
//! Every effect is a task of its own that ends by submitting the next command, so that what is under way goes on
//! when whoever asked for it is gone. Whoever asked waits on the record ([`Engine::watch_for`]), not on the task.

mod adopt;
mod channels;
mod close;
mod compare;
mod create;
mod diff;
mod inside;
mod instances;
mod leftovers;
mod listening;
mod panes;
mod pool;
mod prepare;
mod reconcile;
mod rescue;
mod restarts;
mod retention;
mod runs;
mod settings;
mod setup;
mod sharing;
mod splits;
mod workspaces;

pub(crate) use close::CloseAsked;
pub(crate) use create::parse_name;
pub(crate) use inside::{Asking, run_of_holder, who_asks};
pub(crate) use instances::{ProgramAsked, Which, runs};
pub(crate) use panes::program_of;
pub(crate) use restarts::Begun;
pub(crate) use runs::{RunHow, exit_of};
pub(crate) use setup::Tell;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::actor::Actor;
use laneway_core::command::{Command, NewWorker};
use laneway_core::decision::Effect;
use laneway_core::event::{Recorded, Subject};
use laneway_core::id::{CorrelationId, LaneId, RunId};
use laneway_core::run::{Exit, Run, RunState};
use laneway_core::setup::SetupStart;
use laneway_core::time::Timestamp;
use laneway_git::{Git, Repository, TreeRecord};
use laneway_store::{Asked, Committed, ReadError, Store, SubmitError};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Ids, now};
use crate::config::Config;
use crate::holders::{HolderProgram, Holders, Teller, Told};
use crate::home::Home;
use crate::panes::Panes;
use crate::problem::{IntoProblem, chain};
use crate::tmux::TmuxHere;
use crate::viewers::Viewing;

/// How long the store is given before it is offered again what it could not take. There is such a wait only while
/// something was not taken: the system does not tell when a disk has room again.
const REPORT_AGAIN: Duration = Duration::from_secs(1);

/// Everything the daemon works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) home: Home,
    /// The file of the user's settings.
    config: PathBuf,
    pub(crate) store: Store,
    pub(crate) ids: Ids,
    pub(crate) holders: Holders,
    pub(crate) tmux: Arc<TmuxHere>,
    pub(crate) viewing: Viewing,
    pub(crate) panes: Panes,
    pub(crate) started_at: Timestamp,
    git: Git,
    holder_program: HolderProgram,
    teller: Teller,
    /// Runs whose holder may be there and could not be reached.
    unreached: Mutex<HashSet<RunId>>,
    tasks: TaskTracker,
    /// Cancelled when the daemon ends: what was planned is planned again by the next one.
    ending: CancellationToken,
    repositories: Mutex<HashMap<PathBuf, Arc<Repository>>>,
    /// What is being made right now, for the effect that makes it. After a crash it is undone instead.
    being_made: Mutex<HashMap<LaneId, BeingMade>>,
    /// Setups that are under way in this process.
    setups: Mutex<HashMap<LaneId, setup::SettingUp>>,
    /// What the second look saw, for the removal that follows it.
    judged: Mutex<HashMap<(LaneId, u64), close::Judged>>,
    /// What is known of a close from when it was asked for.
    asked_to_close: Mutex<HashMap<LaneId, close::AskedToClose>>,
    /// What is known of trees that are kept ready, beside the record.
    pools: Mutex<pool::Pools>,
    /// Held while a consent is read, changed and written.
    consents: Mutex<()>,
    /// Leases end at other times than before.
    leases_changed: Notify,
    /// Starts that are under way in this process.
    starting: Mutex<HashSet<RunId>>,
    /// Reports that the store could not take; few, as each is about something that happens once.
    untaken: Mutex<Vec<(Command, Request)>>,
    /// They will be offered again without anybody's doing.
    will_report_again: AtomicBool,
    /// The ends of runs among them, also while they are offered again: what has ended is not shown as running.
    unrecorded_ends: Mutex<HashMap<RunId, (Exit, Timestamp)>>,
    /// Tasks in the foreground: their callers own them.
    owned: Mutex<HashSet<RunId>>,
    /// Why the last starts failed, for whoever waits for them: richer than the record's one line.
    start_problems: Mutex<BTreeMap<RunId, Problem>>,
    /// Programs with a channel that are watched for their answers.
    vigils: Mutex<HashMap<RunId, Arc<channels::Watched>>>,
}

struct BeingMade {
    record: TreeRecord,
    /// What went wrong before anything was made, without being in the way.
    warning: Option<String>,
    setup: SetupStart,
    /// What the setup needs, if it begins; then the first worker is with it.
    setting_up: Option<setup::SettingUp>,
    first: Option<Box<NewWorker>>,
}

impl std::ops::Deref for Engine {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Who asked, and in which request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// Who.
    pub(crate) actor: Actor,
    /// The request.
    pub(crate) correlation: CorrelationId,
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        Asked { actor: request.actor, correlation: request.correlation }
    }
}

/// What an engine is made of.
pub(crate) struct Ingredients {
    pub(crate) home: Home,
    pub(crate) store: Store,
    pub(crate) ids: Ids,
    pub(crate) git: Git,
    pub(crate) holder_program: HolderProgram,
}

impl Engine {
    /// An engine, and what its holders tell it, to be given to [`Engine::listen_to_holders`].
    pub(crate) fn new(of: Ingredients) -> (Self, mpsc::UnboundedReceiver<(RunId, Told)>) {
        // Unbounded, and yet bounded: a holder tells two things in its life, and of what its program says no more than
        // may wait there until it is recorded.
        let (teller, told) = mpsc::unbounded_channel();
        let tmux = Arc::<TmuxHere>::default();
        let parts = Parts {
            config: Config::path(&of.home),
            home: of.home,
            store: of.store,
            ids: of.ids,
            holders: Holders::default(),
            panes: Panes::new(Arc::clone(&tmux)),
            tmux,
            viewing: Viewing::default(),
            started_at: now(),
            git: of.git,
            holder_program: of.holder_program,
            teller,
            unreached: Mutex::default(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
            repositories: Mutex::default(),
            being_made: Mutex::default(),
            setups: Mutex::default(),
            judged: Mutex::default(),
            asked_to_close: Mutex::default(),
            pools: Mutex::default(),
            consents: Mutex::default(),
            leases_changed: Notify::new(),
            starting: Mutex::default(),
            untaken: Mutex::default(),
            will_report_again: AtomicBool::new(false),
            unrecorded_ends: Mutex::default(),
            owned: Mutex::default(),
            start_problems: Mutex::default(),
            vigils: Mutex::default(),
        };
        (Self(Arc::new(parts)), told)
    }

    /// The `lane` program that belongs to this daemon.
    pub(crate) fn lane_program(&self) -> PathBuf {
        self.holder_program.lane()
    }

    /// The user's settings as they are now.
    pub(crate) async fn settings(&self) -> Result<Config, Problem> {
        let path = self.config.clone();
        blocking(move || Config::read(&path)).await?.map_err(|error| error.problem())
    }

    /// A request of the daemon itself.
    pub(crate) fn own_request(&self) -> Request {
        Request { actor: Actor::Daemon, correlation: self.ids.correlation() }
    }

    /// Has a command decided, and sees to its effects, also if whoever asked goes away meanwhile.
    pub(crate) async fn submit(&self, command: Command, request: Request) -> Result<Committed, Problem> {
        self.decide(command, request).await.map_err(IntoProblem::into_problem)
    }

    async fn decide(&self, command: Command, request: Request) -> Result<Committed, SubmitError> {
        let engine = self.clone();
        let decided = self.tasks.spawn(async move {
            // Before it is recorded: whoever reads the record of this run knows that it is being started.
            let new_run = command.new_run();
            engine.lock_starting().extend(new_run);
            let decided = engine.store.submit(command, request.into()).await;
            if let Some(run) =
                new_run.filter(|run| !decided.as_ref().is_ok_and(|decided| restarts::begins(decided, *run)))
            {
                engine.lock_starting().remove(&run);
            }
            let committed = decided?;
            for effect in &committed.effects {
                engine.carry_out(effect.clone(), request);
            }
            engine.report_again();
            Ok(committed)
        });
        decided.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a decision's task failed");
            Err(SubmitError::Closed)
        })
    }

    /// Has a command decided that reports what has already happened: nobody is there to be refused. What the store
    /// cannot take now (a full disk) is kept, and reported again until it takes it.
    pub(crate) async fn report(&self, command: Command, request: Request) {
        if let Err((command, error)) = self.offer(command, request).await {
            self.keep(command, request, &error);
        }
    }

    /// Reports; gives back what the store could not take.
    async fn offer(&self, command: Command, request: Request) -> Result<(), (Command, SubmitError)> {
        match self.decide(command.clone(), request).await {
            Ok(_) => {}
            Err(SubmitError::Refused(refusal)) => {
                tracing::info!(about = ?command.scope(), refusal = refusal.slug(), "a report came too late");
            }
            Err(error) => return Err((command, error)),
        }
        if let Command::RecordExit { run, .. } = command {
            self.unrecorded_ends.lock().expect("no holder of this lock panics").remove(&run);
        }
        Ok(())
    }

    /// Keeps a report that the store could not take.
    pub(crate) fn keep(&self, command: Command, request: Request, error: &SubmitError) {
        tracing::warn!(about = ?command.scope(), error = chain(error), "a report is kept for later");
        if let Command::RecordExit { run, exit, at, .. } = &command {
            let mut ends = self.unrecorded_ends.lock().expect("no holder of this lock panics");
            ends.insert(*run, (exit.clone(), *at));
        }
        self.put_back(command, request);
    }

    fn put_back(&self, command: Command, request: Request) {
        self.untaken.lock().expect("no holder of this lock panics").push((command, request));
        if !self.will_report_again.swap(true, Ordering::Relaxed) {
            let engine = self.clone();
            // Not one of the tasks that an end waits for: the next daemon finds out by itself what was not taken.
            tokio::spawn(async move {
                wait_for_room().await;
                engine.will_report_again.store(false, Ordering::Relaxed);
                engine.report_again();
            });
        }
    }

    /// A run as it is, also if that could not be recorded yet.
    pub(crate) fn as_known(&self, mut run: Run) -> Run {
        let ends = self.unrecorded_ends.lock().expect("no holder of this lock panics");
        if let Some((exit, at)) = ends.get(&run.id).filter(|_| run.state.is_live()) {
            run.state = RunState::Exited(exit.clone());
            run.ended_at = Some(*at);
        }
        run
    }

    /// Offers the store the reports that it could not take before: after each decision that it took, at each
    /// request, and after [`REPORT_AGAIN`].
    pub(crate) fn report_again(&self) {
        let untaken = std::mem::take(&mut *self.untaken.lock().expect("no holder of this lock panics"));
        if untaken.is_empty() {
            return;
        }
        let engine = self.clone();
        self.tasks.spawn(async move {
            for (command, request) in untaken {
                if let Err((command, error)) = engine.offer(command, request).await {
                    tracing::debug!(error = chain(&error), "a report is kept for later again");
                    engine.put_back(command, request);
                }
            }
        });
    }

    pub(crate) fn carry_out(&self, effect: Effect, request: Request) {
        let engine = self.clone();
        if let Effect::Retry { worker, epoch, at } = effect {
            return engine.retry_at(worker, epoch, at);
        }
        self.tasks.spawn(async move {
            match effect {
                Effect::Provision { lane, epoch } => engine.provision(lane, epoch, request).await,
                Effect::SetUp { lane, epoch, piece } => {
                    engine.set_up_piece(lane, epoch, piece, request).await;
                }
                Effect::StartRun { run } => engine.start_run(run, request).await,
                Effect::StopRun { run, grace_ms } => engine.stop_run(run, grace_ms, request).await,
                // A timer is no task that an end waits for.
                Effect::Retry { .. } => {}
                Effect::ReleaseHolder { run } => engine.release(run).await,
                Effect::BringUp { instance, epoch } => engine.bring_up(instance, epoch, request).await,
                Effect::LabelTree { lane } => engine.label_tree(lane).await,
                Effect::AwaitLeases => engine.leases_changed.notify_one(),
                Effect::CloseRemembered { lane } => engine.close_remembered(lane, request).await,
                Effect::QuietLane { lane, epoch, grace_ms } => {
                    engine.quiet_lane(lane, epoch, Some(grace_ms), request).await;
                }
                Effect::Judge { lane, epoch } => engine.judge_again(lane, epoch, request).await,
                Effect::Merge { lane, epoch } => engine.merge_lane(lane, epoch, request).await,
                Effect::Rescue { lane, epoch } => engine.rescue_lane(lane, epoch, request).await,
                Effect::Remove { lane, epoch } => engine.remove_lane(lane, epoch, request).await,
            }
        });
    }

    /// Runs `work` as a task that a graceful stop waits for.
    pub(crate) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Waits for what is under way, for at most `limit`; the rest is completed or rolled back at the next start.
    pub(crate) async fn settle(&self, limit: Duration) {
        self.ending.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "what was under way did not end in time");
        }
    }

    /// Waits until `look` sees what it waits for. It looks at once, and again after each event that `concerns`.
    pub(crate) async fn watch_for<T, Looking>(
        &self,
        limit: Duration,
        concerns: impl Fn(&Subject) -> bool,
        look: impl Fn() -> Looking,
    ) -> Result<T, Problem>
    where
        Looking: Future<Output = Result<Option<T>, Problem>>,
    {
        // Subscribed before the first look, so that nothing falls in between.
        let mut events = self.store.subscribe();
        let watching = async {
            loop {
                if let Some(seen) = look().await? {
                    return Ok(seen);
                }
                loop {
                    match events.recv().await {
                        Ok(event) if concerns(&event.subject) => break,
                        Ok(_) => {}
                        // What was missed may have been it: look again.
                        Err(broadcast::error::RecvError::Lagged(_)) => break,
                        Err(broadcast::error::RecvError::Closed) => return Err(ending()),
                    }
                }
            }
        };
        tokio::time::timeout(limit, watching).await.unwrap_or_else(|_| {
            Err(Problem::new(
                ErrorKind::TimedOut,
                "timed_out",
                format!("this was not done within {} s; it goes on", limit.as_secs()),
            )
            .hint("lane ls shows how far it is"))
        })
    }

    /// Reads from the store.
    #[expect(
        clippy::unused_async,
        reason = "where a look takes place is not the affair of those who wait for it"
    )]
    pub(crate) async fn read<T>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, ReadError>,
    ) -> Result<T, Problem> {
        briefly(|| read(&self.store)).map_err(IntoProblem::into_problem)
    }

    /// All events after `seq`.
    pub(crate) async fn events_after(&self, seq: u64) -> Result<Vec<Recorded>, Problem> {
        self.read(move |store| {
            let mut events: Vec<Recorded> = Vec::new();
            loop {
                let last = events.last().map_or(seq, |event| event.seq);
                let page = store.events_since(last, EVENT_PAGE)?;
                if page.is_empty() {
                    return Ok(events);
                }
                events.extend(page);
            }
        })
        .await
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells that a disk has room again")]
async fn wait_for_room() {
    tokio::time::sleep(REPORT_AGAIN).await;
}

/// Events that are read at once, at most.
pub(crate) const EVENT_PAGE: u32 = 1_000;

/// Does at once, on this thread, what takes less time than another thread takes to begin: a look at the record, or at
/// a few files. On a busy machine each thread that a request waits for is a wait for a turn. What else waits for this
/// one is taken over by another.
pub(crate) fn briefly<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a blocking task failed");
        Problem::new(ErrorKind::Failed, "internal", "the daemon failed at this; its log says more")
            .hint("lane daemon logs")
    })
}

pub(crate) fn ending() -> Problem {
    Problem::new(ErrorKind::Unreachable, "daemon_ending", "the daemon is just ending")
        .hint("repeat the command; it starts a new one")
}

pub(crate) fn not_found(what: &str, id: &impl ToString) -> Problem {
    Problem::new(ErrorKind::NotFound, "not_found", format!("there is no {what} {}", id.to_string()))
}
