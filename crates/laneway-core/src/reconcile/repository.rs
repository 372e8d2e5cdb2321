//! What is recorded of a repository's lanes against what is there of them, for a person who asks.
//!
//! What a creation has left that was recorded as failed is taken back once more. All else is told: what is there
//! without a record may be another home's, or a record was put back from an older copy.

use crate::id::LaneId;
use crate::lane::{Lane, Lifecycle};
use crate::os_text::OsText;
use crate::pool::PoolTree;
use crate::reconcile::Action;

/// What the trash calls what an undone creation had made; the name of its folder follows.
const UNDONE: &str = "undo-";

/// What was observed in a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositorySeen {
    /// The worktrees that git's entries say belong to lanes.
    pub trees: Vec<TreeSeen>,
    /// The worktrees that git's entries say belong to the pool.
    pub pool: Vec<PoolTreeSeen>,
    /// The lanes whose own branch is there, and is as their creation made it.
    pub left_branches: Vec<LaneId>,
    /// What is in the trash of its lanes: whole paths.
    pub trash: Vec<OsText>,
    /// Trees of the pool that are being deleted, or could not be: their ids, and whole paths.
    pub pool_trash: Vec<(String, OsText)>,
    /// The names of the rescues that refs hold: ids of lanes.
    pub rescues: Vec<String>,
    /// Lock files of git that nobody has touched for a while.
    pub locks: Vec<OsText>,
}

/// A worktree that git's entry says belongs to a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSeen {
    /// Where git has it.
    pub path: OsText,
    /// The lane, by the name that the entry gives.
    pub lane: String,
    /// There is a folder.
    pub is_there: bool,
}

/// A worktree that git's entry says belongs to the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTreeSeen {
    /// Where git has it.
    pub path: OsText,
    /// The tree, by the id that the entry gives.
    pub id: String,
    /// There is a folder.
    pub is_there: bool,
}

/// The plan for a repository, given all lanes that were ever recorded in it, and its pool as it is recorded.
pub fn plan_repository(lanes: &[Lane], pool: &[PoolTree], seen: &RepositorySeen) -> Vec<Action> {
    let mut actions = Vec::new();
    let report = |what: String| Action::Report { what };
    for lane in lanes.iter().filter(|lane| has_left_something(lane, lanes, seen)) {
        actions.push(Action::UndoLeft { lane: lane.id });
    }
    for lane in lanes.iter().filter(|lane| lane.lifecycle == Lifecycle::Open && !lane.is_adopted()) {
        if !seen.trees.iter().any(|tree| tree.path == lane.path && tree.is_there) {
            let (name, path) = (&lane.name, &lane.path);
            actions
                .push(report(format!("lane {name} has no worktree at {path} any more: lane close {name}")));
        }
    }
    for tree in &seen.trees {
        let here = || lanes.iter().filter(|lane| lane.path == tree.path);
        let will_go = || here().any(|lane| has_left_something(lane, lanes, seen));
        // What a lane is just getting from the pool is named before it has moved.
        let is_of_pool = || pool.iter().any(|recorded| recorded.path == tree.path);
        if here().any(|lane| lane.lifecycle != Lifecycle::Closed) || will_go() || is_of_pool() {
            continue;
        }
        let TreeSeen { path, lane, .. } = tree;
        actions.push(report(match here().next_back() {
            Some(closed) => format!(
                "lane {} is closed, and git has its worktree at {path}, perhaps since its repository was not there \
                 then: git worktree unlock {path}, then: lane adopt {path}",
                closed.name
            ),
            None => format!(
                "git's entry of {path} names a lane {lane}, which is not recorded here; it is in use under another \
                 LANEWAY_HOME, and only if that is gone: git worktree unlock {path}, then: lane adopt {path}"
            ),
        }));
    }
    let is_recorded = |tree: &PoolTreeSeen| pool.iter().any(|recorded| recorded.id.to_string() == tree.id);
    for PoolTreeSeen { path, is_there, .. } in seen.pool.iter().filter(|tree| !is_recorded(tree)) {
        actions.push(report(if *is_there {
            format!(
                "{path} was made for the pool and is in it no more: somebody has worked in it, or it is of another \
                 LANEWAY_HOME; git -C {path} status shows what is in it; only if it is of none: git worktree unlock \
                 {path}, then: lane adopt {path}"
            )
        } else {
            format!(
                "git has an entry of {path}, which was made for the pool and is gone; only if it is of no other \
                 LANEWAY_HOME: git worktree unlock {path}, then: git worktree prune"
            )
        }));
    }
    // What is being deleted just now is recorded until that is done.
    let is_left = |id: &str| pool.iter().all(|recorded| recorded.id.to_string() != id);
    for (_, path) in seen.pool_trash.iter().filter(|(id, _)| is_left(id)) {
        actions.push(report(format!(
            "{path} is of a tree of the pool, and could not be deleted whole; it is of no use to anybody: rm -rf \
             {path}, as who may"
        )));
    }
    let is_known = |id: &str| {
        let id: Option<LaneId> = id.parse().ok();
        id.is_some_and(|id| lanes.iter().any(|lane| lane.id == id))
    };
    for path in &seen.trash {
        let name = path.as_path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !is_known(name) && !name.starts_with(UNDONE) {
            actions.push(report(format!("{path} is kept of a lane that is not recorded here")));
        }
    }
    for id in seen.rescues.iter().filter(|id| !is_known(id)) {
        actions.push(report(format!("refs/laneway/rescue/{id} is of a lane that is not recorded here")));
    }
    for path in &seen.locks {
        actions.push(report(format!(
            "{path} is of a git that has probably been killed; if none works there: rm {path}"
        )));
    }
    actions
}

