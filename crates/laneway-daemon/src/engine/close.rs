//! Closing a lane: `open → cleaning → closed`, and back to open when work turns up.
//!
//! ```text
//! look ─► refuse, or cleaning ─► end what runs ─► look again ─► refuse (open), or take away ─► closed
//!                                                  ▲     └─► merge ─┐        └─► rescue ─► closed
//!                                                  └────────────────┘
//! ```

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use laneway_api::error::{ErrorKind, Problem};
use laneway_core::attachment::User;
use laneway_core::command::{Command, Merged, Quieted, Removed};
use laneway_core::decide::{CloseStep, next_step, others_in, refuse_terms};
use laneway_core::event::{Event, Subject};
use laneway_core::findings::{CommitLine, Findings, LargeFile, Listed, Losses};
use laneway_core::id::{LaneId, RunId};
use laneway_core::lane::{CloseTerms, Lane, Lifecycle};
use laneway_core::launch::DEFAULT_GRACE_MS;
use laneway_core::os_text::OsText;
use laneway_core::refusal::Refusal;
use laneway_fault::fault_point;
use laneway_git::{
    BranchFate, Listing, MergeError, Operation, RemoveError, Repository, Seen, Trashed, TreeStamp, TreeState,
    TreeToJudge, TreeToRemove, UnreachableCommit,
};

use super::{Engine, Request, blocking, inside, not_found};
use laneway_store::{Store, WorkersOf};

use crate::clock::now;
use crate::holders::Holder;
use crate::problem::{IntoProblem, chain, failed_by_words, failed_in_words};

/// What a close may take beyond its grace: looking twice at a large tree, and renaming it aside.
const CLOSE_LIMIT: Duration = Duration::from_mins(10);

/// What ending everything in a lane may take beyond the grace.
const QUIET_LIMIT: Duration = Duration::from_secs(30);

/// How a close ended.
#[derive(Default)]
pub(crate) struct Close {
    pub(crate) was_closed: bool,
    pub(crate) branch_deleted: bool,
    pub(crate) stashes: u32,
    /// The branch that its commits were merged into.
    pub(crate) merged_into: Option<String>,
    /// All that was in it is kept.
    pub(crate) rescued: bool,
    /// Its repository was not there.
    pub(crate) left_behind: bool,
}

/// How a close is asked for.
#[derive(Clone)]
pub(crate) struct CloseAsked {
    pub(crate) grace_ms: u64,
    pub(crate) terms: CloseTerms,
    /// Who asks, if that is somebody with a name.
    pub(crate) by: Option<User>,
    /// The process that asks: it and those above it may stand in the worktree.
    pub(crate) caller: Option<u32>,
    /// Only if nothing runs in it, or is to be started again.
    pub(crate) if_quiet: bool,
}

/// What is known of a close from when it was asked for.
#[derive(Default)]
pub(super) struct AskedToClose {
    /// How many wait for it.
    n_asking: usize,
    /// Who may stand in the worktree: whoever asked, and what started them.
    excused: HashSet<u32>,
    /// How its files looked then, if there was nothing in them.
    stamp: Option<TreeStamp>,
    /// What was found then, if all of it is kept whatever comes to it.
    kept: Option<Findings>,
    told: Arc<Told>,
}

/// What those who wait for a close are told of it beside the record.
#[derive(Default)]
struct Told {
    /// Whether its branch was deleted, once that is known.
    branch_deleted: OnceLock<bool>,
    /// Why it was not merged at the last try; its message is the lane's failure.
    not_merged: Mutex<Option<Problem>>,
}

/// What a look at a lane has shown.
#[derive(Default)]
struct Look {
    findings: Findings,
    judged: Judged,
}

/// What of a look is for the next one, or for the removal.
#[derive(Default)]
pub(super) struct Judged {
    seen: Seen,
    stamp: Option<TreeStamp>,
}

impl Default for CloseAsked {
    fn default() -> Self {
        Self {
            grace_ms: DEFAULT_GRACE_MS,
            terms: CloseTerms::default(),
            by: None,
            caller: None,
            if_quiet: false,
        }
    }
}

