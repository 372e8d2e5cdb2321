//! Targets: what a person typed, resolved to exactly one thing.
//!
//! The order is:
//! 1. `.`, `..` and `-`: the worker that the caller is in, its parent, and what was attached to last
//! 2. an id: whole, a unique prefix, or its last six or more characters
//! 3. `%7`, a pane of tmux, and `@4`, a window of tmux (`tmux`, as all that follows about it)
//! 4. `worker:N`, a pane of a worker; 0 is the one its program runs in
//! 5. `lane/worker`
//! 6. a worker's name, 7. a lane's name
//! 8. `session:window`, `session:window.pane` and `session` of tmux
//! 9. for who only reads: the name of a worker whose lane is closed, and a unique prefix of a name
//!
//! The id of a run that is not its worker's latest means that run, and only for who reads. Of the commands only `lane
//! resolve` takes prefixes of names: what it has matched is what it prints, where the output of `lane read` and the
//! others is taken for that of what was named.
//!
//! Resolution has no side effects, and a dead target is still found: whoever asked says that it is dead.

mod tmux;

#[cfg(test)]
mod tests;

use crate::id::{LaneId, RunId, WorkerId, looks_like_an_id};
use crate::name::Name;
use crate::os_text::OsText;
use crate::pane::{PRIMARY, PanePlace, TmuxServer};

/// The fewest characters of an id, after its prefix or at its end, that may stand for it.
pub const MIN_ID_TAIL: usize = 6;

/// The most things that an error names.
const MOST_NAMED: usize = 10;

/// A lane that can be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneEntry {
    /// Its id.
    pub id: LaneId,
    /// Its name.
    pub name: Name,
    /// It is not closed: closed lanes are found by id only.
    pub open: bool,
}

/// A worker or task that can be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerEntry {
    /// Its id.
    pub id: WorkerId,
    /// Its lane.
    pub lane: LaneId,
    /// Its name; tasks have none.
    pub name: Option<Name>,
    /// The worker whose program asked for it.
    pub parent: Option<WorkerId>,
    /// Its latest run.
    pub run: Option<RunId>,
    /// That run is alive.
    pub alive: bool,
}

/// A run that was followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormerRun {
    /// Its id.
    pub id: RunId,
    /// Its worker.
    pub worker: WorkerId,
    /// Its number.
    pub number: u32,
}

/// Whose a pane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A worker of the caller's repository.
    Worker {
        /// The worker.
        id: WorkerId,
        /// The pane's number.
        number: u32,
        /// It is closed.
        gone: bool,
    },
    /// A worker of another repository.
    Elsewhere {
        /// Its name, or its id.
        worker: String,
        /// The folder of that repository.
        root: OsText,
    },
    /// Nobody of ours.
    Nobody,
}

/// A pane of tmux, once for each place that it can be seen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaneEntry {
    /// Its server.
    pub server: TmuxServer,
    /// That is the server that the caller means when he says nothing else.
    pub near: bool,
    /// Its id (`%7`).
    pub pane_id: String,
    /// Its number in its window, if tmux was asked.
    pub pane_index: Option<u32>,
    /// Where it is.
    pub place: PanePlace,
    /// Whose it is.
    pub owner: Owner,
    /// The worker that it shows, if it is a window of `lane tmux`.
    pub shows: Option<WorkerId>,
}

/// What can be meant: the lanes and workers of the caller's repository, and every pane that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The lanes.
    pub lanes: Vec<LaneEntry>,
    /// The workers, the newest last.
    pub workers: Vec<WorkerEntry>,
    /// The runs that are no worker's latest; they need to be known only where the id of a run was typed.
    pub former_runs: Vec<FormerRun>,
    /// The panes.
    pub panes: Vec<PaneEntry>,
    /// It is known which server of tmux the caller means when he says nothing else.
    pub near_is_known: bool,
    /// The worker that the caller is in.
    pub caller: Option<WorkerId>,
    /// The worker whose terminal was attached to last, wherever it is.
    pub last_attached: Option<WorkerId>,
}

