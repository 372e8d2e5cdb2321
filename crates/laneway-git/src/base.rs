//! What a lane starts from: the base commit, and the branch that a name means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::admin::AdminFolder;
use crate::complaint::Complaint;
use crate::discover::{Location, discover};
use crate::names::{CommitId, branch_ref, is_legal_branch_name};
use crate::repository::{Repository, branch_of, settled};
use crate::run::RunError;

/// What a lane starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// As the caller said it; by default the name of the branch that is checked out, or `HEAD` if detached.
    pub base_ref: String,
    /// The commit it meant at that moment.
    pub commit: CommitId,
}

/// The branch of a lane that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewBranch {
    /// A branch that is made, and ours.
    New {
        /// Its name.
        name: String,
        /// Where it starts.
        base: CommitId,
    },
    /// A local branch that is there already. It is not ours and is never deleted.
    Existing {
        /// Its name.
        name: String,
        /// Where it pointed when it was looked at.
        tip: CommitId,
    },
    /// A branch of a remote: the local branch of that name is made at its commit, and follows it.
    Remote {
        /// Its name.
        name: String,
        /// The remote.
        remote: String,
        /// Where the remote's branch was when it was fetched.
        commit: CommitId,
    },
}

impl NewBranch {
    /// The name of the local branch.
    pub fn name(&self) -> &str {
        match self {
            Self::New { name, .. } | Self::Existing { name, .. } | Self::Remote { name, .. } => name,
        }
    }

    /// The commit that the tree will be at.
    pub fn commit(&self) -> &CommitId {
        match self {
            Self::New { base: commit, .. }
            | Self::Existing { tip: commit, .. }
            | Self::Remote { commit, .. } => commit,
        }
    }
}

/// What the name given with `--branch` turned out to be.
#[derive(Debug)]
pub struct ChosenBranch {
    /// The branch to create the lane with.
    pub branch: NewBranch,
    /// The remote's branch could not be fetched; what was known of it is used.
    pub not_fetched: Option<RunError>,
}

/// Why a base or branch cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// There is no commit yet.
    #[error("the repository has no commit yet: HEAD of {} is unborn", at.display())]
    UnbornHead {
        /// Whose HEAD.
        at: PathBuf,
    },
    /// The base resolves to no commit.
    #[error("{base:?} is not a commit of this repository")]
    Unknown {
        /// As it was given.
        base: String,
    },
    /// Not a possible name for a branch.
    #[error("{name:?} cannot be the name of a branch")]
    IllegalBranchName {
        /// As it was given.
        name: String,
    },
    /// More than one remote has a branch of that name.
    #[error("branch {name:?} is on several remotes: {}", remotes.join(", "))]
    OnSeveralRemotes {
        /// The branch.
        name: String,
        /// The remotes that have it.
        remotes: Vec<String>,
    },
    /// There is no remote that could have it.
    #[error("there is no remote to fetch pull request {number} from")]
    NoRemote {
        /// The pull request.
        number: u32,
    },
    /// Several remotes, and none with a name that says which is meant.
    #[error("pull request {number} could be on any of several remotes: {}", remotes.join(", "))]
    WhichRemote {
        /// The pull request.
        number: u32,
        /// The remotes.
        remotes: Vec<String>,
    },
    /// The remote has no such pull request, or does not keep them as refs.
    #[error("{remote} has no pull request {number} (refs/pull/{number}/head)")]
    NoPullRequest {
        /// The pull request.
        number: u32,
        /// The remote.
        remote: String,
    },
    /// It could not be fetched, and was not before.
    #[error("pull request {number} could not be fetched from {remote}")]
    NotFetched {
        /// The pull request.
        number: u32,
        /// The remote.
        remote: String,
        /// What git said.
        #[source]
        source: RunError,
    },
    /// git could not answer.
    #[error("the base could not be resolved")]
    Git(#[from] RunError),
}

