//! Workers and their runs: started, stopped, and their ends recorded.

use std::collections::HashSet;
use std::io;
use std::sync::MutexGuard;
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::Launch as Wanted;
use laneway_api::view::WorkerView;
use laneway_core::actor::Actor;
use laneway_core::command::{Command, NewWorker, WorkerNaming};
use laneway_core::decision::Effect;
use laneway_core::event::{Event, Recorded, Subject};
use laneway_core::id::{LaneId, RunId, WorkerId};
use laneway_core::launch::{DEFAULT_GRACE_MS, StopSignal, TerminalSpec};
use laneway_core::limits::{LimitKind, RunLimits};
use laneway_core::os_text::OsText;
use laneway_core::run::{Exit, ProcessIdentity, Run, RunState};
use laneway_core::supervise::RestartPolicy;
use laneway_core::time::Timestamp;
use laneway_core::worker::WorkerStatus;
use laneway_fault::fault_point;
use laneway_store::{RunRow, SubmitError, WorkerRow};
use laneway_wire::message::{self, Exited, Launch, ResourceLimit, Size, StartStage, Terminal};
use laneway_wire::process::Process;
use laneway_wire::record::{RecordError, RecordState};
use rustix::io::Errno;
use rustix::process::Signal;

use super::reconcile::has_socket;
use super::{Engine, Request, blocking, leftovers, not_found};
use crate::clock::now;
use crate::config::Config;
use crate::holders::{Holder, LinkError, StartError, keep_some_free};
use crate::launches::{Kept, RunIds};
use crate::problem::{IntoProblem, chain, failed_in_words};
use crate::recordings;

/// How long a client waits for a start beyond what the start itself may take.
pub(super) const START_LIMIT: Duration = Duration::from_mins(1);

/// What a stop may take beyond its grace: freezing, killing and reaping a large tree.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long a program that was just started is looked at for one that dies at once, unless it waits for something
/// before that: a program that works on without a pause from its first moment is taken to be alive then.
const AT_ONCE: Duration = Duration::from_millis(50);

/// How often it is looked at meanwhile. The one poll of the daemon: the system tells of the end of a process, and
/// of nothing before it. It ends at the first look for nearly every program, and after [`AT_ONCE`] for the rest.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Failed starts of which it is remembered what was wrong, until their callers have been told: as many as commands may
/// wait for the store.
const START_PROBLEMS_KEPT: usize = 256;

/// How long the end of a program that is gone may take to be recorded.
const RECORD_LIMIT: Duration = Duration::from_secs(2);

/// How a start went.
pub(crate) enum Started {
    /// Its program was proven to run; it may have ended since.
    Runs,
    /// It never ran.
    Failed(Problem),
}

/// How a program is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunHow {
    /// Its caller owns it.
    pub(crate) owned: bool,
    /// Also where the lane is not set up.
    pub(crate) forced: bool,
}

impl Engine {
    /// A worker that is to be made, with its environment kept.
    pub(crate) async fn new_worker(
        &self,
        wanted: &Wanted,
        naming: WorkerNaming,
    ) -> Result<NewWorker, Problem> {
        let restart = wanted.restart.unwrap_or_default();
        if naming == WorkerNaming::Task && restart != RestartPolicy::Never {
            let message = "a task runs once; what is to be started again is a worker";
            return Err(Problem::new(ErrorKind::Usage, "task_restarts", message)
                .hint(format!("lane run LANE --restart {restart} -- COMMAND")));
        }
        super::channels::refuse_senseless(wanted, naming == WorkerNaming::Task)?;
        // Both are looked at again when it starts; refused here before anything is made.
        self.refuse_what_would_not_start().await?;
        let record = self.is_to_be_recorded(wanted).await?;
        let kept = Kept::from_launch(wanted);
        let argv = if wanted.argv.is_empty() {
            vec![kept.variable("SHELL").cloned().unwrap_or_else(|| "/bin/sh".into())]
        } else {
            wanted.argv.clone()
        };
        let id = WorkerId::from_ulid(self.ids.next());
        let home = self.home.clone();
        let environment = blocking(move || kept.write(&home, id)).await?.map_err(|error| {
            let folder = self.home.launches();
            let message = format!("the environment cannot be kept in {}: {error}", folder.display());
            failed_in_words("environment_not_kept", &error, message)
        })?;
        fault_point!("run.environment-kept");
        Ok(NewWorker {
            id,
            run: RunId::from_ulid(self.ids.next()),
            naming,
            argv,
            cwd: None,
            environment,
            terminal: wanted.terminal.clone(),
            record,
            restart,
            done_codes: wanted.done_codes.clone(),
            channel: wanted.channel,
            start_message: wanted.start_message.clone(),
            limits: wanted.run_limits,
            forced: false,
            parent: None,
            instance: None,
        })
    }

