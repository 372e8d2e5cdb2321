//! Targets: what a person typed, resolved to exactly one thing.
//!
//! The order is: an id (whole, a unique prefix, or its last six or more characters), `lane/worker`,
//! a worker's name, a lane's name. Resolution has no side effects, and a dead target is still found:
//! whoever asked says that it is dead.

use crate::id::{LaneId, RunId, WorkerId, looks_like_an_id};
use crate::name::Name;

/// The fewest characters of an id, after its prefix or at its end, that may stand for it.
pub const MIN_ID_TAIL: usize = 6;

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
    /// Its latest run.
    pub run: Option<RunId>,
    /// That run is alive.
    pub alive: bool,
}

/// What can be meant: the lanes and workers of the caller's repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The lanes.
    pub lanes: Vec<LaneEntry>,
    /// The workers, the newest last.
    pub workers: Vec<WorkerEntry>,
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

/// What was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A lane.
    Lane(LaneId),
    /// A worker.
    Worker(WorkerId),
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
}

/// Resolves `text` over what there is.
pub fn resolve(snapshot: &Snapshot, text: &str, wanted: Wanted) -> Result<Target, TargetError> {
    if let Some(found) = by_id(snapshot, text, wanted) {
        return found;
    }
    if let Some((lane, worker)) = text.split_once('/')
        && wanted != Wanted::Lane
    {
        return by_lane_and_worker(snapshot, text, lane, worker);
    }
    let worker = match wanted {
        Wanted::Worker | Wanted::Either => worker_named(snapshot, |_| true, text),
        Wanted::Lane => None,
    };
    if let Some(worker) = worker {
        return Ok(Target::Worker(worker.id));
    }
    match (snapshot.lanes.iter().find(|lane| lane.open && lane.name.as_str() == text), wanted) {
        (Some(lane), Wanted::Lane | Wanted::Either) => Ok(Target::Lane(lane.id)),
        (Some(lane), Wanted::Worker) => only_worker(snapshot, lane, text),
        (None, _) => Err(not_found(snapshot, text, wanted)),
    }
}

/// By id: None if the text is not meant as one.
fn by_id(snapshot: &Snapshot, text: &str, wanted: Wanted) -> Option<Result<Target, TargetError>> {
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
        let by_worker = worker.id.to_string();
        let by_run = worker.run.map(|run| run.to_string());
        if wanted != Wanted::Lane {
            if fits(&by_worker) {
                found.push((Target::Worker(worker.id), by_worker));
            } else if let Some(run) = by_run.filter(|run| fits(run)) {
                found.push((Target::Worker(worker.id), run));
            }
        }
    }
    match found.as_slice() {
        [] if as_id => Some(Err(not_found(snapshot, text, wanted))),
        [] => None,
        [(target, _)] => Some(Ok(*target)),
        _ => {
            let candidates = found.into_iter().map(|(_, id)| id).take(10).collect();
            Some(Err(TargetError::Ambiguous { text: text.to_owned(), candidates }))
        }
    }
}

fn by_lane_and_worker(
    snapshot: &Snapshot,
    text: &str,
    lane: &str,
    worker: &str,
) -> Result<Target, TargetError> {
    let lane = snapshot.lanes.iter().find(|entry| entry.open && entry.name.as_str() == lane);
    let found = lane.and_then(|lane| worker_named(snapshot, |entry| entry.lane == lane.id, worker));
    match found {
        Some(worker) => Ok(Target::Worker(worker.id)),
        None => Err(not_found(snapshot, text, Wanted::Worker)),
    }
}

/// The worker of that name: a live one before an ended one, a newer one before an older one.
fn worker_named<'a>(
    snapshot: &'a Snapshot,
    fits: impl Fn(&WorkerEntry) -> bool,
    text: &str,
) -> Option<&'a WorkerEntry> {
    let open = |id| snapshot.lanes.iter().any(|lane| lane.id == id && lane.open);
    snapshot
        .workers
        .iter()
        .filter(|worker| worker.name.as_ref().is_some_and(|name| name.as_str() == text))
        .filter(|worker| fits(worker) && open(worker.lane))
        .max_by_key(|worker| (worker.alive, worker.id))
}