/// Whether a creation that was recorded as failed has left a tree or its branch, of which no later lane makes use.
fn has_left_something(lane: &Lane, lanes: &[Lane], seen: &RepositorySeen) -> bool {
    if !may_have_left_something(lane) {
        return false;
    }
    let later = || lanes.iter().filter(|other| other.id > lane.id);
    let is_named_so = |tree: &TreeSeen| tree.path == lane.path && tree.lane == lane.name.as_str();
    let has_tree = seen.trees.iter().any(is_named_so) && !later().any(|other| other.path == lane.path);
    let has_branch = lane.own_branch().is_some_and(|branch| {
        seen.left_branches.contains(&lane.id) && !later().any(|other| other.branch() == Some(branch))
    });
    has_tree || has_branch
}

/// Whether a lane's creation was recorded as failed.
pub fn may_have_left_something(lane: &Lane) -> bool {
    // A close clears what went wrong before it, so this one was never open.
    lane.lifecycle == Lifecycle::Closed && lane.failure.is_some() && !lane.is_adopted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{HostId, PoolTreeId, WorkspaceId};
    use crate::lane::{CloseTerms, LaneBranch, LaneTree};
    use crate::pool::PoolState;
    use crate::time::Timestamp;
    use ulid::Ulid;

    fn lane(number: u128, name: &str, lifecycle: Lifecycle, failure: Option<&str>) -> Lane {
        Lane {
            id: LaneId::from_ulid(Ulid::from(number)),
            host: HostId::from_ulid(Ulid::nil()),
            workspace: WorkspaceId::from_ulid(Ulid::nil()),
            epoch: 1,
            name: name.parse().unwrap(),
            lifecycle,
            close_terms: CloseTerms::default(),
            restored_from: None,
            close_requested: false,
            close_by: None,
            failure: failure.map(str::to_owned),
            tree: LaneTree::Ours { branch: LaneBranch { name: format!("lane/{name}"), ours: true } },
            base_ref: "main".into(),
            base_commit: "0".repeat(40),
            path: format!("/r/.lanes/{name}").as_str().into(),
            shared: false,
            setup: crate::setup::LaneSetup::default(),
            created_at: Timestamp(0),
            closed_at: (lifecycle == Lifecycle::Closed).then_some(Timestamp(1)),
        }
    }

    fn tree(name: &str) -> TreeSeen {
        TreeSeen { path: format!("/r/.lanes/{name}").as_str().into(), lane: name.into(), is_there: true }
    }

    fn reports(actions: &[Action]) -> Vec<&str> {
        let told = actions.iter().filter_map(|action| match action {
            Action::Report { what } => Some(what.as_str()),
            _ => None,
        });
        told.collect()
    }

    #[test]
    fn where_record_and_repository_agree_there_is_nothing_to_do() {
        let lanes = [lane(1, "a", Lifecycle::Closed, None), lane(2, "b", Lifecycle::Open, None)];
        let seen = RepositorySeen {
            trees: vec![tree("b")],
            pool: vec![],
            left_branches: vec![],
            trash: vec![format!("/r/.lanes/.trash/{}", lanes[0].id).as_str().into()],
            pool_trash: vec![],
            rescues: vec![lanes[0].id.to_string()],
            locks: vec![],
        };
        assert_eq!(plan_repository(&lanes, &[], &seen), []);
    }

    #[test]
    fn what_a_failed_creation_has_left_is_taken_back_unless_a_later_lane_uses_it() {
        let failed = lane(1, "a", Lifecycle::Closed, Some("the disk was full"));
        let undo = Action::UndoLeft { lane: failed.id };
        let with_tree = RepositorySeen { trees: vec![tree("a")], ..RepositorySeen::default() };
        let with_branch = RepositorySeen { left_branches: vec![failed.id], ..RepositorySeen::default() };
        for seen in [with_tree.clone(), with_branch.clone()] {
            assert_eq!(
                plan_repository(std::slice::from_ref(&failed), &[], &seen),
                std::slice::from_ref(&undo)
            );
            for later in [Lifecycle::Open, Lifecycle::Closed] {
                let lanes = [failed.clone(), lane(2, "a", later, None)];
                assert!(!plan_repository(&lanes, &[], &seen).contains(&undo), "{later:?}");
            }
        }
        let closed = lane(1, "a", Lifecycle::Closed, None);
        assert_eq!(
            plan_repository(&[closed], &[], &with_branch),
            [],
            "a branch that was kept, or made again"
        );
    }

    #[test]
    fn what_is_not_recorded_is_told_and_nothing_is_done_to_it() {
        let open = lane(2, "gone", Lifecycle::Open, None);
        let seen = RepositorySeen {
            trees: vec![tree("x")],
            pool: vec![],
            left_branches: vec![],
            trash: vec!["/r/.lanes/.trash/ln_00000000000000000000000009".into()],
            pool_trash: vec![],
            rescues: vec!["ln_00000000000000000000000008".into()],
            locks: vec!["/r/.git/index.lock".into()],
        };
        let actions = plan_repository(&[open], &[], &seen);
        let told = reports(&actions);
        assert_eq!(told.len(), actions.len());
        for part in [
            "lane gone has no worktree",
            "git worktree unlock /r/.lanes/x",
            ".trash/ln_",
            "rescue/ln_",
            "rm /r/.git/",
        ] {
            assert!(told.iter().any(|what| what.contains(part)), "{part}: {told:?}");
        }
    }

    #[test]
    fn a_tree_of_the_pool_that_is_not_recorded_is_told_and_one_that_is_recorded_is_not() {
        let recorded = PoolTree {
            id: PoolTreeId::from_ulid(Ulid::from(1)),
            workspace: WorkspaceId::from_ulid(Ulid::nil()),
            path: "/r/.lanes/.pool/one".into(),
            commit: "0".repeat(40),
            state: PoolState::Ready,
            created_at: Timestamp(0),
        };
        let seen = |id: &str, name: &str, is_there| PoolTreeSeen {
            path: format!("/r/.lanes/.pool/{name}").as_str().into(),
            id: id.into(),
            is_there,
        };
        let own = seen(&recorded.id.to_string(), "one", true);
        // It is being given to a lane: named so, and not there yet.
        let claimed = TreeSeen { path: recorded.path.clone(), lane: "a".into(), is_there: true };
        let pool = std::slice::from_ref(&recorded);
        let well =
            RepositorySeen { trees: vec![claimed], pool: vec![own.clone()], ..RepositorySeen::default() };
        assert_eq!(plan_repository(&[], pool, &well), []);
        let going =
            |id: String| (id.clone(), format!("/r/.lanes/.pool/.laneway-trash/{id}.going").as_str().into());
        let well = RepositorySeen { pool_trash: vec![going(recorded.id.to_string())], ..well };
        assert_eq!(plan_repository(&[], pool, &well), [], "it is being deleted");
        let left = RepositorySeen { pool_trash: vec![going("pt_z".to_owned())], ..well.clone() };
        let actions = plan_repository(&[], pool, &left);
        assert!(
            reports(&actions)[0].contains("rm -rf /r/.lanes/.pool/.laneway-trash/pt_z.going"),
            "{actions:?}"
        );
        let seen = RepositorySeen {
            pool: vec![own, seen("pt_x", "left", true), seen("pt_y", "gone", false)],
            ..RepositorySeen::default()
        };
        let actions = plan_repository(&[], pool, &seen);
        let told = reports(&actions);
        assert_eq!((told.len(), actions.len()), (2, 2), "{actions:?}");
        assert!(told[0].contains("git -C /r/.lanes/.pool/left status"), "{told:?}");
        assert!(told[0].contains("lane adopt /r/.lanes/.pool/left"), "{told:?}");
        assert!(told[1].contains("git worktree prune") && told[1].contains("/gone"), "{told:?}");
    }
}