impl Engine {
    /// Refuses a lane in which something runs, or is to be started again.
    async fn refuse_unless_quiet(&self, lane: LaneId) -> Result<(), Problem> {
        let workers = self.read(move |store| store.workers(WorkersOf::Lane(lane))).await?;
        let running: Vec<String> = workers
            .into_iter()
            .filter(|row| {
                row.latest.as_ref().is_some_and(|run| run.state.is_live())
                    || row.worker.supervision.next_try_at().is_some()
            })
            .map(|row| row.worker.name.map_or_else(|| "a task".to_owned(), |name| name.to_string()))
            .collect();
        if running.is_empty() {
            return Ok(());
        }
        let verb = if running.len() == 1 { "runs" } else { "run" };
        let message = format!("{} {verb} in it", running.join(", "));
        Err(Problem::new(ErrorKind::Refused, "lane_in_use", message).hint("see what runs: lane ps"))
    }

    /// Closes a lane, and waits until it is closed. Work that would be lost is a refusal.
    pub(crate) async fn close_lane(
        &self,
        id: LaneId,
        asked: CloseAsked,
        request: Request,
    ) -> Result<Close, Problem> {
        let CloseAsked { grace_ms, terms, by, caller, if_quiet } = asked;
        let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
        if lane.lifecycle == Lifecycle::Closed {
            return Ok(Close { was_closed: true, ..Close::default() });
        }
        let excused = caller.map(inside::with_ancestors).unwrap_or_default();
        let look = match lane.lifecycle {
            Lifecycle::Open => Some(self.look_at(&lane, terms, by.as_ref(), &excused, None).await?),
            Lifecycle::New | Lifecycle::Provisioning | Lifecycle::Cleaning | Lifecycle::Closed => None,
        };
        if look.as_ref().is_some_and(|look| next_step(&look.findings, terms) != CloseStep::Refuse) {
            could_be_moved(&lane).await?;
        }
        let (findings, stamp) = look.map_or((None, None), |look| (Some(look.findings), look.judged.stamp));
        let stashes = findings.as_ref().map_or(0, |findings| findings.stashes);
        let kept = findings.clone().filter(|findings| next_step(findings, terms) == CloseStep::Rescue);
        let close = Command::CloseLane { lane: id, findings, grace_ms, terms, by };
        if if_quiet {
            self.refuse_unless_quiet(id).await?;
        }
        // Before it is decided: the second look may follow at once. Of two who close it each may stand in it.
        let told = {
            let mut closing = self.lock_asked_to_close();
            let asked = closing.entry(id).or_default();
            asked.n_asking += 1;
            asked.excused.extend(excused);
            asked.stamp = stamp;
            asked.kept = kept;
            Arc::clone(&asked.told)
        };
        let committed = match self.submit(close, request).await {
            Ok(committed) => committed,
            Err(problem) => {
                self.ask_no_longer(id);
                return Err(problem);
            }
        };
        // A close that was remembered before may be refused by this very decision.
        let before = committed.seq.saturating_sub(committed.events.len() as u64);
        let limit = CLOSE_LIMIT + Duration::from_millis(grace_ms);
        let settled = self.settled(id, limit).await;
        self.ask_no_longer(id);
        let lane = settled?;
        if lane.lifecycle == Lifecycle::Closed {
            let branch_deleted = match (told.branch_deleted.get(), lane.own_branch()) {
                (Some(deleted), _) => *deleted,
                (None, Some(branch)) => !self.branch_is_there(&lane, branch.to_owned()).await,
                (None, None) => false,
            };
            let mut close = Close { branch_deleted, stashes, ..Close::default() };
            for event in self.events_after(before).await? {
                match event.event {
                    _ if event.subject.lane != Some(id) => {}
                    Event::LaneMerged { into, .. } => close.merged_into = Some(into),
                    Event::LaneRescued { .. } => close.rescued = true,
                    Event::LaneLeftBehind { .. } => close.left_behind = true,
                    _ => {}
                }
            }
            return Ok(close);
        }
        Err(self.why_open_again(&lane, before, &told).await?)
    }

