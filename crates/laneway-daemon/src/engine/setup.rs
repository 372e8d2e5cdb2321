//! Setting a lane up: its pieces, one after the other, as the core decides. Steps are tasks: their output is kept, and
//! whoever waits for the lane is told of each as it starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::{Launch, SetupProgress};
use laneway_core::command::{Command, NewWorker, WorkerNaming};
use laneway_core::event::{Event, Subject};
use laneway_core::id::{LaneId, WorkerId};
use laneway_core::lane::{Lane, Lifecycle};
use laneway_core::launch::TerminalSpec;
use laneway_core::os_text::OsText;
use laneway_core::run::{Exit, RunState};
use laneway_core::setup::{SetupPlan, SetupState};
use laneway_core::workspace::Workspace;
use laneway_fault::fault_point;
use laneway_git::ToCarry;
use tokio::sync::mpsc;

use super::runs::Started;
use super::{Engine, Request, blocking, not_found};
use crate::config::workspace::{Piece, Step, WorkspaceConfig, WorkspaceFile};
use crate::problem::chain;

/// Where whoever waits for a setup is told of its steps. Unbounded, and yet bounded: one for each step.
pub(crate) type Tell = Option<mpsc::UnboundedSender<SetupProgress>>;

/// A setup that is under way in this process. After a crash it is interrupted instead.
pub(super) struct SettingUp {
    with: Arc<With>,
    /// The worker that is started when it is done.
    first: Option<Box<NewWorker>>,
}

/// What the pieces need.
struct With {
    config: WorkspaceConfig,
    /// How its caller stands.
    caller: Launch,
}

impl SettingUp {
    pub(super) fn new(config: WorkspaceConfig, caller: Launch, first: Option<Box<NewWorker>>) -> Self {
        Self { with: Arc::new(With { config, caller }), first }
    }

    /// The environment that its first worker would have.
    pub(super) fn environment(&self) -> Option<&str> {
        self.first.as_deref().map(|first| first.environment.as_str())
    }
}

/// What the core is told of a file of settings.
pub(super) fn plan_of(file: &WorkspaceFile) -> Option<SetupPlan> {
    let n_pieces = u32::try_from(file.config.pieces().len()).ok().filter(|n_pieces| *n_pieces > 0)?;
    Some(SetupPlan { content: file.content.clone(), n_pieces })
}

impl Engine {
    /// Sets a lane up, or goes on with that, and waits for it.
    pub(crate) async fn set_up(
        &self,
        id: LaneId,
        caller: Launch,
        tell: &Tell,
        request: Request,
    ) -> Result<(), Problem> {
        let workspace = self
            .read(move |store| match store.lane(id)? {
                Some(lane) => store.workspace(lane.workspace),
                None => Ok(None),
            })
            .await?
            .ok_or_else(|| not_found("lane", &id))?;
        let (_, file) = self.ruled_repository(&workspace).await?;
        let Some(plan) = plan_of(&file) else {
            let message =
                "there is nothing to set up: laneway.toml has no copy, no link, no submodules and no steps";
            return Err(Problem::new(ErrorKind::Refused, "nothing_to_set_up", message).hint("lane init"));
        };
        self.refuse_untrusted(&workspace, &file, "what it sets up").await?;
        let before = self.lock_setups().insert(id, SettingUp::new(file.config, caller, None));
        let begun = self.submit(Command::BeginSetup { lane: id, plan }, request).await;
        let seq = match begun {
            Ok(committed) => committed.seq.saturating_sub(committed.events.len() as u64),
            Err(problem) => {
                // One that is under way goes on with what it has.
                match before {
                    Some(before) => drop(self.lock_setups().insert(id, before)),
                    None => drop(self.lock_setups().remove(&id)),
                }
                return Err(problem);
            }
        };
        let lane = self.setup_over(id, seq, tell).await?;
        self.refuse_failed_setup(&lane, seq, format!("lane {} is not set up", lane.name)).await
    }

    /// Waits until a lane is neither being made, nor set up, nor closed; tells of each step meanwhile.
    pub(super) async fn setup_over(&self, id: LaneId, seq: u64, tell: &Tell) -> Result<Lane, Problem> {
        let about = move |subject: &Subject| subject.lane == Some(id);
        let told = AtomicU64::new(seq);
        self.watch_for(Duration::MAX, about, || async {
            let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
            if let Some(tell) = tell {
                for event in self.events_after(told.load(Ordering::Relaxed)).await? {
                    told.store(event.seq, Ordering::Relaxed);
                    if let (Event::LaneSetupStep { name, number, n_all }, Some(worker)) =
                        (event.event, event.subject.worker.filter(|_| event.subject.lane == Some(id)))
                    {
                        // Who does not listen any more is not told.
                        let _ = tell.send(SetupProgress { name, number, of: n_all, worker });
                    }
                }
            }
            let is_over = match lane.lifecycle {
                Lifecycle::New | Lifecycle::Provisioning | Lifecycle::Cleaning => false,
                Lifecycle::Open => !lane.close_requested && lane.setup.state != SetupState::Running,
                Lifecycle::Closed => true,
            };
            Ok(is_over.then_some(lane))
        })
        .await
    }