    /// Whether what is started is recorded: because its caller asks for it, or because the user has set it.
    async fn is_to_be_recorded(&self, wanted: &Wanted) -> Result<bool, Problem> {
        match wanted.terminal {
            TerminalSpec::Pty { .. } | TerminalSpec::Tmux { .. } => {
                Ok(self.settings().await?.record || wanted.record)
            }
            TerminalSpec::Pipes if wanted.record => Err(Problem::new(
                ErrorKind::Usage,
                "nothing_to_record",
                "what runs on pipes has no terminal to record",
            )),
            TerminalSpec::Pipes => Ok(false),
        }
    }

    /// Starts a worker or task in a lane, and waits for the proof that its program runs.
    pub(crate) async fn run_worker(
        &self,
        lane: LaneId,
        wanted: &Wanted,
        naming: WorkerNaming,
        how: RunHow,
        request: Request,
    ) -> Result<(WorkerId, RunId), Problem> {
        let mut worker = self.new_worker(wanted, naming).await?;
        worker.forced = how.forced;
        worker.parent = request.actor.worker();
        let (id, run, environment) = (worker.id, worker.run, worker.environment.clone());
        if how.owned {
            self.owned.lock().expect("no holder of this lock panics").insert(run);
        }
        let asked = self.submit(Command::RunWorker { lane, worker }, request).await;
        let seq = match asked {
            Ok(committed) => committed.seq,
            Err(problem) => {
                self.owned.lock().expect("no holder of this lock panics").remove(&run);
                crate::launches::forget(&self.home, &environment);
                return Err(problem);
            }
        };
        match self.started(run, lane, seq).await? {
            Started::Runs => Ok((id, run)),
            Started::Failed(problem) => {
                // It may have been withdrawn before its start began.
                self.owned.lock().expect("no holder of this lock panics").remove(&run);
                Err(problem)
            }
        }
    }

    /// Waits until a run is proven to run, or not to.
    pub(crate) async fn started(&self, run: RunId, lane: LaneId, seq: u64) -> Result<Started, Problem> {
        let about = move |subject: &Subject| subject.run == Some(run);
        let recorded = self
            .watch_for(START_LIMIT, about, || async {
                Ok(match self.read(move |store| store.run(run)).await? {
                    Some(RunRow {
                        run: Run { state: RunState::Starting | RunState::Stopping(None), .. },
                        ..
                    }) => None,
                    Some(row) => Some(Some(row.run)),
                    None => Some(None),
                })
            })
            .await?;
        let rich = self.start_problems.lock().expect("no holder of this lock panics").remove(&run);
        let plain = match recorded {
            Some(Run { state: RunState::Exited(Exit::NotStarted { reason }), .. }) => reason,
            Some(_) => return Ok(Started::Runs),
            None => self
                .events_after(seq.saturating_sub(1))
                .await?
                .iter()
                .find_map(|event| withdrawn(event, run).map(str::to_owned))
                .unwrap_or_else(|| format!("the start of {run} in {lane} failed")),
        };
        let problem = rich.unwrap_or_else(|| Problem::new(ErrorKind::Failed, "start_failed", plain));
        Ok(Started::Failed(problem))
    }