    /// A close came back to open: for work that turned up, or because something would not go.
    async fn why_open_again(&self, lane: &Lane, seq: u64, told: &Told) -> Result<Problem, Problem> {
        let refused = self.events_after(seq).await?.into_iter().rev().find_map(|event| match event.event {
            Event::LaneCloseRefused { losses } if event.subject.lane == Some(lane.id) => Some(losses),
            _ => None,
        });
        Ok(match (refused, &lane.failure) {
            (Some(losses), _) => {
                Refusal::WouldLose { lane: lane.name.clone(), losses: Box::new(losses) }.into_problem()
            }
            (None, Some(failure)) => {
                let message = format!("lane {} could not be closed: {failure}", lane.name);
                let not_merged = told.not_merged.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(problem) = not_merged.filter(|problem| problem.message == *failure) {
                    return Ok(Problem { message, ..problem });
                }
                let problem = failed_by_words("not_closed", failure, message);
                // What it was short of says what to do.
                if problem.hint.is_some() {
                    return Ok(problem);
                }
                problem.hint(format!("see what is left, then again: lane close {}", lane.name))
            }
            (None, None) => {
                Problem::new(ErrorKind::Refused, "not_closed", format!("lane {} was opened again", lane.name))
            }
        })
    }

    async fn branch_is_there(&self, lane: &Lane, branch: String) -> bool {
        let Ok(repository) = self.repository_of_lane(lane.id).await else { return true };
        let path = lane.path.to_path_buf();
        let facts = blocking(move || repository.tree_facts(&path, &branch)).await;
        !matches!(facts, Ok(Ok(facts)) if facts.branch_tip.is_none())
    }

    /// What a close would find and do now; nothing changes.
    pub(crate) async fn forecast(
        &self,
        id: LaneId,
        CloseAsked { terms, by, caller, .. }: CloseAsked,
    ) -> Result<(CloseStep, Findings, bool), Problem> {
        let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
        if lane.lifecycle != Lifecycle::Open {
            let refusal = Refusal::LaneNotOpen { lane: lane.name, lifecycle: lane.lifecycle };
            return Err(refusal.into_problem());
        }
        refuse_terms(&lane, terms).map_err(IntoProblem::into_problem)?;
        let excused = caller.map(inside::with_ancestors).unwrap_or_default();
        let findings = self.look_at(&lane, terms, by.as_ref(), &excused, None).await?.findings;
        let branch_goes = lane.own_branch().is_some() && !terms.keep_branch;
        Ok((next_step(&findings, terms), findings, branch_goes))
    }

    /// Looks at a lane's worktree and branch, at who uses it beside `by`, and at who stands in it but those that are
    /// excused. Of an adopted one nothing goes, so that nothing can be lost. Files that look as they did `before`, a
    /// moment ago, are not read again.
    async fn look_at(
        &self,
        lane: &Lane,
        terms: CloseTerms,
        by: Option<&User>,
        excused: &HashSet<u32>,
        before: Option<TreeStamp>,
    ) -> Result<Look, Problem> {
        let id = lane.id;
        let attachments = self.read(move |store| store.attachments(Some(id))).await?;
        let attachments = others_in(&attachments, by, now());
        if lane.is_adopted() {
            let mut look = Look::default();
            look.findings.losses.attachments = attachments;
            return Ok(look);
        }
        if let Some(root) = self.repository_is_gone(id).await? {
            let root = root.shown();
            if !terms.discard {
                let message = format!("the repository {root} is not there: deleted, or moved");
                return Err(Problem::new(ErrorKind::Failed, "repository_gone", message).hint(format!(
                    "put it back there, or: lane close {} --discard --workspace {root} ends the lane here, and \
                     touches nothing of it",
                    lane.name
                )));
            }
            let mut look = Look::default();
            look.findings.losses.attachments = attachments;
            look.findings.losses.not_looked_at = Some(format!("the repository {root} is not there"));
            return Ok(look);
        }
        let repository = self.ruled_repository_of_lane(lane.id).await?;
        let closing = self.branches_being_closed(lane).await?;
        let lane = lane.clone();
        let runs = self.read(Store::live_runs).await?;
        let live = runs.iter().filter(|row| row.worker.lane == lane.id).map(|row| row.run.id);
        // And of ended ones what they have left behind, as long as their holders look after that.
        let own: Vec<RunId> =
            live.chain(self.holders.of_lane(lane.id).into_iter().map(|(run, _)| run)).collect();
        let panes = self.further_panes_in(id).await?;
        let excused = excused.clone();
        // What a program stores into a file that it has mapped does not show in the file's times.
        let may_be_stamped = own.is_empty();
        blocking(move || {
            let closing: Vec<&str> = closing.iter().map(String::as_str).collect();
            let path = lane.path.to_path_buf();
            let asked = TreeToJudge { before: before.as_ref(), ..to_judge(&lane, &path, &closing, terms) };
            repository.judge(&asked).map(|found| {
                let stamp = found.stamp.clone().filter(|_| may_be_stamped);
                let judged = Judged { seen: found.seen.clone(), stamp };
                let is_there = found.tree == TreeState::Present;
                let mut findings = findings_of(found);
                // A link at its place leads to what is not the lane's.
                if is_there {
                    findings.losses.processes =
                        inside::foreign_processes(&path, &own, &inside::processes_of_panes(&panes), &excused);
                }
                findings.losses.attachments = attachments;
                Look { findings, judged }
            })
        })
        .await?
        .map_err(IntoProblem::into_problem)
    }