fn only_worker(snapshot: &Snapshot, lane: &LaneEntry, text: &str) -> Result<Target, TargetError> {
    let named: Vec<&WorkerEntry> =
        snapshot.workers.iter().filter(|worker| worker.lane == lane.id && worker.name.is_some()).collect();
    let live: Vec<&WorkerEntry> = named.iter().copied().filter(|worker| worker.alive).collect();
    match (live.as_slice(), named.as_slice()) {
        ([one], _) | ([], [one]) => Ok(Target::Worker(one.id)),
        ([], []) => Err(TargetError::NoWorker { lane: lane.name.clone() }),
        (several, _) => {
            let several = if several.is_empty() { named.as_slice() } else { several };
            let candidates =
                several.iter().filter_map(|w| w.name.as_ref()).map(|name| format!("{}/{name}", lane.name));
            Err(TargetError::Ambiguous { text: text.to_owned(), candidates: candidates.collect() })
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use ulid::Ulid;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn lane(n: u128, text: &str) -> LaneEntry {
        LaneEntry { id: LaneId::from_ulid(Ulid::from(n)), name: name(text), open: true }
    }

    fn worker(n: u128, lane: u128, text: Option<&str>, alive: bool) -> WorkerEntry {
        WorkerEntry {
            id: WorkerId::from_ulid(Ulid::from(n)),
            lane: LaneId::from_ulid(Ulid::from(lane)),
            name: text.map(name),
            run: Some(RunId::from_ulid(Ulid::from(n + 1000))),
            alive,
        }
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            lanes: vec![
                lane(1, "a"),
                lane(2, "b"),
                lane(3, "empty"),
                LaneEntry { open: false, ..lane(4, "gone") },
            ],
            workers: vec![
                worker(11, 1, Some("a"), true),
                worker(12, 2, Some("edit"), true),
                worker(13, 2, Some("test"), true),
                worker(14, 1, None, true),
                worker(15, 4, Some("edit"), true),
                worker(16, 4, Some("ghost"), false),
            ],
        }
    }

    #[test]
    fn the_table_of_targets() {
        #[track_caller]
        fn check(text: &str, wanted: Wanted, expected: &Result<Target, &str>) {
            let found = resolve(&snapshot(), text, wanted).map_err(|error| error.to_string());
            assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e), "{text:?}");
        }
        let at = |n: u128| Ok(Target::Worker(WorkerId::from_ulid(Ulid::from(n))));
        let lane_at = |n: u128| Ok(Target::Lane(LaneId::from_ulid(Ulid::from(n))));
        check("a", Wanted::Worker, &at(11));
        check("a", Wanted::Lane, &lane_at(1));
        check("a", Wanted::Either, &at(11));
        check("b", Wanted::Either, &lane_at(2));
        check("b", Wanted::Worker, &Err("\"b\" can mean b/edit, b/test"));
        check("b/test", Wanted::Worker, &at(13));
        check("edit", Wanted::Worker, &at(12));
        check("ghost", Wanted::Worker, &Err("there is no worker \"ghost\" in this repository"));
        check("empty", Wanted::Worker, &Err("lane empty has no worker"));
        check("gone", Wanted::Lane, &Err("there is no lane \"gone\" in this repository"));
        check("ln_00000000000000000000000004", Wanted::Lane, &lane_at(4));
        check("wk_0000000000000000000000000D", Wanted::Worker, &at(13));
        check("00000D", Wanted::Worker, &at(13));
        check("rn_000000000000000000000000ZM", Wanted::Worker, &at(12));
        check("wk_", Wanted::Lane, &Err("there is no lane \"wk_\" in this repository"));
        check("edi", Wanted::Worker, &Err("there is no worker \"edi\" in this repository"));
        check("", Wanted::Lane, &Err("there is no lane \"\" in this repository"));
        check("a/", Wanted::Worker, &Err("there is no worker \"a/\" in this repository"));
    }

    #[test]
    fn a_miss_names_the_closest() {
        let Err(TargetError::NotFound { closest, .. }) = resolve(&snapshot(), "tset", Wanted::Worker) else {
            panic!("it should not be found")
        };
        assert_eq!(closest[0], "test");
        assert_eq!((distance("test", "test"), distance("", "ab"), distance("kitten", "sitting")), (0, 2, 3));
    }
}