    /// A setup that has failed, as whoever waited for it is told.
    pub(super) async fn refuse_failed_setup(
        &self,
        lane: &Lane,
        seq: u64,
        what: String,
    ) -> Result<(), Problem> {
        match (lane.lifecycle, lane.setup.state) {
            (Lifecycle::Open, SetupState::Failed) => {}
            (Lifecycle::Open, _) => return Ok(()),
            _ => {
                let message = format!("lane {} was closed while it was being set up", lane.name);
                return Err(Problem::new(ErrorKind::Refused, "closed_meanwhile", message));
            }
        }
        let failure = lane.failure.as_deref().unwrap_or("setup: it was broken off");
        let mut hint = format!("lane setup {} goes on with it", lane.name);
        if let Some(worker) = self.last_step(lane.id, seq).await? {
            hint = format!("lane logs {worker} shows what it said\n{hint}");
        }
        Err(Problem::new(ErrorKind::Failed, "setup_failed", format!("{what}: {failure}"))
            .hint(hint)
            .details(serde_json::json!({ "lane": lane.id, "name": lane.name, "path": lane.path })))
    }

    /// The task of the last step that was started after `seq`.
    async fn last_step(&self, lane: LaneId, seq: u64) -> Result<Option<WorkerId>, Problem> {
        let events = self.events_after(seq).await?.into_iter().rev();
        let mut steps = events.filter(|event| {
            event.subject.lane == Some(lane) && matches!(event.event, Event::LaneSetupStep { .. })
        });
        let Some(worker) = steps.next().and_then(|event| event.subject.worker) else { return Ok(None) };
        // One that could not be started was taken back.
        let is_there = self.read(move |store| store.worker(worker)).await?.is_some();
        Ok(is_there.then_some(worker))
    }

    /// The effect: does a piece, and says how that went.
    pub(super) async fn set_up_piece(&self, lane: LaneId, epoch: u64, piece: u32, request: Request) {
        let Some(with) = self.lock_setups().get(&lane).map(|under_way| Arc::clone(&under_way.with)) else {
            // Only after a crash, and then reconciling says so.
            return;
        };
        let outcome = self.do_piece(lane, epoch, piece, &with, request).await;
        let is_last = piece as usize + 1 >= with.config.pieces().len();
        let is_over = outcome.is_err() || is_last;
        let over = if is_over { self.lock_setups().remove(&lane) } else { None };
        let first = over.and_then(|over| over.first);
        let kept = first.as_deref().map(|first| (first.id, first.environment.clone()));
        let first = first.filter(|_| outcome.is_ok());
        self.report(Command::FinishPiece { lane, epoch, piece, outcome, first }, request).await;
        if let Some((worker, environment)) = kept {
            self.forget_unless_recorded(worker, &environment).await;
        }
    }

    async fn do_piece(
        &self,
        lane: LaneId,
        epoch: u64,
        piece: u32,
        with: &With,
        request: Request,
    ) -> Result<(), String> {
        match with.config.pieces().get(piece as usize) {
            Some(Piece::Files) => {
                let (copy, link) = (with.config.copy.clone(), with.config.link.clone());
                self.carry(lane, copy, link).await.map_err(|problem| problem.message)
            }
            Some(Piece::Submodules) => self
                .bring_submodules(lane)
                .await
                .map_err(|problem| format!("submodules: {}", problem.message)),
            Some(Piece::Step(step)) => {
                let failed = |why: String| format!("{} {why}", step.name);
                let launch = launch_of(step, &with.caller);
                self.run_step((lane, epoch, piece), step, &launch, request).await.map_err(failed)
            }
            None => Ok(()),
        }
    }

    /// Brings files of the main worktree.
    async fn carry(&self, lane: LaneId, copy: Vec<String>, link: Vec<String>) -> Result<(), Problem> {
        let repository = self.repository_of_lane(lane).await?;
        let lane = self.read(move |store| store.lane(lane)).await?.ok_or_else(|| not_found("lane", &lane))?;
        blocking(move || {
            let tree = lane.path.to_path_buf();
            repository.carry(&ToCarry { tree: &tree, copy: &copy, link: &link })
        })
        .await?
        .map_err(|error| Problem::new(ErrorKind::Failed, "not_carried", chain(&error)))?;
        fault_point!("setup.carried");
        Ok(())
    }