    /// Of several who close a lane one is done; the others may go on.
    fn ask_no_longer(&self, id: LaneId) {
        if let Entry::Occupied(mut asked) = self.lock_asked_to_close().entry(id) {
            asked.get_mut().n_asking -= 1;
            if asked.get().n_asking == 0 {
                asked.remove();
            }
        }
    }

    /// What became of its branch, for those who wait for its close.
    pub(super) fn branch_was(&self, lane: LaneId, fate: &BranchFate) {
        if let Some(asked) = self.lock_asked_to_close().get(&lane) {
            // A removal that is done again finds it gone: what was told first stays.
            let is_gone = matches!(fate, BranchFate::Deleted { .. } | BranchFate::Gone);
            let _ = asked.told.branch_deleted.set(is_gone);
        }
    }

    fn excused_in(&self, lane: LaneId) -> HashSet<u32> {
        self.lock_asked_to_close().get(&lane).map(|asked| asked.excused.clone()).unwrap_or_default()
    }

    fn lock_asked_to_close(&self) -> std::sync::MutexGuard<'_, HashMap<LaneId, AskedToClose>> {
        self.asked_to_close.lock().expect("no holder of this lock panics")
    }

    /// The branches of the other lanes that are being closed, or made and perhaps undone: they hold no commit for
    /// this one.
    async fn branches_being_closed(&self, lane: &Lane) -> Result<Vec<String>, Problem> {
        let (id, workspace) = (lane.id, lane.workspace);
        let open = self.read(move |store| store.lanes(Some(workspace), false)).await?;
        let closing = open.into_iter().filter(|other| other.id != id && other.lifecycle != Lifecycle::Open);
        Ok(closing.filter_map(|other| other.own_branch().map(str::to_owned)).collect())
    }

    /// The effect: the lane is ready, and its close was asked for meanwhile.
    pub(super) async fn close_remembered(&self, id: LaneId, request: Request) {
        let lane = match self.read(move |store| store.lane(id)).await {
            Ok(Some(lane)) if lane.lifecycle == Lifecycle::Open => lane,
            Ok(_) => return,
            Err(problem) => {
                tracing::warn!(lane = %id, problem = problem.message, "a remembered close was not done");
                return;
            }
        };
        let terms = lane.close_terms;
        let findings = self
            .look_at(&lane, terms, lane.close_by.as_ref(), &self.excused_in(id), None)
            .await
            .map_or_else(not_looked_at, |look| look.findings);
        let (findings, by) = (Some(findings), lane.close_by);
        let close = Command::CloseLane { lane: id, findings, grace_ms: DEFAULT_GRACE_MS, terms, by };
        // Not by `report`: what was found now must not decide later. The wish to close is recorded.
        if let Err(problem) = self.submit(close, request).await {
            tracing::warn!(lane = %id, problem = problem.message, "a remembered close was not done");
        }
    }

    /// The effect: ends every process of the lane's runs.
    /// Without a grace it goes on with stops that had been asked before.
    pub(super) async fn quiet_lane(&self, lane: LaneId, epoch: u64, grace_ms: Option<u64>, request: Request) {
        let quieted = match grace_ms {
            Some(grace_ms) => {
                let limit = QUIET_LIMIT.saturating_add(Duration::from_millis(grace_ms));
                tokio::time::timeout(limit, self.quiet(lane, Some(grace_ms))).await
            }
            None => Ok(self.quiet(lane, None).await),
        };
        let outcome = match quieted {
            Ok(Ok(left)) if left.is_empty() => Quieted::Quiet,
            Ok(Ok(left)) => Quieted::StillAlive { what: format!("still alive: {}", left.join(", ")) },
            Ok(Err(problem)) => Quieted::StillAlive { what: problem.message },
            Err(_) => Quieted::StillAlive { what: "its programs did not end in time".to_owned() },
        };
        fault_point!("close.quieted");
        self.report(Command::FinishQuieting { lane, epoch, outcome }, request).await;
    }

    async fn quiet(&self, lane: LaneId, grace_ms: Option<u64>) -> Result<Vec<String>, Problem> {
        let mut left = Vec::new();
        // A start that was under way shows up as a holder only when it is done, so until no run is live.
        loop {
            self.find_holders(lane).await?;
            let holders = self.holders_with_processes(lane);
            let stops: Vec<_> = holders
                .iter()
                .map(|(run, holder)| {
                    let (run, holder) = (*run, holder.clone());
                    let grace_ms = grace_ms.unwrap_or_else(|| holder.grace_to_go_on());
                    tokio::spawn(async move { (run, holder.stop(grace_ms).await) })
                })
                .collect();
            for stop in stops {
                let Ok((run, processes)) = stop.await else { continue };
                left.extend(processes.iter().map(|p| format!("{} of {run} ({})", p.pid, p.command)));
            }
            if !left.is_empty() {
                return Ok(left);
            }
            for (_, holder) in holders {
                holder.over().await;
            }
            if self.no_run_is_live(lane).await? && self.holders_with_processes(lane).is_empty() {
                self.remove_panes_in(lane).await?;
                return Ok(left);
            }
        }
    }

    /// The holders under which something is alive. One may stay without, for a reader of its output.
    fn holders_with_processes(&self, lane: LaneId) -> Vec<(RunId, Holder)> {
        let mut holders = self.holders.of_lane(lane);
        holders.retain(|(_, holder)| !holder.is_over());
        holders
    }

    /// Finds the holders of live runs that could not be reached before.
    async fn find_holders(&self, lane: LaneId) -> Result<(), Problem> {
        for row in self.read(Store::live_runs).await? {
            if row.worker.lane == lane && !self.is_starting(row.run.id) {
                self.holder_of(row.run.id, lane).await;
            }
        }
        Ok(())
    }

    /// Waits until a run of the lane changes, if one is live and has no holder yet.
    async fn no_run_is_live(&self, lane: LaneId) -> Result<bool, Problem> {
        let about = move |subject: &Subject| subject.lane == Some(lane);
        self.watch_for(QUIET_LIMIT, about, || async {
            let live = self.read(Store::live_runs).await?;
            if !live.iter().any(|row| row.worker.lane == lane) {
                return Ok(Some(true));
            }
            let to_stop = !self.holders_with_processes(lane).is_empty();
            Ok(to_stop.then_some(false))
        })
        .await
    }

    /// The effect: the second look.
    pub(super) async fn judge_again(&self, id: LaneId, epoch: u64, request: Request) {
        let looked = async {
            let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
            let (before, kept) = match self.lock_asked_to_close().get(&id) {
                Some(asked) => (asked.stamp.clone(), asked.kept.clone()),
                None => (None, None),
            };
            // All that is in it is kept, also what was written since: only who uses it now can be in the way.
            if let Some(mut findings) =
                kept.filter(|found| next_step(found, lane.close_terms) == CloseStep::Rescue)
            {
                let attachments = self.read(move |store| store.attachments(Some(id))).await?;
                findings.losses.attachments = others_in(&attachments, lane.close_by.as_ref(), now());
                return Ok(Look { findings, judged: Judged::default() });
            }
            self.look_at(&lane, lane.close_terms, lane.close_by.as_ref(), &self.excused_in(id), before).await
        };
        let findings = match looked.await {
            Ok(Look { findings, judged }) => {
                if findings.losses.is_empty() {
                    self.judged.lock().expect("no holder of this lock panics").insert((id, epoch), judged);
                }
                findings
            }
            Err(problem) => not_looked_at(problem),
        };
        fault_point!("close.judged");
        self.report(Command::JudgeAgain { lane: id, epoch, findings }, request).await;
    }

    /// The effect: merges the lane's commits into what it was made from.
    pub(super) async fn merge_lane(&self, id: LaneId, epoch: u64, request: Request) {
        let outcome = match self.merge(id).await {
            Ok((into, commit)) => Merged::Done { into, commit },
            Err(problem) => {
                let failure = problem.message.clone();
                if let (Some(asked), ErrorKind::Refused) = (self.lock_asked_to_close().get(&id), problem.kind)
                {
                    *asked.told.not_merged.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
                }
                Merged::Failed { failure }
            }
        };
        self.report(Command::FinishMerging { lane: id, epoch, outcome }, request).await;
    }

    async fn merge(&self, id: LaneId) -> Result<(String, String), Problem> {
        let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
        let repository = self.repository_of_lane(id).await?;
        let failed =
            |error: &dyn std::error::Error| Problem::new(ErrorKind::Failed, "not_merged", chain(error));
        blocking(move || {
            let path = lane.path.to_path_buf();
            let found = repository.judge(&to_judge(&lane, &path, &[], lane.close_terms));
            let seen = found.map_err(|error| failed(&error))?.seen;
            let head = seen.head.and_then(|head| head.commit).or(seen.branch_tip);
            let Some(commit) = head else {
                return Err(Problem::new(ErrorKind::Failed, "not_merged", "it has no commit to merge"));
            };
            let message = format!("Merge lane {}", lane.name);
            let base = lane.base_commit.parse().map_err(|error: laneway_git::NotACommitId| failed(&error))?;
            let merged = repository
                .merge(&lane.base_ref, &commit, &base, &message)
                .map_err(|error| not_merged(&lane, &repository, &error))?;
            let at = match merged {
                laneway_git::Merged::AlreadyThere => commit,
                laneway_git::Merged::Moved { to, .. } => to,
            };
            Ok((lane.base_ref, at.to_string()))
        })
        .await?
    }

    /// The effect: takes worktree and branch away.
    pub(super) async fn remove_lane(&self, id: LaneId, epoch: u64, request: Request) {
        let outcome = match self.remove(id, epoch).await {
            Ok(Ok(Some(trashed))) => {
                unlink(trashed);
                Removed::Gone { rescue: None }
            }
            Ok(Ok(None)) => Removed::Gone { rescue: self.kept_before(id).await },
            Ok(Err(losses)) => Removed::WorkFound(Box::new(losses)),
            Err(problem) => Removed::Failed { failure: problem.message },
        };
        self.finish_closing(id, epoch, outcome, request).await;
    }

    pub(super) async fn finish_closing(&self, id: LaneId, epoch: u64, outcome: Removed, request: Request) {
        let gone = matches!(outcome, Removed::Gone { .. } | Removed::LeftBehind);
        self.report(Command::FinishClosing { lane: id, epoch, outcome }, request).await;
        fault_point!("close.recorded");
        self.lock_asked_to_close().remove(&id);
        if gone {
            self.forget_environments(id).await;
        }
    }

    async fn remove(&self, id: LaneId, epoch: u64) -> Result<Result<Option<Trashed>, Losses>, Problem> {
        let lane = self.read(move |store| store.lane(id)).await?.ok_or_else(|| not_found("lane", &id))?;
        let judged = self.judged.lock().expect("no holder of this lock panics").remove(&(id, epoch));
        let Judged { seen, stamp } = judged.ok_or_else(|| {
            Problem::new(ErrorKind::Failed, "not_judged", "it was not looked at by this daemon")
        })?;
        let closing = self.branches_being_closed(&lane).await?;
        let repository: Arc<Repository> = self.ruled_repository_of_lane(id).await?;
        let removed = blocking(move || {
            let closing: Vec<&str> = closing.iter().map(String::as_str).collect();
            let path = lane.path.to_path_buf();
            repository.remove(&TreeToRemove {
                judged: TreeToJudge {
                    before: stamp.as_ref(),
                    ..to_judge(&lane, &path, &closing, lane.close_terms)
                },
                seen: &seen,
                tree_is_ours: !lane.is_adopted(),
                id: &lane.id.to_string(),
            })
        })
        .await?;
        let removed = match removed {
            Ok(removed) => removed,
            Err(RemoveError::Written { found, .. }) => return Ok(Err(findings_of(*found).losses)),
            Err(RemoveError::WouldLose { commits }) => {
                return Ok(Err(Losses { commits: commit_lines(commits), ..Losses::default() }));
            }
            Err(error @ RemoveError::Moved { .. }) => {
                return Ok(Err(Losses { not_looked_at: Some(error.to_string()), ..Losses::default() }));
            }
            Err(error) => return Err(Problem::new(ErrorKind::Failed, "not_removed", chain(&error))),
        };
        self.branch_was(id, &removed.branch);
        if let BranchFate::Kept { source } = &removed.branch {
            tracing::warn!(lane = %id, error = chain(source), "a branch was kept");
        }
        Ok(Ok(removed.trashed))
    }

    /// The environments of a closed lane's workers are not needed again, and are secrets.
    async fn forget_environments(&self, lane: LaneId) {
        let rows = self.read(move |store| store.workers(WorkersOf::Lane(lane))).await.unwrap_or_default();
        for spec in rows.into_iter().filter_map(|row| row.spec) {
            crate::launches::forget(&self.home, &spec.environment);
        }
    }
}