/// A pull request that was fetched.
#[derive(Debug)]
pub struct PullRequest {
    /// What a lane for it starts from: the remote-tracking ref that keeps it here, and its commit.
    pub base: Base,
    /// It could not be fetched; what was fetched before is used.
    pub not_fetched: Option<RunError>,
}

/// Remotes whose names say that pull requests are there, the first before the others: in a clone of a fork they
/// are where it came from.
const REMOTES_OF_PULL_REQUESTS: [&str; 2] = ["upstream", "origin"];

impl Repository {
    /// Resolves what a lane starts from. Without `asked` it is the HEAD of the main worktree, or of the lane
    /// whose worktree `cwd` is in; with it, names such as `HEAD` or `@{upstream}` mean those of `cwd`. The
    /// worktrees of lanes that were not made as such (`adopted`) git's entries do not tell.
    pub fn resolve_base(
        &self,
        cwd: &Path,
        asked: Option<&str>,
        adopted: &[&Path],
    ) -> Result<Base, BaseError> {
        let here = discover(cwd).ok().filter(|location| location.common_dir == self.common_dir());
        if let Some(base) = asked {
            let folder = here.and_then(|location| location.worktree_root);
            return self.resolve_asked(folder.as_deref(), base);
        }
        let entries = self.common_dir().join("worktrees");
        let is_lane = |location: &Location| {
            let of_a_lane = || AdminFolder::read(location.git_dir.clone()).is_ok_and(|it| it.is_of_a_lane());
            (location.git_dir.parent() == Some(&entries) && of_a_lane())
                || adopted.iter().any(|tree| location.worktree_root.as_deref() == Some(tree))
        };
        self.resolve_head(here.filter(is_lane).and_then(|location| location.worktree_root).as_deref())
    }

    fn resolve_asked(&self, folder: Option<&Path>, base: &str) -> Result<Base, BaseError> {
        let unknown = || BaseError::Unknown { base: base.to_owned() };
        // Nothing that a commit's name can start with, and git would read it as an option.
        if base.is_empty() || base.starts_with('-') || base.contains('\0') {
            return Err(unknown());
        }
        let (finished, said) = self
            .run_at("git rev-parse --verify", folder)
            .args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
            .arg(format!("{base}^{{commit}}"))
            .output()?;
        if finished.code() == Some(0) {
            let commit = CommitId::from_git(&said).ok_or_else(unknown)?;
            return Ok(Base { base_ref: base.to_owned(), commit });
        }
        if matches!(base, "HEAD" | "@") { Err(self.unborn(folder)) } else { Err(unknown()) }
    }

    fn resolve_head(&self, folder: Option<&Path>) -> Result<Base, BaseError> {
        let what = "git rev-parse HEAD";
        let (finished, said) = self
            .run_at(what, folder)
            .args(["rev-parse", "HEAD^{commit}", "--symbolic-full-name", "HEAD", "--"])
            .output()?;
        if finished.code() != Some(0) {
            return Err(self.unborn(folder));
        }
        let mut lines = said.split(|byte| *byte == b'\n');
        let commit = lines.next().and_then(CommitId::from_git);
        let commit = commit.ok_or_else(|| RunError::not_understood(what, &said))?;
        Ok(Base { base_ref: branch_of(lines.next().unwrap_or(b"HEAD")), commit })
    }

