//! At every start: what is recorded is compared with what is there, and the plan of
//! [`laneway_core::reconcile`] is carried out.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use laneway_api::error::Problem;
use laneway_core::command::{Command, Provisioned};
use laneway_core::id::{LaneId, RunId};
use laneway_core::lane::Lifecycle;
use laneway_core::launch::DEFAULT_GRACE_MS;
use laneway_core::reconcile::{Action, RunSeen, plan};
use laneway_core::run::{Exit, Run};
use laneway_fault::fault_point;
use laneway_git::Trashed;
use laneway_store::{ReadError, RunRow, Store, WorkersOf};
use laneway_wire::record::RecordError;
use laneway_wire::{LAUNCH_NAME, RECORD_NAME, SOCKET_NAME, sockets};
use tokio::task::JoinSet;

use super::close::unlink;
use super::compare::REPAIR_LIMIT;
use super::{Engine, Request, blocking, leftovers, runs};
use crate::clock::now;
use crate::holders::{self, CutOff, LinkError};
use crate::problem::chain;

/// How long a holder that is just starting has to make its socket.
const SOCKET_LIMIT: Duration = Duration::from_secs(3);

/// Which runs are looked at.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those that nobody looks after in this daemon.
    Unwatched,
    /// The same, and the look changes nothing: no holder is looked after from then on, and nothing is cleared away.
    Glance,
}

impl Engine {
    /// Compares and carries out. Runs are settled when this returns; lanes go on in the background.
    pub(crate) async fn reconcile(&self) -> Result<(), Problem> {
        let request = self.own_request();
        let lanes = self.read(Store::unfinished_lanes).await?;
        let (runs, strangers) = self.look_at_runs(Which::All).await?;
        fault_point!("start.looked");
        let looked_at = lanes.len() + runs.len();
        let actions = plan(&lanes, &runs);
        let mut done = 0;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut reported = count(strangers.len());
        // Their programs died with their holders; what had detached itself is found by its mark.
        let lost = actions.iter().filter_map(|action| match action {
            Action::RecordExit { run, exit: Exit::Lost, .. } => Some(*run),
            _ => None,
        });
        leftovers::end(lost.collect()).await;
        fault_point!("start.leftovers-ended");
        // Before anything new comes there.
        self.finish_trash().await;
        fault_point!("start.trash-finished");
        for action in actions {
            match action {
                Action::Report { what } => {
                    tracing::warn!(what, "left to a person");
                    reported += 1;
                }
                // Looking at a run connected to its holder, and the connection is kept.
                Action::Watch { .. } => {}
                action => {
                    let taking = tokio::time::timeout(REPAIR_LIMIT, self.take(action.clone(), request));
                    if taking.await.is_ok() {
                        done += 1;
                    } else {
                        tracing::warn!(?action, "this was not done in time");
                        reported += 1;
                    }
                    fault_point!("start.acted");
                }
            }
        }
        self.spread_restarts().await;
        self.bring_up_again(request).await;
        fault_point!("start.restarts-planned");
        self.leave_emptied_trash().await;
        self.label_all_trees().await;
        self.forget_needless_environments().await;
        fault_point!("start.environments-forgotten");
        self.empty_scratch().await;
        self.look_after_unrecorded_panes().await;
        fault_point!("start.panes-looked-after");
        self.finish_stops().await;
        self.report(Command::RecordReconciled { looked_at: count(looked_at), done, reported }, request).await;
        Ok(())
    }

    /// Carries out an action that nothing was done for before: what a lost run has left behind is ended first.
    pub(super) async fn take_alone(&self, action: Action, request: Request) {
        if let Action::RecordExit { run, exit: Exit::Lost, .. } = &action {
            leftovers::end(vec![*run]).await;
        }
        self.take(action, request).await;
    }

