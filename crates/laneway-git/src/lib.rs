//! Lanes as git sees them: worktrees, branches, and the facts that decide whether something may go.
//!
//! All of it goes through the git command, which is started in one place (`run`). Every call blocks; an async
//! caller hands it to a thread. Nothing here decides: it makes what it is told to make, says what it finds, and
//! refuses what would destroy something.
//!
//! * [`Git`]: the program, found once, with its environment and limits.
//! * [`discover`](fn@discover): which repository a path is in, without starting git; [`Repository::open`] asks git about it.
//! * [`Repository::resolve_base`], [`Repository::choose_branch`], [`Repository::choose_pull_request`],
//!   [`Repository::preflight`], [`Repository::create`], [`Repository::undo`]: making a lane's tree, or nothing.
//! * [`Repository::make_pooled`], [`Repository::claim`], [`Repository::remove_pooled`]: trees kept ready for lanes.
//! * [`Repository::carry`], [`Repository::bring_submodules`]: what a new tree needs beside what git checks out.
//! * [`Repository::judge`], [`Repository::remove`], [`Trashed::unlink`]: taking it away without loss.
//! * [`Repository::adoptable`]: a worktree that somebody made; [`fn@label`]: what git's entry calls a lane's tree.
//! * [`Repository::diff`]: what a lane has done, against where it left its base.
//! * [`Repository::worktrees`], [`Repository::tree_facts`], [`Repository::branches`]: for comparing records
//!   with what is there; [`Repository::traces`] looks for all of it at once.
//!
//! Changes of metadata stand under the repository lock ([`Repository::lock`]), a `flock` on a file in the
//! common folder that also holds between processes, and that git inherits.

mod admin;
mod adopt;
mod base;
mod both;
mod carry;
mod checkout;
mod complaint;
mod create;
mod diff;
mod discover;
mod environment;
mod hidden;
mod index;
mod judge;
mod label;
mod lock;
mod merge;
mod names;
mod nested;
mod pool;
mod program;
mod remove;
mod repository;
mod rescue;
mod restore;
mod rules;
mod run;
mod stamp;
mod status;
mod submodules;
mod traces;
mod trash;
mod unchanged;
mod undo;
mod writing;

pub use adopt::{AdoptRefusal, Adoptable};
pub use base::{Base, BaseError, ChosenBranch, NewBranch, PullRequest};
pub use carry::{CarryError, ToCarry, hash_of_bytes};
pub use complaint::Complaint;
pub use create::{
    BadPlace, CreateError, CreateRefusal, CreateWarning, Created, NewTree, NewTreeAtBase, NotBegun,
    StepError, TreeRecord, UnderLockError,
};
pub use diff::{Diff, DiffError, DiffFile, DiffStatus, DiffText, TreeToDiff};
pub use discover::{Location, NoRepository, discover};
pub use environment::Environment;
pub use judge::{Findings, HeadSeen, LargeFile, Operation, Seen, TreeState, TreeToJudge, UnreachableCommit};
pub use label::{Label, label};
pub use lock::{LockError, RepositoryLock};
pub use merge::{MergeError, Merged};
pub use names::{CommitId, NotACommitId, is_legal_branch_name};
pub use pool::{ClaimError, PoolError, PooledTree};
pub use program::{Git, GitUnusable, Limits, OLDEST_GIT};
pub use remove::{BranchFate, RemoveError, Removed, TreeToRemove};
pub use repository::{BranchFacts, Identity, OpenError, Repository, TreeFacts, Worktree};
pub use rescue::{NotHeld, RescueRef, RescueRefs, Rescued, TreeToRescue};
pub use restore::{Rescue, RestoreError, RestoredFrom};
pub use rules::{DISPOSABLE_FOLDERS, LEAST_ROOM, MOST_IN_COMMIT, Rules};
pub use run::RunError;
pub use stamp::TreeStamp;
pub use status::{ChangedFile, Listing};
pub use traces::{LaneTree, PoolEntry, Traces};
pub use trash::{NotUnlinked, Trashed};
pub use undo::{Left, Undone, WhyBranchStays, WhyTreeStays};