    /// Finds out which branch a name given with `--branch` means: a local branch, else the branch of exactly
    /// one remote (which is fetched), else a new branch at `base`.
    pub fn choose_branch(&self, name: &str, base: &CommitId) -> Result<ChosenBranch, BaseError> {
        if !is_legal_branch_name(name) {
            return Err(BaseError::IllegalBranchName { name: name.to_owned() });
        }
        let chosen = |branch| ChosenBranch { branch, not_fetched: None };
        if let Some(local) = self.branch(name)? {
            return Ok(chosen(NewBranch::Existing { name: name.to_owned(), tip: local.tip }));
        }
        let remotes = self.remotes()?;
        let tracking = |remote: &str| format!("refs/remotes/{remote}/{name}");
        let patterns: Vec<String> = remotes.iter().map(|remote| tracking(remote)).collect();
        let known = if patterns.is_empty() { BTreeMap::new() } else { self.branches_at(&patterns)? };
        let mut having: Vec<(String, CommitId)> = remotes
            .into_iter()
            .filter_map(|remote| known.get(&tracking(&remote)).map(|facts| (remote, facts.tip.clone())))
            .collect();
        if having.len() > 1 {
            let remotes = having.into_iter().map(|(remote, _)| remote).collect();
            return Err(BaseError::OnSeveralRemotes { name: name.to_owned(), remotes });
        }
        let Some((remote, known)) = having.pop() else {
            return Ok(chosen(NewBranch::New { name: name.to_owned(), base: base.clone() }));
        };
        let (commit, not_fetched) = match self.fetch(&remote, &branch_ref(name), &tracking(&remote)) {
            Ok(commit) => (commit, None),
            Err(error) => (known, Some(error)),
        };
        Ok(ChosenBranch { branch: NewBranch::Remote { name: name.to_owned(), remote, commit }, not_fetched })
    }

    /// Fetches the head of a pull request. It is kept as a remote-tracking ref (`origin/pr/N`), which also says
    /// later that the remote has its commits.
    pub fn choose_pull_request(&self, number: u32) -> Result<PullRequest, BaseError> {
        let mut remotes = self.remotes()?;
        let named = REMOTES_OF_PULL_REQUESTS.iter().find(|name| remotes.iter().any(|remote| remote == *name));
        let remote = match (named, remotes.len()) {
            (Some(name), _) => (*name).to_owned(),
            (None, 1) => remotes.remove(0),
            (None, 0) => return Err(BaseError::NoRemote { number }),
            (None, _) => return Err(BaseError::WhichRemote { number, remotes }),
        };
        let base_ref = format!("{remote}/pr/{number}");
        let tracking = format!("refs/remotes/{base_ref}");
        let (commit, not_fetched) = match self.fetch(&remote, &format!("refs/pull/{number}/head"), &tracking)
        {
            Ok(commit) => (commit, None),
            Err(error) if error.complaint() == Some(Complaint::UnknownRemoteRef) => {
                return Err(BaseError::NoPullRequest { number, remote });
            }
            Err(source) => match self.branches_at(std::slice::from_ref(&tracking))?.remove(&tracking) {
                Some(known) => (known.tip, Some(source)),
                None => return Err(BaseError::NotFetched { number, remote, source }),
            },
        };
        Ok(PullRequest { base: Base { base_ref, commit }, not_fetched })
    }

    fn remotes(&self) -> Result<Vec<String>, RunError> {
        let said = self.run("git remote").reads().arg("remote").succeed()?;
        Ok(String::from_utf8_lossy(&said).lines().map(str::to_owned).collect())
    }

    /// Not under the repository lock: it waits for a network, and git itself locks the one ref it writes.
    fn fetch(&self, remote: &str, reference: &str, tracking: &str) -> Result<CommitId, RunError> {
        let what = "git fetch";
        settled(|| {
            self.run(what)
                .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"])
                .args(["--end-of-options", remote, &format!("+{reference}:{tracking}")])
                .limit(self.git().limits().fetch)
                .succeed()
        })?;
        let said = self
            .run("git rev-parse --verify")
            .reads()
            .args(["rev-parse", "--verify", &format!("{tracking}^{{commit}}")])
            .succeed()?;
        CommitId::from_git(&said).ok_or_else(|| RunError::not_understood(what, &said))
    }

    fn run_at<'a>(&'a self, what: &'static str, folder: Option<&'a Path>) -> crate::run::Run<'a> {
        folder.map_or_else(|| self.run(what), |folder| self.git().run(what, folder)).reads()
    }

    fn unborn(&self, folder: Option<&Path>) -> BaseError {
        BaseError::UnbornHead { at: folder.unwrap_or(self.root()).to_owned() }
    }
}