    async fn take(&self, action: Action, request: Request) {
        match action {
            Action::GiveUpNew { lane, epoch } => {
                let failure = "the daemon ended before it was begun".to_owned();
                let outcome = Provisioned::Failed { failure };
                self.report(Command::FinishProvisioning { lane, epoch, outcome }, request).await;
            }
            Action::UndoProvisioning { lane, epoch } => {
                let engine = self.clone();
                self.in_background(async move { engine.undo_provisioning(lane, epoch, request).await });
            }
            Action::ContinueRestoring { lane, epoch } => {
                let engine = self.clone();
                self.in_background(async move { engine.provision(lane, epoch, request).await });
            }
            Action::ContinueClosing { lane, epoch } => {
                let engine = self.clone();
                self.in_background(async move {
                    engine.quiet_lane(lane, epoch, None, request).await;
                });
            }
            Action::InterruptSetup { lane, epoch, piece } => {
                let outcome = Err("interrupted: the daemon ended while it was under way".to_owned());
                let interrupted = Command::FinishPiece { lane, epoch, piece, outcome, first: None };
                self.report(interrupted, request).await;
            }
            Action::CloseRemembered { lane } => {
                let engine = self.clone();
                self.in_background(async move { engine.close_remembered(lane, request).await });
            }
            Action::RecordStarted { run, process } => {
                self.report(Command::RecordStarted { run, process, at: now() }, request).await;
            }
            Action::ContinueStop { run } => {
                let engine = self.clone();
                let holder = self.holders.of_run(run);
                let grace_ms = holder.map_or(DEFAULT_GRACE_MS, |holder| holder.grace_to_go_on());
                self.in_background(async move {
                    engine.stop_run(run, grace_ms, request).await;
                    if let Ok(Some(row)) = engine.read(move |store| store.run(run)).await {
                        engine.finish_stop(row.worker.id).await;
                    }
                });
            }
            Action::RecordExit { run, exit, at } => {
                if let Exit::NotStarted { .. } = exit {
                    self.remove_remains(run).await;
                }
                self.record_end(run, exit, at.unwrap_or_else(now), request).await;
            }
            Action::ReleaseHolder { run } => self.release(run).await,
            // A person asks for it.
            Action::UndoLeft { .. } => {}
            Action::Watch { .. } | Action::Report { .. } => {}
        }
    }

    /// The live runs, and the ended ones whose holder may still be there, with what is seen of each.
    /// And the runs that are not recorded and have a holder: those are told and left alone.
    pub(super) async fn look_at_runs(
        &self,
        which: Which,
    ) -> Result<(Vec<(Run, RunSeen)>, Vec<RunId>), Problem> {
        let mut recorded = self.read(Store::live_runs).await?;
        let known: HashSet<RunId> = recorded.iter().map(|row| row.run.id).collect();
        let folder = self.home.runs();
        let mut others = blocking(move || runs_with_sockets(&folder)).await?;
        others.retain(|run| !known.contains(run));
        let ended = {
            let others = others.clone();
            self.read(move |store| store.runs_among(&others)).await?
        };
        let mut strangers = Vec::new();
        for run in others.iter().filter(|run| !ended.iter().any(|row| row.run.id == **run)) {
            let folder = self.home.run(*run);
            let is_dead = match which {
                Which::All | Which::Unwatched => {
                    blocking(move || holders::remove_dead_socket(&folder)).await?
                }
                Which::Glance => blocking(move || holders::has_dead_socket(&folder)).await?,
            };
            if is_dead {
                continue;
            }
            // Its record is lost, or was put back from an older copy: its program is somebody's work.
            tracing::warn!(%run, "a holder of a run that is not recorded is left alone");
            strangers.push(*run);
        }
        recorded.extend(ended);
        recorded.retain(|row| match which {
            Which::All => true,
            // In this order: a start that has just ended has made its holder known before.
            Which::Unwatched | Which::Glance => {
                !self.is_starting(row.run.id) && self.holders.of_run(row.run.id).is_none()
            }
        });
        let mut looking = JoinSet::new();
        for row in recorded {
            let engine = self.clone();
            looking.spawn(async move {
                let seen = engine.look_at_run(&row, which).await;
                let seen = engine.unless_cut_off(&row.run, row.worker.lane, seen, which);
                (row.run, seen)
            });
        }
        let mut seen = looking.join_all().await;
        if !matches!(which, Which::Glance) {
            let unreached = seen.iter().filter(|(_, seen)| matches!(seen, RunSeen::Unknown { .. }));
            self.lock_unreached().extend(unreached.map(|(run, _)| run.id));
        }
        seen.sort_by_key(|(run, _)| run.id);
        Ok((seen, strangers))
    }