/// What a verb acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A lane: names of workers do not count.
    Lane,
    /// A worker: the name of a lane means its only live worker, else its only worker.
    Worker,
    /// Either; the name of a lane means the lane if no worker has it.
    Either,
}

/// What a verb does with what is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It types, stops, closes, or changes something else: only what is exactly named is meant.
    Acting,
    /// It only looks: the beginning of one name alone will do, and so will a pane that is nobody's.
    Reading,
}

/// What was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A lane.
    Lane(LaneId),
    /// A worker.
    Worker {
        /// The worker.
        id: WorkerId,
        /// The pane; [`PRIMARY`] is the terminal of its program, in tmux or not.
        pane: u32,
    },
    /// A run that was followed by another.
    Run {
        /// Its worker.
        worker: WorkerId,
        /// Its number.
        number: u32,
    },
    /// A pane that is nobody's of ours.
    Pane {
        /// Its server.
        server: TmuxServer,
        /// Its id (`%7`).
        pane_id: String,
        /// The worker that it shows, if it is a window of `lane tmux`.
        shows: Option<WorkerId>,
    },
}

/// By what a target was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `.`: the worker that the caller is in.
    Caller,
    /// `..`: its parent.
    Parent,
    /// `-`: what was attached to last.
    LastAttached,
    /// An id, or enough of one.
    Id,
    /// A pane's id.
    Pane,
    /// A window's id.
    Window,
    /// `worker:N`.
    WorkerPane,
    /// `lane/worker`.
    LaneWorker,
    /// A worker's name.
    Worker,
    /// A lane's name.
    Lane,
    /// `session:window`, with or without a pane.
    SessionWindow,
    /// A window that shows a worker, by any of these.
    Viewer,
    /// A session's name.
    Session,
    /// The name of a worker whose lane is closed.
    Former,
    /// The beginning of a name.
    Prefix,
}

impl Method {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Caller => "caller",
            Method::Parent => "parent",
            Method::LastAttached => "last_attached",
            Method::Id => "id",
            Method::Pane => "pane",
            Method::Window => "window",
            Method::WorkerPane => "worker_pane",
            Method::LaneWorker => "lane_worker",
            Method::Worker => "worker",
            Method::Lane => "lane",
            Method::SessionWindow => "session_window",
            Method::Viewer => "viewer",
            Method::Session => "session",
            Method::Former => "former_worker",
            Method::Prefix => "prefix",
        }
    }
}

/// What was meant, and how that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    /// What.
    pub target: Target,
    /// By what.
    pub method: Method,
}