    /// Checks out the submodules.
    async fn bring_submodules(&self, lane: LaneId) -> Result<(), Problem> {
        let repository = self.repository_of_lane(lane).await?;
        let lane = self.read(move |store| store.lane(lane)).await?.ok_or_else(|| not_found("lane", &lane))?;
        blocking(move || repository.bring_submodules(lane.path.as_path()))
            .await?
            .map_err(|error| Problem::new(ErrorKind::Failed, "no_submodules", chain(&error)))
    }

    /// The program that is started in a lane where none is given: the owner's, if there is one and it is agreed to.
    pub(crate) async fn with_default_program(&self, id: LaneId, launch: Launch) -> Result<Launch, Problem> {
        if !launch.argv.is_empty() {
            return Ok(launch);
        }
        let workspace = self
            .read(move |store| match store.lane(id)? {
                Some(lane) => store.workspace(lane.workspace),
                None => Ok(None),
            })
            .await?
            .ok_or_else(|| not_found("lane", &id))?;
        let (_, file) = self.ruled_repository(&workspace).await?;
        self.with_program_of(&workspace, &file, launch).await
    }

    /// The same where the settings are known.
    pub(super) async fn with_program_of(
        &self,
        workspace: &Workspace,
        file: &WorkspaceFile,
        launch: Launch,
    ) -> Result<Launch, Problem> {
        let program = file.config.default_program().filter(|_| launch.argv.is_empty());
        let Some(program) = program else { return Ok(launch) };
        self.refuse_untrusted(workspace, file, "the program it starts").await?;
        let argv = program.command.iter().map(|word| OsText::from(word.as_str())).collect();
        let restart = launch.restart.or(Some(program.restart));
        let channel = launch.channel.or(program.channel);
        let done_codes = [launch.done_codes.as_slice(), &program.done_codes].concat();
        let run_limits = launch.run_limits.or(program.limits());
        Ok(Launch { argv, restart, channel, done_codes, run_limits, ..launch })
    }

    /// Runs a step as a task, and waits for its end.
    async fn run_step(
        &self,
        (lane, epoch, piece): (LaneId, u64, u32),
        step: &Step,
        launch: &Launch,
        request: Request,
    ) -> Result<(), String> {
        let not_started = |problem: Problem| format!("could not be started: {}", problem.message);
        let worker = self.new_worker(launch, WorkerNaming::Task).await.map_err(not_started)?;
        let (id, run, environment) = (worker.id, worker.run, worker.environment.clone());
        let name = step.name.clone();
        let asked = self.submit(Command::RunSetupStep { lane, epoch, piece, name, worker }, request).await;
        let seq = match asked {
            Ok(committed) => committed.seq,
            Err(problem) => {
                crate::launches::forget(&self.home, &environment);
                return Err(not_started(problem));
            }
        };
        match self.started(run, lane, seq).await.map_err(not_started)? {
            Started::Runs => {}
            Started::Failed(problem) => return Err(not_started(problem)),
        }
        fault_point!("setup.step-started");
        let about = move |subject: &Subject| subject.run == Some(run);
        let ended = self.watch_for(step.timeout, about, || async {
            let row = self.read(move |store| store.run(run)).await?;
            Ok(match row.map(|row| row.run.state) {
                Some(RunState::Exited(exit)) => Some(exit),
                Some(RunState::Starting | RunState::Running(_) | RunState::Stopping(_)) => None,
                None => Some(Exit::Lost),
            })
        });
        let ended = ended.await;
        fault_point!("setup.step-ended");
        match ended {
            Ok(Exit::Code { code: 0 }) => Ok(()),
            Ok(exit) => Err(exit.to_string()),
            Err(problem) if problem.kind == ErrorKind::TimedOut => {
                let stopped = match self.stop_worker(id, None, request).await {
                    Ok(_) => "was stopped".to_owned(),
                    Err(problem) => format!("could not be stopped: {}", problem.message),
                };
                Err(format!("took longer than {:?} and {stopped}", step.timeout))
            }
            Err(problem) => Err(format!("was not waited for: {}", problem.message)),
        }
    }

    pub(super) fn lock_setups(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::HashMap<LaneId, SettingUp>> {
        self.setups.lock().expect("no holder of this lock panics")
    }
}

/// A step's program, as the caller stands, on pipes.
fn launch_of(step: &Step, caller: &Launch) -> Launch {
    let own =
        || step.env.iter().map(|(name, value)| (OsText::from(name.as_str()), OsText::from(value.as_str())));
    let others = caller.environment.iter().filter(|(name, _)| !own().any(|(own, _)| own == *name)).cloned();
    Launch {
        argv: step.command.iter().map(|word| OsText::from(word.as_str())).collect(),
        environment: others.chain(own()).collect(),
        umask: caller.umask,
        limits: caller.limits.clone(),
        terminal: TerminalSpec::Pipes,
        record: false,
        restart: None,
        done_codes: Vec::new(),
        channel: None,
        start_message: None,
        run_limits: laneway_core::limits::RunLimits::NONE,
    }
}