    async fn look_at_run(&self, row: &RunRow, which: Which) -> RunSeen {
        let (id, lane) = (row.run.id, row.worker.lane);
        let taken = row.run.channel.as_ref().map(|channel| channel.taken);
        let may_begin = match which {
            Which::All => false,
            Which::Unwatched => row.run.state.is_live() && row.run.state.process().is_none(),
            // To find out whether it may, its folder would have to be removed.
            Which::Glance => true,
        };
        let unknown = |reason: String| RunSeen::Unknown { reason };
        let folder = self.home.run(id);
        let mut waited = false;
        loop {
            let status = match which {
                Which::All | Which::Unwatched => {
                    holders::connect(&folder, (id, taken), lane, &self.holders, &self.teller).await
                }
                Which::Glance => holders::glance(&folder, id).await,
            };
            match status {
                Ok(status) => {
                    self.attend(&row.run);
                    return match &status.exited {
                        Some(exited) => {
                            let (exit, at) = runs::exit_of(exited);
                            RunSeen::Ended { exit, at, holder_waits: true }
                        }
                        None => RunSeen::Alive(runs::process_of(&status.started)),
                    };
                }
                Err(LinkError::Nobody) if matches!(which, Which::Glance) => {}
                Err(LinkError::Nobody) => {
                    let folder = folder.clone();
                    blocking(move || holders::remove_dead_socket(&folder)).await.ok();
                }
                Err(error) => {
                    if let (LinkError::Silent, Which::All) = (&error, which) {
                        self.hear_later(id, lane);
                    }
                    return unknown(chain(&error));
                }
            }
            let folder = folder.clone();
            if !may_begin {
                // Nobody is left who would launch it.
                let folder = folder.clone();
                let removed = blocking(move || {
                    sockets::open_folder(&folder).and_then(|opened| sockets::remove(opened, LAUNCH_NAME))
                });
                // Without a folder there is nothing to remove.
                drop(removed.await);
            }
            match blocking(move || without_holder(&folder, may_begin)).await {
                Ok(WithoutHolder::Seen(seen)) => return seen,
                Ok(WithoutHolder::JustStarting) if waited => {
                    return unknown("its holder is there and cannot be reached".to_owned());
                }
                Ok(WithoutHolder::JustStarting) => {
                    waited = true;
                    let folder = self.home.run(id);
                    if let Ok(Err(error)) = blocking(move || wait_for_socket(&folder)).await {
                        tracing::debug!(run = %id, %error, "a starting holder's folder could not be watched");
                    }
                }
                Err(problem) => return unknown(problem.message),
            }
        }
    }

    /// Listens to a holder that is there and does not answer, since somebody has stopped it or the machine is busy, until
    /// it does; what it says then is taken as it would have been at the start.
    fn hear_later(&self, run: RunId, lane: LaneId) {
        let engine = self.clone();
        tokio::spawn(async move {
            let folder = engine.home.run(run);
            let taken = engine.recorded_up_to(run).await;
            let answer =
                holders::connect_patiently(&folder, (run, taken), lane, &engine.holders, &engine.teller);
            // Also where it has ended instead: what became of the run can be seen now.
            if engine.ending.run_until_cancelled(answer).await.is_none() {
                return;
            }
            let Ok(Some(row)) = engine.read(move |store| store.run(run)).await else { return };
            let seen = engine.look_at_run(&row, Which::All).await;
            let seen = engine.unless_cut_off(&row.run, lane, seen, Which::All);
            for action in plan(&[], &[(row.run, seen)]) {
                tracing::info!(?action, "a holder has answered that did not before");
                engine.take_alone(action, engine.own_request()).await;
            }
        });
    }