/// Why a text means nothing, or more than one thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing of that name or id.
    #[error("there is no {what} {text:?} in this repository")]
    NotFound {
        /// `lane`, `worker`, or `lane or worker`.
        what: &'static str,
        /// What was typed.
        text: String,
        /// Names that exist, the closest first; at most five.
        closest: Vec<String>,
    },
    /// More than one.
    #[error("{text:?} can mean {}", .candidates.join(", "))]
    Ambiguous {
        /// What was typed.
        text: String,
        /// What it can mean, each in a form that means only that.
        candidates: Vec<String>,
    },
    /// The lane is there and has no worker.
    #[error("lane {lane} has no worker")]
    NoWorker {
        /// The lane.
        lane: Name,
    },
    /// It is a run, and not the worker's latest.
    #[error("{text} is run {number} of {worker}, which was started again since")]
    FormerRun {
        /// What was typed.
        text: String,
        /// The worker, in a form that means only that.
        worker: String,
        /// The run's number.
        number: u32,
    },
    /// Its lane is closed.
    #[error("worker {text:?} has ended, and its lane is closed{}", last_run(*.run))]
    Closed {
        /// What was typed.
        text: String,
        /// The worker.
        worker: WorkerId,
        /// Its last run.
        run: Option<RunId>,
    },
    /// No such pane or window of tmux is known.
    #[error("there is no {what} {text} of tmux here")]
    NotInTmux {
        /// `pane` or `window`.
        what: &'static str,
        /// What was typed.
        text: String,
        /// Those that are known, each with where it is.
        known: Vec<String>,
    },
    /// It is in another server of tmux than the one that the caller means: the same ids are in each.
    #[error("{text} is not in the tmux that is meant here; in the one at {socket} it is {label}", socket = .socket.shown())]
    OtherServer {
        /// What was typed.
        text: String,
        /// Whose it is there, in a form that means only that.
        label: String,
        /// The socket of that server.
        socket: OsText,
    },
    /// It is there, and is nobody's of ours.
    #[error(
        "{text} is a pane of tmux that no worker has ({pane_id} at {place}), and Laneway uses only its own"
    )]
    NotOurs {
        /// What was typed.
        text: String,
        /// The pane's id.
        pane_id: String,
        /// Where it is.
        place: String,
    },
    /// The worker has no pane of that number.
    #[error("worker {worker} has no pane {number}: {}", panes_of(*.number, .there, *.in_tmux))]
    NoSuchPane {
        /// The worker.
        worker: String,
        /// What was asked for.
        number: u32,
        /// The numbers that it ever had, with those that are closed marked so.
        there: Vec<(u32, bool)>,
        /// Its terminal is in tmux.
        in_tmux: bool,
    },
    /// It is a worker of another repository.
    #[error("{text} is worker {worker} of another repository, {root}")]
    Elsewhere {
        /// What was typed.
        text: String,
        /// Its name, or its id.
        worker: String,
        /// The folder of that repository.
        root: OsText,
    },
    /// `.` or `..`, from outside of a worker, or from one of another repository.
    #[error("{text:?} is about the worker that you are in, and you are in none of this repository")]
    InNoWorker {
        /// What was typed.
        text: String,
    },
    /// `..`, and nobody but a person asked for the worker.
    #[error("the worker that you are in has no parent: a person asked for it")]
    NoParent,
    /// `-`, and there is nothing.
    #[error("\"-\" is what was attached to last, and that is nothing in this repository")]
    NeverAttached,
}

fn last_run(run: Option<RunId>) -> String {
    run.map(|run| format!("; its last run was {run}")).unwrap_or_default()
}

fn panes_of(number: u32, there: &[(u32, bool)], in_tmux: bool) -> String {
    if !in_tmux {
        return "its terminal is not in tmux, and is its only one, 0".to_owned();
    }
    if there.contains(&(number, true)) {
        return "that one is closed, and its number is not given again".to_owned();
    }
    let open: Vec<String> =
        there.iter().filter(|(_, gone)| !gone).map(|(number, _)| number.to_string()).collect();
    if open.is_empty() { "it has none by now".to_owned() } else { format!("there is {}", open.join(", ")) }
}

/// Resolves `text` over what there is.
pub fn resolve(snapshot: &Snapshot, text: &str, wanted: Wanted, how: Use) -> Result<Meant, TargetError> {
    if let Some(found) = by_sign(snapshot, text, wanted) {
        return found;
    }
    if let Some(found) = by_id(snapshot, text, wanted, how) {
        return found.map(|target| Meant { target, method: Method::Id });
    }
    if wanted == Wanted::Lane {
        return match open_lane(snapshot, text) {
            Some(lane) => Ok(Meant { target: Target::Lane(lane.id), method: Method::Lane }),
            None => Err(not_found(snapshot, text, wanted)),
        };
    }
    if let Some(found) = tmux::by_id(snapshot, text, how) {
        return found;
    }
    if let Some(found) = by_worker_and_pane(snapshot, text) {
        return found;
    }
    if let Some((lane, worker)) = text.split_once('/')
        && let Some(found) = by_lane_and_worker(snapshot, lane, worker)
    {
        return Ok(primary(found, Method::LaneWorker));
    }
    if let Some(worker) = worker_named(snapshot, |_| true, text) {
        return Ok(primary(worker.id, Method::Worker));
    }
    if let Some(lane) = open_lane(snapshot, text) {
        return match wanted {
            Wanted::Lane | Wanted::Either => {
                Ok(Meant { target: Target::Lane(lane.id), method: Method::Lane })
            }
            Wanted::Worker => only_worker(snapshot, lane, text).map(|id| primary(id, Method::Lane)),
        };
    }
    if let Some(found) = tmux::by_name(snapshot, text, how) {
        return found;
    }
    if let Some(former) = former_worker(snapshot, text) {
        return match how {
            Use::Reading => Ok(primary(former.id, Method::Former)),
            Use::Acting => {
                Err(TargetError::Closed { text: text.to_owned(), worker: former.id, run: former.run })
            }
        };
    }
    match how {
        Use::Reading => by_prefix(snapshot, text, wanted),
        Use::Acting => Err(not_found(snapshot, text, wanted)),
    }
}