/// Deletes a tree that was renamed aside, while nobody waits for it; the next start deletes what is left.
pub(super) fn unlink(trashed: Trashed) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = trashed.unlink() {
            tracing::warn!(error = chain(&error), "a closed lane's tree could not be deleted");
        }
    });
}

/// What cannot be looked at is not taken away.
fn not_looked_at(problem: Problem) -> Findings {
    let losses = Losses { not_looked_at: Some(problem.message), ..Losses::default() };
    Findings { losses, ..Findings::default() }
}

/// Refuses a close whose last step could not be done now, before the programs of the lane are ended for it.
async fn could_be_moved(lane: &Lane) -> Result<(), Problem> {
    let (path, id) = (lane.path.to_path_buf(), lane.id.to_string());
    if lane.is_adopted() {
        return Ok(());
    }
    let tried = blocking(move || {
        // One that is gone has nothing to move.
        if path.symlink_metadata().is_ok() { Trashed::try_place(&path, &id) } else { Ok(()) }
    });
    tried.await?.map_err(|error| {
        let name = &lane.name;
        let place = lane.path.as_path().parent().unwrap_or(lane.path.as_path()).display();
        let message = format!("lane {name} cannot be closed now, and nothing was changed: {place}: {error}");
        let problem = failed_in_words("not_closed", &error, message);
        if problem.code == "disk_full" {
            return problem.hint(format!(
                "make room on the disk of {place} (what closed lanes keep there: lane prune --dry-run), then again: \
                 lane close {name}"
            ));
        }
        if problem.hint.is_some() {
            return problem;
        }
        problem.hint(format!("see that {place} can be written to, then again: lane close {name}"))
    })
}