    /// Waits until the end of a worker's run, or of its latest one, is recorded, for a short time.
    pub(crate) async fn exit_is_recorded(&self, worker: WorkerId, run: Option<RunId>) {
        let about = move |subject: &Subject| subject.worker == Some(worker);
        let ended = self.watch_for(RECORD_LIMIT, about, || async {
            let run = match run {
                Some(run) => self.read(move |store| store.run(run)).await?.map(|row| row.run),
                None => self.read(move |store| store.worker(worker)).await?.and_then(|row| row.latest),
            };
            Ok((!run.is_some_and(|run| run.state.is_live())).then_some(()))
        });
        if let Err(problem) = ended.await {
            tracing::info!(%worker, problem = problem.message, "an end is not recorded yet");
        }
    }

    /// Waits until a worker's status is one of these; gives the worker.
    pub(crate) async fn status_is(
        &self,
        worker: WorkerId,
        statuses: &[WorkerStatus],
    ) -> Result<WorkerView, Problem> {
        let about = move |subject: &Subject| subject.worker == Some(worker);
        self.watch_for(Duration::MAX, about, || async {
            let view = self.worker_by_id(worker).await?;
            Ok(statuses.contains(&view.status).then_some(view))
        })
        .await
    }

    /// A program that was started and died at once is an error that names it, not a worker that looks alive.
    pub(crate) async fn is_still_there(&self, run: RunId) -> Result<(), Problem> {
        let Some(row) = self.ended_at_once(run).await? else { return Ok(()) };
        let RunState::Exited(exit @ (Exit::Code { code: 1.. } | Exit::Signal { .. } | Exit::Lost)) =
            row.run.state
        else {
            return Ok(());
        };
        let program = row.spec.argv.first().map(OsText::shown).unwrap_or_default();
        Err(Problem::new(ErrorKind::Failed, "ended_at_once", format!("{program} ended at once: {exit}"))
            .hint(format!("lane read {} shows what it said", row.worker.id)))
    }