const fn primary(id: WorkerId, method: Method) -> Meant {
    Meant { target: Target::Worker { id, pane: PRIMARY }, method }
}

/// `.`, `..` and `-`: None if it is none of them. They mean workers, and no lanes.
fn by_sign(snapshot: &Snapshot, text: &str, wanted: Wanted) -> Option<Result<Meant, TargetError>> {
    let is_here = |id: &WorkerId| snapshot.workers.iter().any(|worker| worker.id == *id);
    let (found, method) = match text {
        _ if wanted == Wanted::Lane => return None,
        "." | ".." => {
            let caller = snapshot.workers.iter().find(|worker| Some(worker.id) == snapshot.caller);
            let Some(caller) = caller else {
                return Some(Err(TargetError::InNoWorker { text: text.to_owned() }));
            };
            match text {
                "." => (Ok(caller.id), Method::Caller),
                _ => (caller.parent.filter(is_here).ok_or(TargetError::NoParent), Method::Parent),
            }
        }
        "-" => {
            let last = snapshot.last_attached.filter(is_here);
            (last.ok_or(TargetError::NeverAttached), Method::LastAttached)
        }
        _ => return None,
    };
    Some(found.map(|id| primary(id, method)))
}

/// By id: None if the text is not meant as one.
fn by_id(snapshot: &Snapshot, text: &str, wanted: Wanted, how: Use) -> Option<Result<Target, TargetError>> {
    // A bare prefix such as `ln_` would mean the only lane there happens to be.
    let as_id = looks_like_an_id(text) && text.len() >= 3 + MIN_ID_TAIL;
    let is_tail =
        text.len() >= MIN_ID_TAIL && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if !as_id && !is_tail {
        return None;
    }
    let fits = |id: &str| {
        if as_id { id.starts_with(text) } else { id.ends_with(text) }
    };
    let mut found: Vec<(Target, String)> = Vec::new();
    for lane in &snapshot.lanes {
        let id = lane.id.to_string();
        if wanted != Wanted::Worker && fits(&id) {
            found.push((Target::Lane(lane.id), id));
        }
    }
    for worker in &snapshot.workers {
        let target = || Target::Worker { id: worker.id, pane: PRIMARY };
        let by_worker = worker.id.to_string();
        let by_run = worker.run.map(|run| run.to_string());
        if wanted != Wanted::Lane {
            if fits(&by_worker) {
                found.push((target(), by_worker));
            } else if let Some(run) = by_run.filter(|run| fits(run)) {
                found.push((target(), run));
            }
        }
    }
    for run in snapshot.former_runs.iter().filter(|_| wanted != Wanted::Lane) {
        let id = run.id.to_string();
        if fits(&id) {
            found.push((Target::Run { worker: run.worker, number: run.number }, id));
        }
    }
    match found.as_slice() {
        // What acts is about what a worker is now.
        [(Target::Run { worker, number }, _)] if how == Use::Acting => Some(Err(TargetError::FormerRun {
            text: text.to_owned(),
            worker: called(snapshot, *worker),
            number: *number,
        })),
        // With a colon it can be a pane of it.
        [] if as_id && !text.contains(':') => Some(Err(not_found(snapshot, text, wanted))),
        [] => None,
        [(target, _)] => Some(Ok(target.clone())),
        _ => {
            let candidates = found.into_iter().map(|(_, id)| id).take(MOST_NAMED).collect();
            Some(Err(TargetError::Ambiguous { text: text.to_owned(), candidates }))
        }
    }
}