/// Why a lane was not merged, with what helps.
fn not_merged(lane: &Lane, repository: &Repository, error: &MergeError) -> Problem {
    let (name, into, path) = (&lane.name, &lane.base_ref, lane.path.as_path().display());
    let refused = |code: &str, hint: String| Problem::new(ErrorKind::Refused, code, chain(error)).hint(hint);
    let naming = |mut problem: Problem, files: &Listing<PathBuf>| {
        let names = files.first.iter().take(20).map(|path| path.display().to_string());
        problem.message = format!("{}: {}", problem.message, names.collect::<Vec<_>>().join(", "));
        let files = listed(files.clone(), OsText::from);
        problem.details = Some(serde_json::json!({ "files": files }));
        problem
    };
    let again = format!("then again: lane close {name} --merge");
    match error {
        MergeError::Conflict { files } => {
            let hint = format!("git -C {path} merge {into}, resolve it there and commit, {again}");
            naming(refused("merge_conflict", hint), files)
        }
        MergeError::ChangedThere { at, files, .. } => {
            let hint = format!("commit or stash it: git -C {} status, {again}", at.display());
            naming(refused("not_merged", hint), files)
        }
        MergeError::InUse { at, .. } => {
            refused("not_merged", format!("end it: git -C {} status, {again}", at.display()))
        }
        MergeError::NoSuchBranch { .. } | MergeError::Remade { .. } => {
            let branch = lane.branch().unwrap_or("HEAD");
            let root = repository.root().display();
            let hint = format!(
                "merge {branch} by hand where it belongs (git -C {root} merge {branch}, or git -C {path} push REMOTE \
                 HEAD:BRANCH), then: lane close {name}"
            );
            refused("not_merged", hint)
        }
        _ => Problem::new(ErrorKind::Failed, "not_merged", chain(error)),
    }
}

