//! What a lane is to be made from, and whether it can be: everything that is refused before anything is made.

use std::path::{Path, PathBuf};

use laneway_api::error::{ErrorKind, Problem};
use laneway_api::request::NewLane as Wanted;
use laneway_core::id::LaneId;
use laneway_core::lane::Lane;
use laneway_core::name::Name;
use laneway_core::refusal::Refusal;
use laneway_git::{
    Base, BaseError, ChosenBranch, CreateRefusal, NewBranch, NewTree, NewTreeAtBase, NotBegun, Repository,
    RunError, TreeRecord,
};

use crate::config::workspace::WorkspaceConfig;
use crate::problem::{IntoProblem, chain};

/// A lane that is asked for. All of it blocks.
pub(super) struct Preparing<'a> {
    pub(super) repository: &'a Repository,
    pub(super) config: &'a WorkspaceConfig,
    /// Where the caller stands.
    pub(super) cwd: &'a Path,
    pub(super) wanted: &'a Wanted,
    pub(super) name: &'a Name,
    pub(super) id: LaneId,
    /// The lanes of the repository that are not closed.
    pub(super) open: &'a [Lane],
}

/// What is to be made.
pub(super) struct Prepared {
    pub(super) base: Base,
    pub(super) record: TreeRecord,
    /// What went wrong without being in the way.
    pub(super) warning: Option<String>,
}

impl Preparing<'_> {
    /// Finds out what the lane starts from, and looks at all that could be in its way.
    pub(super) fn prepare(&self) -> Result<Prepared, Problem> {
        match (&self.wanted.branch, self.wanted.pr) {
            (None, None) => self.on_new_branch(|| self.resolve_base(), None),
            (None, Some(number)) if self.wanted.base.is_none() => {
                let fetched =
                    self.repository.choose_pull_request(number).map_err(IntoProblem::into_problem)?;
                self.on_new_branch(|| Ok(fetched.base), fetched.not_fetched.as_ref().map(stale))
            }
            (_, Some(_)) => Err(Problem::new(
                ErrorKind::Usage,
                "base_and_pr",
                "a pull request is its own base, and its lane gets a branch of its own",
            )
            .hint("leave --base and --branch out, or --pr")),
            (Some(asked), None) => self.on_asked_branch(asked),
        }
    }

    fn resolve_base(&self) -> Result<Base, BaseError> {
        let adopted = self.open.iter().filter(|lane| lane.is_adopted());
        let adopted: Vec<&Path> = adopted.map(|lane| lane.path.as_path()).collect();
        self.repository.resolve_base(self.cwd, self.wanted.base.as_deref(), &adopted)
    }

    fn on_new_branch(
        &self,
        base: impl FnOnce() -> Result<Base, BaseError> + Send,
        warning: Option<String>,
    ) -> Result<Prepared, Problem> {
        let tree = NewTreeAtBase {
            lane: self.name.to_string(),
            id: self.id.to_string(),
            path: self.place(),
            branch: self.config.branch.branch(self.name.as_str()),
        };
        let (base, record) = self.repository.preflight_at_base(tree, base).map_err(|error| match error {
            NotBegun::Refused(refusal) => self.refused(refusal),
            NotBegun::Base(error) => error.into_problem(),
            other => Problem::new(ErrorKind::Failed, "git_failed", chain(&other)),
        })?;
        Ok(Prepared { base, record, warning })
    }

    fn on_asked_branch(&self, asked: &str) -> Result<Prepared, Problem> {
        let base = self.resolve_base().map_err(IntoProblem::into_problem)?;
        let ChosenBranch { branch, not_fetched } =
            self.repository.choose_branch(asked, &base.commit).map_err(IntoProblem::into_problem)?;
        let base = match &branch {
            NewBranch::New { .. } => base,
            NewBranch::Existing { .. } | NewBranch::Remote { .. } if self.wanted.base.is_some() => {
                return Err(Problem::new(
                    ErrorKind::Usage,
                    "base_and_branch",
                    format!("branch {asked:?} is there already, so --base has no meaning"),
                )
                .hint("leave --base out, or give --branch a new name"));
            }
            // A branch that is there is its own base.
            NewBranch::Existing { .. } | NewBranch::Remote { .. } => {
                Base { base_ref: asked.to_owned(), commit: branch.commit().clone() }
            }
        };
        let (lane, id) = (self.name.to_string(), self.id.to_string());
        let tree = NewTree { lane, id, path: self.place(), branch };
        let record = self.repository.preflight(&tree).map_err(|refusal| self.refused(refusal))?;
        Ok(Prepared { base, record, warning: not_fetched.as_ref().map(stale) })
    }

    fn place(&self) -> PathBuf {
        self.config.worktree.place(self.repository.root(), self.name.as_str())
    }

    /// A lane that was renamed keeps its first name in its path: then that lane is what is in the way.
    fn refused(&self, refusal: CreateRefusal) -> Problem {
        if let CreateRefusal::PathExists { path } = &refusal
            && let Some(lane) = self.open.iter().find(|lane| lane.path.as_path() == path)
        {
            return Refusal::PathInUse { lane: lane.name.clone() }.into_problem();
        }
        refusal.into_problem()
    }
}

fn stale(error: &RunError) -> String {
    format!("what the remote has could not be fetched, and what was known of it is used: {}", chain(error))
}