/// `worker:N`: None if the text is not of that form, or what stands before the colon is no worker.
fn by_worker_and_pane(snapshot: &Snapshot, text: &str) -> Option<Result<Meant, TargetError>> {
    let (worker, number) = text.rsplit_once(':')?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u32 = number.parse().ok()?;
    let found = by_sign(snapshot, worker, Wanted::Worker)
        .map(|found| found.map(|meant| meant.target))
        .or_else(|| by_id(snapshot, worker, Wanted::Worker, Use::Acting));
    let id = match found {
        Some(Ok(Target::Worker { id, .. })) => Some(id),
        Some(Ok(Target::Lane(_) | Target::Run { .. } | Target::Pane { .. })) => None,
        Some(Err(error)) => return Some(Err(error)),
        None => match worker.split_once('/') {
            Some((lane, name)) => by_lane_and_worker(snapshot, lane, name),
            None => worker_named(snapshot, |_| true, worker).map(|worker| worker.id),
        },
    }?;
    Some(pane_of_worker(snapshot, id, number).map(|target| Meant { target, method: Method::WorkerPane }))
}

/// A pane of a worker by its number. The primary one is there with every worker, in tmux or not.
pub fn pane_of_worker(snapshot: &Snapshot, id: WorkerId, number: u32) -> Result<Target, TargetError> {
    let mut there: Vec<(u32, bool)> = snapshot
        .panes
        .iter()
        .filter_map(|pane| match pane.owner {
            Owner::Worker { id: owner, number, gone } if owner == id => Some((number, gone)),
            Owner::Worker { .. } | Owner::Elsewhere { .. } | Owner::Nobody => None,
        })
        .collect();
    there.sort_unstable();
    there.dedup();
    if number == PRIMARY || there.contains(&(number, false)) {
        return Ok(Target::Worker { id, pane: number });
    }
    let in_tmux = !there.is_empty();
    Err(TargetError::NoSuchPane { worker: called(snapshot, id), number, there, in_tmux })
}

fn by_lane_and_worker(snapshot: &Snapshot, lane: &str, worker: &str) -> Option<WorkerId> {
    let lane = open_lane(snapshot, lane)?;
    worker_named(snapshot, |entry| entry.lane == lane.id, worker).map(|worker| worker.id)
}

fn open_lane<'a>(snapshot: &'a Snapshot, text: &str) -> Option<&'a LaneEntry> {
    snapshot.lanes.iter().find(|lane| lane.open && lane.name.as_str() == text)
}

/// The worker of that name: a live one before an ended one, a newer one before an older one.
fn worker_named<'a>(
    snapshot: &'a Snapshot,
    fits: impl Fn(&WorkerEntry) -> bool,
    text: &str,
) -> Option<&'a WorkerEntry> {
    snapshot
        .workers
        .iter()
        .filter(|worker| worker.name.as_ref().is_some_and(|name| name.as_str() == text))
        .filter(|worker| fits(worker) && is_in_open_lane(snapshot, worker))
        .max_by_key(|worker| (worker.alive, worker.id))
}

/// The newest worker that had that name, in a lane that is closed.
fn former_worker<'a>(snapshot: &'a Snapshot, text: &str) -> Option<&'a WorkerEntry> {
    snapshot
        .workers
        .iter()
        .filter(|worker| worker.name.as_ref().is_some_and(|name| name.as_str() == text))
        .filter(|worker| !is_in_open_lane(snapshot, worker))
        .max_by_key(|worker| worker.id)
}