    /// What lives is not lost, whatever became of the folder of its run.
    fn unless_cut_off(&self, run: &Run, lane: LaneId, seen: RunSeen, which: Which) -> RunSeen {
        match (&seen, run.state.process()) {
            (RunSeen::HolderGone | RunSeen::NeverBegan, Some(process)) => {
                let Some(cut_off) = CutOff::find(process) else { return seen };
                if !matches!(which, Which::Glance) {
                    let what = "its folder is gone or damaged: it runs, and can only be stopped";
                    tracing::warn!(run = %run.id, what);
                    cut_off.watch((run.id, lane), &self.holders, &self.teller);
                }
                RunSeen::Alive(process.clone())
            }
            _ => seen,
        }
    }

    /// Environments are secrets: what a killed daemon had no time to remove goes now, before anything is asked.
    async fn forget_needless_environments(&self) {
        let Ok(needed) = self.read(needed_environments).await else { return };
        let home = self.home.clone();
        if let Ok(Err(error)) = blocking(move || crate::launches::forget_all_but(&home, &needed)).await {
            tracing::warn!(%error, "the kept environments could not be gone through");
        }
    }

    /// What a request that was cut off had no time to remove.
    async fn empty_scratch(&self) {
        let scratch = self.home.scratch();
        // What cannot be removed is in nobody's way.
        let emptied = blocking(move || {
            for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
                let _ = fs::remove_file(entry.path());
            }
        });
        drop(emptied.await);
    }

    /// Trees that a crashed close had renamed aside are deleted: those of closed lanes, by their ids, and whatever was
    /// just being deleted.
    pub(super) async fn finish_trash(&self) {
        let mut lanes = self.read(|store| store.lanes(None, true)).await.unwrap_or_default();
        lanes.retain(|lane| !lane.is_adopted());
        let left = blocking(move || {
            let folders: BTreeMap<Option<&Path>, &Path> =
                lanes.iter().map(|lane| (lane.path.as_path().parent(), lane.path.as_path())).collect();
            for path in folders.values() {
                Trashed::remove_empty(path);
            }
            let being_deleted = folders.into_values().flat_map(Trashed::being_deleted);
            let closed = lanes.iter().filter(|lane| lane.lifecycle == Lifecycle::Closed);
            let left =
                closed.filter_map(|lane| Trashed::to_finish(lane.path.as_path(), &lane.id.to_string()));
            left.chain(being_deleted).collect::<Vec<_>>()
        });
        left.await.unwrap_or_default().into_iter().for_each(unlink);
    }

    /// What restored lanes have left in the trash, if a crash came before that was cleared away.
    async fn leave_emptied_trash(&self) {
        let lanes = self.read(|store| store.lanes(None, false)).await.unwrap_or_default();
        for from in lanes.into_iter().filter_map(|lane| lane.restored_from) {
            self.leave_trash(from).await;
        }
    }
}

/// The environments that a run may still be started with: not those of tasks that are over.
fn needed_environments(store: &Store) -> Result<HashSet<String>, ReadError> {
    let workers = store.workers(WorkersOf::Everywhere)?.into_iter();
    let needed = workers.filter(|row| {
        row.worker.name.is_some() || row.latest.as_ref().is_some_and(|run| run.state.is_live())
    });
    let needed = needed.filter_map(|row| row.spec).map(|spec| spec.environment);
    Ok(needed.chain(store.renewed_environments()?).collect())
}

enum WithoutHolder {
    Seen(RunSeen),
    /// The folder has something of a holder that has not finished its first steps.
    JustStarting,
}