fn to_judge<'a>(
    lane: &'a Lane,
    path: &'a std::path::Path,
    closing: &'a [&'a str],
    terms: CloseTerms,
) -> TreeToJudge<'a> {
    TreeToJudge {
        path,
        recorded_branch: lane.branch().unwrap_or_default(),
        branch_is_ours: lane.own_branch().is_some() && !terms.keep_branch,
        not_vouching: closing,
        before: None,
    }
}

fn listed<T, U>(listing: Listing<T>, to: impl Fn(T) -> U) -> Listed<U> {
    Listed { count: listing.count as u64, first: listing.first.into_iter().map(to).collect() }
}

fn commit_lines(commits: Listing<UnreachableCommit>) -> Listed<CommitLine> {
    listed(commits, |commit| CommitLine { id: commit.id.as_str().to_owned(), subject: commit.subject })
}

/// What git found, in the words of the core.
fn findings_of(found: laneway_git::Findings) -> Findings {
    let not_looked_at = match found.tree {
        TreeState::Present | TreeState::Missing => found.not_looked_at,
        TreeState::NotAFolder => {
            Some("its path is a link or a file, not a folder: nothing is closed until that is moved away".to_owned())
        }
        TreeState::NotRegistered => Some(
            "its folder is not a worktree of this repository: nothing is closed until that is moved away, or git \
             worktree repair makes it one"
                .to_owned(),
        ),
    };
    let losses = Losses {
        changed: listed(found.changed, |file| OsText::from(file.path)),
        untracked: listed(found.untracked, OsText::from),
        ignored: listed(found.ignored, OsText::from),
        large: listed(found.large, |file| LargeFile { path: OsText::from(file.path), bytes: file.bytes }),
        submodules: listed(found.submodules, OsText::from),
        commits: commit_lines(found.unreachable),
        operation: found.operation.map(|operation| operation_name(operation).to_owned()),
        processes: Listed::default(),
        attachments: Listed::default(),
        not_looked_at,
    };
    let stashes = u32::try_from(found.n_stashes).unwrap_or(u32::MAX);
    Findings { losses, stashes }
}

/// As git's own commands are called.
const fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Merge => "merge",
        Operation::Rebase => "rebase",
        Operation::CherryPick => "cherry-pick",
        Operation::Revert => "revert",
        Operation::Bisect => "bisect",
    }
}