fn is_in_open_lane(snapshot: &Snapshot, worker: &WorkerEntry) -> bool {
    snapshot.lanes.iter().any(|lane| lane.id == worker.lane && lane.open)
}

fn only_worker(snapshot: &Snapshot, lane: &LaneEntry, text: &str) -> Result<WorkerId, TargetError> {
    let named: Vec<&WorkerEntry> =
        snapshot.workers.iter().filter(|worker| worker.lane == lane.id && worker.name.is_some()).collect();
    let live: Vec<&WorkerEntry> = named.iter().copied().filter(|worker| worker.alive).collect();
    match (live.as_slice(), named.as_slice()) {
        ([one], _) | ([], [one]) => Ok(one.id),
        ([], []) => Err(TargetError::NoWorker { lane: lane.name.clone() }),
        (several, _) => {
            let several = if several.is_empty() { named.as_slice() } else { several };
            let candidates =
                several.iter().filter_map(|w| w.name.as_ref()).map(|name| format!("{}/{name}", lane.name));
            Err(TargetError::Ambiguous { text: text.to_owned(), candidates: candidates.collect() })
        }
    }
}

/// The only name that begins so. A worker counts before the lane of the same name.
fn by_prefix(snapshot: &Snapshot, text: &str, wanted: Wanted) -> Result<Meant, TargetError> {
    let begins = |name: &Name| !text.is_empty() && name.as_str().starts_with(text);
    let workers = snapshot
        .workers
        .iter()
        .filter(|worker| is_in_open_lane(snapshot, worker))
        .filter_map(|w| w.name.as_ref());
    let lanes = snapshot.lanes.iter().filter(|lane| lane.open).map(|lane| &lane.name);
    let mut names: Vec<&Name> = workers.chain(lanes).filter(|name| begins(name)).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => Err(not_found(snapshot, text, wanted)),
        [name] => {
            let meant = resolve(snapshot, name.as_str(), wanted, Use::Acting)?;
            Ok(Meant { method: Method::Prefix, ..meant })
        }
        several => Err(TargetError::Ambiguous {
            text: text.to_owned(),
            candidates: several.iter().take(MOST_NAMED).map(ToString::to_string).collect(),
        }),
    }
}

/// A worker in a form that means only that one.
fn called(snapshot: &Snapshot, id: WorkerId) -> String {
    let worker = snapshot.workers.iter().find(|worker| worker.id == id);
    let name = worker.and_then(|worker| {
        let lane = snapshot.lanes.iter().find(|lane| lane.id == worker.lane && lane.open)?;
        Some(format!("{}/{}", lane.name, worker.name.as_ref()?))
    });
    name.unwrap_or_else(|| id.to_string())
}

fn not_found(snapshot: &Snapshot, text: &str, wanted: Wanted) -> TargetError {
    let lanes = snapshot.lanes.iter().filter(|lane| lane.open).map(|lane| lane.name.as_str());
    let workers = snapshot.workers.iter().filter_map(|worker| worker.name.as_ref()).map(Name::as_str);
    let (what, mut names): (_, Vec<&str>) = match wanted {
        Wanted::Lane => ("lane", lanes.collect()),
        Wanted::Worker => ("worker", workers.chain(lanes).collect()),
        Wanted::Either => ("lane or worker", lanes.chain(workers).collect()),
    };
    names.sort_unstable();
    names.dedup();
    names.sort_by_key(|name| distance(name, text));
    let closest = names.into_iter().take(5).map(str::to_owned).collect();
    TargetError::NotFound { what, text: text.to_owned(), closest }
}

/// Edits between two texts (Levenshtein). Both are short: names, and what was typed cut to a name's length.
pub fn distance(name: &str, text: &str) -> usize {
    let text: Vec<char> = text.chars().take(crate::name::MAX_LENGTH).collect();
    let mut row: Vec<usize> = (0..=text.len()).collect();
    for (i, from) in name.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in text.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[text.len()]
}