/// What a run's folder says when no holder answers there. Of one that `may_begin` in this daemon nothing is undone.
fn without_holder(folder: &Path, may_begin: bool) -> WithoutHolder {
    let record = laneway_wire::record::read(&folder.join(RECORD_NAME));
    WithoutHolder::Seen(match record.map(|record| (record.holder_runs(), record.state)) {
        Ok((holder_runs, state)) => match runs::ended_by(state) {
            Some((exit, at)) => RunSeen::Ended { exit, at, holder_waits: false },
            // It has made its record and not its socket, or has lost that: it is looked for once more.
            None if holder_runs => return WithoutHolder::JustStarting,
            None => RunSeen::HolderGone,
        },
        Err(RecordError::File { source, .. }) if may_begin && source.kind() == io::ErrorKind::NotFound => {
            RunSeen::Unknown { reason: "its program is not started yet".to_owned() }
        }
        Err(RecordError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            // A folder that can be removed is empty, and a holder that comes late cannot write its record into
            // it any more: so the start is off for good.
            match fs::remove_dir(folder) {
                Ok(()) => RunSeen::NeverBegan,
                Err(error) if error.kind() == io::ErrorKind::NotFound => RunSeen::NeverBegan,
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    return WithoutHolder::JustStarting;
                }
                Err(error) => RunSeen::Unknown { reason: error.to_string() },
            }
        }
        Err(error @ RecordError::File { .. }) => RunSeen::Unknown { reason: chain(&error) },
        Err(error @ (RecordError::Damaged | RecordError::TooLong(_))) => {
            tracing::warn!(folder = %folder.display(), error = chain(&error), "a run record is unusable");
            RunSeen::HolderGone
        }
    })
}

/// Waits until the socket is there or the limit is over.
fn wait_for_socket(folder: &Path) -> io::Result<()> {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&watch, folder, WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE_SELF)?;
    if has_socket(folder) {
        return Ok(());
    }
    let mut polled = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: SOCKET_LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&limit))?;
    Ok(())
}

/// Whether a run's folder has its holder's socket, or what is left of it.
pub(super) fn has_socket(folder: &Path) -> bool {
    laneway_wire::sockets::place(folder, SOCKET_NAME).exists()
}