    /// The run, if it has ended before its program first waited for something.
    async fn ended_at_once(&self, run: RunId) -> Result<Option<RunRow>, Problem> {
        let about = move |subject: &Subject| subject.run == Some(run);
        let ended = || async {
            let row = self.read(move |store| store.run(run)).await?;
            Ok(row.filter(|row| !row.run.state.is_live()))
        };
        let started = self.read(move |store| store.run(run)).await?;
        let Some(known) = started.as_ref().and_then(|row| row.run.state.process()) else {
            return Ok(started);
        };
        let (pid, start_ticks) = (known.pid, known.start_time);
        let is_it = |process: &Process| process.identity.start_ticks == start_ticks && !process.is_zombie();
        for _ in 0..AT_ONCE.as_millis() / LOOK_EVERY.as_millis() {
            match Process::read(pid).filter(is_it) {
                None => return Ok(self.watch_for(RECORD_LIMIT, about, ended).await.ok()),
                Some(process) if process.is_waiting() => return Ok(None),
                Some(_) => {}
            }
            if let Ok(row) = self.watch_for(LOOK_EVERY, about, ended).await {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The effect: starts the run's program under a holder.
    pub(super) async fn start_run(&self, run: RunId, request: Request) {
        self.lock_starting().insert(run);
        match self.try_start(run, request).await {
            Ok(()) => {}
            Err(problem) => {
                let folder = self.home.run(run);
                remove_never_begun(&folder);
                if has_socket(&folder) {
                    self.lock_unreached().insert(run);
                }
                fault_point!("run.folder-removed");
                let row = self.read(move |store| store.run(run)).await.ok().flatten();
                let exit = Exit::NotStarted { reason: problem.message.clone() };
                // Nobody waits for what the daemon starts by itself.
                if request.actor != Actor::Daemon {
                    let mut problems = self.start_problems.lock().expect("no holder of this lock panics");
                    problems.insert(run, problem);
                    // Its caller may have gone away: the oldest goes then, and who waits for it is told one line.
                    if problems.len() > START_PROBLEMS_KEPT {
                        problems.pop_first();
                    }
                }
                self.report(self.ended_so(run, exit, now()).await, request).await;
                if let Some(row) = row {
                    self.forget_unless_recorded(row.worker.id, &row.spec.environment).await;
                }
            }
        }
        self.lock_starting().remove(&run);
        self.owned.lock().expect("no holder of this lock panics").remove(&run);
    }

    /// Whether a run's start is under way, and so ends by itself.
    pub(super) fn is_starting(&self, run: RunId) -> bool {
        self.lock_starting().contains(&run)
    }

    /// The runs whose start is under way, from before they are recorded.
    pub(super) fn lock_starting(&self) -> MutexGuard<'_, HashSet<RunId>> {
        self.starting.lock().expect("no holder of this lock panics")
    }

    async fn try_start(&self, run: RunId, request: Request) -> Result<(), Problem> {
        let row = self.read(move |store| store.run(run)).await?.ok_or_else(|| not_found("run", &run))?;
        if row.run.state != RunState::Starting {
            return Err(Problem::new(ErrorKind::Refused, "stopped", "it was stopped before it was started"));
        }
        self.end_former_runs(&row).await?;
        fault_point!("run.former-ended");
        let launch = self.launch_of(&row).await?;
        let launched = if let TerminalSpec::Tmux { .. } = row.spec.terminal {
            self.launch_in_pane(&row, launch, request).await?
        } else {
            let (folder, log) = (self.home.run(run), self.home.root().join("holder.log"));
            match crate::holders::launch(&self.holder_program, &folder, &log, launch).await {
                Ok(launched) => launched,
                Err(error) => return Err(self.start_problem(&error, row.worker.lane).await),
            }
        };
        fault_point!("run.program-started");
        let process = process_of(&launched.started);
        let at = micros(launched.started.at_micros);
        let started = Command::RecordStarted { run, process, at };
        // Not by `report`: its effects must find the holder, and the holder must not tell an exit before this.
        let recorded = self.store.submit(started.clone(), request.into()).await;
        let too_late = match &recorded {
            Ok(_) => self.is_over(run).await,
            Err(SubmitError::Refused(_)) => true,
            // It is recorded later.
            Err(_) => false,
        };
        let has_channel = row.run.channel.is_some();
        launched.watch((run, row.worker.lane), has_channel, &self.holders, &self.teller);
        self.attend(&row.run);
        fault_point!("run.watched");
        // From here on a stop reaches the holder, also one that is an effect of this very record.
        self.lock_starting().remove(&run);
        match recorded {
            Ok(_) | Err(SubmitError::Refused(_)) if too_late => self.call_off(run).await,
            Ok(committed) => {
                if row.spec.record {
                    self.record_pane(run);
                }
                for effect in committed.effects {
                    self.carry_out(effect, request);
                }
            }
            Err(error) => self.keep(started, request, &error),
        }
        Ok(())
    }

    /// Whether a run is recorded as ended, or not recorded any more.
    async fn is_over(&self, run: RunId) -> bool {
        let row = self.read(move |store| store.run(run)).await;
        // What cannot be read is not ended for that.
        row.is_ok_and(|row| !row.is_some_and(|row| row.run.state.is_live()))
    }

    /// Ends what was started for a run that is over by the record: no program runs without one.
    async fn call_off(&self, run: RunId) {
        tracing::warn!(%run, "a start came too late, and is called off");
        let Some(holder) = self.holders.of_run(run) else { return };
        let left = holder.stop(DEFAULT_GRACE_MS).await;
        if !left.is_empty() {
            tracing::warn!(%run, ?left, "what a late start has begun could not be ended");
        }
        holder.release().await;
    }

    /// Why a start failed; a folder that is gone is the lane's.
    pub(super) async fn start_problem(&self, error: &StartError, lane: LaneId) -> Problem {
        let problem = error.into_problem();
        let StartError::Program(failure) = error else { return problem };
        if failure.stage != StartStage::Cwd {
            return problem;
        }
        match self.read(move |store| store.lane(lane)).await {
            Ok(Some(lane)) => problem.hint(format!(
                "lane show {name} says where it should be; if its worktree is gone: lane close {name}",
                name = lane.name
            )),
            Ok(None) | Err(_) => problem,
        }
    }

    /// The environment of a worker that came to nothing is not needed again, and is a secret.
    pub(super) async fn forget_unless_recorded(&self, worker: WorkerId, environment: &str) {
        if matches!(self.read(move |store| store.worker(worker)).await, Ok(None)) {
            crate::launches::forget(&self.home, environment);
        }
    }

    async fn launch_of(&self, row: &RunRow) -> Result<Launch, Problem> {
        let RunRow { run, worker, spec } = row;
        let (home, name) = (self.home.clone(), spec.environment.clone());
        let kept = blocking(move || Kept::read(&home, &name)).await?.map_err(|error| {
            let message = format!("the kept environment {} cannot be read: {error}", spec.environment);
            failed_in_words("environment_lost", &error, message)
        })?;
        let history_lines = match self.history_lines(&spec.terminal).await {
            // What has run before is not kept from running by settings that cannot be read.
            Err(_) if row.run.number > 1 => Config::default().terminal.history_lines,
            lines => lines?,
        };
        let run = run.id;
        let ids = RunIds { workspace: worker.workspace, lane: worker.lane, worker: worker.id, run };
        let bytes = |text: &OsText| text.as_bytes().to_vec().into();
        let id = worker.id;
        let instance = self.read(move |store| store.instance_of_worker(id)).await?;
        let state = instance.as_ref().map(|instance| self.home.instance(instance.id));
        let environment = kept.environment_of(&self.home, &ids, spec.cwd.as_path(), state.as_deref());
        let signal = match spec.argv.first().map(StopSignal::for_program) {
            Some(StopSignal::HangUp) => Signal::HUP,
            Some(StopSignal::Terminate) | None => Signal::TERM,
        };
        Ok(Launch {
            run: run.to_string(),
            argv: spec.argv.iter().map(bytes).collect(),
            cwd: bytes(&spec.cwd),
            env: environment.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            umask: kept.umask,
            limits: kept
                .limits
                .iter()
                .map(|limit| ResourceLimit {
                    which: limit.which,
                    soft: limit.soft.unwrap_or(u64::MAX),
                    hard: limit.hard.unwrap_or(u64::MAX),
                })
                .collect(),
            terminal: match &spec.terminal {
                TerminalSpec::Pty { columns, rows } => Terminal::Pty(Size { columns: *columns, rows: *rows }),
                TerminalSpec::Pipes => Terminal::Pipes,
                TerminalSpec::Tmux { .. } => Terminal::Inside,
            },
            owned: self.owned.lock().expect("no holder of this lock panics").contains(&run),
            history_lines,
            stop_signal: signal.as_raw(),
            record: spec.record.then_some(recordings::PLAN),
            channel: worker
                .channel
                .map(|kind| super::channels::launch_of(kind, worker, spec, instance.as_ref())),
            run_limits: limits_of(worker.limits),
        })
    }

    /// What would not be started is refused before anything is made for it: a run of which nothing would survive a
    /// reboot, and one too many for this daemon.
    async fn refuse_what_would_not_start(&self) -> Result<(), Problem> {
        let folder = self.home.runs();
        let looked = blocking(move || {
            let opened = std::fs::File::open(&folder)?;
            keep_some_free(&opened)?;
            laneway_wire::record::is_in_memory(opened)
        });
        match looked.await? {
            Ok(true) => Err(Problem::new(
                ErrorKind::Refused,
                "home_in_memory",
                format!(
                    "{} is on a memory filesystem: runs would not survive a reboot, and are not started there",
                    self.home.root().display()
                ),
            )
            .hint("set LANEWAY_HOME to a folder on a disk; lane doctor says more")),
            Ok(false) => Ok(()),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => {
                Err((&StartError::Holder(error)).into_problem())
            }
            // Whoever starts it says what is wrong with the folder.
            Err(_) => Ok(()),
        }
    }

    /// How many lines a run's terminal keeps, as the user has set it; what has no terminal keeps none.
    async fn history_lines(&self, terminal: &TerminalSpec) -> Result<u32, Problem> {
        match terminal {
            TerminalSpec::Pty { .. } | TerminalSpec::Tmux { .. } => {
                Ok(self.settings().await?.terminal.history_lines)
            }
            TerminalSpec::Pipes => Ok(0),
        }
    }

    /// The effect: ends the run's processes, and tells if some are left.
    pub(super) async fn stop_run(&self, run: RunId, grace_ms: u64, request: Request) {
        let row = self.read(move |store| store.run(run)).await.ok().flatten();
        let Some(row) = row else { return };
        if self.is_starting(run) {
            // Its start ends with this stop again.
            return;
        }
        let Some(holder) = self.holder_of(run, row.worker.lane).await else { return };
        fault_point!("stop.asking");
        let left = holder.stop(grace_ms).await;
        fault_point!("stop.done");
        if !left.is_empty() {
            let left = left.iter().map(|process| process.pid).collect();
            self.report(Command::RecordStopFailed { run, left }, request).await;
        }
    }

    /// The holder of a run; one that could not be reached before is looked for again.
    pub(super) async fn holder_of(&self, run: RunId, lane: LaneId) -> Option<Holder> {
        if let Some(holder) = self.holders.of_run(run) {
            return Some(holder);
        }
        let folder = self.home.run(run);
        let row = self.read(move |store| store.run(run)).await.ok().flatten();
        let known = row.map(|row| row.run);
        let taken = known.as_ref().and_then(|run| run.channel.as_ref()).map(|channel| channel.taken);
        match crate::holders::connect(&folder, (run, taken), lane, &self.holders, &self.teller).await {
            Ok(status) => {
                if let Some(known) = &known {
                    self.attend(known);
                }
                let started = Command::RecordStarted {
                    run,
                    process: process_of(&status.started),
                    at: micros(status.started.at_micros),
                };
                self.report(started, self.own_request()).await;
                if let Some(exited) = &status.exited {
                    let (exit, at) = exit_of(exited);
                    self.report(self.ended_so(run, exit, at).await, self.own_request()).await;
                }
            }
            Err(LinkError::Nobody) => self.holder_gone(run, self.own_request()).await,
            Err(error) => tracing::warn!(%run, error = chain(&error), "a holder cannot be reached"),
        }
        self.holders.of_run(run)
    }

    /// Stops a worker, and waits until nothing of its run is alive.
    pub(crate) async fn stop_worker(
        &self,
        worker: WorkerId,
        grace_ms: Option<u64>,
        request: Request,
    ) -> Result<WorkerRow, Problem> {
        let grace_ms = grace_ms.unwrap_or(DEFAULT_GRACE_MS);
        let row = self
            .read(move |store| store.worker(worker))
            .await?
            .ok_or_else(|| not_found("worker", &worker))?;
        let committed = self.submit(Command::StopWorker { worker, grace_ms }, request).await?;
        // The one that is stopped: it may have been started again since it was looked at.
        let stopped = committed.effects.iter().find_map(|effect| match effect {
            Effect::StopRun { run, .. } => Some(*run),
            _ => None,
        });
        if let Some(run) = stopped {
            self.ended_in_time(run, committed.seq, grace_ms).await?;
        }
        self.remove_panes_of(worker).await?;
        if stopped.is_none() {
            return Ok(row);
        }
        // A worker that was stopped before its program was started was taken back.
        Ok(self.read(move |store| store.worker(worker)).await?.unwrap_or(row))
    }

    /// Waits for the end of a run that is being stopped, for as long as its stop may take; what it leaves is an error.
    pub(super) async fn ended_in_time(&self, run: RunId, seq: u64, grace_ms: u64) -> Result<(), Problem> {
        let limit = Duration::from_millis(grace_ms) + STOP_LIMIT;
        let left = tokio::time::timeout(limit, self.ended(run, seq)).await.map_err(|_| {
            Problem::new(
                ErrorKind::TimedOut,
                "stop_timed_out",
                "the stop takes longer than it should; it goes on",
            )
            .hint("see what is left: lane ps")
        })??;
        if left.is_empty() { Ok(()) } else { Err(still_alive(&left)) }
    }

    /// Waits until a run is recorded as ended and its holder is gone, or its stop has failed: then with the
    /// processes that are left.
    async fn ended(&self, run: RunId, seq: u64) -> Result<Vec<u32>, Problem> {
        let about = move |subject: &Subject| subject.run == Some(run);
        let failed = self.watch_for(Duration::MAX, about, || async {
            let left = self.events_after(seq).await?.into_iter().find_map(|event| match event.event {
                Event::RunStopFailed { left } if event.subject.run == Some(run) => Some(left),
                _ => None,
            });
            Ok(left)
        });
        let ended = async {
            self.watch_for(Duration::MAX, about, || async {
                let row = self.read(move |store| store.run(run)).await?;
                Ok((!row.is_some_and(|row| row.run.state.is_live())).then_some(()))
            })
            .await?;
            if let Some(holder) = self.holders.of_run(run) {
                holder.over().await;
            }
            Ok(Vec::new())
        };
        tokio::select! {
            left = failed => left,
            none = ended => none,
        }
    }

    /// The effect: the end is recorded, the holder may go.
    pub(super) async fn release(&self, run: RunId) {
        if self.holders.of_run(run).is_some() {
            // Of an end before this daemon nothing was kept yet.
            self.keep_last_screen(run).await;
        }
        if let Some(holder) = self.holders.of_run(run) {
            holder.release().await;
            fault_point!("run.released");
        }
        // A task runs once: its environment is not needed again.
        let row = self.read(move |store| store.run(run)).await.ok().flatten();
        if let Some(row) = row.filter(|row| row.worker.name.is_none()) {
            crate::launches::forget(&self.home, &row.spec.environment);
        }
    }

    /// A holder is gone: if the end of its run is not recorded, the run record says how it ended, or it is lost.
    pub(super) async fn holder_gone(&self, run: RunId, request: Request) {
        let folder = self.home.run(run);
        blocking(move || crate::holders::remove_dead_socket(&folder)).await.ok();
        let row = self.read(move |store| store.run(run)).await.ok().flatten();
        let Some(row) = row.filter(|row| row.run.state.is_live()) else { return };
        let was_started = row.run.state.process().is_some();
        let record = self.home.run(run).join(laneway_wire::RECORD_NAME);
        let read = blocking(move || laneway_wire::record::read(&record)).await;
        let ended = match read {
            Ok(Ok(record)) if ended_by(record.state.clone()).is_none() && record.holder_runs() => {
                tracing::warn!(%run, "a holder is there and cannot be reached");
                self.lock_unreached().insert(run);
                return;
            }
            Ok(Ok(record)) => ended_by(record.state),
            // Its start may just be about to begin.
            Ok(Err(RecordError::File { .. })) if !was_started => return,
            Ok(Err(RecordError::File { source, .. })) if source.kind() != io::ErrorKind::NotFound => {
                // What cannot be looked at is not said to be lost: the next start looks again.
                tracing::warn!(%run, error = %source, "a run record cannot be read");
                return;
            }
            Ok(Err(_)) => None,
            Err(_) => return,
        };
        if ended.is_none() {
            // Its program died with it; what had detached itself is found by its mark.
            leftovers::end(vec![run]).await;
        }
        let (exit, at) = ended.unwrap_or_else(|| (Exit::Lost, now()));
        self.report(self.ended_so(run, exit, at).await, request).await;
    }
}

/// Whether an event says that a worker of this run was withdrawn, and why.
fn withdrawn(event: &Recorded, run: RunId) -> Option<&str> {
    match &event.event {
        Event::WorkerWithdrawn { reason, .. } if event.subject.run == Some(run) => Some(reason),
        _ => None,
    }
}

/// Removes the folder of a run whose program was never started, or whose holder ended before it could say so; one that
/// may tell of more is left.
fn remove_never_begun(folder: &std::path::Path) {
    crate::holders::remove_dead_socket(folder);
    let record = folder.join(laneway_wire::RECORD_NAME);
    let tells_nothing = laneway_wire::record::read(&record).is_ok_and(|record| match record.state {
        RecordState::StartFailed(_) => true,
        RecordState::Starting | RecordState::Running { .. } => !record.holder_runs(),
        RecordState::Exited { .. } => false,
    });
    if tells_nothing {
        // If it stays, so does the folder: nothing but its room is lost.
        let _ = std::fs::remove_file(record);
    }
    let _ = std::fs::remove_dir(folder);
}

/// How a run ended by its run record; None if the record does not say.
pub(super) fn ended_by(state: RecordState) -> Option<(Exit, Timestamp)> {
    match state {
        RecordState::Exited { exited_at_micros, hung_up: true, .. } => {
            Some((Exit::ClosedByHand, micros(exited_at_micros)))
        }
        RecordState::Exited { exited_at_micros, limit: Some(limit), .. } => {
            Some((at_limit(limit), micros(exited_at_micros)))
        }
        RecordState::Exited { exited_at_micros, wait_status, .. } => {
            Some((exit_of_wait_status(wait_status), micros(exited_at_micros)))
        }
        RecordState::StartFailed(failure) => Some((Exit::NotStarted { reason: failure.message }, now())),
        RecordState::Starting | RecordState::Running { .. } => None,
    }
}

/// The program of a proven start.
pub(super) fn process_of(started: &laneway_wire::message::Started) -> ProcessIdentity {
    ProcessIdentity {
        pid: started.program.pid,
        start_time: started.program.start_ticks,
        boot_id: started.boot_id.clone(),
    }
}

/// How a holder says that a run ended.
pub(crate) fn exit_of(exited: &Exited) -> (Exit, Timestamp) {
    let exit = match (exited.limit, exited.code, exited.signal) {
        _ if exited.hung_up => Exit::ClosedByHand,
        (Some(limit), _, _) => at_limit(limit),
        (None, Some(code), _) => Exit::Code { code: u8::try_from(code & 0xff).unwrap_or(u8::MAX) },
        (None, None, Some(signal)) => Exit::Signal { signal },
        (None, None, None) => Exit::Lost,
    };
    (exit, micros(exited.at_micros))
}

fn at_limit(limit: message::Limit) -> Exit {
    let limit = match limit {
        message::Limit::Wall => LimitKind::Wall,
        message::Limit::Idle => LimitKind::Idle,
    };
    Exit::Limit { limit }
}

/// The limits that a run is launched with.
fn limits_of(limits: RunLimits) -> Option<message::RunLimits> {
    let RunLimits { wall_ms, idle_ms } = limits;
    let launched = message::RunLimits { wall_ms: wall_ms.map(u64::from), idle_ms: idle_ms.map(u64::from) };
    (!limits.is_none()).then_some(launched)
}

/// A status of `waitpid`, as Linux encodes it: the low seven bits are the signal, or 0 and then the code.
fn exit_of_wait_status(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit::Code { code: (status >> 8 & 0xff) as u8 },
        signal => Exit::Signal { signal },
    }
}

pub(super) fn micros(at: u64) -> Timestamp {
    Timestamp(i64::try_from(at).unwrap_or(i64::MAX))
}

pub(super) fn still_alive(left: &[u32]) -> Problem {
    let pids: Vec<String> = left.iter().map(u32::to_string).collect();
    Problem::new(
        ErrorKind::Failed,
        "still_alive",
        format!("these processes could not be ended: {}", pids.join(", ")),
    )
    .hint(format!("ps -o pid,stat,wchan,args -p {}", pids.join(",")))
    .details(serde_json::json!({ "left": left }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_read_as_linux_writes_it() {
        assert_eq!(exit_of_wait_status(0), Exit::Code { code: 0 });
        assert_eq!(exit_of_wait_status(7 << 8), Exit::Code { code: 7 });
        assert_eq!(exit_of_wait_status(9), Exit::Signal { signal: 9 });
        assert_eq!(exit_of_wait_status(0x8b), Exit::Signal { signal: 11 });
    }
}