fn runs_with_sockets(folder: &Path) -> Vec<RunId> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let run = entry.file_name().to_str()?.parse().ok()?;
            has_socket(&entry.path()).then_some(run)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use laneway_core::actor::Actor;
    use laneway_core::command::{NewLane, NewWorker, WorkerNaming};
    use laneway_core::id::{HostId, WorkerId, WorkspaceId};
    use laneway_core::lane::{LaneBranch, LaneTree};
    use laneway_core::launch::TerminalSpec;
    use laneway_core::run::RunState;
    use laneway_core::setup::SetupStart;
    use laneway_core::supervise::RestartPolicy;
    use laneway_core::workspace::Workspace;
    use laneway_git::{Environment, Git};
    use laneway_store::NewHost;

    use super::*;
    use crate::clock::Ids;
    use crate::engine::Ingredients;
    use crate::holders::HolderProgram;
    use crate::home::Home;

    /// An engine with a run that was just decided to begin, as it is before its start is carried out.
    async fn with_a_decided_start(folder: &Path) -> (Engine, RunId) {
        let home = Home::at(folder.to_owned());
        home.prepare().unwrap();
        fs::write(folder.join("lane-holder"), "").unwrap();
        let ids = Ids::default();
        let (host, workspace) = (HostId::from_ulid(ids.next()), WorkspaceId::from_ulid(ids.next()));
        let (lane, run) = (LaneId::from_ulid(ids.next()), RunId::from_ulid(ids.next()));
        let worker = NewWorker {
            id: WorkerId::from_ulid(ids.next()),
            run,
            naming: WorkerNaming::FirstFree("a".parse().unwrap()),
            argv: vec!["true".into()],
            cwd: None,
            environment: "none".to_owned(),
            terminal: TerminalSpec::Pipes,
            record: false,
            restart: RestartPolicy::Never,
            done_codes: vec![],
            channel: None,
            start_message: None,
            limits: laneway_core::limits::RunLimits::NONE,
            forced: false,
            parent: None,
            instance: None,
        };
        let branch = LaneBranch { name: "lane/a".to_owned(), ours: true };
        let of = Ingredients {
            store: Store::open(&home.database(), NewHost(host), now).unwrap(),
            home,
            ids,
            git: Git::find(Environment::of_this_process()).unwrap(),
            holder_program: HolderProgram::beside(&folder.join("lane")).unwrap(),
        };
        let (engine, _told) = Engine::new(of);
        let new = NewLane {
            id: lane,
            host,
            workspace,
            name: "a".parse().unwrap(),
            tree: LaneTree::Ours { branch: branch.clone() },
            base_ref: "main".to_owned(),
            base_commit: "0".repeat(40),
            path: "/nowhere/a".into(),
            restored_from: None,
        };
        let place = Workspace {
            id: workspace,
            host,
            common_dir: "/nowhere/.git".into(),
            root: "/nowhere".into(),
            remote_url: None,
            root_commit: None,
            created_at: now(),
        };
        let (setup, first) = (SetupStart::Nothing, Some(Box::new(worker)));
        let outcome = Provisioned::Ready { branch, warning: None, setup, first };
        for command in [
            Command::RegisterWorkspace(place),
            Command::CreateLane { lane: new, max_lanes: 9 },
            Command::BeginProvisioning { lane, epoch: 1 },
            Command::FinishProvisioning { lane, epoch: 1, outcome },
        ] {
            engine.store.submit(command, engine.own_request().into()).await.unwrap();
        }
        (engine, run)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_inside_a_terminal_whose_daemon_was_killed_before_the_launch_is_off() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, run) = with_a_decided_start(folder.path()).await;
        let place = engine.home.run(run);
        fs::create_dir(&place).unwrap();
        drop(sockets::listen(sockets::open_folder(&place).unwrap(), LAUNCH_NAME, 1).unwrap());
        assert!(place.join(LAUNCH_NAME).exists(), "it outlives who has made it");
        engine.reconcile().await.unwrap();
        assert_eq!(engine.read(move |store| store.run(run)).await.unwrap().map(|row| row.run.state), None);
        assert!(!place.exists());
        engine.settle(Duration::ZERO).await;
        engine.store.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_that_is_decided_and_not_begun_is_left_to_whoever_starts_it() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, run) = with_a_decided_start(folder.path()).await;
        let request = Request { actor: Actor::Person { uid: 1 }, ..engine.own_request() };
        let state = || async {
            let row = engine.read(move |store| store.run(run)).await.unwrap();
            row.map(|row| row.run.state)
        };
        let told = engine.compare(true, request).await.unwrap();
        assert_eq!(state().await, Some(RunState::Starting), "{told:?}");
        engine.lock_starting().insert(run);
        let (seen, _) = engine.look_at_runs(Which::Unwatched).await.unwrap();
        assert_eq!(seen, []);
        engine.lock_starting().remove(&run);
        // At the start of a daemon nobody starts it any more.
        engine.reconcile().await.unwrap();
        assert_eq!(state().await, None);
        engine.settle(Duration::ZERO).await;
        engine.store.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_is_looked_after_or_over_by_now_is_no_finding() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, run) = with_a_decided_start(folder.path()).await;
        let before = engine.read(move |store| store.run(run)).await.unwrap().unwrap().run;
        let seen = || vec![(before.clone(), RunSeen::HolderGone)];
        assert_eq!(engine.as_they_are_now(seen(), Which::Unwatched).await.unwrap(), seen(), "as it was");
        engine.lock_starting().insert(run);
        assert_eq!(engine.as_they_are_now(seen(), Which::Unwatched).await.unwrap(), []);
        engine.lock_starting().remove(&run);
        let ended = engine.ended_so(run, Exit::Lost, now()).await;
        engine.report(ended, engine.own_request()).await;
        assert_eq!(engine.as_they_are_now(seen(), Which::Unwatched).await.unwrap(), []);
        engine.settle(Duration::ZERO).await;
        engine.store.close().await.unwrap();
    }
}
